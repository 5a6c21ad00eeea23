"""What a network is fed and what a step reports."""

from typing import NamedTuple

from torch import Tensor

from unisono.core.number import Number


class Batch(NamedTuple):
    """N training units of W labelled frames (`unisono.units`).

    x: [N, T, D] inputs: T = 1 spliced frame, D = input_dim, for a network of single frames; else the frames that a unit
        is computed from. It may be a view of the network's own buffer, then nothing is copied.
    ids: [N, W] int64, the pdf of each frame.
    mask: [N, W] float of 0 and 1, frames that count; None where all do.
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
    free_energy: summed, of a Bernoulli RBM that was evaluated; None of all others.
    Where the step is deferred (`core.number`) the first two are tensors, `frames` where there is a mask, and `limited`
    where there is a limit.
    """

    objective_sum: Number
    correct: int | Tensor
    frames: int | Tensor
    limited: int | Tensor = 0
    free_energy: float | None = None
