"""Averages over the course of training that are kept aside and never fed back (docs/mathematics.md 5.2 and 6.4)."""

import torch
from torch import Tensor


def move(observer: Tensor, model: Tensor, weight: float) -> Tensor:
    """Return (1 - weight) * observer + weight * model, vectors [P]; once per combination, on the filtered model W(t).

    weight: in (0, 1]. 1 - decay for an exponential average, whose memory is 1/(1 - decay) combinations; 1/n for the
    mean of n models (A_t of docs/mathematics.md 6.4 with n = t - t0). A weight of 1 gives the model to the bit, and
    where both are equal the result is too.
    """
    if not 0.0 < weight <= 1.0:
        raise ValueError(f"the weight of a model lies in (0, 1]: {weight}")
    return model.clone() if weight == 1.0 else torch.lerp(observer, model, weight)
