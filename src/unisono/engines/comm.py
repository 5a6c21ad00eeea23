"""What blocks and evaluation ask of the other ranks: buffers only, results that do not depend on the order of arrival.

Vectors travel by further methods of `mpi.Mpi`, which only an engine calls.
"""

from typing import Protocol

import numpy as np


class Comm(Protocol):
    """A group of ranks that call the same methods in the same order."""

    rank: int
    size: int

    def gather_records(self, record: np.ndarray) -> np.ndarray:
        """Return float64 [size, n] from each rank's record [n], on all ranks."""
        ...

    def broadcast_bytes(self, data: bytes, root: int) -> bytes:
        """Return the bytes of `root` on all ranks."""
        ...

    def barrier(self) -> None:
        """Wait until all ranks are here."""
        ...


class Alone:
    """One process that is the whole group."""

    rank = 0
    size = 1

    def gather_records(self, record: np.ndarray) -> np.ndarray:
        """Return the record as [1, n]."""
        return np.asarray(record, dtype=np.float64)[None]

    def broadcast_bytes(self, data: bytes, root: int) -> bytes:
        """Return the bytes."""
        return data

    def barrier(self) -> None:
        """Do not wait."""
