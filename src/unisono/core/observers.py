"""Averages over the course of training that are kept aside and never fed back (docs/mathematics.md 5.2 and 6.4)."""

import torch
from torch import Tensor

from unisono.errors import UserError


def check_decay(decay: float) -> None:
    """Raise UserError unless 0 <= decay < 1."""
    if not 0.0 <= decay < 1.0:
        raise UserError(f"observers.ema.decay: {decay}: give a number from 0 to below 1")


def decay_of_window(window: float, combinations: int) -> float:
    """Return the decay whose memory is a fraction `window` of a run of so many combinations: 1 - 1 / (window T).

    A memory shorter than one combination is none: decay 0. Raises UserError unless 0 < window <= 1.
    """
    if not 0.0 < window <= 1.0:
        raise UserError(f"observers.ema.window: {window}: give the fraction of the run that it remembers, above 0 to 1")
    return max(0.0, 1.0 - 1.0 / (window * max(1, combinations)))


def ema_step(observer: Tensor, model: Tensor, decay: float) -> Tensor:
    """Return decay * observer + (1 - decay) * model, vectors [P]; once per combination, on the filtered model W(t).

    Before its start the observer equals the model. Its memory is 1/(1 - decay) combinations. Where both are equal the
    result is too, to the bit.
    """
    check_decay(decay)
    return torch.lerp(observer, model, 1.0 - decay)


def polyak_step(observer: Tensor, model: Tensor, count: int) -> Tensor:
    """Return observer + (model - observer) / count, the running mean of `count` models, this one included.

    count: from 1 on; the first gives the model itself to the bit (A_t of docs/mathematics.md 6.4 with count = t - t0).
    """
    if count < 1:
        raise ValueError(f"count of averaged models starts at 1: {count}")
    return model.clone() if count == 1 else torch.lerp(observer, model, 1.0 / count)


def tail_step(observer: Tensor, model: Tensor, combination: int, combinations: int, last: int) -> Tensor:
    """Return the mean of the models of the last `last` combinations of a run; before these the model itself.

    combination: this one, from 1 to `combinations`. One vector is kept whatever `last` is: from combination
    combinations - last + 1 on the mean runs as `polyak_step`'s. A run shorter than `last` is averaged as a whole.
    """
    if last < 1:
        raise UserError(f"observers.tail.last: {last}: give the number of models to average, 1 or more")
    count = combination - max(0, combinations - last)
    return polyak_step(observer, model, max(1, count))
