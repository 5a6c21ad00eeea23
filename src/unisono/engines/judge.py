"""Which workers take part in a combination, decided by their records alone, so in the same way by every engine."""

import dataclasses
import logging
import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

from unisono.config.parallel import Bmuf, Mean
from unisono.config.run import Run
from unisono.core import average
from unisono.engines.records import Outcome, Record
from unisono.schedule import Iteration

logger = logging.getLogger("unisono.combine")


class Verdict(NamedTuple):
    """What becomes of the records, in their order. chosen: the best one where that is kept; reasons: empty if accepted.

    weights: of the models in the mean; 0 leaves out. push: a server takes in each for itself.
    """

    kind: Literal["best", "combine", "none", "push"]
    accepted: tuple[bool, ...]
    weights: tuple[float, ...]
    reasons: tuple[str, ...]
    chosen: int


def decide(
    run: Run, iteration: Iteration, records: Sequence[Record], *, equal: bool, recent: Sequence[Outcome] = ()
) -> Verdict:
    """Judge what arrived. equal: the combine rule wants equal weights, whatever the config says (gossip).

    recent: what a server judged just before, with which it compares, too.
    A worker is left out if its parameters or objective are not finite, or its objective is more than
    `parallel.reject_below` under the best (slices of at least 10 minibatches).
    """
    earlier = [outcome for outcome in recent if not outcome.rejected]
    known = [*earlier, *records]
    objectives = [record.objective for record in known]
    accepted = average.accept(objectives, [r.finite for r in known], [r.minibatches for r in known], run.reject_below)
    best = max((o for o, good in zip(objectives, accepted, strict=True) if good), default=math.nan)
    accepted, objectives = accepted[len(earlier) :], objectives[len(earlier) :]
    reasons = tuple(_reason(r, best) if not good else "" for r, good in zip(records, accepted, strict=True))
    if run.parallel.served:
        return Verdict("push", tuple(accepted), tuple(map(float, accepted)), reasons, -1)
    if not any(accepted):
        return Verdict("none", tuple(accepted), (0.0,) * len(records), reasons, -1)
    if iteration.best:
        chosen = next(i for i, good in enumerate(accepted) if good and objectives[i] == best)
        return Verdict("best", tuple(accepted), tuple(float(i == chosen) for i in range(len(records))), reasons, chosen)
    combine = run.parallel.combine
    kind = combine.weights if isinstance(combine, Mean | Bmuf) and not equal else "equal"
    weights = average.weights_of([record.frames for record in records], kind, accepted)
    return Verdict("combine", tuple(accepted), tuple(weights), reasons, -1)


def outcomes(verdict: Verdict, records: Sequence[Record], staleness: int = 0) -> tuple[Outcome, ...]:
    """Return what became of each record; its frames are either seen or discarded. Names in the log who is left out."""
    found = []
    for index, record in enumerate(records):
        accepted, reason = verdict.accepted[index], verdict.reasons[index]
        counted = index == verdict.chosen if verdict.kind == "best" else accepted or verdict.kind == "none"
        if reason:
            logger.warning("iteration %d: worker %d left out: %s", record.iteration, record.worker, reason)
        discarded = 0 if counted else record.frames
        values = {field.name: getattr(record, field.name) for field in dataclasses.fields(Record)}
        fate = {"rejected": not accepted, "reason": reason, "discarded": discarded, "staleness": staleness}
        found.append(Outcome(**values, **fate))
    return tuple(found)


def _reason(record: Record, best: float) -> str:
    if not (record.finite and math.isfinite(record.objective)):
        return "parameters or objective are not finite"
    return f"objective {record.objective:.4f} is {best - record.objective:.4f} below the best worker's"
