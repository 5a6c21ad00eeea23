"""Which workers take part in a combination, decided by their stats alone, and what is written down about each."""

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from unisono.config.parallel import Gossip
from unisono.core import average
from unisono.engines.run import Run
from unisono.engines.worker import Stats
from unisono.schedule import Iteration

logger = logging.getLogger("unisono.combine")


@dataclass(frozen=True, slots=True)
class Decision:
    """What becomes of the workers. chosen: the best worker where it is kept; reasons: empty for the accepted."""

    kind: Literal["best", "combine", "backoff"]
    accepted: tuple[bool, ...]
    weights: tuple[float, ...]
    reasons: tuple[str, ...]
    chosen: int


def decide(run: Run, iteration: Iteration, stats: Sequence[Stats]) -> Decision:
    """Judge the workers by their stats alone, so that every engine comes to the same decision.

    A worker is left out if its parameters or objective are not finite, or its objective is more than
    `parallel.reject_below` under the best (slices of at least 10 minibatches).
    """
    limit = run.parallel.reject_below
    objectives = [item.objective for item in stats]
    accepted = average.accept(objectives, [s.finite for s in stats], [s.minibatches for s in stats], limit)
    best = max((o for o, good in zip(objectives, accepted, strict=True) if good), default=math.nan)
    reasons = tuple(_reason(s, best) if not good else "" for s, good in zip(stats, accepted, strict=True))
    if not any(accepted):
        return Decision("backoff", tuple(accepted), (0.0,) * len(stats), reasons, -1)
    if iteration.best:
        chosen = next(i for i, good in enumerate(accepted) if good and objectives[i] == best)
        return Decision("best", tuple(accepted), tuple(float(i == chosen) for i in range(len(stats))), reasons, chosen)
    options = run.parallel.combine
    weighing = "equal" if isinstance(options, Gossip) else options.weights
    weights = average.weights_of([s.frames for s in stats], weighing, accepted)
    return Decision("combine", tuple(accepted), tuple(weights), reasons, -1)


def records(decision: Decision, stats: Sequence[Stats], rate: float | None) -> tuple[dict[str, Any], ...]:
    """Return what each worker did at `rate`, for metrics and ledger; the frames are either seen or discarded."""
    found = []
    for item, accepted, reason in zip(stats, decision.accepted, decision.reasons, strict=True):
        if decision.kind == "best":
            counted = item.worker == decision.chosen
        else:
            counted = accepted or decision.kind == "backoff"
        objective = item.objective if math.isfinite(item.objective) else None
        found.append(
            {
                "worker": item.worker, "frames": item.frames, "minibatches": item.minibatches, "objective": objective,
                "frame_accuracy": item.correct / item.frames if item.frames else None,
                "limited": item.limited / item.minibatches if item.minibatches else None,
                "learning_rate": rate, "rejected": not accepted, "reason": reason,
                "discarded": 0 if counted else item.frames,
                "seconds_start": item.seconds_start, "seconds_load": item.seconds_load,
                "seconds_compute": item.seconds_compute, "seconds_wait": item.seconds_wait,
                "seconds_write": item.seconds_write, "device": item.device,
            }
        )  # fmt: skip
    return tuple(found)


def _reason(stats: Stats, best: float) -> str:
    if not (stats.finite and math.isfinite(stats.objective)):
        return "parameters or objective are not finite"
    return f"objective {stats.objective:.4f} is {best - stats.objective:.4f} below the best worker's"


def log(iteration: Iteration, decision: Decision, stats: Sequence[Stats]) -> None:
    """Name the workers that are left out, and why."""
    for item, reason in zip(stats, decision.reasons, strict=True):
        if reason:
            logger.warning("iteration %d: worker %d left out: %s", iteration.iteration, item.worker, reason)
    if decision.kind == "backoff":
        line = "iteration %d: no worker is left: the model stays, the rate is halved for the rest"
        logger.warning(line, iteration.iteration)
