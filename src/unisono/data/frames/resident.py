"""A whole store of frames on a device: windows are then only numbers of rows, and nothing is read or moved again.

For workers that come back to the same frames epoch after epoch (engines virtual and sync). 300 hours of 40-dimensional
frames in 16 bits are 9 GB.
"""

import numpy as np
import torch

from unisono.data.frames.order import Order
from unisono.data.frames.store import FramesStore
from unisono.data.frames.units import listed
from unisono.data.frames.window import Window, load_stretches, window_of
from unisono.units import TrainingUnit

_CHUNK = 1 << 20  # frames that are read at a time


def _rows(lengths: np.ndarray, unit: TrainingUnit) -> np.ndarray:
    """Return the rows that each utterance takes, with repeated edges: a whole unit at least."""
    return np.where(lengths > 0, np.maximum(lengths, unit.width) + unit.frames - unit.width, 0)


def bytes_needed(store: FramesStore, unit: TrainingUnit) -> int:
    """Return the memory that the store takes on the device: its frames, with repeated edges."""
    return int(_rows(store.lengths, unit).sum()) * store.dim * store.dtype.itemsize


class Resident:
    """Padded frames [R, D] of all utterances of a store, in its order; their ids, int32 [T], stay on the host."""

    def __init__(self, store: FramesStore, unit: TrainingUnit, device: torch.device) -> None:
        """Read the store in parts; the host holds one of them at a time."""
        self._unit, self._lengths, self._offsets = unit, store.lengths, store.offsets
        rows = _rows(store.lengths, unit)
        self._first = np.cumsum(rows) - rows
        dtype = torch.from_numpy(np.empty(0, store.dtype)).dtype
        self._rows = torch.empty(int(rows.sum()), store.dim, dtype=dtype, device=device)
        self._ids = store.read_ids(0, store.frames)
        first, lengths = 0, store.lengths
        while first < len(lengths):
            last = max(first + 1, int(np.searchsorted(self._offsets, self._offsets[first] + _CHUNK, side="right")) - 1)
            own = np.arange(first, last)[lengths[first:last] > 0]
            ends = np.maximum(lengths[own], unit.width)
            found, _, _ = load_stretches(store, own, np.zeros_like(ends), ends, unit)
            place = int(self._first[first])
            self._rows[place : place + len(found)].copy_(torch.from_numpy(found))
            first = last

    def window(self, order: Order, number: int) -> Window:
        """Return one window of an order: the same positions as `load_window` gives."""
        pieces, shuffle = order.pieces(number), order.shuffle(number)
        units = listed(pieces, self._lengths, self._unit)
        utterance = np.array([piece.utterance for piece in pieces], np.int64)[units.piece[shuffle]]
        begin, mask = units.begin[shuffle], units.mask[shuffle]
        own = (self._offsets[utterance] + begin)[:, None] + np.arange(self._unit.width)
        ids = np.where(mask, self._ids[np.minimum(own, len(self._ids) - 1)], 0)
        return window_of(self._rows, self._first[utterance] + begin, ids, mask, units.before[shuffle], self._unit)
