"""Windows of a store, from which minibatches of training units are gathered with their context."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from unisono.data.frames.order import Order, Piece
from unisono.data.frames.store import FramesStore
from unisono.data.frames.units import enumerated, listed, stretches
from unisono.units import TrainingUnit


class Batch(Protocol):
    """What a minibatch of n units of W labelled frames is filled into: `nn.batch.Batch`."""

    @property
    def x(self) -> Tensor:
        """Float [n, ...], in order the frames that each unit is computed from."""
        ...

    @property
    def ids(self) -> Tensor:
        """Int64 [n, W]."""
        ...

    @property
    def mask(self) -> Tensor | None:
        """Float [n, W], 1 for labels that count; None where all do."""
        ...

    @property
    def before(self) -> Tensor | None:
        """Int64 [n], frames of x before the utterance; None where nobody asks."""
        ...


class Labels(NamedTuple):
    """Of each unit: ids int64 [n, W]; mask float32 [n, W] and before int64 [n], or None for single frames."""

    ids: Tensor
    mask: Tensor | None
    before: Tensor | None

    def of(self, begin: int, end: int) -> "Labels":
        """Return those of some units."""
        return Labels(*(None if part is None else part[begin:end] for part in self))  # type: ignore[arg-type]


class Window:
    """Units ready to be gathered: position k of the window begins at row `starts[k]` of `rows`.

    rows: [R, D], utterances with their edge frames. starts: int64 [n]. frames: of a unit, with its context. counts:
    labels of each unit that count, or None for single frames. Memory: the frames of the window once. A window moves to
    the device of the buffers that it fills.
    """

    def __init__(
        self, rows: Tensor, starts: Tensor, labels: Labels, frames: int, counts: np.ndarray | None = None
    ) -> None:
        self._rows, self._starts, self._labels, self._frames = rows, starts, labels, frames
        self._counts = counts
        self._units = self._view()
        self._taken: Tensor | None = None  # a minibatch before its conversion; kept, as new memory costs page faults

    def __len__(self) -> int:
        """Return the number of units."""
        return len(self._starts)

    def gather(self, begin: int, end: int, batch: Batch, place: int = 0) -> int:
        """Write positions begin to end into the units of `batch` from `place` on; return how many labels count."""
        if self._labels.ids.device != batch.ids.device:
            self._move_to(batch.ids.device)
        n = end - begin
        if self._taken is None or len(self._taken) < n:
            self._taken = self._units.new_empty(n, self._units.shape[1])
        found = torch.index_select(self._units, 0, self._starts[begin:end], out=self._taken[:n])
        batch.x[place : place + n].view(n, -1).copy_(found)
        batch.ids[place : place + n].copy_(self._labels.ids[begin:end])
        for whole, part in ((batch.mask, self._labels.mask), (batch.before, self._labels.before)):
            if whole is not None and part is not None:
                whole[place : place + n].copy_(part[begin:end])
        return n if self._counts is None else int(self._counts[begin:end].sum())

    def pinned(self) -> "Window":
        """Return the window in memory from which a GPU can fetch it by itself."""
        rows = self._rows if self._rows.is_cuda else self._rows.pin_memory()
        labels = Labels(*(None if part is None else part.pin_memory() for part in self._labels))  # type: ignore[arg-type]
        return Window(rows, self._starts.pin_memory(), labels, self._frames, self._counts)

    def _move_to(self, device: torch.device) -> None:
        self._rows, self._starts = (part.to(device, non_blocking=True) for part in (self._rows, self._starts))
        moved = (None if part is None else part.to(device, non_blocking=True) for part in self._labels)
        self._labels = Labels(*moved)  # type: ignore[arg-type]
        self._units, self._taken = self._view(), None

    def _view(self) -> Tensor:
        rows, dim = self._rows.shape
        return self._rows.as_strided((rows - self._frames + 1, self._frames * dim), (dim, 1))


def load_window(store: FramesStore, order: Order, window: int, unit: TrainingUnit) -> Window:
    """Load one window of an order."""
    return load_units(store, order.pieces(window), unit, order.shuffle(window))


def load_units(
    store: FramesStore, pieces: Sequence[Piece], unit: TrainingUnit, shuffle: np.ndarray | None = None
) -> Window:
    """Load the units of some pieces, in their order or in that of `shuffle`."""
    utterance, begin, end = stretches(pieces, store.lengths, unit)
    rows, ids, first = load_stretches(store, utterance, begin, end, unit)
    units = listed(pieces, store.lengths, unit)
    own = slice(None) if shuffle is None else shuffle
    starts = (first[units.piece] + units.begin - begin[units.piece])[own]
    mask = units.mask[own]
    found = np.where(mask, ids[starts[:, None] + unit.left + np.arange(unit.width)], 0)
    return window_of(torch.from_numpy(rows), starts, found, mask, units.before[own], unit)


def window_of(
    rows: Tensor, starts: np.ndarray, ids: np.ndarray, mask: np.ndarray, before: np.ndarray, unit: TrainingUnit
) -> Window:
    """Return a window of arrays; without mask and before where units are single frames."""
    labels, counts = Labels(torch.from_numpy(ids.astype(np.int64)), None, None), None
    if unit.width > 1:
        counts = mask.sum(axis=1)
        labels = labels._replace(mask=torch.from_numpy(mask.astype(np.float32)), before=torch.from_numpy(before))
    return Window(rows, torch.from_numpy(starts), labels, unit.frames, counts)


def load_stretches(
    store: FramesStore, utterance: np.ndarray, begin: np.ndarray, end: np.ndarray, unit: TrainingUnit
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Read frames begin to end of utterances with the context of a unit.

    Returns frames [R, D], their ids [R] (undefined outside the utterances), and the first row of each stretch, which is
    that of its frame begin - left. Beyond the ends of an utterance its edge frames are repeated.
    """
    length, offset = store.lengths[utterance], store.offsets[utterance]
    source_begin = np.maximum(begin - unit.left, 0)
    source_end = np.minimum(end + unit.right, length)
    rows = end - begin + unit.left + unit.right
    first = np.cumsum(rows) - rows
    read = first + source_begin - (begin - unit.left)  # row from which on it is what the file has
    rest = read + source_end - source_begin

    padded = np.empty((int(rows.sum()), store.dim), store.dtype)
    ids = np.empty(len(padded), np.int32)
    store.read_stretches(padded, ids, read, offset + source_begin, offset + source_end)
    _repeat(padded, np.minimum(read, len(padded) - 1), first, read)
    _repeat(padded, rest - 1, rest, first + rows)
    return padded, ids, first


def _repeat(rows: np.ndarray, source: np.ndarray, begin: np.ndarray, end: np.ndarray) -> None:
    """Write row source[k] over rows begin[k] to end[k]."""
    number, within = enumerated(end - begin)
    rows[begin[number] + within] = rows[source[number]]
