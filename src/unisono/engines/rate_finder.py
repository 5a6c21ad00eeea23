"""Learning rates tried on a few thousand frames, each from the same start: what the rate finder measures.

Every worker of the run's first iteration trains the first frames of its slice with the run's optimiser; their models
are averaged, and the objective of the mean is what a rate is judged by. Nothing of this reaches a training.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from torch import Tensor

from unisono.core import average
from unisono.engines.comm import Alone
from unisono.engines.evaluate import Evaluator
from unisono.engines.session import Session
from unisono.engines.step import first
from unisono.errors import UserError
from unisono.rates import scales_with_workers


class Tried(NamedTuple):
    """What came of a rate; objective: dev, of the mean of the workers' models, None where a number is not finite."""

    rate: float
    objective: float | None


def grid(lowest: float, highest: float, steps: int) -> list[float]:
    """Return `steps` rates from lowest to highest, each the same factor above the one before.

    Raises UserError where there is no such grid.
    """
    if not 0 < lowest < highest or steps < 3:
        raise UserError(
            f"rates from {lowest:g} to {highest:g} in {steps} steps: give 0 < from < to and 3 steps or more"
        )
    return [lowest * (highest / lowest) ** (step / (steps - 1)) for step in range(steps)]


def try_rates(session: Session, start: Tensor, rates: Sequence[float], frames: int) -> Iterator[Tried]:
    """Yield what each rate makes of `start` [P] in `frames` frames of each worker, the config's rate as it stands."""
    evaluator = Evaluator(session, Alone())
    for rate in rates:
        yield Tried(rate, _objective(session, evaluator, _trained(session, start, rate, frames)))


def objective_of(session: Session, params: Tensor) -> float | None:
    """Return the dev objective of parameters [P]."""
    return _objective(session, Evaluator(session, Alone()), params)


def suggested(tried: Sequence[Tried], start: float | None) -> float | None:
    """Return half of the lowest rate that gains 90 % of what the best one gains over `start`; None where none gains.

    Where max-change limits most steps, higher rates gain nothing more; and few frames favour high rates, as the model
    is far from where a step of that size no longer helps.
    """
    known = [one for one in tried if one.objective is not None and start is not None and one.objective > start]
    best = max((one.objective or 0.0 for one in known), default=0.0)
    enough = [one.rate for one in known if (one.objective or 0.0) - (start or 0.0) >= 0.9 * (best - (start or 0.0))]
    return min(enough) / 2 if enough else None


def _trained(session: Session, start: Tensor, rate: float, frames: int) -> Tensor | None:
    """Return the mean of the workers' models, one worker at a time; None where a worker's is not finite."""
    _, state = first(session, start)
    parallel, iteration = session.run.parallel, session.plan.iterations[0]
    scaled = scales_with_workers(parallel.scale_rate_with_workers, parallel.combine.kind)
    total = average.RunningMean(session.layout_at(0).size)
    for number in range(iteration.workers):
        worker, task = session.worker(number), session.task(state, number)
        worker.params.copy_(start)
        units = max(1, frames // session.network.unit.width)
        part = task.part._replace(end=min(task.part.end, task.part.begin + units))
        task = task._replace(
            part=part, minibatch=session.plan.minibatch, max_change_scale=1.0,
            rate=rate * (iteration.workers if scaled else 1),
        )  # fmt: skip
        with session.loader() as loader:
            if not worker.run(task, loader).finite:
                return None
        total.add(worker.params, 1.0 / iteration.workers)
    return total.result()


def _objective(session: Session, evaluator: Evaluator, params: Tensor | None) -> float | None:
    if params is None:
        return None
    whole = not session.run.diagnostics.frames
    found = evaluator.evaluate(params, iteration=0, whole_dev=whole)
    return found["objective_dev_full" if whole else "objective_dev"]
