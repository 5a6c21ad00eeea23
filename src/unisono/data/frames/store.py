"""Training frames: the store.

The store is a Sequences file of kind `frames`: /frames float16 or float32 [T, D], unspliced, after CMVN and deltas;
/ids int32 [T], pdf_id; /pdf_counts int64 [num_pdfs]; attributes num_pdfs, dim, frame_shift_s and `digest` (SHA-256 of
what training sees). It knows no network's context. Files
are read with plain reads, not through a map, so resident memory is bounded by what is held.
"""

import itertools
import os
from collections import deque
from pathlib import Path
from typing import Self

import numpy as np

from unisono.data.sequences import FRAMES, Sequences
from unisono.errors import UserError

KIND = "frames"

_MOST_PARTS = 1024  # that one read may fill; the least that Linux takes (IOV_MAX)


class FramesStore:
    """A frames store opened for training. `lengths` int64 [U]: frames of each utterance; `frames` is their sum T."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Open `path`. Raises UserError where it is not a frames store or its numbers do not fit together."""
        self.path = Path(path)
        with Sequences(path, kind=KIND) as store:
            self.lengths = np.diff(store.offsets)
            self.offsets = store.offsets
            rows, ids = store.memmap(FRAMES), store.memmap("ids")
            self.dim, self.dtype = rows.shape[1], rows.dtype
            self.frames = store.rows
            self.num_pdfs = int(store.attrs.get("num_pdfs", 0))
            self.digest = str(store.attrs.get("digest", ""))
            self.pdf_counts = store.extra.get("pdf_counts", np.zeros(self.num_pdfs, np.int64))
            self._places = [int(getattr(array, "offset", 0)) for array in (rows, ids)]
            if self.dtype not in (np.float16, np.float32):
                raise UserError(f"{path}: frames are {self.dtype}, not float16 or float32: run the frames stage anew")
        if len(self.pdf_counts) != self.num_pdfs or self.num_pdfs < 1 or not self.digest:
            raise UserError(f"{path}: num_pdfs, pdf_counts and digest do not fit: run the frames stage anew")
        self._file = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)

    def __enter__(self) -> Self:
        """Return the store itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        self.close()

    def close(self) -> None:
        """Close the file; nothing can be read any more."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def read(self, begin: int, end: int) -> np.ndarray:
        """Return frames begin to end, [end - begin, D], in the store's type."""
        rows = np.empty((end - begin, self.dim), self.dtype)
        self._fill([_bytes(rows)], self._places[0] + begin * rows.itemsize * self.dim)
        return rows

    def read_ids(self, begin: int, end: int) -> np.ndarray:
        """Return pdf_ids int32 [end - begin]."""
        ids = np.empty(end - begin, np.int32)
        self._fill([_bytes(ids)], self._places[1] + begin * ids.itemsize)
        return ids

    def read_stretches(
        self, rows: np.ndarray, ids: np.ndarray, places: np.ndarray, begins: np.ndarray, ends: np.ndarray
    ) -> None:
        """Read frames begins[k] to ends[k] and their ids into `rows` [R, D] and `ids` [R] from row places[k] on.

        What is next to each other in the file is read at once. rows, ids: contiguous, of the store's types. places,
        begins, ends: int64. Raises UserError where the file has become shorter.
        """
        bounds = [0, *(np.flatnonzero(begins[1:] != ends[:-1]) + 1).tolist(), len(begins)]
        for array, origin in zip((rows, ids), self._places, strict=True):
            view, size = _bytes(array), array.strides[0]
            first, last = (places * size).tolist(), ((places + ends - begins) * size).tolist()
            parts = [view[a:b] for a, b in zip(first, last, strict=True)]
            for a, b in zip(bounds, bounds[1:], strict=False):
                if a < b:
                    self._fill(parts[a:b], origin + int(begins[a]) * size)

    def _fill(self, parts: list[memoryview], place: int) -> None:
        """Fill `parts` one after the other with what the file has from `place` on."""
        waiting = deque(part for part in parts if len(part))
        while waiting:
            count = os.preadv(self._file, list(itertools.islice(waiting, _MOST_PARTS)), place)
            if count <= 0:
                raise UserError(f"{self.path}: shorter than it was when it was opened: run the frames stage anew")
            place += count
            while waiting and count >= len(waiting[0]):
                count -= len(waiting.popleft())
            if count:
                waiting[0] = waiting[0][count:]


def _bytes(array: np.ndarray) -> memoryview:
    return memoryview(array.reshape(-1).view(np.uint8))  # type: ignore[arg-type]
