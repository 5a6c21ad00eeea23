"""How a restricted Boltzmann machine is moved by contrastive divergence (docs/mathematics.md 6.5).

With the statistics of one minibatch of B frames and the actual rate r = rate (1 - m):
    Delta_W <- m Delta_W + r/B (h+^T v+ - h-^T v-) - r decay W, Delta_b and Delta_c likewise without decay;
then all are added to the parameters. Rates are per *mean* gradient: more workers, or a larger minibatch, do not want a
larger one.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from unisono.core import flat
from unisono.core.flat import Layout
from unisono.errors import UserError

LARGEST_RATIO = 2.0  # of the spread of a Gaussian reconstruction to that of the data
SAFE_RATE = 0.9  # the rate's factor after a reconstruction was wider


@dataclass(frozen=True, kw_only=True, slots=True)
class RbmMomentum:
    """How momentum m rises with the frames seen: from `initial` to `final` in `steps` equal steps over `ramp_frames`.

    final_at_once: use `final` from the second minibatch on, while the rate still follows the ramp (the default of the
    published program).
    """

    initial: float = 0.5
    final: float = 0.9
    steps: int = 40
    ramp_frames: int = 20_000_000
    final_at_once: bool = False

    def __post_init__(self) -> None:
        if not 0.0 <= self.initial <= self.final < 1.0:
            raise UserError(
                f"momentum: {self.initial} to {self.final}: give numbers from 0 to below 1 that do not fall"
            )
        if self.steps < 1 or self.ramp_frames < self.steps:
            raise UserError(f"momentum: {self.steps} steps in {self.ramp_frames} frames: give 1 or more frames a step")

    def scheduled(self, frames: int) -> float:
        """Return m after so many frames."""
        step = min(frames // (self.ramp_frames // self.steps), self.steps)
        return self.initial + (self.final - self.initial) * step / self.steps

    def used(self, frames: int) -> float:
        """Return the factor of Delta; in the first minibatch, where Delta is zero, it has no meaning."""
        return self.final if self.final_at_once else self.scheduled(frames)


class RbmUpdater:
    """What happens between the statistics of a minibatch and the parameters [W b] and c of one RBM.

    frames: those that the ramp has seen before the next minibatch. pace: how many of them each trained frame counts
    for; the number of workers where the ramp is in global frames. Who deals out frames sets both. rate_scale: falls by
    a tenth each time that a Gaussian reconstruction is too wide. decay: of the weights, times the actual rate.
    """

    def __init__(self, momentum: RbmMomentum, layout: Layout, decay: float = 0.0002) -> None:
        if not 0.0 <= decay < math.inf:
            raise UserError(f"weight decay: {decay}: give a number from 0 on")
        self.momentum = momentum
        self.layout = layout
        self.decay = decay
        self.pace = 1
        self._params: Tensor | None = None
        self._delta: Tensor | None = None
        self.reset()

    def reset(self) -> None:
        """Forget everything: no momentum, the ramp at its beginning."""
        self.frames = 0
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
        m = self.momentum.used(self.frames)
        actual = rate * self.rate_scale * (1.0 - self.momentum.scheduled(self.frames))
        self._delta_weights.addmm_(h.t(), v, beta=m, alpha=actual / count)
        if self.decay > 0.0:
            self._delta_weights[:, :-1].add_(self._weights[:, :-1], alpha=-actual * self.decay)
        self._delta_visible.mul_(m).add_(errors.sum(dim=0), alpha=actual / count)
        self._params.add_(self._delta)
        self.count_(count)

    def shrink_(self, ratio: float, count: int) -> None:
        """Skip a minibatch of `count` frames whose Gaussian reconstruction is too wide: shrink parameters and rate.

        All parameters are multiplied by `ratio`, std(v+) / std(v-); the momentum is lost.
        """
        assert self._params is not None and self._delta is not None
        self._params.mul_(ratio)
        self._delta.zero_()
        self.rate_scale *= SAFE_RATE
        self.count_(count)

    def count_(self, frames: int) -> None:
        """Move the ramp on by trained frames."""
        self.frames += self.pace * frames

    def state(self) -> dict[str, Tensor]:
        """Return, on the CPU, what the next minibatch depends on."""
        numbers = torch.tensor([self.frames, self.rate_scale], dtype=torch.float64)
        return {"ramp": numbers} | ({} if self._delta is None else {"momentum": self._delta.to("cpu")})

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Take over a state; an empty one means a fresh start. Raises UserError for one of another network."""
        momentum = state.get("momentum")
        if unknown := sorted(set(state) - {"ramp", "momentum"}):
            raise UserError(f"optimiser state: {unknown[0]} is not used by an RBM: it is of another config")
        if momentum is not None and momentum.shape != (self.layout.size,):
            raise UserError(
                f"optimiser state: momentum has shape {list(momentum.shape)}, expected [{self.layout.size}]: "
                "it belongs to another network"
            )
        fresh = None if momentum is None else flat.zeros(self.layout.size, momentum.dtype).copy_(momentum)
        self.reset()  # only now: the momentum may be our own
        if "ramp" in state:
            self.frames, self.rate_scale = int(state["ramp"][0]), float(state["ramp"][1])
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
