"""The end of an iteration: back-off, diagnostics, newbob and the best model, observers, the next rate."""

import logging
import math
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from torch import Tensor

from unisono.config.run import Run
from unisono.core import observers
from unisono.engines.evaluate import Evaluates
from unisono.engines.records import Outcome
from unisono.engines.session import Session
from unisono.engines.state import State
from unisono.engines.store import Held, Vectors, known
from unisono.errors import UserError
from unisono.rates import base_rate, newbob_step, scales_with_workers, warm_up
from unisono.schedule import Iteration, Plan

logger = logging.getLogger("unisono.combine")


def end(
    session: Session, iteration: Iteration, before: Vectors, after: Held, state: State, evaluator: Evaluates | None
) -> tuple[Held, State]:
    """End an iteration whose slices have all arrived.

    before: what the iteration began with, as far as it is still there. after: what its last combination made. state:
    after that combination, still of the iteration before. evaluator: see `step.advance`.
    """
    run, plan, number = session.run, session.plan, iteration.iteration
    done = state.arrived
    served = run.parallel.served
    failed = not served and all(outcome.rejected for outcome in done)
    if not served:
        state = _backed_off(run, number, state, done, failed)
    state = replace(state, iteration=number, workers=done, arrived=())
    if state.best is not None:
        after.put("best", before.take(known(before, "best")))
    ends = iteration.end_of_epoch or plan.is_last(number)  # a run of n iterations may end within an epoch
    begun = time.perf_counter()
    found = evaluator.evaluate(after.view("model"), iteration=number, whole_dev=ends) if evaluator else None
    seconds = {"evaluate": time.perf_counter() - begun if evaluator else None}
    state = replace(state, diagnostics=found, seconds=seconds)
    if ends and run.keeps_best:
        if found is None:
            raise ValueError("the end of an epoch is to be judged, and nobody evaluates the model")
        after, state = _end_epoch(session, after, state, found["objective_dev_full"])
    if ends and run.parallel.carry_state == "epoch" and not plan.is_last(number):
        state = replace(state, fresh=tuple(range(plan.iterations[number + 1].workers)), shared=False)
    if not served:
        state = observe(session, before, after, state, combined(plan, number), moves=not iteration.best, stays=failed)
    rate = None if state.stop else next_rate(run, plan, number, state.rate_scale, state.newbob)
    return after, replace(state, learning_rate=rate)


def anew(session: Session, model: Tensor, workers: int) -> Held:
    """Return vectors that begin with a model: rule and observers know of nothing before."""
    rule = {f"rule.{name}": vector for name, vector in session.rule(workers).init(model).items()}
    return Held({"model": model, "start": model, **rule, **{f"observer.{name}": model for name in session.observers}})


def next_rate(run: Run, plan: Plan, iteration: int, scale: float, newbob: dict[str, Any] | None) -> float | None:
    """Return a worker's rate in the iteration after `iteration`, None where there is none."""
    if plan.is_last(iteration):
        return None
    after = plan.iterations[iteration + 1]
    rate = base_rate(
        run.schedule,
        run.optimiser.learning_rate,
        epoch=after.epoch,
        progress=after.progress,
        is_last=plan.is_last(iteration + 1),
        newbob_rate=newbob["rate"] if newbob else 0.0,
    )
    scales = scales_with_workers(run.parallel.scale_rate_with_workers, run.parallel.combine.kind)
    warming = run.schedule.warm_up_frames
    factor = warm_up(warming, *plan.span(iteration + 1)) if warming else 1.0
    return rate * (after.workers if scales else 1) * scale * factor


def _backed_off(run: Run, number: int, state: State, done: Sequence[Outcome], failed: bool) -> State:
    """Return the state with half the rate where all workers were rejected. Raises UserError if that is too often."""
    if not failed:
        return replace(state, backoffs=0)
    logger.warning("iteration %d: no worker is left: the model stays, the rate is halved for the rest", number)
    backoffs = state.backoffs + 1
    if backoffs > run.parallel.max_backoffs:
        raise UserError(
            f"iteration {number}: all workers were rejected {backoffs} times in a row ({done[-1].reason}):"
            " lower optimiser.learning_rate, or look at the data"
        )
    return replace(state, backoffs=backoffs, rate_scale=state.rate_scale * 0.5)


def refused(run: Run, state: State, iteration: Iteration, accepted: bool) -> State:
    """Return the state after a verdict on a push: N refused in a row halve the rate, as all workers of an iteration do.

    Raises UserError if that is too often.
    """
    if accepted:
        return replace(state, refused=0, backoffs=0)
    state, workers = replace(state, refused=state.refused + 1), iteration.workers
    if state.refused % workers:
        return state
    return _backed_off(run, iteration.iteration, state, state.arrived, failed=True)


def _end_epoch(session: Session, after: Held, state: State, objective: float | None) -> tuple[Held, State]:
    """Let newbob judge the epoch, and keep the best model so far: both by the objective on the whole of dev."""
    objective = -math.inf if objective is None else objective
    schedule = session.run.schedule
    if schedule.kind == "newbob":
        newbob, kept, stop = newbob_step(schedule.newbob, state.newbob or {}, objective)
        state = replace(state, newbob=newbob, stop=stop)
        if not kept and state.best is not None:
            after, state = _back_to_best(session, after, state)
    is_best = state.best is None or objective > state.best["objective"]
    if is_best and math.isfinite(objective):
        after.put("best", after.view("model"))
        state = replace(state, best={"iteration": state.iteration, "objective": objective})
    return after, state


def _back_to_best(session: Session, after: Held, state: State) -> tuple[Held, State]:
    """Restore the best model; every worker restarts from it with a fresh optimiser."""
    logger.info("iteration %d: dev objective did not rise: back to the best model", state.iteration)
    workers = session.plan.iterations[state.iteration].workers
    best = after.take("best")
    after = anew(session, best, workers)
    after.put("best", best)
    return after, replace(state, shared=False, fresh=tuple(range(workers)))


class Moment(NamedTuple):
    """Where a run is when observers look: the part of its frames that is done, combinations in all and still left."""

    progress: float
    combinations: int
    left: int


def combined(plan: Plan, iteration: int) -> Moment:
    """Return the end of an iteration whose workers waited for each other."""
    progress = 1.0 if plan.is_last(iteration) else plan.iterations[iteration + 1].progress
    return Moment(progress, len(plan.iterations), len(plan.iterations) - 1 - iteration)


def pushed(plan: Plan, judged: int) -> Moment:
    """Return the moment after so many pushes to a server; each counts as one combination."""
    workers = plan.iterations[0].workers
    number, slices = divmod(judged, workers)
    combinations = len(plan.iterations) * workers
    if judged == combinations:
        return Moment(1.0, combinations, 0)
    begin = plan.iterations[number].progress
    end = 1.0 if plan.is_last(number) else plan.iterations[number + 1].progress
    return Moment(begin + (end - begin) * slices / workers, combinations, combinations - judged)


def observe(
    session: Session, before: Vectors, after: Held, state: State, moment: Moment, *, moves: bool, stays: bool
) -> State:
    """Move the observers on, and count the models that each has seen; before its start an observer is the model.

    moves: not where the best worker was kept, from which they start. stays: no worker was accepted.
    """
    observed = dict(state.observed)
    model = after.view("model")
    for name, options in session.run.observers.items():
        key = f"observer.{name}"
        if stays:
            after.put(key, before.take(known(before, key)))
        elif moves and options.moves(moment.progress, moment.left):
            observed[name] = observed.get(name, 0) + 1
            weight = options.weight(observed[name], moment.combinations)
            after.put(key, observers.move(before.take(known(before, key)), model, weight))
        else:
            after.put(key, model)
    return replace(state, observed=observed)
