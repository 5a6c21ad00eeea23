"""Who is silent: each rank's step loop counts, a helper thread passes the count on, and a silent rank is named.

The threads talk on a communicator of their own, so they never meet the training's messages. Rank 0 watches the others
and rank 1 watches rank 0. A rank is silent if no message came, or its count stood still while it was stepping, for the
time allowed. Ranks that wait for others, combine or evaluate only need to be alive.
"""

import threading
import time
from collections.abc import Callable

import numpy as np
from mpi4py import MPI


class Heartbeat:
    """Watches all ranks from its construction until `close`."""

    def __init__(self, comm: MPI.Intracomm, timeout_s: float, report: Callable[[str], None]) -> None:
        """Start the helper thread. `report` is given the one line about a silent rank before the job is aborted."""
        self._comm, self._timeout_s, self._report = comm.Dup(), timeout_s, report
        self._interval_s = min(2.0, timeout_s / 5)
        self._steps, self._stepping = 0, False
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._work, name="heartbeat", daemon=True)
        if comm.size > 1:
            self._thread.start()

    def beat(self) -> None:
        """Count one step."""
        self._steps += 1
        self._stepping = True

    def rest(self) -> None:
        """Leave the step loop: from now on only being alive counts."""
        self._stepping = False

    def close(self) -> None:
        """Stop watching."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()

    def _work(self) -> None:
        rank, size = self._comm.rank, self._comm.size
        watched = range(1, size) if rank == 0 else range(1) if rank == 1 else range(0)
        now = time.monotonic()
        seen = {other: (-1, now) for other in watched}
        pending: list[tuple[MPI.Request, np.ndarray]] = []
        while not self._ended.wait(self._interval_s):
            message = np.array([self._steps, self._stepping], dtype=np.int64)
            pending = [item for item in pending if not item[0].Test()]
            if len(pending) < 100:  # a stopped watcher takes nothing: do not pile up
                pending.append((self._comm.Isend(message, 1 if rank == 0 else 0), message))
            status = MPI.Status()
            while self._comm.Iprobe(status=status):
                found = np.empty(2, np.int64)
                self._comm.Recv(found, source=status.Get_source())
                steps, stepping = found.tolist()
                if not stepping or steps != seen[status.Get_source()][0]:
                    seen[status.Get_source()] = (steps, time.monotonic())
            for other, (steps, moment) in seen.items():
                if time.monotonic() - moment > self._timeout_s:
                    self._end(other, steps)

    def _end(self, rank: int, steps: int) -> None:
        where = f"after {steps} steps" if steps > 0 else "before its first step"
        self._report(
            f"rank {rank} of {self._comm.size} gave no sign for {self._timeout_s:g} s ({where}): the job ends;"
            " look at that rank's machine, then run the same command again"
        )
        self._comm.Abort(3)
