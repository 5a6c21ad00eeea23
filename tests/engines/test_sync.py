"""Real MPI processes: the same bytes as `virtual`, one-line errors, kill and resume."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.support.miniature import TENANTS, Task, config
from tests.support.product import COVERING, FULL, settings_of
from tests.support.ranks import arguments, rank_pid, started, wait_for
from unisono.core import average

torch.set_num_threads(1)
pytestmark = pytest.mark.mpi


@pytest.fixture
def python_path(root):
    return {"PYTHONPATH": str(root / "src")}


def equal_under_mpi(tmp_path, mpirun, env, spoken_task, cases):
    tasks, wanted = [], []
    for number, case in enumerate(cases):
        settings = settings_of(*case)
        wanted.append(spoken_task(tmp_path / f"{number}.virtual", settings).virtual())
        tasks.append(spoken_task(tmp_path / f"{number}.sync", settings))
        tasks[-1].initialise()
    script = Path(__file__).parent.parent / "support" / "sync_runs.py"
    done = mpirun(4, ["-m", "mpi4py", script, *[task.folder for task in tasks]], timeout=900, env=env)
    assert done.returncode == 0, done.stderr[-2000:]
    for task, want, case in zip(tasks, wanted, cases, strict=True):
        assert task.finish() == want, case


def test_sync_writes_the_bytes_of_virtual(tmp_path, mpirun, python_path, spoken_task):
    equal_under_mpi(tmp_path, mpirun, python_path, spoken_task, COVERING)


@pytest.mark.slow
def test_sync_writes_the_bytes_of_virtual_everywhere(tmp_path, mpirun, python_path, spoken_task):
    equal_under_mpi(tmp_path, mpirun, python_path, spoken_task, FULL)


def last_model(task):
    return (task.folder / "models" / "last.safetensors").read_bytes()


@pytest.mark.parametrize("tenant", [{}, TENANTS["lstm"]], ids=["", "lstm"])
def test_observers_change_no_byte_of_the_last_model(tmp_path, mpirun, python_path, tenant):
    """In any engine."""
    settings = {"parallel__combine": "bmuf", "parallel__workers": 2, "optimiser__kind": "ng_online", **tenant}
    watched = settings | {"observers": {"ema": {"decay": 0.8}, "polyak": {"start": 0.3}, "tail": {"combinations": 2}}}
    served = {"parallel__combine": "async", "parallel__arrival": "simulated"}
    ranks, models = [], []
    for name, changes in {"bare": settings, "watched": watched}.items():
        ranks.append(Task(tmp_path / f"{name}-sync", config(**changes)))
        ranks[-1].initialise()
        tasks = [Task(tmp_path / f"{name}{number}", config(**changes)) for number in range(2)]
        tasks.append(Task(tmp_path / f"{name}-served", config(**changes | served)))
        tasks[0].jobs()
        tasks[1].virtual()
        tasks[2].virtual()
        models.append([last_model(task) for task in tasks])
    script = Path(__file__).parent.parent / "support" / "sync_runs.py"
    done = mpirun(2, ["-m", "mpi4py", script, *[task.folder for task in ranks]], env=python_path)
    assert done.returncode == 0, done.stderr[-2000:]
    for task, others in zip(ranks, models, strict=True):
        task.finish()
        assert last_model(task) == others[0] == others[1] != others[2]
    assert models[0] == models[1]


MEANS = """
import sys, numpy as np, torch
from unisono.engines.mpi import Mpi
from unisono.engines import mpi
mpi.CHUNK = 64
comm = Mpi(3)
for size in (16, 48, 160, 1008):
    x = torch.from_numpy(np.random.default_rng(comm.rank).standard_normal(size).astype("f4"))
    if comm.rank == 1: x[3] = float("nan")
    for name, weights in (("a", [0.2, 0.0, 0.8]), ("b", [0.25, 0.25, 0.5])):
        found = comm.mean(x, weights)
        got = comm.exchange(x, (comm.rank + 1) % 3, (comm.rank - 1) % 3)
        both = comm.gather_records(np.frombuffer(found.numpy().tobytes() + got.numpy().tobytes(), "f8").copy())
        if comm.rank == 0: np.save(f"{sys.argv[1]}/{size}{name}.npy", both)
assert comm.broadcast_bytes(b"x" * 300 * (comm.rank + 1), 1) == b"x" * 600
"""


def test_vectors_travel_in_chunks_and_are_summed_in_rank_order(tmp_path, mpirun, python_path):
    done = mpirun(3, ["-m", "mpi4py", "-c", MEANS, tmp_path], env=python_path)
    assert done.returncode == 0, done.stderr[-2000:]
    for size in (16, 48, 160, 1008):
        vectors = [torch.from_numpy(np.random.default_rng(r).standard_normal(size).astype("f4")) for r in range(3)]
        vectors[1][3] = float("nan")
        for name, weights in (("a", [0.2, 0.0, 0.8]), ("b", [0.25, 0.25, 0.5])):
            found = np.load(tmp_path / f"{size}{name}.npy")
            for rank in range(3):
                content = found[rank].tobytes()
                assert content[: size * 4] == average.weighted_mean(vectors, weights).numpy().tobytes()
                assert content[size * 4 :] == vectors[(rank + 1) % 3].numpy().tobytes()


def test_another_number_of_ranks_is_one_line(tmp_path, mpirun, python_path):
    task = Task(tmp_path, config())
    task.initialise()
    done = mpirun(3, arguments(task), env=python_path)
    assert done.returncode != 0
    assert "parallel.workers: 2 workers, MPI has 3 ranks" in done.stderr and "Traceback" not in done.stderr
    alone = subprocess.run(
        [sys.executable, *map(str, arguments(task))], env=os.environ | python_path, capture_output=True, text=True
    )
    assert alone.returncode != 0 and "MPI has 1 ranks: the launcher may not fit" in alone.stderr


# Growing every eighth iteration: wherever the rank dies, workers of another network were there before or will be.
GROWING = TENANTS["growing"] | {"initialisation": {"kind": "layerwise", "period": 8}}


@pytest.mark.parametrize(
    "tenant", [{}, GROWING, TENANTS["lstm"] | {"schedule__epochs": 6}], ids=["", "growing", "lstm"]
)
def test_a_killed_rank_ends_the_job_and_the_same_command_goes_on(tmp_path, mpirun, python_path, tenant):
    changes = {"schedule__epochs": 25, "parallel__combine": "bmuf", "optimiser__kind": "ng_online"}
    settings = config(**changes | tenant)
    wanted = Task(tmp_path / "virtual", settings).virtual()
    task = Task(tmp_path / "sync", settings)
    task.initialise()
    with started(task, python_path, checkpoint_s=0) as job:
        wait_for(lambda: len(list(task.folder.glob("state/*/ckpt-*"))) == 2)
        os.kill(rank_pid(job, 1), signal.SIGKILL)
        died = time.monotonic()
        job.wait(timeout=30)
        assert time.monotonic() - died < 10 and job.returncode != 0
    assert not task.combined(task.last).exists()
    done = mpirun(2, arguments(task), env=python_path)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "going on from" in done.stderr and task.finish() == wanted


def test_sigterm_saves_and_the_same_command_goes_on(tmp_path, mpirun, python_path):
    settings = config(schedule__epochs=25, parallel__combine="ring")
    wanted = Task(tmp_path / "virtual", settings).virtual()
    task = Task(tmp_path / "sync", settings)
    task.initialise()
    stopped = mpirun(2, arguments(task, stop_after_s=0.5, checkpoint_s=0), env=python_path)
    assert stopped.returncode != 0 and "all is saved" in stopped.stderr
    done = mpirun(2, arguments(task), env=python_path)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "going on from" in done.stderr and task.finish() == wanted


def test_a_silent_rank_is_named(tmp_path, mpirun, python_path):
    task = Task(tmp_path / "sync", config(schedule__epochs=400, diagnostics={"frames": 0}))
    task.initialise()
    with started(task, python_path, checkpoint_s=0, hang_timeout_s=4) as job:
        wait_for(lambda: list(task.folder.glob("state/*/ckpt-*")))
        os.kill(rank_pid(job, 1), signal.SIGSTOP)
        # Until end of file would be too long under MPICH, whose launcher waits for the stopped rank: read the line.
        line = next((line for line in job.stderr if "gave no sign" in line), "")
    assert "rank 1 of 2 gave no sign for 4 s" in line
