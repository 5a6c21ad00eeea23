"""A server and workers on real MPI ranks: every run is replayed by `virtual` to the same bytes; kill and resume."""

import contextlib
import itertools
import json
import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest
import torch

from tests.support.miniature import TENANTS, Task, config
from tests.support.ranks import arguments, children, rank_of, started, wait_for
from unisono.engines import checkpoint
from unisono.engines.arrivals import read_log
from unisono.engines.link import nap

torch.set_num_threads(1)
pytestmark = pytest.mark.mpi

COVERING = [
    {"parallel__combine": "async", "parallel__workers": 3, "observers": {"polyak": {"start": 0.3}}},
    {
        "parallel__combine": {"kind": "async", "factor": 0.5, "momentum": 0.3}, "schedule__kind": "newbob",
        "schedule__epochs": 4, "parallel__max_staleness": 3, "diagnostics__frames": 0,
    },
    {
        "parallel__combine": "elastic", "parallel__workers": 3, "optimiser__kind": "ng_online", "final_model": "best",
        "network__dropout": 0.1, "parallel__period_frames": 100, "parallel__barrier_pushes": 7,
    },
    TENANTS["lstm"] | {"parallel__combine": "async", "parallel__workers": 2, "parallel__period_frames": 150},
]  # fmt: skip
MORE = [
    {"parallel__combine": rule, "parallel__workers": count, "optimiser__kind": kind, "parallel__period_frames": 150}
    for rule, count, kind in [
        ("async", 2, "ng_online"), ("async", 4, "sgd"), ("elastic", 2, "sgd"), ("elastic", 4, "ng_simple"),
        ({"kind": "async", "momentum": 0.5, "factor": 0.4}, 4, "sgd"), ("async", 1, "sgd"), ("async", 3, "ng_simple"),
        ("elastic", 3, "ng_online"),
    ]
]  # fmt: skip


@pytest.fixture
def python_path(root):
    return {"PYTHONPATH": str(root / "src")}


def live(folder, changes, utterances=80):
    task = Task(folder, config(parallel__arrival="live", **changes), utterances)
    task.initialise()
    return task


def assert_replayed(task, changes, utterances=80):
    """`virtual` makes the model of a run, and all that is known about it, from its log."""
    wanted = task.finish()
    path = str(task.iterations / "arrivals.jsonl")
    again = Task(
        f"{task.folder}.replay", config(parallel__arrival={"kind": "log", "path": path}, **changes), utterances
    )
    assert again.virtual() == wanted
    assert again.metrics() == task.metrics()
    lists = [json.loads((one.folder / "ledger.json").read_text()) for one in (task, again)]
    assert lists[0] == lists[1] and lists[0]["epochs"] == len({it.epoch for it in task.plan.iterations})


def replay_all(tmp_path, mpirun, env, cases):
    tasks = [live(tmp_path / str(number), changes) for number, changes in enumerate(cases)]
    script = Path(__file__).parent.parent / "support" / "async_runs.py"
    ranks = 1 + max(task.session.most_workers for task in tasks)
    done = mpirun(ranks, ["-m", "mpi4py", script, *[task.folder for task in tasks]], timeout=600, env=env)
    assert done.returncode == 0, done.stderr[-2000:]
    stale = 0
    for task, changes in zip(tasks, cases, strict=True):
        stale += sum(o.staleness > 0 for i in range(task.last + 1) for o in task.read_state(i).workers)
        assert_replayed(task, changes)
    assert stale > 10


def test_real_runs_are_replayed_to_the_same_bytes(tmp_path, mpirun, python_path):
    replay_all(tmp_path, mpirun, python_path, COVERING)


@pytest.mark.slow
def test_twelve_real_runs_are_replayed_to_the_same_bytes(tmp_path, mpirun, python_path):
    replay_all(tmp_path, mpirun, python_path, [*COVERING, *MORE])


def test_another_number_of_ranks_is_one_line(tmp_path, mpirun, python_path):
    task = live(tmp_path / "task", COVERING[0])
    done = mpirun(1, arguments(task, "async"), env=python_path)
    assert done.returncode != 0 and "Traceback" not in done.stderr
    assert "3 workers and a server are 4 ranks, MPI has 1 ranks" in done.stderr and "mpirun -n 4" in done.stderr
    other = Task(tmp_path / "other", config(parallel__combine="async"))
    other.initialise()
    done = mpirun(3, arguments(other, "async"), env=python_path)
    assert done.returncode != 0 and "async needs combine async or elastic, and arrival live" in done.stderr


def test_a_wish_to_stop_saves_and_the_same_command_goes_on(tmp_path, mpirun, python_path):
    changes = {"parallel__combine": "elastic", "schedule__epochs": 12}
    task = live(tmp_path / "task", changes)
    stopped = mpirun(3, arguments(task, "async", stop_after_s=1.0, checkpoint_s=1000), env=python_path)
    assert stopped.returncode != 0 and "all is saved" in stopped.stderr
    done = mpirun(3, arguments(task, "async"), env=python_path)
    assert done.returncode == 0, done.stderr[-2000:]
    assert_replayed(task, changes)


def kept(task):
    """The events that the newest checkpoint holds; every published one is sound."""
    folders = sorted(task.folder.glob("state/*/ckpt-*"))
    assert [checkpoint.damage(folder)[0] for folder in folders] == [""] * len(folders)
    return read_log(folders[-1] / "arrivals.jsonl")[1] if folders else []


@pytest.mark.parametrize("kills", [3, pytest.param(20, marks=pytest.mark.slow)])
def test_killed_at_random_moments(tmp_path, mpirun, python_path, kills):
    """A worker or the server: the job ends within 10 s, nothing that was saved is lost, and the run is replayed."""
    changes = {
        "parallel__combine": "async", "optimiser__kind": "ng_online", "schedule__epochs": 10 * kills,
        "observers": {"ema": {"decay": 0.9, "start": 0.1}}, "diagnostics__frames": 50,
    }  # fmt: skip
    task = live(tmp_path / "task", changes, 40)
    chance, killed, saved = random.Random(kills), 0, []
    while not task.combined(task.last).exists():
        before = set(task.folder.glob("state/*/ckpt-*"))
        with started(task, python_path, 3, "async", checkpoint_s=0 if killed < kills else 5) as job:
            if killed < kills:
                wait_for(lambda before=before, job=job: job.poll() is not None or new(task, before))
                with contextlib.suppress(subprocess.TimeoutExpired):
                    job.wait(timeout=chance.uniform(0.0, 0.5))
            if killed < kills and job.poll() is None:
                victim = chance.choice([pid for pid in children(job.pid) if rank_of(pid) is not None])
                os.kill(victim, signal.SIGKILL)
                died, killed = time.monotonic(), killed + 1
                job.communicate(timeout=30)
                assert time.monotonic() - died < 10 and job.returncode != 0
                now = kept(task)
                assert now[: len(saved)] == saved
                saved = now
                continue
            job.communicate(timeout=200)
            assert job.returncode == 0
    assert killed == kills and saved
    assert read_log(task.iterations / "arrivals.jsonl")[1][: len(saved)] == saved
    assert_replayed(task, changes, 40)


def new(task, before):
    return set(task.folder.glob("state/*/ckpt-*")) - before


def test_naps_are_short_beside_what_was_waited_and_few(monkeypatch):
    naps = []
    monkeypatch.setattr("time.sleep", naps.append)
    for turn in range(2800):
        nap(turn)
    waited = list(itertools.accumulate(naps, initial=0.0))
    assert all(0.0 <= one <= max(1e-3, begun / 50) for one, begun in zip(naps, waited, strict=False))
    assert waited[-1] > 10.0, "ten seconds take more than 2,800 looks"


IDLE = """
import sys, time, torch
from pathlib import Path
from functools import partial
from unisono.engines import asynchronous
from unisono.engines.block import Block
from unisono.engines.mpi import Mpi
from unisono.engines.session import open_session
torch.set_num_threads(1)
folder, comm = Path(sys.argv[1]), Mpi(2, server=True)
with open_session(*[folder / name for name in ("config.json", "plan.json", "train.h5", "dev.h5")]) as session:
    asks = []
    def idle():
        if comm.rank > 0:
            time.sleep(0.3)
        elif len(asks) == 100:
            asks.append((time.process_time(), time.perf_counter()))
        else:
            asks.append(0)
        return False
    block = Block(first=0, last=len(session.plan.iterations) - 1, iterations_dir=folder / "iterations",
                  state_dir=folder / "state", checkpoint_s=1e9, interrupted=idle)
    asynchronous.train(session, block, comm)
if comm.rank == 0:
    cpu, begun = asks[100]
    print("share", (time.process_time() - cpu) / (time.perf_counter() - begun))
"""


def test_an_idle_server_takes_no_more_than_a_twentieth_of_a_core(tmp_path, mpirun, python_path):
    task = live(tmp_path / "task", {"parallel__combine": "async", "schedule__epochs": 1}, 10)
    done = mpirun(3, ["-m", "mpi4py", "-c", IDLE, task.folder], env=python_path)
    assert done.returncode == 0, done.stderr[-2000:]
    share = float(done.stdout.split("share")[1])
    print(f"idle server: {share:.1%} of a core")
    assert share < 0.05
