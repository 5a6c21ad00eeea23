"""The section `schedule`: how long training takes and how the rate moves (docs/mathematics.md 6.6)."""

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Lt, MinLen

from unisono.config.markers import Kinds, Section, Unit

Rate = Annotated[float, Gt(0), Unit("per summed gradient")]


@dataclass(frozen=True, kw_only=True)
class Length(Section):
    """What every schedule has."""

    epochs: Annotated[int, Ge(1), Unit("epochs")] | None = 4
    """Passes over the training frames; null with iterations."""
    iterations: Annotated[int, Ge(1), Unit("iterations")] | None = None
    """Number of combinations in place of epochs; the workflow's graph is then known from the start."""
    warm_up_frames: Annotated[int, Ge(0), Unit("frames")] = 0
    """First frames of all workers, over which the rate rises linearly to what the schedule says; 0: none."""


@dataclass(frozen=True, kw_only=True)
class Falling(Length):
    """What schedules have that fall to a final rate."""

    final_learning_rate: Rate = 0.00005
    """Last effective learning rate."""
    constant_epochs: Annotated[int, Ge(0), Unit("epochs")] = 0
    """Last epochs at the final rate."""


@dataclass(frozen=True, kw_only=True)
class Exponential(Falling):
    """Falls by the same factor from step to step."""

    kind: Literal["exponential"]
    """Falls by the same factor from step to step."""
    per: Literal["iteration", "epoch"] = "iteration"
    """When the rate moves."""


@dataclass(frozen=True, kw_only=True)
class Polynomial(Falling):
    """Falls as a power of the frames read."""

    kind: Literal["polynomial"]
    """Falls as a power of the frames read."""
    power: Annotated[float, Gt(0)] = 0.75
    """Power of the polynomial."""


@dataclass(frozen=True, kw_only=True)
class Decaying(Length):
    """Falls as a power of the minibatches read, from minibatch to minibatch; it needs no end."""

    kind: Literal["decaying"]
    """Falls as a power of the minibatches read, from minibatch to minibatch; it needs no end."""
    decay: Annotated[float, Gt(0), Unit("per minibatch")] = 0.001
    """How fast: after t minibatches of all workers together the rate is divided by (1 + decay t)^power."""
    power: Annotated[float, Gt(0)] = 0.75
    """Power of the fall."""


@dataclass(frozen=True, kw_only=True)
class Fixed(Length):
    """Given rates."""

    kind: Literal["fixed"]
    """Given rates."""
    learning_rates: Annotated[tuple[Rate, ...], MinLen(1)] | None = None
    """One rate per epoch, the last kept; null: optimiser.learning_rate throughout."""


@dataclass(frozen=True, kw_only=True)
class NewbobOptions(Section):
    """Halving by the dev set."""

    start: Annotated[float, Ge(0), Unit("fraction")] = 0.01
    """Relative gain of the dev objective below which the rate begins to fall."""
    stop: Annotated[float, Ge(0), Unit("fraction")] = 0.001
    """Relative gain below which training ends."""
    factor: Annotated[float, Gt(0), Lt(1)] = 0.5
    """Factor of the rate."""
    resume_anneal: bool = False
    """Whether each epoch decides again if the rate falls; false: once it falls it falls after every epoch."""


@dataclass(frozen=True, kw_only=True)
class Newbob(Length):
    """Halves as the dev set asks."""

    kind: Literal["newbob"]
    """Halves as the dev set asks."""
    newbob: NewbobOptions = NewbobOptions()
    """Halving by the dev set."""


ScheduleOptions = Annotated[Exponential | Fixed | Polynomial | Decaying | Newbob, Kinds("exponential")]
