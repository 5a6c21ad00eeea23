"""Jobs of MPI ranks in the background, and the processes below them."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from unisono import launch
from unisono.desk.victims import children
from unisono.desk.victims import rank as rank_of

MPIRUN = Path(sys.executable).parent / "mpirun"


def arguments(task, engine="sync", **flags):
    folder = task.folder
    found = [
        "-m", "mpi4py", "-m", "unisono", "train", "--engine", engine, "--config", folder / "config.json", "--plan",
        folder / "plan.json", "--frames-train", folder / "train.h5", "--frames-dev", folder / "dev.h5", "--first", 0,
        "--last", task.last, "--iterations-dir", task.iterations, "--state-dir", folder / "state",
    ]  # fmt: skip
    for name, value in flags.items():
        found += [f"--{name.replace('_', '-')}", value]
    return found


def rank_pid(job, rank):
    (pid,) = [p for p in children(job.pid) if rank_of(p) == rank]
    return pid


def wait_for(condition, seconds=90):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@contextlib.contextmanager
def background(words, env, **streams):
    """A job; whatever is left of it at the end is killed."""
    job = subprocess.Popen([str(word) for word in words], env=env, stderr=subprocess.PIPE, text=True, **streams)
    try:
        yield job
    finally:
        for pid in [*children(job.pid), job.pid]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        job.wait()


def started(task, env, ranks=2, engine="sync", **flags):
    """A training by ranks, straight from mpirun."""
    words = [MPIRUN, "-n", ranks, sys.executable, *arguments(task, engine, **flags)]
    return background(words, launch.environment(os.environ) | env, stdout=subprocess.DEVNULL)


def launched(root, command):
    """Two ranks of a command, from the launcher."""
    words = [sys.executable, "-m", "unisono.launch", MPIRUN, 2, sys.executable, *command]
    return background(words, os.environ | {"PYTHONPATH": f"{root}/src"})
