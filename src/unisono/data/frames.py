"""Training frames: the store, and windows of it that minibatches of spliced frames are gathered from.

The store is a Sequences file of kind `frames`: /frames float16 or float32 [T, D], unspliced, after CMVN and deltas;
/ids int32 [T], pdf_id; /pdf_counts int64 [num_pdfs]; attributes num_pdfs, dim, frame_shift_s and `digest` (SHA-256 of
what training sees). It knows no network's context: splicing repeats the edge frames of an utterance on loading.
Files are read with plain reads, not through a map, so resident memory is bounded by the windows that are held.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np
import torch
from torch import Tensor

from unisono.data.order import Order, Piece
from unisono.data.store import FRAMES, Sequences
from unisono.errors import UserError

KIND = "frames"


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
        self._read_into(rows, self._places[0] + begin * rows.itemsize * self.dim)
        return rows

    def read_ids(self, begin: int, end: int) -> np.ndarray:
        """Return pdf_ids int32 [end - begin]."""
        ids = np.empty(end - begin, np.int32)
        self._read_into(ids, self._places[1] + begin * 4)
        return ids

    def _read_into(self, array: np.ndarray, place: int) -> None:
        view = memoryview(array.reshape(-1).view(np.uint8))  # type: ignore[arg-type]
        while len(view):
            count = os.preadv(self._file, [view], place)
            if count <= 0:
                raise UserError(f"{self.path}: shorter than it was when it was opened: run the frames stage anew")
            view, place = view[count:], place + count


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
    utterance = np.array([p.utterance for p in pieces], np.int64)
    begin = np.array([p.begin for p in pieces], np.int64)
    end = np.array([p.end for p in pieces], np.int64)
    length, offset = store.lengths[utterance], store.offsets[utterance]
    source_begin = np.maximum(begin - left, 0)
    source_end = np.minimum(end + right, length)
    raw, raw_ids = _read_runs(store, offset + source_begin, offset + source_end)
    raw_start = np.cumsum(source_end - source_begin) - (source_end - source_begin)

    units, pad = end - begin, left + right
    number, within = _enumerate(units + pad)
    frame = np.clip(begin[number] - left + within, 0, length[number] - 1)
    padded = raw[raw_start[number] + frame - source_begin[number]]
    unit_number, unit_within = _enumerate(units)
    starts = np.arange(len(unit_number)) + pad * unit_number
    ids = raw_ids[raw_start[unit_number] + begin[unit_number] + unit_within - source_begin[unit_number]]
    return padded, starts, ids


def _enumerate(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return for counts [c0, c1, ...] the group of each element and its place in the group."""
    group = np.repeat(np.arange(len(counts)), counts)
    return group, np.arange(len(group)) - (np.cumsum(counts) - counts)[group]


def _read_runs(store: FramesStore, begins: np.ndarray, ends: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Read row ranges end to end; neighbours in the file are read at once."""
    rows, ids, index = [], [], 0
    while index < len(begins):
        last = index
        while last + 1 < len(begins) and begins[last + 1] == ends[last]:
            last += 1
        rows.append(store.read(int(begins[index]), int(ends[last])))
        ids.append(store.read_ids(int(begins[index]), int(ends[last])))
        index = last + 1
    return np.concatenate(rows), np.concatenate(ids)


def load_window(store: FramesStore, order: Order, window: int, context: tuple[int, int]) -> Window:
    """Load one window of an order."""
    return _window(store, order.pieces(window), order.shuffle(window), context)
