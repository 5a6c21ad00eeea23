"""How a restricted Boltzmann machine is moved by contrastive divergence (docs/mathematics.md 6.5).

With the statistics of one minibatch of B frames and the actual rate r = rate (1 - m):
    Delta_W <- m Delta_W + r/B (h+^T v+ - h-^T v-) - r decay W, Delta_b and Delta_c likewise without decay;
then all are added to the parameters. Rates are per *mean* gradient: more workers, or a larger minibatch, do not want a
larger one.
"""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from unisono.config.rbm import RbmMomentum
from unisono.core import flat, number
from unisono.core.flat import Layout
from unisono.core.number import Number
from unisono.errors import UserError

LARGEST_RATIO = 2.0  # of the spread of a Gaussian reconstruction to that of the data
SAFE_RATE = 0.9  # the rate's factor after a reconstruction was wider


def scheduled(momentum: RbmMomentum, frames: int | Tensor) -> Number:
    """Return m after so many frames: from `initial` to `final` in `steps` equal steps over `ramp_frames`."""
    step = frames * momentum.steps // momentum.ramp_frames
    step = step.clamp(max=momentum.steps).double() if isinstance(step, Tensor) else min(step, momentum.steps)
    return momentum.initial + (momentum.final - momentum.initial) * step / momentum.steps


class RbmUpdater:
    """What happens between the statistics of a minibatch and the parameters [W b] and c of one RBM (a `Trainer`).

    frames: those that the ramp has seen before the next minibatch; whoever deals them out says so in `begin_task`.
    rate_scale: falls by a tenth each time that a Gaussian reconstruction is too wide. decay: of the weights, times the
    actual rate. Where the rate is a tensor (`core.number`) these are tensors on its device, changed in place, and the
    host decides nothing.
    """

    def __init__(self, momentum: RbmMomentum, layout: Layout, decay: float = 0.0002) -> None:
        self.momentum = momentum
        self.layout = layout
        self.decay = decay
        self.version = 0
        self.frames: int | Tensor = 0
        self._pace: int | Tensor = 1
        self.rate_scale: Number = 1.0
        self._rate: Number = 0.0
        self._params: Tensor | None = None
        self._delta: Tensor | None = None

    def begin_task(self, max_change_scale: float, seen: int, workers: int) -> None:
        """Go on in a slice; see `core.optimiser.Trainer`. Of a ramp of its own frames a worker has seen its share."""
        is_global = self.momentum.ramp == "global"
        self.frames = _put(self.frames, seen if is_global else seen // workers)
        self._pace = _put(self._pace, workers if is_global else 1)

    def is_static(self) -> bool:
        """Say yes: ramp and safety rule are computed where the parameters are."""
        return True

    def skip(self) -> None:
        """Do nothing: a replayed step counts its own frames."""

    def reset(self) -> None:
        """Forget momentum and the rate's factor."""
        self.rate_scale = _put(self.rate_scale, 1.0)
        if self._delta is not None:
            self._delta.zero_()

    def begin(self, params: Tensor, rate: Number) -> None:
        """Start a minibatch on the flat vector `params` [P] with `rate` per mean gradient."""
        self._rate = rate
        if isinstance(rate, Tensor) != isinstance(self.rate_scale, Tensor):
            self._keep_numbers(rate)
        if params is self._params:
            return
        self._params = params
        fresh = flat.zeros(self.layout.size, params.dtype).to(params.device)
        if self._delta is not None:
            fresh.copy_(self._delta)
        self._bind(fresh)
        self._weights, self._visible = flat.views(self.layout, params).values()

    def step_(self, v: Tensor, h: Tensor, errors: Tensor, shrink: Number = 1.0) -> int | Tensor:
        """Move the parameters by one minibatch; return 1 where the step was skipped, else 0. May overwrite h.

        v: [2 B, V + 1], v+ above v-, with a column of ones. h: [2 B, H], h+ above minus h-. errors: [B, V], v+ - v-.
        shrink: below 1 where a Gaussian reconstruction is too wide (`shrinkage`). All parameters are then multiplied by
        it instead of a step, the rate falls, and the momentum is lost.
        """
        assert self._params is not None and self._delta is not None
        if not isinstance(shrink, Tensor) and shrink < 1.0:
            self._params.mul_(shrink)
            self._delta.zero_()
            self.rate_scale *= SAFE_RATE
            self.frames += self._pace * len(errors)
            return 1
        self._take_in(v, h, errors)
        limited = 0
        if isinstance(shrink, Tensor):  # the same, without a question to the device
            wide = shrink < 1.0
            self._delta.masked_fill_(wide, 0.0)
            self._params.mul_(shrink)
            self.rate_scale *= torch.where(wide, SAFE_RATE, torch.ones_like(shrink))
            limited = wide.to(torch.int64)
        self._params.add_(self._delta)
        self.frames += self._pace * len(errors)
        return limited

    def _take_in(self, v: Tensor, h: Tensor, errors: Tensor) -> None:
        """Make Delta that of the next step."""
        now = scheduled(self.momentum, self.frames)
        m = self.momentum.final if self.momentum.final_at_once else now  # in the first minibatch Delta is zero
        actual = self._rate * self.rate_scale * (1.0 - now)
        each = actual / len(errors)
        if isinstance(each, Tensor):
            self._delta_weights.mul_(m).addmm_(h.mul_(each).t(), v)
        else:
            self._delta_weights.addmm_(h.t(), v, beta=float(m), alpha=each)
        if self.decay > 0.0:
            number.add_(self._delta_weights[:, :-1], self._weights[:, :-1], -actual * self.decay)
        number.add_(self._delta_visible.mul_(m), errors.sum(dim=0), each)

    def state(self) -> dict[str, Tensor]:
        """Return, on the CPU, what the next minibatch depends on."""
        scale = torch.as_tensor(self.rate_scale, dtype=torch.float64).to("cpu").reshape(1).clone()
        return {"rate_scale": scale} | ({} if self._delta is None else {"momentum": self._delta.to("cpu")})

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Take over a state; an empty one means a fresh start. Raises UserError for one of another network."""
        momentum = state.get("momentum")
        if unknown := sorted(set(state) - {"rate_scale", "momentum"}):
            raise UserError(f"optimiser state: {unknown[0]} is not used by an RBM: it is of another config")
        if momentum is not None and momentum.shape != (self.layout.size,):
            raise UserError(
                f"optimiser state: momentum has shape {list(momentum.shape)}, expected [{self.layout.size}]: "
                "it belongs to another network"
            )
        fresh = None if momentum is None else flat.zeros(self.layout.size, momentum.dtype).copy_(momentum)
        self.reset()  # only now: the momentum may be our own
        if "rate_scale" in state:
            self.rate_scale = _put(self.rate_scale, float(state["rate_scale"][0]))
        if fresh is not None:
            self._bind(fresh if self._params is None else fresh.to(self._params.device))

    def _keep_numbers(self, rate: Number) -> None:
        """Keep what changes from step to step on the device of a rate, or on the host."""
        frames, pace, scale = int(self.frames), int(self._pace), float(self.rate_scale)
        self.frames, self._pace, self.rate_scale = frames, pace, scale
        if isinstance(rate, Tensor):
            self.frames, self._pace = (rate.new_full((), n, dtype=torch.int64) for n in (frames, pace))
            self.rate_scale = rate.new_full((), scale, dtype=torch.float64)
        self.version += 1

    def _bind(self, delta: Tensor) -> None:
        self.version += 1
        self._delta = delta
        self._delta_weights, self._delta_visible = flat.views(self.layout, delta).values()


def shrinkage(data: Tensor, reconstruction: Tensor, deferred: bool = False) -> Number:
    """Return std(v+) / std(v-) where the reconstruction [B, V] of a Gaussian RBM is over twice as wide, else 1.

    The spread is the sum over dimensions of each one's standard deviation in the minibatch.
    """
    above, below = (rows.std(dim=0, correction=0).sum() for rows in (reconstruction, data))
    if deferred:
        above, below = above.double(), below.double()
        return torch.where((LARGEST_RATIO * below < above) & above.isfinite(), below / above, 1.0)
    above, below = float(above), float(below)
    return below / above if LARGEST_RATIO * below < above < math.inf else 1.0


def _put(place: Any, value: float) -> Any:
    """Return `value`, or the tensor `place` that holds it from now on."""
    return place.fill_(value) if isinstance(place, Tensor) else value


def visible_biases(mean: Tensor) -> Tensor:
    """Return the initial c [V] of a Bernoulli RBM: the logit of each unit's mean activation, kept off 0 and 1."""
    return torch.logit(mean.double().clamp(1e-4, 1.0 - 1e-4)).to(mean.dtype)
