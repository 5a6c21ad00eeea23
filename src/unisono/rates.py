"""Learning rates over a run (docs/mathematics.md 6.6). Rates are per summed gradient, as in Kaldi.

The rate that a worker uses is `base x workers x scale`: the base of the schedule, the number of workers where the
combine rule wants it (a mean of N models takes an N-fold rate, block momentum does not; docs/mathematics.md 6.3), and
the scale that back-off leaves behind. `progress` is the fraction of the run's frames that lie before an iteration.
"""

import math
from dataclasses import dataclass
from typing import Any, Literal

from unisono.errors import UserError

GOSSIP = ("butterfly", "ring", "hopping_ring")
SCALED_RULES = ("mean", *GOSSIP)


@dataclass(frozen=True, kw_only=True, slots=True)
class NewbobOptions:
    """When newbob halves and ends: relative gains of the dev objective, and the factor of the rate."""

    start: float
    stop: float
    factor: float


@dataclass(frozen=True, kw_only=True, slots=True)
class ScheduleOptions:
    """The config's `schedule`; what a kind does not name it does not read."""

    kind: Literal["exponential", "fixed", "polynomial", "newbob"]
    epochs: int | None
    iterations: int | None
    final_learning_rate: float | None
    per: Literal["iteration", "epoch"]
    constant_epochs: int
    power: float
    learning_rates: tuple[float, ...] | None
    newbob: NewbobOptions


def check_schedule(options: ScheduleOptions, learning_rate: float) -> None:
    """Raise UserError naming the first key of `schedule` that makes no sense."""
    if (options.epochs is None) == (options.iterations is None):
        raise UserError("schedule: give either epochs or iterations, and null for the other")
    if (options.epochs or options.iterations or 0) < 1:
        raise UserError("schedule: epochs and iterations must be at least 1")
    if learning_rate <= 0:
        raise UserError(f"optimiser.learning_rate: {learning_rate} must be above 0")
    if options.kind in ("exponential", "polynomial") and not (options.final_learning_rate or 0) > 0:
        raise UserError(f"schedule.final_learning_rate: {options.kind} needs a rate above 0")
    if options.kind == "polynomial" and (options.final_learning_rate or 0) > learning_rate:
        raise UserError(
            "schedule.final_learning_rate: polynomial rates fall: it must not exceed optimiser.learning_rate"
        )
    if options.kind == "polynomial" and options.power <= 0:
        raise UserError(f"schedule.power: {options.power} must be above 0")
    if options.kind == "fixed" and options.learning_rates is not None and not _positive(options.learning_rates):
        raise UserError("schedule.learning_rates: give at least one rate, each above 0, or null")
    if options.constant_epochs and not 0 < options.constant_epochs < (options.epochs or 0):
        raise UserError("schedule.constant_epochs: must be below schedule.epochs (and 0 with schedule.iterations)")
    if options.kind == "newbob" and options.epochs is None:
        raise UserError(
            "schedule.iterations: newbob decides at the end of an epoch: give schedule.epochs, the most it may take"
        )


def base_rate(
    options: ScheduleOptions, learning_rate: float, *, epoch: int, progress: float, is_last: bool, newbob_rate: float
) -> float:
    """Return the rate before scaling by workers.

    exponential: r0 (rf / r0)^p, the last iteration at rf (Kaldi's get_learning_rate); with `per: epoch`, p = e/(E-1).
    polynomial: r0 / (1 + ((r0/rf)^(1/c) - 1) p)^c, docs/mathematics.md 6.4 with `a` such that it ends at rf.
    fixed: the epoch's rate, the last one kept. newbob: what the dev objective has left (`newbob_rate`).
    """
    if options.kind == "newbob":
        return newbob_rate
    if options.kind == "fixed":
        rates = options.learning_rates or (learning_rate,)
        return rates[min(epoch, len(rates) - 1)]
    final = float(options.final_learning_rate or learning_rate)
    if options.epochs is not None:
        falling = options.epochs - options.constant_epochs
        if options.per == "epoch" and options.kind == "exponential":
            progress = epoch / max(1, falling - 1)
        else:
            progress = progress * options.epochs / falling
    if progress >= 1.0 or (is_last and progress > 0.0):
        return final
    if options.kind == "exponential":
        return learning_rate * (final / learning_rate) ** progress
    fall = (learning_rate / final) ** (1 / options.power) - 1
    return learning_rate / (1 + fall * progress) ** options.power


def scales_with_workers(value: bool | str, rule: str) -> bool:
    """Say whether the base rate is multiplied by the number of workers: `auto` follows the combine rule."""
    return rule in SCALED_RULES if value == "auto" else bool(value)


def newbob_start(learning_rate: float) -> dict[str, Any]:
    """Return newbob's state before the first epoch."""
    return {"rate": learning_rate, "halving": False, "best": None}


def newbob_step(options: NewbobOptions, state: dict[str, Any], objective: float) -> tuple[dict[str, Any], bool, bool]:
    """Judge one epoch by the dev objective (mean log-probability, higher is better; docs/mathematics.md 6.6).

    With loss = -objective: rel = (best - loss) / best, 0 after a rejection; below `start` halving begins, once it
    is on a gain below `stop` ends the run; while it is on the rate is multiplied by `factor` after each epoch.
    An objective that is not finite is never accepted.
    Returns the new state, whether the epoch is accepted (else the best model so far returns) and whether to stop.
    """
    best = state["best"]
    accepted = math.isfinite(objective) and (best is None or objective > best)
    gain = 1.0 if best is None else max(0.0, (objective - best) / abs(best)) if best else 0.0
    stop = bool(state["halving"]) and gain < options.stop
    halving = bool(state["halving"]) or gain < options.start
    rate = state["rate"] * (options.factor if halving else 1.0)
    return {"rate": rate, "halving": halving, "best": objective if accepted else best}, accepted, stop


def _positive(values: tuple[float, ...]) -> bool:
    return len(values) > 0 and min(values) > 0
