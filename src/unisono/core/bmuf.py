"""Blockwise model-update filtering (docs/mathematics.md 6.3; Chen and Huo 2016).

With Nesterov's form and block_momentum = outer momentum this is DiLoCo's outer step (SGD with Nesterov momentum on the
outer gradient W_g - mean); the classical form at a constant rate is SlowMo's with beta = block_momentum.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from unisono.errors import UserError


class BmufStep(NamedTuple):
    """What one combination yields: the model W(t), the filter's Delta(t), and where the workers start from, W_g(t)."""

    model: Tensor
    delta: Tensor
    start: Tensor


def default_momentum(workers: int) -> float:
    """Return eta = 1 - 1/N: then the total weight zeta/(1 - eta) of a block's gradient is N."""
    return 1.0 - 1.0 / workers


def check(block_momentum: float, block_learning_rate: float) -> None:
    """Raise UserError unless 0 <= eta < 1 and 0 < zeta."""
    if not 0.0 <= block_momentum < 1.0:
        raise UserError(f"parallel.combine.block_momentum: {block_momentum}: give a number from 0 to below 1, or auto")
    if not 0.0 < block_learning_rate < math.inf:
        raise UserError(f"parallel.combine.block_learning_rate: {block_learning_rate}: give a number above 0")


def bmuf_step(
    start: Tensor, delta: Tensor, mean: Tensor, block_momentum: float, block_learning_rate: float, nesterov: bool
) -> BmufStep:
    """Filter one block's update; all vectors are [P] of one dtype. `delta` and `mean` are used up, `start` is not.

    start: W_g(t-1), from which the workers set out; in the first block the initial model. delta: Delta(t-1), at first
    zeros. mean: of the workers' models. With eta = block_momentum and zeta = block_learning_rate:
    G = mean - W_g(t-1); Delta(t) = eta Delta(t-1) + zeta G; W(t) = W(t-1) + Delta(t);
    W_g(t) = W(t) + eta Delta(t) if `nesterov`, else W(t).
    W(t-1) itself is not needed: it is W_g(t-1) in the classical form and W_g(t-1) - eta Delta(t-1) in Nesterov's, so
    W(t) = mean + (zeta - 1) G + eta Delta(t-1), the last term in the classical form only. Terms with a factor of zero
    are left out, so that eta = 0, zeta = 1 returns the mean to the bit.
    """
    check(block_momentum, block_learning_rate)
    gradient, model = mean - start, mean
    if block_learning_rate != 1.0:
        model.add_(gradient, alpha=block_learning_rate - 1.0)
    gradient.mul_(block_learning_rate)
    if block_momentum == 0.0:
        return BmufStep(model, gradient, model)
    if not nesterov:
        model.add_(delta, alpha=block_momentum)
    torch.add(gradient, delta, alpha=block_momentum, out=delta)
    if not nesterov:
        return BmufStep(model, delta, model)
    return BmufStep(model, delta, torch.add(model, delta, alpha=block_momentum, out=gradient))
