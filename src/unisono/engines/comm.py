"""All that an engine may ask of the other ranks: buffers only, results that do not depend on the order of arrival."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from torch import Tensor


class Comm(Protocol):
    """A group of ranks that call the same methods in the same order."""

    rank: int
    size: int

    def mean(self, vector: Tensor, weights: Sequence[float]) -> Tensor:
        """Return sum_r weights[r] vector_r [P] on all ranks: float64, in rank order, rounded once."""
        ...

    def broadcast_(self, vector: Tensor, root: int) -> Tensor:
        """Overwrite `vector` [P] by that of `root` and return it."""
        ...

    def exchange(self, vector: Tensor, source: int | None, target: int | None) -> Tensor | None:
        """Send one's vector [P] to `target` and return that of `source` (None: nothing is sent or received)."""
        ...

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

    def mean(self, vector: Tensor, weights: Sequence[float]) -> Tensor:
        """Return a copy: the weight of a lone rank is 1."""
        return vector.clone()

    def broadcast_(self, vector: Tensor, root: int) -> Tensor:
        """Return the vector."""
        return vector

    def exchange(self, vector: Tensor, source: int | None, target: int | None) -> Tensor | None:
        """Return None: there is nobody."""
        return None

    def gather_records(self, record: np.ndarray) -> np.ndarray:
        """Return the record as [1, n]."""
        return np.asarray(record, dtype=np.float64)[None]

    def broadcast_bytes(self, data: bytes, root: int) -> bytes:
        """Return the bytes."""
        return data

    def barrier(self) -> None:
        """Do not wait."""
