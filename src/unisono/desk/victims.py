"""The processes of a job of ranks: who is there to be killed, and how the rest is ended."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

_RANKS = (b"OMPI_COMM_WORLD_RANK=", b"PMI_RANK=")


def victims(pid: int) -> list[tuple[str, int]]:
    """Return the processes of a job that may be killed: its ranks, and the launcher; or the only one."""
    found = [("launcher" if children(pid) else "process", pid)]
    for child in children(pid):
        rank = _rank(child)
        if rank is not None:
            found.append((f"rank {rank}", child))
    return found


def children(pid: int) -> list[int]:
    """Return all descendants of a process."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, ValueError):
            if int(path.read_text().rsplit(")", 1)[1].split()[1]) == pid:
                child = int(path.parent.name)
                found += [child, *children(child)]
    return found


def _rank(pid: int) -> int | None:
    with contextlib.suppress(OSError):
        for variable in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
            if variable.startswith(_RANKS):
                return int(variable.split(b"=")[1])
    return None


def end(job: "subprocess.Popen[bytes]", everybody: Sequence[int] = ()) -> None:
    """Give a job that was struck ten seconds to end, and end what is left of it."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        job.wait(timeout=10 if everybody else 0)
    if job.poll() is None:
        everybody = [*everybody, *children(job.pid), job.pid]
    for pid in everybody:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    job.wait()
