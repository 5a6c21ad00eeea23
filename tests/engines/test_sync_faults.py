"""Faults under MPI, through the launcher: one rank warned, slow or broken, a rank or mpirun killed."""

import contextlib
import os
import signal
import time
from pathlib import Path

import pytest

from tests.support.miniature import Task, config
from tests.support.ranks import arguments, children, launched, rank_pid, wait_for

pytestmark = pytest.mark.mpi
END_S = 10  # in which all ranks are gone

BROKEN = """
import sys
from mpi4py import MPI
from unisono import command
from unisono.engines.worker import Worker
run, calls = Worker.run, []
def broken(self, *arguments):
    calls.append(1)
    if MPI.COMM_WORLD.rank == 1 and len(calls) == 3:
        raise RuntimeError("broken on purpose")
    return run(self, *arguments)
Worker.run = broken
sys.exit(command.main(sys.argv[1:]))
"""


@pytest.fixture
def task(tmp_path, mpirun):
    made = Task(tmp_path / "sync", config(schedule__epochs=60, parallel__combine="bmuf"))
    made.initialise()
    return made


@pytest.fixture(scope="module")
def wanted(tmp_path_factory):
    settings = config(schedule__epochs=60, parallel__combine="bmuf")
    return Task(tmp_path_factory.mktemp("virtual"), settings).virtual()


@contextlib.contextmanager
def training(root, task):
    """A job that has saved something, and its ranks."""
    with launched(root, arguments(task, checkpoint_s=0)) as job:
        wait_for(lambda: list(task.folder.glob("state/*/ckpt-*")))
        yield job, [rank_pid(job, rank) for rank in (0, 1)]


def is_running(pid):
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    return False


def finishes(root, task, wanted):
    with launched(root, arguments(task)) as job:
        _, err = job.communicate(timeout=120)
    assert job.returncode == 0 and "going on from" in err, err[-2000:]
    assert task.finish() == wanted


def test_a_warning_to_one_rank_saves_all(root, task, wanted):
    with training(root, task) as (job, ranks):
        os.kill(ranks[1], signal.SIGUSR1)
        _, err = job.communicate(timeout=60)
    assert job.returncode != 0 and "all is saved" in err and "died" not in err, err[-2000:]
    finishes(root, task, wanted)


def test_sigterm_to_the_launcher_saves_all(root, task, wanted):
    with training(root, task) as (job, _):
        job.terminate()
        _, err = job.communicate(timeout=60)
    assert job.returncode != 0 and "all is saved" in err, err[-2000:]
    finishes(root, task, wanted)


@pytest.mark.parametrize("victim", ["rank", "mpirun", "launcher"])
def test_nothing_outlives_a_death(root, task, wanted, victim):
    with training(root, task) as (job, ranks):
        mpirun = children(job.pid)[0]  # the launcher has no other child
        os.kill({"rank": ranks[1], "mpirun": mpirun, "launcher": job.pid}[victim], signal.SIGKILL)
        wait_for(lambda: not any(map(is_running, ranks)), END_S)
        _, err = job.communicate(timeout=END_S)
        assert job.returncode != 0
        if victim != "launcher":
            said = [
                line
                for line in err.splitlines()
                if line.startswith("unisono launch: error: a rank or its launcher died")
            ]
            assert len(said) == 1, err[-2000:]
    assert not task.combined(task.last).exists()
    finishes(root, task, wanted)


def test_a_slow_rank_changes_no_byte(root, task, wanted):
    with training(root, task) as (job, ranks):
        for _ in range(3):
            os.kill(ranks[1], signal.SIGSTOP)
            time.sleep(0.7)
            os.kill(ranks[1], signal.SIGCONT)
            time.sleep(0.1)
        _, err = job.communicate(timeout=120)
    assert job.returncode == 0, err[-2000:]
    assert task.finish() == wanted


def test_a_rank_that_raises_ends_all(root, task, wanted):
    command = arguments(task, checkpoint_s=0)
    begin = command.index("unisono") + 1
    begun = time.monotonic()
    with launched(root, ["-m", "mpi4py", "-c", BROKEN, *command[begin:]]) as job:
        _, err = job.communicate(timeout=60)
    assert job.returncode != 0 and err.count("RuntimeError: broken on purpose (a defect of unisono") == 1, err[-3000:]
    assert time.monotonic() - begun < 40
    finishes(root, task, wanted)
