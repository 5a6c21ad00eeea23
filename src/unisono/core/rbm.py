"""How a restricted Boltzmann machine is moved by contrastive divergence (docs/mathematics.md 6.5).

With the statistics of one minibatch of B frames and the actual rate r = rate (1 - m):
    Delta_W <- m Delta_W + r/B (h+^T v+ - h-^T v-) - r decay W, Delta_b and Delta_c likewise without decay;
then all are added to the parameters. Rates are per *mean* gradient: more workers, or a larger minibatch, do not want a
larger one.
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from unisono.config.rbm import RbmMomentum
from unisono.core import flat
from unisono.core.flat import Layout
from unisono.errors import UserError

LARGEST_RATIO = 2.0  # of the spread of a Gaussian reconstruction to that of the data
SAFE_RATE = 0.9  # the rate's factor after a reconstruction was wider


def scheduled(momentum: RbmMomentum, frames: int) -> float:
    """Return m after so many frames: from `initial` to `final` in `steps` equal steps over `ramp_frames`."""
    step = min(frames * momentum.steps // momentum.ramp_frames, momentum.steps)
    return momentum.initial + (momentum.final - momentum.initial) * step / momentum.steps


class RbmUpdater:
    """What happens between the statistics of a minibatch and the parameters [W b] and c of one RBM (a `Trainer`).

    frames: those that the ramp has seen before the next minibatch; whoever deals them out says so in `begin_task`.
    rate_scale: falls by a tenth each time that a Gaussian reconstruction is too wide. decay: of the weights, times the
    actual rate.
    """

    version = 0

    def __init__(self, momentum: RbmMomentum, layout: Layout, decay: float = 0.0002) -> None:
        self.momentum = momentum
        self.layout = layout
        self.decay = decay
        self.frames, self._pace = 0, 1
        self._params: Tensor | None = None
        self._delta: Tensor | None = None
        self.reset()

    def begin_task(self, max_change_scale: float, seen: int, workers: int) -> None:
        """Go on in a slice; see `core.optimiser.Trainer`. Of a ramp of its own frames a worker has seen its share."""
        is_global = self.momentum.ramp == "global"
        self.frames, self._pace = (seen, workers) if is_global else (seen // workers, 1)

    def is_static(self) -> bool:
        """Say no: the ramp and the check of the reconstruction are the host's."""
        return False

    def skip(self) -> None:
        """Do nothing: no step of an RBM is replayed."""

    def reset(self) -> None:
        """Forget momentum and the rate's factor."""
        self.rate_scale = 1.0
        if self._delta is not None:
            self._delta.zero_()

    def begin(self, params: Tensor) -> None:
        """Work on the flat vector `params` [P] from now on."""
        if params is self._params:
            return
        self._params = params
        fresh = flat.zeros(self.layout.size, params.dtype).to(params.device)
        if self._delta is not None:
            fresh.copy_(self._delta)
        self._bind(fresh)
        self._weights, self._visible = flat.views(self.layout, params).values()

    def step_(self, v: Tensor, h: Tensor, errors: Tensor, rate: float) -> None:
        """Move the parameters by one minibatch.

        v: [2 B, V + 1], v+ above v-, with a column of ones. h: [2 B, H], h+ above minus h-. errors: [B, V], v+ - v-.
        """
        assert self._params is not None and self._delta is not None
        count = len(errors)
        now = scheduled(self.momentum, self.frames)
        m = self.momentum.final if self.momentum.final_at_once else now  # in the first minibatch Delta is zero
        actual = rate * self.rate_scale * (1.0 - now)
        self._delta_weights.addmm_(h.t(), v, beta=m, alpha=actual / count)
        if self.decay > 0.0:
            self._delta_weights[:, :-1].add_(self._weights[:, :-1], alpha=-actual * self.decay)
        self._delta_visible.mul_(m).add_(errors.sum(dim=0), alpha=actual / count)
        self._params.add_(self._delta)
        self.frames += self._pace * count

    def shrink_(self, ratio: float, count: int) -> None:
        """Skip a minibatch of `count` frames whose Gaussian reconstruction is too wide: shrink parameters and rate.

        All parameters are multiplied by `ratio`, std(v+) / std(v-); the momentum is lost.
        """
        assert self._params is not None and self._delta is not None
        self._params.mul_(ratio)
        self._delta.zero_()
        self.rate_scale *= SAFE_RATE
        self.frames += self._pace * count

    def state(self) -> dict[str, Tensor]:
        """Return, on the CPU, what the next minibatch depends on."""
        scale = torch.tensor([self.rate_scale], dtype=torch.float64)
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
            self.rate_scale = float(state["rate_scale"][0])
        if fresh is not None:
            self._bind(fresh if self._params is None else fresh.to(self._params.device))

    def _bind(self, delta: Tensor) -> None:
        self._delta = delta
        self._delta_weights, self._delta_visible = flat.views(self.layout, delta).values()


def too_wide(data: Tensor, reconstruction: Tensor) -> float | None:
    """Return std(v+) / std(v-) where the reconstruction [B, V] of a Gaussian RBM is over twice as wide, else None.

    The spread is the sum over dimensions of each one's standard deviation in the minibatch.
    """
    above = float(reconstruction.std(dim=0, correction=0).sum())
    below = float(data.std(dim=0, correction=0).sum())
    return below / above if LARGEST_RATIO * below < above < math.inf else None


def visible_biases(mean: Tensor) -> Tensor:
    """Return the initial c [V] of a Bernoulli RBM: the logit of each unit's mean activation, kept off 0 and 1."""
    return torch.logit(mean.double().clamp(1e-4, 1.0 - 1e-4)).to(mean.dtype)
