"""Messages between a server (rank 0) and its workers: small records, then vectors in pieces of 4 MB.

Nobody waits inside MPI: both Open MPI and MPICH spin there, and take the core that another rank needs. A request is
posted, tested, and between tests the process naps. mpi4py is imported where it is used: training needs none.
"""

import time
from enum import IntEnum
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from mpi4py import MPI

PIECE = 1 << 20  # float32 numbers, 4 MB
WIDTH = 40  # numbers of a record
_HEAD, _ANSWER, _DATA = 1, 2, 3
_QUICK, _SHORTEST_S, _LONGEST_S = 20, 2e-5, 1e-3
_PATIENT, _PATIENT_S = 250, 4e-3  # after a quarter of a second, naps of at most a fiftieth of what was waited


class Tell(IntEnum):
    """What a worker tells the server; then it waits for an answer."""

    JOIN = 1  # the name of its device follows
    READY = 2
    PUSH = 3  # its record
    LOOKED = 4  # what it found about a model
    SAVED = 5


class Say(IntEnum):
    """What the server answers."""

    DEAL = 1  # iteration, slice, start, rate, whether the model follows, whether the optimiser starts afresh
    ADOPT = 2  # hand over the model
    ADD = 3  # hand over what was learned
    EXCHANGE = 4  # hand over the model, and get it back changed, piece by piece
    REFUSE = 5
    LOOK = 6  # iteration, whether at the whole of dev; a model follows
    SAVE = 7  # iteration, length of the path of a folder, which follows
    RESTORE = 8  # the same
    END = 9  # whether the run was interrupted


def pieces(size: int) -> list[slice]:
    """Return the parts in which a vector travels."""
    return [slice(begin, min(begin + PIECE, size)) for begin in range(0, size, PIECE)]


def nap(turn: int) -> None:
    """Let others have the core: a few quick looks, naps that double up to a millisecond, after a while longer ones."""
    if turn >= _PATIENT:
        time.sleep(_PATIENT_S)
        return
    time.sleep(0.0 if turn < _QUICK else min(_LONGEST_S, _SHORTEST_S * 2 ** min(turn - _QUICK, 10)))


def wait(requests: "list[MPI.Request]") -> None:
    """Wait until all requests are done."""
    from mpi4py import MPI

    turn = 0
    while not MPI.Request.Testall(requests):
        nap(turn)
        turn += 1


class Link:
    """One rank's end. Worker n is rank n + 1."""

    def __init__(self, comm: "MPI.Intracomm") -> None:
        self._comm, self.rank, self.workers = comm, comm.rank, comm.size - 1
        self._heads = np.zeros((self.workers, WIDTH)) if self.rank == 0 else np.zeros((0, WIDTH))
        self._posted = [comm.Irecv(head, worker + 1, _HEAD) for worker, head in enumerate(self._heads)]

    def arrived(self) -> list[tuple[int, Tell, np.ndarray]]:
        """Return who has told what since the last call: worker, what, numbers. Of the server; does not wait."""
        from mpi4py import MPI

        found = []
        for worker in sorted(MPI.Request.Testsome(self._posted) or []):
            head = self._heads[worker].copy()
            self._posted[worker] = self._comm.Irecv(self._heads[worker], worker + 1, _HEAD)
            found.append((worker, Tell(int(head[0])), head[1:]))
        return found

    def answer(self, worker: int, say: Say, *numbers: float) -> None:
        """Answer a worker."""
        wait([self._comm.Isend(_record(say, numbers), worker + 1, _ANSWER)])

    def ask(self, tell: Tell, *numbers: float) -> tuple[Say, np.ndarray]:
        """Tell the server something and return its answer. Of a worker."""
        answer = np.empty(WIDTH)
        requests = [self._comm.Irecv(answer, 0, _ANSWER), self._comm.Isend(_record(tell, numbers), 0, _HEAD)]
        wait(requests)
        return Say(int(answer[0])), answer[1:]

    def tell(self, tell: Tell, *numbers: float) -> None:
        """Tell the server something to which data follow; the answer comes after these (`answered`). Of a worker."""
        wait([self._comm.Isend(_record(tell, numbers), 0, _HEAD)])

    def answered(self) -> tuple[Say, np.ndarray]:
        """Return the server's answer. Of a worker."""
        answer = np.empty(WIDTH)
        wait([self._comm.Irecv(answer, 0, _ANSWER)])
        return Say(int(answer[0])), answer[1:]

    def send(self, data: np.ndarray, worker: int | None = None) -> None:
        """Send numbers to a worker, or to the server."""
        to = 0 if worker is None else worker + 1
        wait([self._comm.Isend(data[part], to, _DATA) for part in pieces(len(data))])

    def receive(self, out: np.ndarray, worker: int | None = None) -> np.ndarray:
        """Overwrite `out` by what a worker, or the server, sends."""
        source = 0 if worker is None else worker + 1
        wait([self._comm.Irecv(out[part], source, _DATA) for part in pieces(len(out))])
        return out

    def close(self) -> None:
        """Expect nothing any more."""
        for request in self._posted:
            request.Cancel()
        wait(self._posted)


def _record(kind: int, numbers: tuple[float, ...]) -> np.ndarray:
    record = np.zeros(WIDTH)
    record[: 1 + len(numbers)] = kind, *numbers
    return record
