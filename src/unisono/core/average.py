"""Means of parameter vectors, and which workers may take part.

Sums run in worker order in float64, chunk by chunk, and are rounded to the vectors' dtype once; so every engine that
adds in this order gets the same bits, and one worker with weight 1 gets its own vector back.
"""

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

CHUNK = 1 << 20  # numbers; 8 MB of float64
TESTED_MINIBATCHES = 10  # a slice shorter than this has too noisy an objective to be judged by


def weights_of(
    frames: Sequence[int], kind: Literal["frames", "equal"], accepted: Sequence[bool] | None = None
) -> list[float]:
    """Return each worker's weight; they sum to 1 over the accepted workers, the others have 0.

    frames: frames that each worker trained on. kind: in proportion to them, or all the same. A worker without frames
    has weight 0. Where no weight is left, all are 0.
    """
    taken = accepted if accepted is not None else [True] * len(frames)
    shares = [
        (count if kind == "frames" else int(count > 0)) if good else 0
        for count, good in zip(frames, taken, strict=True)
    ]
    total = sum(shares)
    return [share / total if total else 0.0 for share in shares]


def accept(
    objectives: Sequence[float], finite: Sequence[bool], minibatches: Sequence[int], reject_below: float
) -> list[bool]:
    """Say which workers take part in a combination (design: docs/mathematics.md 2.4 with a test for finite numbers).

    objectives: mean log-probability per frame over each worker's slice. finite: whether all of its parameters are.
    A worker is left out if either is not finite, or if its slice had at least 10 minibatches and its objective is
    more than `reject_below` (nats) under the best of the finite ones; slices shorter than that are no best either.
    """
    sound = [good and math.isfinite(value) for value, good in zip(objectives, finite, strict=True)]
    judged = [good and count >= TESTED_MINIBATCHES for good, count in zip(sound, minibatches, strict=True)]
    best = max((value for value, good in zip(objectives, judged, strict=True) if good), default=-math.inf)
    return [
        good and not (test and value < best - reject_below)
        for value, good, test in zip(objectives, sound, judged, strict=True)
    ]


class RunningMean:
    """A weighted sum that takes one vector at a time, in worker order: memory of one float64 vector."""

    def __init__(self, size: int) -> None:
        self._sum = torch.zeros(size, dtype=torch.float64)

    def add(self, vector: Tensor, weight: float) -> None:
        """Add weight * vector [P]. A weight of 0 leaves the vector out, whatever it holds."""
        if weight == 0.0:
            return
        for begin in range(0, len(self._sum), CHUNK):
            part = slice(begin, begin + CHUNK)
            # Two roundings (product, sum), as with vectors that arrive by another way: no fused multiply-add.
            self._sum[part] += vector[part].double() * weight

    def result(self, dtype: torch.dtype = torch.float32) -> Tensor:
        """Return the sum, rounded once."""
        return self._sum.to(dtype)


def weighted_mean(vectors: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    """Return sum_n w_n x_n over vectors [P] in their order, in their dtype (docs/mathematics.md 6.2).

    All vectors of one chunk before the next chunk: memory of the result alone.
    """
    result = torch.empty_like(vectors[0])
    for begin in range(0, len(result), CHUNK):
        part = slice(begin, begin + CHUNK)
        mean = RunningMean(len(result[part]))
        for vector, weight in zip(vectors, weights, strict=True):
            mean.add(vector[part], weight)
        result[part] = mean.result(result.dtype)
    return result
