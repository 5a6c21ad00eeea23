"""What a network is fed and what a step reports."""

from typing import NamedTuple

from torch import Tensor

from unisono.core.number import Number


class Batch(NamedTuple):
    """N sequences of T frames. A feed-forward network has T = 1.

    x: [N, T, D] inputs; for `dnn` D = input_dim, spliced frames. It may be a view of the network's input buffer, then
        nothing is copied.
    ids: [N, T] int64, the pdf of each frame.
    mask: [N, T] float of 0 and 1, frames that count; None where all do.
    before: [N] int64, frames of x that lie before the utterance, for a recurrent network; None where none do.
    """

    x: Tensor
    ids: Tensor
    mask: Tensor | None
    before: Tensor | None = None


class StepStats(NamedTuple):
    """Sums over the counted frames of one minibatch, taken before its update.

    objective_sum: sum of log p(pdf | frame), natural logarithm, float64.
    correct: frames whose pdf has the largest posterior (a tie counts as wrong).
    frames: number of counted frames.
    limited: 1 where max-change has shortened the step, else 0; 0 where none was made.
    Where the step is deferred (`core.number`) the first two are tensors, and `limited` where there is a limit.
    """

    objective_sum: Number
    correct: int | Tensor
    frames: int
    limited: int | Tensor = 0
