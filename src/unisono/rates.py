"""Learning rates over a run (docs/mathematics.md 6.6). Rates are per summed gradient, as in Kaldi.

The rate that a worker uses is `base x workers x scale`: the base of the schedule, the number of workers where the
combine rule wants it (a mean of N models takes an N-fold rate, block momentum does not; docs/mathematics.md 6.3), and
the scale that back-off leaves behind; a warm-up multiplies it once more. `progress` is the fraction of the run's frames
that lie before an iteration.
"""

import math
from typing import Any, NamedTuple

from unisono.config.schedule import NewbobOptions, ScheduleOptions

GOSSIP = ("butterfly", "ring", "hopping_ring")
SCALED_RULES = ("mean", *GOSSIP)


def base_rate(
    options: ScheduleOptions, learning_rate: float, *, epoch: int, progress: float, is_last: bool, newbob_rate: float
) -> float:
    """Return the rate before scaling by workers.

    exponential: r0 (rf / r0)^p, the last iteration at rf (Kaldi's get_learning_rate); with `per: epoch`, p = e/(E-1).
    polynomial: r0 / (1 + ((r0/rf)^(1/c) - 1) p)^c, docs/mathematics.md 6.4 with `a` such that it ends at rf.
    fixed: the epoch's rate, the last one kept. newbob: what the dev objective has left (`newbob_rate`).
    decaying: r0, of which each minibatch takes its share (`Decay`).
    """
    if options.kind == "newbob":
        return newbob_rate
    if options.kind == "fixed":
        rates = options.learning_rates or (learning_rate,)
        return rates[min(epoch, len(rates) - 1)]
    if options.kind == "decaying":
        return learning_rate
    final = options.final_learning_rate
    if options.epochs is not None:
        falling = options.epochs - options.constant_epochs
        if options.kind == "exponential" and options.per == "epoch":
            progress = epoch / max(1, falling - 1)
        else:
            progress = progress * options.epochs / falling
    if progress >= 1.0 or (is_last and progress > 0.0):
        return final
    if options.kind == "exponential":
        return learning_rate * (final / learning_rate) ** progress
    fall = (learning_rate / final) ** (1 / options.power) - 1
    return learning_rate / (1 + fall * progress) ** options.power


def warm_up(frames: int, begin: int, end: int) -> float:
    """Return the factor of an iteration that reads frames [begin, end) of the run: the mean of min(1, f / frames).

    So whatever the length of an iteration is, the rates add up to those of a rate that rises from frame to frame.
    """
    if begin >= frames:
        return 1.0

    def area(f: int) -> float:
        return f * f / (2 * frames) if f < frames else f - frames / 2

    return (area(end) - area(begin)) / (end - begin)


class Decay(NamedTuple):
    """A rate that falls from minibatch to minibatch: 1 / (1 + per_minibatch t)^power (docs/mathematics.md 6.4).

    before: minibatches of the plan before this slice.
    """

    before: int
    per_minibatch: float
    power: float

    def share(self, minibatches: int) -> float:
        """Return the share of the base rate after so many minibatches of the slice."""
        return 1.0 / (1.0 + self.per_minibatch * (self.before + minibatches)) ** self.power


def scales_with_workers(value: bool | str, rule: str) -> bool:
    """Say whether the base rate is multiplied by the number of workers: `auto` follows the combine rule."""
    return rule in SCALED_RULES if value == "auto" else bool(value)


def newbob_start(learning_rate: float) -> dict[str, Any]:
    """Return newbob's state before the first epoch."""
    return {"rate": learning_rate, "halving": False, "best": None}


def newbob_step(options: NewbobOptions, state: dict[str, Any], objective: float) -> tuple[dict[str, Any], bool, bool]:
    """Judge one epoch by the dev objective (mean log-probability, higher is better; docs/mathematics.md 6.6).

    With loss = -objective: rel = (best - loss) / best, 0 after a rejection; below `start` halving begins, once it
    is on a gain below `stop` ends the run; while it is on the rate is multiplied by `factor` after each epoch. With
    `resume_anneal` it is on only after an epoch whose gain was below `start`.
    An objective that is not finite is never accepted.
    Returns the new state, whether the epoch is accepted (else the best model so far returns) and whether to stop.
    """
    best = state["best"]
    accepted = math.isfinite(objective) and (best is None or objective > best)
    gain = 1.0 if best is None else max(0.0, (objective - best) / abs(best)) if best else 0.0
    stop = bool(state["halving"]) and gain < options.stop
    halving = (bool(state["halving"]) and not options.resume_anneal) or gain < options.start
    rate = state["rate"] * (options.factor if halving else 1.0)
    return {"rate": rate, "halving": halving, "best": objective if accepted else best}, accepted, stop
