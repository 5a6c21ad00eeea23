"""Averages over the course of training that are kept aside and never fed back (docs/mathematics.md 5.2 and 6.4)."""

import torch
from torch import Tensor

from unisono.errors import UserError


def check_decay(decay: float) -> None:
    """Raise UserError unless 0 <= decay < 1."""
    if not 0.0 <= decay < 1.0:
        raise UserError(f"observers.ema.decay: {decay}: give a number from 0 to below 1")


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
