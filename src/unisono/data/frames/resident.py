"""A whole store of frames on a device: windows are then only numbers of rows, and nothing is read or moved again.

For workers that come back to the same frames epoch after epoch (engines virtual and sync). 300 hours of 40-dimensional
frames in 16 bits are 9 GB.
"""

import numpy as np
import torch

from unisono.data.frames.order import Order, Piece
from unisono.data.frames.store import FramesStore, Window, load_pieces

_CHUNK = 1 << 20  # frames that are read at a time


def bytes_needed(store: FramesStore, context: tuple[int, int]) -> int:
    """Return the memory that the store takes on the device: its frames, with repeated edges."""
    return (store.frames + sum(context) * len(store.lengths)) * store.dim * store.dtype.itemsize


class Resident:
    """Padded frames [R, D] of all utterances of a store, in its order; their ids, int32 [T], stay on the host."""

    def __init__(self, store: FramesStore, context: tuple[int, int], device: torch.device) -> None:
        """Read the store in parts; the host holds one of them at a time."""
        self._pad, self._offsets = sum(context), store.offsets
        padded = store.frames + self._pad * len(store.lengths)
        dtype = torch.from_numpy(np.empty(0, store.dtype)).dtype
        self._rows = torch.empty(padded, store.dim, dtype=dtype, device=device)
        self._ids = store.read_ids(0, store.frames)
        first, lengths = 0, store.lengths
        while first < len(lengths):
            last = max(first + 1, int(np.searchsorted(self._offsets, self._offsets[first] + _CHUNK, side="right")) - 1)
            pieces = [Piece(number, 0, int(lengths[number])) for number in range(first, last)]
            rows, _, _ = load_pieces(store, pieces, *context)
            place = int(self._offsets[first]) + self._pad * first
            self._rows[place : place + len(rows)].copy_(torch.from_numpy(rows))
            first = last

    def window(self, order: Order, number: int) -> Window:
        """Return one window of an order: the same positions as `load_window` gives."""
        pieces = order.pieces(number)
        frames = np.concatenate([self._offsets[p.utterance] + np.arange(p.begin, p.end) for p in pieces])
        edges = np.repeat([self._pad * p.utterance for p in pieces], [p.end - p.begin for p in pieces])
        shuffle = order.shuffle(number)
        starts = torch.from_numpy((frames + edges)[shuffle])
        ids = torch.from_numpy(self._ids[frames[shuffle]].astype(np.int64))
        return Window(self._rows, starts, ids, self._pad + 1)
