"""One optimiser object per worker: what happens between a layer's derivative and its weights.

A network calls `begin` for each minibatch, `layer_` for each affine layer and `rows_` for each vector from the top
down, always after it has passed the derivative to the layer below (so rows may be overwritten), and `finish_` at the
end. Plain SGD without momentum or a limit on the whole step writes straight into the weights; everything else goes
through a buffer Delta. Natural gradient and limits act on components, the blocks of a matrix; those of one matrix share
the estimator of its input.
"""

from collections.abc import Callable, Mapping
from functools import partial

from torch import Tensor

from unisono.config.optimiser import NormLimit, OptimiserOptions, SampleLimit
from unisono.core import flat, max_change, number, sgd
from unisono.core.flat import Layout
from unisono.core.natural_gradient import OnlineEstimator
from unisono.core.ng_updates import flush
from unisono.core.number import Number
from unisono.core.products import Products
from unisono.core.sides import Estimator, sides_of
from unisono.errors import UserError

PLAIN = Products()


class Optimiser:
    """Momentum, L2, natural gradient and max-change for the matrices and vectors of one layout.

    `max_change_scale` multiplies the limits: it is 1/sqrt(2) in iteration 0. It is not state.
    `version` changes whenever a step will use other storage or limits than the one before.
    """

    def __init__(self, options: OptimiserOptions, layout: Layout) -> None:
        self.options = options
        limit = options.max_change
        self._limits = [0.0 for _ in layout.components()]
        if isinstance(limit, NormLimit):
            own = limit.per_layer if limit.output is None else limit.output
            self._limits = [own if entry.is_output else limit.per_layer for entry in layout.components()]
        self._per_sample = limit if isinstance(limit, SampleLimit) and limit.per_sample > 0.0 else None
        self._frames: int | Tensor | None = None
        self.layout = layout
        self.max_change_scale = 1.0
        self.version = 0
        self._products = PLAIN
        self._fused = options.momentum == 0.0 and not max_change.limits_whole_step(limit)
        self._params: Tensor | None = None
        self._delta: Tensor | None = None
        self._rate: Number = 0.0
        self._scales: list[Number] = []  # of this minibatch, by max-change
        self.reset()

    def reset(self) -> None:
        """Forget everything: zero momentum, natural-gradient factors as before the first minibatch."""
        if self._delta is not None:
            self._delta.zero_()
        self._sides = sides_of(self.options, self.layout)
        self._estimators: list[Estimator] = [side for sides in self._sides if sides for side in sides.named().values()]
        self.version += 1

    def begin_task(self, max_change_scale: float, seen: int, workers: int) -> None:
        """Go on in a slice; nothing here depends on how many frames were seen."""
        if max_change_scale != self.max_change_scale:
            self.max_change_scale = max_change_scale
            self.version += 1

    def is_static(self) -> bool:
        """Say whether the next minibatch is the same work as any other such, without a decision of the host."""
        return not any(side.updates() for side in self._estimators)

    def skip(self) -> None:
        """Count a minibatch that was done by replaying a captured step."""
        for side in self._estimators:
            side.skip()

    def begin(
        self, params: Tensor, rate: Number, products: Products = PLAIN, frames: int | Tensor | None = None
    ) -> None:
        """Start a minibatch on the flat vector `params` [P] with `rate` per summed gradient; see `core.number`.

        products: those of the network, which know what is rounded already. frames: what L2 and limits per sample count;
        None = the rows of each layer.
        """
        self._rate, self._products, self._frames, self._scales = rate, products, frames, []
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
        sides, blocks = self._sides[index], self.layout.entries[index].blocks
        target = self._target(index)
        self._decay_(index, slice(None), len(x), while_fused=True)
        if sides is None and self._per_sample is None:
            self._products.add_step_(target, x, error, self._rate, self._keep)
        else:
            deferred = isinstance(self._rate, Tensor)
            into = sides.into.precondition_(x, deferred) if sides and sides.into else 1.0
            for block, (part, rows) in enumerate(zip(target.chunk(blocks), _columns(error, blocks), strict=True)):
                gamma = into * sides.out[block].precondition_(rows, deferred) if sides else 1.0
                if sides:
                    self._products.changed(x, rows)
                step = self._limited(gamma, partial(max_change.norm_product, x, rows, deferred), len(x))
                self._products.add_step_(part, x, rows, step, self._keep)
        self._decay_(index, slice(None), len(x), while_fused=False)

    def rows_(self, index: int, block: int, products: Tensor) -> None:
        """Take in one vector's part of the minibatch: per-frame products [N, D] that add up to the loss's derivative.

        index, block: where the vector lies. Overwrites `products` under natural gradient, which acts on them.
        """
        sides, deferred = self._sides[index], isinstance(self._rate, Tensor)
        target = self._target(index)[block]
        own = slice(block, block + 1)
        self._decay_(index, own, len(products), while_fused=True)
        gamma = sides.out[block].precondition_(products, deferred) if sides else 1.0
        step = self._limited(gamma, partial(max_change.norm_sum, products, deferred), len(products))
        if not self._keep:
            target.zero_()
        number.add_(target, products.sum(dim=0), -step)
        self._decay_(index, own, len(products), while_fused=False)

    @property
    def _keep(self) -> bool:
        return self._fused or self.options.momentum > 0.0

    def _target(self, index: int) -> Tensor:
        return self._weights[index] if self._fused else self._deltas[index]

    def _decay_(self, index: int, rows: slice, count: int, while_fused: bool) -> None:
        """Add the step of the L2 penalty; fused before the gradient's, while the weights are still those of it."""
        if self.options.l2 > 0.0 and self._fused == while_fused:
            decay = self._rate * (count if self._frames is None else self._frames) * self.options.l2
            target, weight = self._target(index)[rows], self._weights[index][rows]
            sgd.add_decay_(target, weight, decay, self.layout.entries[index].bias)

    def _limited(self, gamma: Number, product: Callable[[], Number], rows: int) -> Number:
        """Return the rate of one component's step, the factor gamma and a limit per sample included."""
        step = self._rate * gamma
        if self._per_sample is not None:
            count = rows if self._frames is None else self._frames
            bound = gamma * product()
            scale = max_change.row_scale(self._per_sample, bound, self._rate, count, self.max_change_scale)
            step = step * scale
            self._scales.append(scale)
        return step

    def finish_(self) -> int | Tensor:
        """End the minibatch: limit the whole step, move the weights, decay the momentum.

        Returns 1 where max-change has shortened the step of a layer, else 0; a tensor where its factors are tensors.
        """
        if isinstance(self._rate, Tensor):
            assert self._params is not None
            flush([side for side in self._estimators if isinstance(side, OnlineEstimator)], self._params)
        if self._fused:
            return number.any_below_one(self._scales)
        scales: list[Number] = [1.0 for _ in self._delta_parts]
        limit = self.options.max_change
        if isinstance(limit, NormLimit) and max_change.limits_whole_step(limit):
            deferred = isinstance(self._rate, Tensor)
            norms = [number.norm(part, deferred) for part in self._delta_parts]
            scales = self._scales = max_change.step_scales(
                limit, norms, self.options.momentum, self.max_change_scale, self._limits
            )
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
            for part, side in (sides.named() if sides else {}).items():
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
            for part, side in (sides.named() if sides else {}).items():
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


def _columns(error: Tensor, blocks: int) -> list[Tensor]:
    """Return the columns of each block; on a GPU, where padded rows are worked on, as matrices of their own."""
    if blocks == 1:
        return [error]
    parts = list(error.chunk(blocks, dim=1))
    if flat.wants_whole_rows(error):
        return [flat.matrix(part.shape[0], part.shape[1], part).copy_(part) for part in parts]
    return parts
