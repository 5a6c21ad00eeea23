"""The section `observers`: averages over the models of training that are kept aside, each by its name.

An observer is one section here and its kind in `ObserverOptions`: when it moves, and how much a model weighs in it.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from annotated_types import Ge, Gt, Le, Lt

from unisono.config.markers import NAME, Kinds, Section, Unit
from unisono.errors import UserError

if TYPE_CHECKING:
    from unisono.config.run import Run

RESERVED = ("last", "best", "combined")
Start = Annotated[float, Ge(0), Lt(1), Unit("fraction of the run")]


@dataclass(frozen=True, kw_only=True)
class Started(Section):
    """What observers have that begin at a fraction of the run."""

    start: Start = 0.25
    """Where it begins; before it equals the model."""

    def moves(self, progress: float, left: int) -> bool:
        """Say whether the observer takes a model in, or equals it.

        progress: fraction of the run's frames read. left: combinations that follow.
        """
        return progress > self.start


@dataclass(frozen=True, kw_only=True)
class EmaOptions(Started):
    """Exponential moving average (docs/mathematics.md 5.2)."""

    kind: Literal["ema"]
    """Exponential moving average."""
    decay: Annotated[float, Gt(0), Lt(1)] | None = None
    """Weight of the past at each combination; null: 0.9, or what window makes of it."""
    window: Annotated[float, Gt(0), Le(1), Unit("fraction of the run")] | None = None
    """Memory in place of decay: of a run of T combinations the decay is 1 - 1/(window T), at least 0."""

    def weight(self, count: int, combinations: int) -> float:
        """Return 1 - decay: a memory of 1/(1 - decay) combinations."""
        if self.window is not None:
            return min(1.0, 1.0 / (self.window * combinations))
        return 1.0 - (0.9 if self.decay is None else self.decay)


@dataclass(frozen=True, kw_only=True)
class PolyakOptions(Started):
    """Mean of all combined models."""

    kind: Literal["polyak"]
    """Mean of all combined models."""

    def weight(self, count: int, combinations: int) -> float:
        """Return 1/count: the mean of all (docs/mathematics.md 6.4)."""
        return 1.0 / count


@dataclass(frozen=True, kw_only=True)
class TailOptions(Section):
    """Mean of the last combined models: one vector, however many they are."""

    kind: Literal["tail"]
    """Mean of the last combined models."""
    combinations: Annotated[int, Ge(1), Unit("combinations")] = 20
    """How many combinations before the end of the run it begins; before it equals the model."""

    def moves(self, progress: float, left: int) -> bool:
        """Say whether the observer takes a model in: one of the last; `Started.moves` has the arguments."""
        return left < self.combinations

    def weight(self, count: int, combinations: int) -> float:
        """Return 1/count: the mean of all that were taken in."""
        return 1.0 / count


Observer = EmaOptions | PolyakOptions | TailOptions
ObserverOptions = dict[Annotated[str, NAME], Annotated[Observer, Kinds(None)]]


def check_models(run: "Run") -> None:
    """Refuse observers, a combination or a final model that make no sense: UserError, key and remedy."""
    for name, options in run.observers.items():
        where = f"observers.{name}"
        if name in RESERVED:
            raise UserError(f"{where}: {', '.join(RESERVED)} are models of their own: choose another name")
        if options.kind == "ema" and options.decay is not None and options.window is not None:
            raise UserError(f"{where}.window: stands in place of decay, which is given too: keep one")
        if options.kind == "tail" and run.schedule.kind == "newbob":
            raise UserError(
                f"{where}.kind: tail counts from the end of the plan, and newbob may end a run before: choose ema,"
                " polyak or another schedule.kind"
            )
    if run.combined and run.schedule.kind == "newbob":
        raise UserError(
            "combined: newbob may go back to an earlier model and end at any epoch: take away combined, or choose"
            " another schedule.kind"
        )
    if run.final_model not in run.candidates:
        key = "combined" if run.final_model == "combined" else f"observers.{run.final_model}"
        raise UserError(
            f"final_model: {run.final_model} needs {key}: give it (bare: {{}}) or choose one of"
            f" {', '.join(dict.fromkeys([*run.candidates, 'best']))}"
        )
