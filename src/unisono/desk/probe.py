"""What a node of a cluster sees of a folder; the doctor starts it on two nodes, and each prints a line of JSON."""

import fcntl
import json
import os
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path

from unisono import launch

WAIT_S = 8.0


def look(folder: Path, rank: int) -> dict[str, object]:
    """Return what is seen: the mark in the folder, and whether a lock that rank 0 holds is one for rank 1."""
    facts: dict[str, object] = {"node": launch.node(), "cpu": cpu(), "time": time.time()}
    facts["python"] = platform.python_version()
    facts["seen"] = (folder / "mark").exists()
    facts["locked"] = bool(facts["seen"]) and (_hold(folder) if rank == 0 else _try(folder))
    return facts


def _hold(folder: Path) -> bool:
    """Lock a file until the other has tried it."""
    with (folder / "lock").open("w") as opened:
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        (folder / "held").touch()
        return _wait(lambda: (folder / "tried").exists())


def _try(folder: Path) -> bool:
    """Try the lock that the other holds; it must be refused."""
    if not _wait(lambda: (folder / "held").exists()):
        return False
    with (folder / "lock").open("a") as opened:
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            return False
        finally:
            (folder / "tried").touch()
    return False


def _wait(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + WAIT_S
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def cpu() -> str:
    """Return the type of the CPU."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


if __name__ == "__main__":
    print(json.dumps(look(Path(sys.argv[1]), int(os.environ.get("SLURM_PROCID", "0")))), flush=True)
