"""Training frames: the store, and windows of it that minibatches of spliced frames are gathered from.

The store is a Sequences file of kind `frames`: /frames float16 or float32 [T, D], unspliced, after CMVN and deltas;
/ids int32 [T], pdf_id; /pdf_counts int64 [num_pdfs]; attributes num_pdfs, dim, frame_shift_s and `digest` (SHA-256 of
what training sees). It knows no network's context: splicing repeats the edge frames of an utterance on loading.
Files are read with plain reads, not through a map, so resident memory is bounded by the windows that are held.
"""

import itertools
import os
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np
import torch
from torch import Tensor

from unisono.data.frames.order import Order, Piece
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


class Window:
    """Spliced frames ready to be gathered: position k of the window begins at row `starts[k]` of `rows`.

    rows: [R, D], utterances with `left` + `right` edge frames each. starts, ids: int64, one for each position. width:
    left + 1 + right. Memory: the frames of the window once. A window moves to the device of the buffers that it fills.
    """

    def __init__(self, rows: Tensor, starts: Tensor, ids: Tensor, width: int) -> None:
        self._rows, self._starts, self._ids, self._width = rows, starts, ids, width
        self._spliced = self._view()
        self._taken: Tensor | None = None  # a minibatch before its conversion; kept, as new memory costs page faults

    def gather(self, begin: int, end: int, x: Tensor, ids: Tensor) -> None:
        """Write positions begin to end: x float32 [end - begin, D (left + 1 + right)], ids int64 [end - begin]."""
        if self._ids.device != ids.device:
            moved = [part.to(ids.device, non_blocking=True) for part in (self._rows, self._starts, self._ids)]
            self._rows, self._starts, self._ids = moved
            self._spliced, self._taken = self._view(), None
        if self._taken is None or len(self._taken) < end - begin:
            self._taken = self._spliced.new_empty(end - begin, self._spliced.shape[1])
        x.copy_(torch.index_select(self._spliced, 0, self._starts[begin:end], out=self._taken[: end - begin]))
        ids.copy_(self._ids[begin:end])

    def pinned(self) -> "Window":
        """Return the window in memory from which a GPU can fetch it by itself."""
        rows = self._rows if self._rows.is_cuda else self._rows.pin_memory()
        return Window(rows, self._starts.pin_memory(), self._ids.pin_memory(), self._width)

    def _view(self) -> Tensor:
        rows, dim = self._rows.shape
        return self._rows.as_strided((rows - self._width + 1, self._width * dim), (dim, 1))


def spliced(store: FramesStore, pieces: Sequence[Piece], context: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Return all frames of the pieces in their order: x [n, D (left + 1 + right)] in the store's type, ids int64 [n].

    x is an ordinary tensor, so it holds each frame left + 1 + right times: for small pieces only.
    """
    count = sum(piece.end - piece.begin for piece in pieces)
    window = _window(store, pieces, np.arange(count), context)
    x = torch.empty((count, window._spliced.shape[1]), dtype=window._spliced.dtype)
    ids = torch.empty(count, dtype=torch.int64)
    window.gather(0, count, x, ids)
    return x, ids


def _window(store: FramesStore, pieces: Sequence[Piece], shuffle: np.ndarray, context: tuple[int, int]) -> Window:
    left, right = context
    padded, starts, ids = load_pieces(store, pieces, left, right)
    shuffled = torch.from_numpy(starts[shuffle]), torch.from_numpy(ids[shuffle].astype(np.int64))
    return Window(torch.from_numpy(padded), *shuffled, left + 1 + right)


def load_pieces(
    store: FramesStore, pieces: Sequence[Piece], left: int, right: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Read pieces with their context. Returns padded frames [R, D], the row where each unit's splice starts, its ids.

    Frame t of an utterance stands at the middle of rows t - left .. t + right, clipped to the utterance: edges repeat.
    """
    utterance, begin, end = np.array(pieces, np.int64).reshape(-1, 3).T
    length, offset = store.lengths[utterance], store.offsets[utterance]
    source_begin = np.maximum(begin - left, 0)
    source_end = np.minimum(end + right, length)
    units, pad = end - begin, left + right
    first = np.cumsum(units + pad) - (units + pad)  # row of each piece
    read = first + source_begin - (begin - left)  # row from which on it is what the file has
    rest = read + source_end - source_begin

    padded = np.empty((int((units + pad).sum()), store.dim), store.dtype)
    ids = np.empty(len(padded), np.int32)
    store.read_stretches(padded, ids, read, offset + source_begin, offset + source_end)
    _repeat(padded, np.minimum(read, len(padded) - 1), first, read)
    _repeat(padded, rest - 1, rest, first + units + pad)

    number, within = _enumerate(units)
    starts = first[number] + within
    return padded, starts, ids[starts + left]


def _repeat(rows: np.ndarray, source: np.ndarray, begin: np.ndarray, end: np.ndarray) -> None:
    """Write row source[k] over rows begin[k] to end[k]."""
    number, within = _enumerate(end - begin)
    rows[begin[number] + within] = rows[source[number]]


def _enumerate(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return for counts [c0, c1, ...] the group of each element and its place in the group."""
    group = np.repeat(np.arange(len(counts)), counts)
    return group, np.arange(len(group)) - (np.cumsum(counts) - counts)[group]


def load_window(store: FramesStore, order: Order, window: int, context: tuple[int, int]) -> Window:
    """Load one window of an order."""
    return _window(store, order.pieces(window), order.shuffle(window), context)
