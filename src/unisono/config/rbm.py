"""Pretraining as a stack of RBMs, `initialisation: {kind: rbm}`: its settings, and those of the run of one layer."""

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Lt, MinLen

from unisono.config.markers import Kinds, Section, Shapes, Unit
from unisono.config.parallel import Bmuf, Gossip, Mean, Ramp, Workers
from unisono.config.transform import Spliced

Rate = Annotated[float, Gt(0), Unit("per mean gradient")]


@dataclass(frozen=True, kw_only=True)
class GaussianLayer(Section):
    """The first RBM, whose visible units are the input."""

    learning_rate: Rate = 0.01
    """Rate of the Gaussian RBM; never multiplied by the number of workers."""
    epochs: Annotated[int, Ge(1), Unit("epochs")] = 2
    """Passes over the training frames; the program published with Su and Chen (2015) makes one where it should make two."""  # noqa: E501


@dataclass(frozen=True, kw_only=True)
class BernoulliLayer(Section):
    """Each RBM above the first."""

    learning_rate: Rate = 0.4
    """Rate of a Bernoulli RBM; never multiplied by the number of workers."""
    epochs: Annotated[int, Ge(1), Unit("epochs")] = 1
    """Passes over the training frames."""


@dataclass(frozen=True, kw_only=True)
class RbmMomentum(Section):
    """Momentum, and with it the rate: the step is rate x (1 - momentum)."""

    initial: Annotated[float, Ge(0), Lt(1)] = 0.5
    """Momentum of the first frames."""
    final: Annotated[float, Ge(0), Lt(1)] = 0.9
    """Momentum after the ramp."""
    steps: Annotated[int, Ge(1)] = 40
    """Equal steps from the one to the other."""
    ramp_frames: Annotated[int, Ge(1), Unit("frames")] = 20_000_000
    """Frames that the ramp takes; a small corpus wants fewer, a fifth of an epoch for the share of Su and Chen (2015)."""  # noqa: E501
    ramp: Literal["global", "local"] = "global"
    """Whose frames count for the ramp: those of all workers, or a worker's own, as in the published program."""
    final_at_once: bool = False
    """Momentum is final from the first minibatch on while the rate follows the ramp: the default of the published program."""  # noqa: E501


@dataclass(frozen=True, kw_only=True)
class RbmParallel(Section):
    """How the workers pretrain one layer; the engine is that of the run."""

    workers: Annotated[Workers | Ramp, Shapes()] = 1
    """Workers at once, or {initial, final} for a number that grows."""
    combine: Annotated[Mean | Bmuf | Gossip, Kinds("mean")] = Mean(kind="mean")
    """What becomes of the workers' RBMs after each iteration."""
    average: bool = True
    """false: utterances are dealt to the workers and only the first one's share is trained on, as in the published program, whose workers exchange nothing."""  # noqa: E501
    period_frames: Annotated[int, Ge(1), Unit("frames")] = 10_000
    """Frames that each worker should read between two combinations."""
    dealing: Literal["rotating", "fixed"] = "rotating"
    """rotating: slices of a common order go round; fixed: each worker keeps its own utterances."""
    carry_state: Literal["reset", "carry", "average"] = "carry"
    """Momentum at a combination. reset: starts afresh; carry: each worker keeps its own; average: becomes the workers' mean."""  # noqa: E501


@dataclass(frozen=True, kw_only=True)
class RbmTraining(Section):
    """What the RBMs of all layers have."""

    minibatch: Annotated[int, Ge(1), Unit("frames")] = 100
    """Frames of a minibatch."""
    cd_steps: Annotated[int, Ge(1)] = 1
    """Steps of the chain of contrastive divergence."""
    visible: Literal["probabilities", "sample"] = "probabilities"
    """What the chain goes back to: means, or samples, with which it approaches the gradient of the likelihood as its steps grow."""  # noqa: E501
    weight_decay: Annotated[float, Ge(0)] = 0.0002
    """Decay of the weights (not biases), times the actual rate."""
    momentum: RbmMomentum = RbmMomentum()
    """Momentum, and with it the rate: the step is rate x (1 - momentum)."""


@dataclass(frozen=True, kw_only=True)
class RbmStart(RbmTraining):
    """A stack of RBMs, trained layer by layer on the same frames; for sigmoid layers (docs/mathematics.md 6.5)."""

    kind: Literal["rbm"]
    """A stack of RBMs, trained layer by layer on the same frames; for sigmoid layers (docs/mathematics.md 6.5)."""
    gaussian: GaussianLayer = GaussianLayer()
    """The first RBM, whose visible units are the input."""
    bernoulli: BernoulliLayer = BernoulliLayer()
    """Each RBM above the first."""
    parallel: RbmParallel = RbmParallel()
    """How the workers pretrain one layer; the engine is that of the run."""


@dataclass(frozen=True, kw_only=True)
class RbmNetwork(Spliced):
    """The RBM of one layer, the network of a derived run; no config has it.

    widths: of the layers up to it, the last one its own. below: the run of the layer below, empty for the first.
    """

    kind: Literal["rbm"]
    """The RBM of one layer."""
    widths: Annotated[tuple[Annotated[int, Ge(1)], ...], MinLen(1), Unit("units")]
    """Widths of the layers up to it."""
    below: str = ""
    """The run of the layer below."""
    cd_steps: int = 1
    """Steps of the chain."""
    visible: Literal["probabilities", "sample"] = "probabilities"
    """What the chain goes back to."""

    @property
    def layer(self) -> int:
        """Which layer, from 1."""
        return len(self.widths)

    def weights(self, feature_dim: int, num_pdfs: int) -> int:
        """Return the number of weights."""
        visible, hidden = [feature_dim * self.unit.frames, *self.widths][-2:]
        return (visible + 1) * hidden + visible

    @property
    def units(self) -> Literal["gaussian", "bernoulli"]:
        """The kind of its visible units."""
        return "gaussian" if self.layer == 1 else "bernoulli"


@dataclass(frozen=True, kw_only=True)
class ContrastiveDivergence(Section):
    """The updater of a derived run; see `RbmTraining`."""

    kind: Literal["cd"]
    """Contrastive divergence."""
    learning_rate: Rate
    """Rate."""
    minibatch: int
    """Frames of a minibatch."""
    weight_decay: float
    """Decay of the weights."""
    ramp: RbmMomentum
    """Momentum over the frames."""

    @property
    def momentum(self) -> float:
        """The largest momentum; above 0 there is a buffer to be averaged."""
        return max(self.ramp.initial, self.ramp.final)
