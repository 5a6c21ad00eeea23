"""kill -9 at random moments, in every engine: the same command again, and the same bytes as never killed."""

import contextlib
import os
import random
import shutil
import signal
import subprocess
import time

import pytest
import torch

from tests.support.miniature import Task, config
from tests.support.ranks import children, started, wait_for

torch.set_num_threads(1)

FEW, MANY = 3, 70  # with many, 210 in all


def killed_after(action, seconds):
    """Act in a child process and kill it after a while; says whether it was still running."""
    child = os.fork()
    if child == 0:
        with contextlib.suppress(BaseException):
            action()
        os._exit(0)
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if os.waitpid(child, os.WNOHANG)[0]:
            return False
        time.sleep(0.001)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return True


def duration(action):
    begun = time.monotonic()
    assert not killed_after(action, 600)
    return time.monotonic() - begun


def begin_anew(task):
    for path in [*task.iterations.glob("[0-9]*"), *task.iterations.glob(".*")]:
        path.unlink()
    shutil.rmtree(task.folder / "state", ignore_errors=True)


@pytest.mark.parametrize("kills", [FEW, pytest.param(MANY, marks=pytest.mark.slow)])
def test_virtual_killed_at_random_moments(task, wanted, kills):
    def block():
        task.block(checkpoint_s=0)

    whole = duration(block)
    assert task.finish() == wanted
    chance, killed = random.Random(kills), 0
    while killed < kills:
        begin_anew(task)
        while killed_after(block, chance.uniform(0.0, 0.6) * whole):
            killed += 1
        assert task.finish() == wanted


@pytest.mark.parametrize("kills", [FEW, pytest.param(MANY, marks=pytest.mark.slow)])
def test_jobs_killed_at_random_moments(task, wanted, kills):
    """Any worker's job or combination, begun anew from its inputs each time it was killed."""
    steps = []
    for i, iteration in enumerate(task.plan.iterations):
        steps += [lambda i=i, j=j: task.train_worker(i, j) for j in range(iteration.workers)]
        steps.append(lambda i=i: task.combine(i))
    times = [duration(step) for step in steps]
    assert task.finish() == wanted
    chance, killed = random.Random(kills), 0
    while killed < kills:
        begin_anew(task)
        for step, seconds in zip(steps, times, strict=True):
            while killed < kills and chance.random() < 2 * kills / len(steps):
                if not killed_after(step, chance.uniform(0.0, 1.0) * seconds):
                    break
                killed += 1
            duration(step)
        assert task.finish() == wanted


@pytest.mark.mpi
@pytest.mark.parametrize("kills", [1, pytest.param(MANY, marks=pytest.mark.slow)])
def test_sync_killed_at_random_moments(tmp_path, mpirun, root, kills):
    """One rank, or all ranks and the launcher: as they start (one time in eight), or anywhere in training."""
    settings = config(schedule__epochs=40, parallel__combine="bmuf_nesterov", optimiser__kind="ng_online")
    begun = time.monotonic()
    wanted = Task(tmp_path / "virtual", settings).virtual()
    whole = time.monotonic() - begun
    task = Task(tmp_path / "sync", settings)
    task.initialise()
    chance, killed = random.Random(kills), 0
    while killed < kills or not task.combined(task.last).exists():
        before = set(task.folder.glob("state/*/lease-*"))
        with started(task, {"PYTHONPATH": str(root / "src")}, checkpoint_s=0) as job:
            if killed < kills:
                if chance.random() > 0.125:
                    wait_for(lambda before=before: set(task.folder.glob("state/*/lease-*")) - before)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    job.wait(timeout=chance.uniform(0.0, 0.7) * whole)
            if killed < kills and job.poll() is None:
                strike(job, chance)
                killed += 1
                continue
            job.communicate(timeout=120)
            assert job.returncode == 0
        assert task.finish() == wanted
        if killed < kills:
            begin_anew(task)


def strike(job, chance):
    """Kill one rank, or all there is of the job."""
    found = children(job.pid)
    victims = [chance.choice(found)] if found and chance.random() < 0.7 else [*found, job.pid]
    for pid in victims:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    with contextlib.suppress(subprocess.TimeoutExpired):
        job.communicate(timeout=10)
