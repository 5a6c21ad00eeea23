"""One optimiser object per worker: what happens between a layer's derivative and its weights.

A network calls `begin` for each minibatch, `layer_` for each affine layer from the top down, always after it has
passed the derivative to the layer below (so rows may be overwritten), and `finish_` at the end. Plain SGD without
momentum or a limit on the whole step writes straight into the weights; everything else goes through a buffer Delta.
"""

from collections.abc import Mapping
from typing import Protocol

from torch import Tensor

from unisono.config.optimiser import NormLimit, OptimiserOptions, SampleLimit
from unisono.core import flat, max_change, number, sgd
from unisono.core.flat import Layout
from unisono.core.natural_gradient import OnlineEstimator, estimator_for
from unisono.core.ng_simple import SimpleEstimator
from unisono.core.ng_updates import flush
from unisono.core.number import Number
from unisono.core.products import Products
from unisono.errors import UserError

PLAIN = Products()


class Estimator(Protocol):
    """One side of one layer: preconditions rows in place and says by which factor to multiply them."""

    def precondition_(self, rows: Tensor, deferred: bool = False) -> Number:
        """Overwrite rows [N, D] by X^ and return gamma."""
        ...

    def updates(self) -> bool:
        """Say whether the next minibatch needs the host: an update of the estimate."""
        ...

    def skip(self) -> None:
        """Count a minibatch that was preconditioned by replaying a captured step."""
        ...

    def state(self) -> dict[str, Tensor]:
        """Return what must survive a checkpoint."""
        ...

    def load_state(self, state: Mapping[str, Tensor], where: str) -> None:
        """Take over what `state` returned; an empty mapping means a fresh start."""
        ...


class Optimiser:
    """Momentum, L2, natural gradient and max-change for the affine layers of one layout.

    `max_change_scale` multiplies the limits: the worker sets it to 1/sqrt(2) in iteration 0. It is not state.
    `version` changes whenever a step will use other storage than the one before.
    """

    def __init__(self, options: OptimiserOptions, layout: Layout) -> None:
        self.options = options
        self.layout = layout
        self.max_change_scale = 1.0
        self.version = 0
        self._products = PLAIN
        self._fused = options.momentum == 0.0 and not max_change.limits_whole_step(options.max_change)
        self._params: Tensor | None = None
        self._delta: Tensor | None = None
        self._rate: Number = 0.0
        self._scales: list[Number] = []  # of this minibatch, by max-change
        self.reset()

    def reset(self) -> None:
        """Forget everything: zero momentum, natural-gradient factors as before the first minibatch."""
        if self._delta is not None:
            self._delta.zero_()
        self._sides = [self._estimators(columns, rows) for rows, columns in self.layout.shapes]
        self.version += 1

    def is_static(self) -> bool:
        """Say whether the next minibatch is the same work as any other such, without a decision of the host."""
        return not any(side.updates() for sides in self._sides if sides for side in sides)

    def skip(self) -> None:
        """Count a minibatch that was done by replaying a captured step."""
        for side in (side for sides in self._sides if sides for side in sides):
            side.skip()

    def begin(self, params: Tensor, rate: Number, products: Products = PLAIN) -> None:
        """Start a minibatch on the flat vector `params` [P] with `rate` per summed gradient; see `core.number`.

        products: those of the network, which know what is rounded already.
        """
        self._rate, self._products, self._scales = rate, products, []
        if params is self._params:
            return
        self._params = params
        self._weights = list(flat.views(self.layout, params).values())
        if not self._fused:
            fresh = flat.zeros(self.layout.size, params.dtype).to(params.device)
            if self._delta is not None:
                fresh.copy_(self._delta)
            self._bind_delta(fresh)

    def layer_(self, index: int, x: Tensor, error: Tensor) -> None:
        """Take in one layer's part of the minibatch. Overwrites `x` and `error` under natural gradient.

        index: the layer's place in the layout. x: [N, in + 1], inputs with a column of ones. error: [N, out],
        derivative of the loss (minus the summed objective) at the layer's output.
        """
        options, rows = self.options, x.shape[0]
        weight, deferred = self._weights[index], isinstance(self._rate, Tensor)
        gamma: Number = 1.0
        if sides := self._sides[index]:
            side_in, side_out = sides
            gamma = side_in.precondition_(x, deferred) * side_out.precondition_(error, deferred)
            self._products.changed(x, error)
        step = self._rate * gamma
        limit = options.max_change
        if isinstance(limit, SampleLimit) and limit.per_sample > 0.0:
            product = gamma * max_change.norm_product(x, error, deferred)
            scale = max_change.row_scale(limit, product, self._rate, rows, self.max_change_scale)
            step = step * scale
            self._scales.append(scale)
        target = weight if self._fused else self._deltas[index]
        decay = self._rate * rows * options.l2
        if options.l2 > 0.0 and self._fused:  # while the weights are still those of the gradient
            sgd.add_decay_(target, weight, decay)
        keep = self._fused or options.momentum > 0.0
        self._products.add_step_(target, x, error, step, keep)
        if options.l2 > 0.0 and not self._fused:
            sgd.add_decay_(target, weight, decay)

    def finish_(self) -> int | Tensor:
        """End the minibatch: limit the whole step, move the weights, decay the momentum.

        Returns 1 where max-change has shortened the step of a layer, else 0; a tensor where its factors are tensors.
        """
        if isinstance(self._rate, Tensor):
            assert self._params is not None
            sides = [side for sides in self._sides if sides for side in sides]
            flush([side for side in sides if isinstance(side, OnlineEstimator)], self._params)
        if self._fused:
            return number.any_below_one(self._scales)
        scales: list[Number] = [1.0] * len(self._weights)
        limit = self.options.max_change
        if isinstance(limit, NormLimit) and max_change.limits_whole_step(limit):
            deferred = isinstance(self._rate, Tensor)
            norms = [number.norm(part, deferred) for part in self._delta_parts]
            scales = self._scales = max_change.step_scales(limit, norms, self.options.momentum, self.max_change_scale)
        for params, delta, scale in zip(self._param_parts, self._delta_parts, scales, strict=True):
            sgd.momentum_step_(params, delta, self.options.momentum, scale)
        return number.any_below_one(self._scales)

    def state(self) -> dict[str, Tensor]:
        """Return, on the CPU, what the next minibatch depends on: momentum [P], natural-gradient factors.

        To be written or copied before that minibatch: the momentum is the optimiser's own where it is on the CPU.
        """
        state = {}
        if self.options.momentum > 0.0 and self._delta is not None:
            state["momentum"] = self._delta.to("cpu")
        for name, sides in zip(self.layout.names, self._sides, strict=True):
            for part, side in zip(("in", "out"), sides or (), strict=False):
                state |= {f"ng.{name}.{part}.{key}": tensor for key, tensor in side.state().items()}
        return state

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Take over a state. Raises UserError for a state of another network or optimiser."""
        known, fresh = set(), None
        if "momentum" in state and self.options.momentum > 0.0:
            known.add("momentum")
            momentum = state["momentum"]
            if momentum.shape != (self.layout.size,):
                raise UserError(
                    f"optimiser state: momentum has shape {list(momentum.shape)}, expected [{self.layout.size}]: "
                    "it belongs to another network"
                )
            fresh = flat.zeros(self.layout.size, momentum.dtype).copy_(momentum)
        self.reset()  # only now: the momentum may be our own
        if fresh is not None:
            self._bind_delta(fresh)
        for name, sides in zip(self.layout.names, self._sides, strict=True):
            for part, side in zip(("in", "out"), sides or (), strict=False):
                prefix = f"ng.{name}.{part}."
                own = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
                side.load_state(own, f"optimiser state: {prefix}")
                known |= {prefix + key for key in own}
        if unknown := sorted(set(state) - known):
            raise UserError(
                f"optimiser state: {unknown[0]} is not used by {self.options.kind}: it is of another config"
            )

    def _bind_delta(self, delta: Tensor) -> None:
        if self._params is not None:
            delta = delta.to(self._params.device)
            self._param_parts = flat.segments(self.layout, self._params)
        self._delta = delta
        self.version += 1
        self._deltas = list(flat.views(self.layout, delta).values())
        self._delta_parts = flat.segments(self.layout, delta)

    def _estimators(self, dim_in: int, dim_out: int) -> tuple[Estimator, Estimator] | None:
        if self.options.kind == "ng_online":
            return estimator_for(self.options.ng, "in", dim_in), estimator_for(self.options.ng, "out", dim_out)
        if self.options.kind == "ng_simple":
            return SimpleEstimator(self.options.ng.alpha), SimpleEstimator(self.options.ng.alpha)
        return None
