"""The final model as an optimised combination of the last models of a run (docs/mathematics.md 6.1.8).

The result is sum_n s_nc W_nc for each component c of the layout, with weights s > 0 that sum to one over the
models. They are the softmax of free numbers theta, which start at 0, so at the plain mean; L-BFGS maximises an
objective over theta. With g the objective's gradient at the combination, the derivative at s_nc is the inner product
(g_c, W_nc), so models are asked for one after the other, twice an evaluation: memory stays at the combination, a
gradient and one model.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from unisono.core import flat
from unisono.core.average import CHUNK
from unisono.core.flat import Layout

Model = Callable[[int], Tensor]  # n -> parameters [P] of model n
Objective = Callable[[Tensor], tuple[float, Tensor]]  # parameters [P] -> objective per frame, its gradient [P]


class Combination(NamedTuple):
    """What came out.

    model: [P]. weights: [models, components] float64, those of the models themselves, columns sum to 1. objective: at
    `model`; mean_objective: at the plain mean of the (effective) models. evaluations: how many were made.
    """

    model: Tensor
    weights: Tensor
    objective: float
    mean_objective: float
    evaluations: int


def triangular_shares(models: int, effective: int) -> Tensor:
    """Return the shares [effective, models] float64 of models in effective models, whose rows sum to 1.

    Kaldi's nnet3-combine: model n lies between effective models floor(u) and floor(u) + 1 with u = (effective - 1) n /
    (models - 1), and is shared out in proportion. With no more models than `effective` each stands for itself.
    """
    if models <= effective:
        return torch.eye(models, dtype=torch.float64)
    if effective == 1:
        return torch.full((1, models), 1.0 / models, dtype=torch.float64)
    u = torch.arange(models, dtype=torch.float64) * (effective - 1) / (models - 1)
    places = torch.arange(effective, dtype=torch.float64)
    shares = (1.0 - (u - places[:, None]).abs()).clamp_(min=0.0)
    return shares / shares.sum(dim=1, keepdim=True)


def combine(
    model: Model, shares: Tensor, layout: Layout, objective: Objective, evaluations: int, dtype: torch.dtype
) -> Combination:
    """Return the best combination that `evaluations` calls of `objective` find, none worse than the plain mean.

    model: gives parameters [P] of `dtype`; asked for one at a time. shares: [effective, models], rows sum to 1, see
    `triangular_shares`. evaluations: at least 1; with 1 the result is the mean. An objective that is not finite counts
    as worse than all others. Raises ValueError where it is so at the mean already.
    """
    search = _Search(model, shares, layout, objective, evaluations, dtype)
    theta = torch.zeros(len(shares), len(layout.components()), dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS(
        [theta],
        max_iter=evaluations,
        max_eval=evaluations,
        tolerance_grad=1e-9,
        tolerance_change=1e-12,
        history_size=20,
        line_search_fn="strong_wolfe",
    )

    def closure() -> Tensor:
        return search.evaluate_(theta)

    try:
        optimiser.step(closure)
    except _Spent:
        pass
    weights = search.best_weights
    return Combination(search.mix(weights), weights, search.best, search.first, search.count)


class _Spent(Exception):
    """All evaluations are used up; the line search would ask for more."""


class _Search:
    """The objective as a function of theta, and the best that was seen."""

    def __init__(
        self, model: Model, shares: Tensor, layout: Layout, objective: Objective, evaluations: int, dtype: torch.dtype
    ) -> None:
        if evaluations < 1:
            raise ValueError(f"a combination needs an evaluation: {evaluations}")
        self._model, self._shares, self._layout = model, shares, layout
        self._objective, self._evaluations, self._dtype = objective, evaluations, dtype
        self.count = 0
        self.first = self.best = -float("inf")
        self.best_weights = torch.empty(0)

    def evaluate_(self, theta: Tensor) -> Tensor:
        """Return minus the objective at theta and leave its derivative in theta.grad."""
        if self.count == self._evaluations:
            raise _Spent
        effective = torch.softmax(theta.detach(), dim=0)
        weights = self._shares.t() @ effective
        value, gradient = self._objective(self.mix(weights))
        self.count += 1
        if self.count == 1:
            if not torch.isfinite(torch.tensor(value)):
                raise ValueError(f"the objective of the models' mean is {value}")
            self.first = value
        if value > self.best:
            self.best, self.best_weights = value, weights
        at_weights = self._shares @ self._inner_products(gradient)
        # ds_i/dtheta_j = s_i (1[i = j] - s_j)
        slopes = effective * (at_weights - (effective * at_weights).sum(dim=0))
        theta.grad = -slopes
        return torch.tensor(-value, dtype=torch.float64).nan_to_num(nan=torch.inf)

    def mix(self, weights: Tensor) -> Tensor:
        """Return sum_n weights[n, c] W_nc [P], model by model."""
        mixed = flat.zeros(self._layout.size, self._dtype)
        parts = flat.segments(self._layout, mixed)
        for n in range(len(weights)):
            for part, own, weight in zip(parts, flat.segments(self._layout, self._model(n)), weights[n], strict=True):
                part.add_(own.to(part.device), alpha=float(weight))
        return mixed

    def _inner_products(self, gradient: Tensor) -> Tensor:
        """Return (g_c, W_nc) [models, components], summed in float64."""
        found = torch.zeros(self._shares.shape[1], len(self._layout.components()), dtype=torch.float64)
        slopes = flat.segments(self._layout, gradient)
        for n in range(len(found)):
            for c, (slope, own) in enumerate(zip(slopes, flat.segments(self._layout, self._model(n)), strict=True)):
                found[n, c] = _inner(slope, own)
        return found


def _inner(a: Tensor, b: Tensor) -> float:
    """Return the inner product of two vectors, summed in float64, chunk by chunk."""
    return sum(float(x.double() @ y.double()) for x, y in zip(a.split(CHUNK), b.split(CHUNK), strict=True))
