"""Where the training units of utterances lie (`unisono.units`), for many of them at once."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from unisono.data.frames.order import Piece
from unisono.units import TrainingUnit


class Listed(NamedTuple):
    """The n units of some pieces, in their order.

    piece: which piece each is of. begin: its first labelled frame, which is the first of the utterance or later. mask:
    bool [n, width], the labelled frames that count. before: frames that a unit reads before its utterance begins.
    """

    piece: np.ndarray
    begin: np.ndarray
    mask: np.ndarray
    before: np.ndarray


def stretches(pieces: Sequence[Piece], lengths: np.ndarray, unit: TrainingUnit) -> tuple[np.ndarray, ...]:
    """Return for each piece, in units, its utterance and the labelled frames [begin, end) that it spans.

    lengths: of all utterances. Only where an utterance is shorter than a unit does `end` lie beyond it.
    """
    utterance, first, end = np.array(pieces, np.int64).reshape(-1, 3).T
    latest = np.maximum(lengths[utterance] - unit.width, 0)
    begin = np.minimum(first * unit.width, latest)
    return utterance, begin, np.minimum((end - 1) * unit.width, latest) + unit.width


def listed(pieces: Sequence[Piece], lengths: np.ndarray, unit: TrainingUnit) -> Listed:
    """Return the units of pieces, in units; lengths: of all utterances."""
    utterance, first, end = np.array(pieces, np.int64).reshape(-1, 3).T
    piece, within = enumerated(end - first)
    own, length = (first[piece] + within) * unit.width, lengths[utterance[piece]]
    begin = np.minimum(own, np.maximum(length - unit.width, 0))
    frames = begin[:, None] + np.arange(unit.width)
    mask = (frames >= own[:, None]) & (frames < length[:, None])
    return Listed(piece, begin, mask, np.maximum(unit.left - begin, 0))


def enumerated(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return for counts [c0, c1, ...] the group of each element and its place in the group."""
    group = np.repeat(np.arange(len(counts)), counts)
    return group, np.arange(len(group)) - (np.cumsum(counts) - counts)[group]
