"""The processes of a job: who is there to be killed, and how the rest is ended."""

import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path

_RANKS = (b"OMPI_COMM_WORLD_RANK=", b"PMI_RANK=")


def children(pid: int) -> list[int]:
    """Return all descendants of a process."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, ValueError):
            if int(path.read_text().rsplit(")", 1)[1].split()[1]) == pid:
                child = int(path.parent.name)
                found += [child, *children(child)]
    return found


def rank(pid: int) -> int | None:
    """Return which MPI rank a process is; None: none."""
    for variable in _read(pid, "environ"):
        if variable.startswith(_RANKS):
            return int(variable.split(b"=")[1])
    return None


def command(pid: int) -> str:
    """Return the command of Unisono that a process runs; empty: none."""
    words = _read(pid, "cmdline")
    return words[3].decode() if words[1:3] == [b"-m", b"unisono"] and len(words) > 3 else ""


def age_s(pid: int) -> float:
    """Return for how long a process has run, in seconds; 0 where it is gone."""
    with contextlib.suppress(OSError):
        ticks = int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[19])
        return time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    return 0.0


def kill(pids: list[int]) -> None:
    """Kill processes that may be gone."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def end(job: "subprocess.Popen[bytes]", within_s: float) -> None:
    """Give a job of which one was killed so many seconds to end, and end what is left of it."""
    everybody = children(job.pid)
    with contextlib.suppress(subprocess.TimeoutExpired):
        job.wait(timeout=within_s)
    kill([*everybody, *children(job.pid)])
    if job.poll() is None:
        job.kill()
    job.wait()


def _read(pid: int, name: str) -> list[bytes]:
    """Return the words of a file of /proc, none where the process is gone or another's."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/{name}").read_bytes().split(b"\0")
    return []
