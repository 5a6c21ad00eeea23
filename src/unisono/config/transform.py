"""The keys `transform` and `prior_power` of a network: constants that are estimated once and folded in at the end."""

import hashlib
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Le

from unisono.config.build import compact, identity
from unisono.config.markers import Kinds, Section, Unit
from unisono.units import TrainingUnit

Side = Annotated[int, Ge(0), Le(100)]


@dataclass(frozen=True, kw_only=True)
class NoTransform(Section):
    """Spliced frames as they are."""

    kind: Literal["none"]
    """Spliced frames as they are."""


@dataclass(frozen=True, kw_only=True)
class Normalise(Section):
    """Each dimension of the spliced frames to mean 0 and variance 1."""

    kind: Literal["normalise"]
    """Each dimension of the spliced frames to mean 0 and variance 1."""


@dataclass(frozen=True, kw_only=True)
class Lda(Section):
    """Kaldi's LDA-like transform of the spliced frames, without reduction of dimension."""

    kind: Literal["lda"]
    """Kaldi's LDA-like transform of the spliced frames, without reduction of dimension."""
    within_class_factor: Annotated[float, Gt(0)] = 0.0001
    """Least variance of a direction that tells no classes apart; 0.0001 as in nnet2's scripts, nnet3's have 0.001."""
    max_singular_value: Annotated[float, Ge(0)] = 5.0
    """Largest singular value of the transform; 0 for no limit."""


TransformOptions = Annotated[NoTransform | Normalise | Lda, Kinds("none")]


@dataclass(frozen=True, kw_only=True)
class Ended(Section):
    """What networks hold fixed at their two ends."""

    transform: TransformOptions = NoTransform(kind="none")
    """Fixed transform of the spliced frames, estimated on 200,000 training frames and folded into the first layer of the finished model."""  # noqa: E501
    prior_power: Annotated[float, Le(0)] = 0.0
    """Power of the pdfs' training counts that scales the input of the softmax (-0.25 in Povey et al. 2014), folded into the output layer of the finished model; 0: no scaling."""  # noqa: E501

    @property
    def neighbours(self) -> tuple[int, int]:
        """The frames to the left and to the right that each frame is spliced with."""
        return (0, 0)


@dataclass(frozen=True, kw_only=True)
class Spliced(Ended):
    """What networks on spliced frames have."""

    context: Annotated[tuple[Side, Side], Unit("frames")] = (5, 5)
    """Frames of context to the left and to the right."""

    @property
    def unit(self) -> TrainingUnit:
        """What is trained on at a time: a frame with its context."""
        return TrainingUnit(1, *self.context)

    @property
    def neighbours(self) -> tuple[int, int]:
        """The frames to the left and to the right that each frame is spliced with."""
        return self.context


# Keys of a network that its model file does not know: what they stand for is folded in.
FOLDED = ("transform", "prior_power")


@dataclass(frozen=True, kw_only=True)
class ConstantsOptions(Spliced):
    """What the constants of a network depend on beside the frames."""

    @property
    def told(self) -> str:
        """The options as JSON, for a command."""
        return compact(identity(self))

    @property
    def digest(self) -> str:
        """Twelve hexadecimal digits that name them."""
        return hashlib.sha256(self.told.encode()).hexdigest()[:12]


def without_constants(network: Any) -> Any:
    """Return a section `network` that takes frames as they are and scales nothing."""
    return replace(network, transform=NoTransform(kind="none"), prior_power=0.0) if constants_of(network) else network


def constants_of(network: Any) -> ConstantsOptions | None:
    """Return what the constants of a section `network` depend on; None where it has none."""
    if not isinstance(network, Ended) or (network.transform.kind == "none" and network.prior_power == 0.0):
        return None
    return ConstantsOptions(context=network.neighbours, transform=network.transform, prior_power=network.prior_power)
