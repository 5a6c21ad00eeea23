"""Numbers that a step computes from its tensors: read at once, or left on the device.

On a CPU a norm is a Python float. On a GPU reading one makes the host wait for all that was queued before, so there a
number may stay a tensor without dimensions, float64: *deferred*. The functions here take either. A step is deferred
where its rate is such a tensor; nothing in it then waits for the device, and so it can be captured and replayed.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

Number = float | Tensor


def root_of_ratio(above: Number, below: Number) -> Number:
    """Return sqrt(above / below), and 1 where either is not above zero."""
    if isinstance(above, Tensor):
        ratio = (above / below).sqrt()
        return torch.where(ratio.isfinite() & (ratio > 0.0), ratio, 1.0)
    return math.sqrt(above / below) if above > 0.0 and below > 0.0 else 1.0


def cap(limit: Number, size: Number) -> Number:
    """Return the factor that brings `size` down to `limit`: limit / size where 0 < limit < size < inf, else 1."""
    if isinstance(size, Tensor) and (isinstance(limit, Tensor) or limit > 0.0):
        return torch.where((size > limit) & size.isfinite(), limit / size, 1.0)
    return limit / size if 0.0 < limit < size < math.inf else 1.0


def root_of_squares(values: Sequence[Number]) -> Number:
    """Return the square root of the sum of squares."""
    if any(isinstance(value, Tensor) for value in values):
        return torch.linalg.vector_norm(torch.stack([torch.as_tensor(value) for value in values]))
    return math.sqrt(math.fsum(value**2 for value in values))


def any_below_one(values: Sequence[Number]) -> int | Tensor:
    """Return 1 where one of the factors is below 1, else 0; int64 on the device where some are tensors.

    Those beside tensors are numbers where there is no limit, so they are 1.
    """
    deferred = [value for value in values if isinstance(value, Tensor)]
    if deferred:
        return (torch.stack(deferred) < 1.0).any().to(torch.int64)
    return int(any(value < 1.0 for value in values))


def norm(vector: Tensor, deferred: bool) -> Number:
    """Return the Euclidean norm of a vector."""
    if deferred:
        return torch.linalg.vector_norm(vector, dtype=torch.float64)
    return math.sqrt(float(vector.dot(vector)))


def add_(target: Tensor, other: Tensor, factor: Number) -> None:
    """Add factor * other to `target`, in place."""
    if isinstance(factor, Tensor):
        target.addcmul_(other, factor)
    else:
        target.add_(other, alpha=factor)
