"""Cepstral mean and variance normalisation: statistics per speaker or of all speakers, and their application.

The statistics lie in a Sequences file of kind `cmvn` with one "utterance" per speaker (or the one named `global`):
/frames float64 [2, D + 1] is Kaldi's layout, row 0 = sums and count, row 1 = sums of squares and 0.
"""

import os
from collections.abc import Iterable
from typing import Literal

import numpy as np

from unisono.data.sequences import Sequences, write_sequences
from unisono.errors import UserError

GLOBAL = "global"
KIND = "cmvn"


def statistics(
    features: Iterable[tuple[str, np.ndarray]], by: Literal["speaker", "global", "none"]
) -> dict[str, np.ndarray]:
    """Sum up statistics of (speaker, features [t, D]) in the order given.

    Returns {speaker or "global": float64 [2, D + 1]}; empty for `none`.
    """
    sums: dict[str, np.ndarray] = {}
    if by == "none":
        return sums
    for speaker, array in features:
        key = speaker if by == "speaker" else GLOBAL
        wide = array.astype(np.float64)
        if key not in sums:
            sums[key] = np.zeros((2, wide.shape[1] + 1))
        sums[key][0, :-1] += wide.sum(axis=0)
        sums[key][0, -1] += len(wide)
        sums[key][1, :-1] += (wide * wide).sum(axis=0)
    return sums


def write_statistics(path: str | os.PathLike[str], stats: dict[str, np.ndarray], dim: int) -> None:
    """Write statistics of `dim` base features atomically."""
    write_sequences(path, ((key, {"frames": stats[key]}) for key in sorted(stats)), kind=KIND, attrs={"dim": dim})


def read_statistics(path: str | os.PathLike[str], dim: int) -> dict[str, np.ndarray]:
    """Read what `write_statistics` wrote for `dim` base features. Raises UserError for a file that does not fit."""
    with Sequences(path, kind=KIND) as store:
        stats = {speaker: store.get(speaker) for speaker in store.utts}
    for speaker, array in stats.items():
        if array.shape != (2, dim + 1) or not np.isfinite(array).all():
            raise UserError(f"{path}: speaker {speaker}: damaged statistics: delete it and run the features stage anew")
    return stats


def offset_and_scale(stats: np.ndarray, variance: bool) -> tuple[np.ndarray, np.ndarray]:
    """Turn statistics float64 [2, D + 1] into (mean [D], scale [D]), float64: normalised = (x - mean) * scale.

    A dimension that never varies (variance at the level of rounding) keeps scale 1, so it becomes 0 and not noise.
    """
    count = max(stats[0, -1], 1.0)
    mean = stats[0, :-1] / count
    scale = np.ones_like(mean)
    if variance:
        spread = stats[1, :-1] / count - mean * mean
        varies = spread > 1e-12 * mean * mean + 1e-20
        scale[varies] = 1.0 / np.sqrt(spread[varies])
    return mean, scale


def apply(features: np.ndarray, mean: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Normalise float [t, D] by what `offset_and_scale` returned for its speaker; returns float32 [t, D]."""
    return ((features - mean) * scale).astype(np.float32)
