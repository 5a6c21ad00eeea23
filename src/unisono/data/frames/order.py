"""The order in which an epoch's units are trained on: a shuffle that can be entered anywhere (docs/engines.md).

Utterances are grouped into blocks of neighbours in the store; the blocks are permuted and laid end to end, and the
units are shuffled inside windows of a fixed number of positions. All of it is a pure function of
(seed, epoch, owner), so any slice of the order is made without the ones before it, touching only its own windows.
Random numbers: numpy's PCG64 under SeedSequence, with spawn keys that name their purpose.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

_BLOCKS, _WINDOW = 1, 2  # purposes in the spawn key
BLOCKS_PER_WINDOW = 64  # a block holds at least window/64 units: reads stay long, windows stay mixed


class Piece(NamedTuple):
    """Units begin to end of one utterance that lie in a window, in order."""

    utterance: int
    begin: int
    end: int


class Order:
    """One epoch's order over the utterances of one owner.

    lengths: units of each utterance of the store. utterances: indices of those that belong to the owner, ascending.
    window: positions of one window. key: (seed, epoch) for `rotating`, (seed, epoch, worker, workers) for `fixed`.
    """

    def __init__(
        self, lengths: np.ndarray, utterances: Sequence[int] | np.ndarray, window: int, key: tuple[int, ...]
    ) -> None:
        if window < 1:
            raise ValueError(f"a window needs at least one position, not {window}")
        self.window, self._key = window, key
        blocks = _blocks(lengths, np.asarray(utterances, dtype=np.int64), max(1, window // BLOCKS_PER_WINDOW))
        shuffled = self._generator(_BLOCKS).permutation(len(blocks))
        self._utterances = np.concatenate([blocks[i] for i in shuffled]) if len(blocks) else np.zeros(0, np.int64)
        self._ends = np.cumsum(lengths[self._utterances])

    def __len__(self) -> int:
        """Return the number of positions (units)."""
        return int(self._ends[-1]) if len(self._ends) else 0

    def windows(self, begin: int, end: int) -> range:
        """Return the numbers of the windows that positions begin to end touch."""
        return range(begin // self.window, -(-end // self.window))

    def span(self, window: int) -> tuple[int, int]:
        """Return the positions [begin, end) of a window."""
        begin = window * self.window
        return begin, min(begin + self.window, len(self))

    def pieces(self, window: int) -> list[Piece]:
        """Return what lies in a window before it is shuffled, empty utterances left out."""
        begin, end = self.span(window)
        first, last = np.searchsorted(self._ends, [begin, end - 1], side="right")
        found = []
        start = int(self._ends[first - 1]) if first else 0
        for index in range(int(first), int(last) + 1):
            stop = int(self._ends[index])
            if stop > start:
                found.append(Piece(int(self._utterances[index]), max(begin, start) - start, min(end, stop) - start))
            start = stop
        return found

    def shuffle(self, window: int) -> np.ndarray:
        """Return int64 [n]: position k of the window holds the unit that stood at shuffle[k] before."""
        begin, end = self.span(window)
        return self._generator(_WINDOW, window).permutation(end - begin)

    def _generator(self, *purpose: int) -> np.random.Generator:
        return np.random.Generator(np.random.PCG64(np.random.SeedSequence(self._key, spawn_key=purpose)))


def _blocks(lengths: np.ndarray, utterances: np.ndarray, least: int) -> list[np.ndarray]:
    """Cut the list of utterances into runs of at least `least` units (the last may be shorter)."""
    blocks, begin, units = [], 0, 0
    for index, length in enumerate(lengths[utterances].tolist()):
        units += length
        if units >= least:
            blocks.append(utterances[begin : index + 1])
            begin, units = index + 1, 0
    if begin < len(utterances):
        blocks.append(utterances[begin:])
    return blocks
