"""The end of an iteration, the same in every engine: judge the workers, combine, evaluate, decide how to go on."""

import hashlib
import logging
import math
import time
from collections.abc import MutableMapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

import torch
from torch import Tensor

from unisono.config.network import RandomStart
from unisono.core import observers
from unisono.engines.evaluate import Evaluator
from unisono.engines.growth import grown
from unisono.engines.judge import Decision, decide, log, records
from unisono.engines.rules import CombineRule, rule_for
from unisono.engines.run import Run, generator_for
from unisono.engines.state import Combined, State
from unisono.engines.worker import Stats
from unisono.errors import UserError
from unisono.nn.dnn import Dnn
from unisono.rates import base_rate, newbob_start, newbob_step, scales_with_workers
from unisono.schedule import Plan

logger = logging.getLogger("unisono.combine")
_GROWTH = 4  # purpose in the generator's key
_GONE = torch.empty(0)


class Models(Protocol):
    """The workers' results of one iteration, wherever they lie; vectors come as one's own, save from `meet`."""

    def mean(self, weights: Sequence[float]) -> Tensor:
        """Return the weighted mean of the models [P]: float64 in worker order, rounded once; weight 0 leaves out."""
        ...

    def one(self, worker: int) -> Tensor:
        """Return a worker's model [P]."""
        ...

    def optimiser_state(self, worker: int) -> dict[str, Tensor]:
        """Return a worker's optimiser state."""
        ...

    def mean_momentum(self, weights: Sequence[float]) -> Tensor | None:
        """Return the weighted mean of the workers' momentum [P], None where there is none."""
        ...

    def meet(self, partners: Sequence[int | None], taking_part: Sequence[bool]) -> MutableMapping[int, Tensor]:
        """Return for each worker that takes part half its own model plus half its partner's (None: its own).

        The last that is asked of them: vectors in memory become their workers' new parameters.
        """
        ...


def advance(
    run: Run,
    plan: Plan,
    previous: Combined,
    state: State,
    stats: Sequence[Stats],
    models: Models,
    evaluator: Evaluator,
    *,
    diagnose: bool = True,
) -> tuple[Combined, State]:
    """Combine one iteration's workers and return what the next one starts from.

    diagnose: look at the diagnostic frames. Without, the state says so (diagnostics: None), and they are looked at only
    where the next iteration needs it: at the end of an epoch where the best model is kept, as newbob does (judged).
    Collective where `models` and `evaluator` are: every rank calls it with the same arguments and gets the same, save
    that `starts` may hold a rank's own only. `previous` is used up: it lets go of its vectors as they are replaced.
    Raises UserError where all workers were rejected too often.
    """
    begun = time.perf_counter()
    iteration = plan.iterations[state.iteration + 1]
    number = iteration.iteration
    decision = decide(run, iteration, stats)
    log(iteration, decision, stats)
    combined, after = _combine(run, previous, _backed_off(run, number, state, decision), decision, models)
    ends = iteration.end_of_epoch or plan.is_last(number)  # a run of n iterations may end within an epoch
    judges = ends and run.keeps_best
    evaluating = time.perf_counter()
    found = evaluator.evaluate(combined.model, whole_dev=ends) if diagnose or judges else None
    evaluated = time.perf_counter() - evaluating
    said = {"diagnostics": found, "judged": None} if diagnose else {"diagnostics": None, "judged": found}
    after = replace(after, iteration=number, workers=records(decision, stats, state.learning_rate), **said)
    if judges and found:
        combined, after = _end_epoch(run, combined, after, found["objective_dev_full"])
    if decision.kind != "backoff":
        after = _observe(run, plan, previous, combined, after, decision)
    rate = None if after.stop else next_rate(run, plan, number, after.rate_scale, after.newbob)
    seconds = {"average": time.perf_counter() - begun - evaluated, "evaluate": evaluated}
    after = replace(after, learning_rate=rate, seconds=seconds)
    return _next_layout(run, plan, combined, after, evaluator.network)


def first_state(run: Run, plan: Plan, model: Tensor) -> tuple[Combined, State]:
    """Return what the first iteration starts from."""
    rule = rule_for(run.parallel.combine, plan.iterations[0].workers)
    combined = Combined(
        model=model, start=model, rule=rule.init(model), observers=dict.fromkeys(observer_names(run), model)
    )
    newbob = newbob_start(run.optimiser.learning_rate) if run.schedule.kind == "newbob" else None
    state = State(
        iteration=-1, learning_rate=next_rate(run, plan, -1, 1.0, newbob), rate_scale=1.0, backoffs=0, stop=False,
        turn=0, averaged=0, fresh=(), shared=False, best=None, newbob=newbob, diagnostics={}, workers=(), seconds={},
        initial=hashlib.sha256(model.numpy().tobytes()).hexdigest(),
    )  # fmt: skip
    return combined, state


def pass_on(state: State) -> State:
    """Return the state after an iteration that does nothing because the run has stopped."""
    return replace(state, iteration=state.iteration + 1, workers=(), seconds={}, diagnostics={}, judged=None)


def observer_names(run: Run) -> tuple[str, ...]:
    """Return the observers that the config turns on."""
    wanted = (("ema", run.observers.ema), ("polyak", run.observers.polyak))
    return tuple(name for name, options in wanted if options is not None)


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
    workers = (
        after.workers if scales_with_workers(run.parallel.scale_rate_with_workers, run.parallel.combine.kind) else 1
    )
    return rate * workers * scale


def _next_layout(run: Run, plan: Plan, combined: Combined, after: State, network: Dnn) -> tuple[Combined, State]:
    """Go over to the layout of the next iteration where it is another one."""
    number = after.iteration
    old, new = network.layout_at(number), network.layout_at(number + 1)
    if old == new or plan.is_last(number):
        return combined, after
    start = run.initialisation if run.initialisation.kind == "random" else RandomStart(kind="random")
    fresh = network.initial_parameters(start, generator_for(run.seed, _GROWTH, number))
    return grown(run, combined, after, old, new, fresh, plan.iterations[number + 1].workers)


def _backed_off(run: Run, number: int, state: State, decision: Decision) -> State:
    """Return the state with half the rate where all workers were rejected. Raises UserError if that is too often."""
    if decision.kind != "backoff":
        return replace(state, backoffs=0)
    backoffs = state.backoffs + 1
    if backoffs > run.parallel.max_backoffs:
        raise UserError(
            f"iteration {number}: all workers were rejected {backoffs} times in a row ({decision.reasons[0]}):"
            " lower optimiser.learning_rate, or look at the data"
        )
    return replace(state, backoffs=backoffs, rate_scale=state.rate_scale * 0.5)


def _combine(run: Run, previous: Combined, state: State, decision: Decision, models: Models) -> tuple[Combined, State]:
    """Return the combined vectors, and the state with what follows for the workers: turn, fresh, shared."""
    rule = rule_for(run.parallel.combine, len(decision.accepted))
    fresh = tuple(worker for worker, good in enumerate(decision.accepted) if not good)
    if decision.kind == "backoff":
        start = previous.start if rule.pattern == "sum" else previous.model
        combined = replace(previous, start=start, starts={}, optimiser={})
        return combined, replace(state, fresh=fresh, shared=False)
    if decision.kind == "best":
        shared = run.parallel.carry_state != "reset"
        model = models.one(decision.chosen)
        optimiser = models.optimiser_state(decision.chosen) if shared else {}
        seen = dict.fromkeys(previous.observers, model)
        combined = Combined(model=model, start=model, rule=rule.init(model), observers=seen, optimiser=optimiser)
        return combined, replace(state, fresh=fresh, shared=shared)
    combined = _apply(rule, previous, decision, models, state.turn)
    if run.parallel.carry_state == "average" and (momentum := models.mean_momentum(decision.weights)) is not None:
        combined.optimiser = {"momentum": momentum}
    return combined, replace(state, turn=state.turn + 1, fresh=fresh, shared=False)


def _apply(rule: CombineRule, previous: Combined, decision: Decision, models: Models, turn: int) -> Combined:
    """Return what the rule makes of the accepted workers' models; `previous` lets go of what was replaced."""
    previous.starts, previous.optimiser = {}, {}
    combined = replace(previous)
    # W(t-1) is not needed any more, nor is what the workers set out from, unless the rule looks back at it.
    start = combined.start if rule.step else _GONE
    previous.model = previous.start = combined.model = combined.start = start
    mean = models.mean(decision.weights)
    if rule.step:
        combined.rule, combined.model, combined.start = rule.step(combined.rule, start, mean)
    else:
        combined.model = combined.start = mean
    previous.rule, previous.model, previous.start = {}, combined.model, combined.start
    if rule.pattern == "pair":
        combined.starts = models.meet(_partners(rule, decision, turn), decision.accepted)
    return combined


def _partners(rule: CombineRule, decision: Decision, turn: int) -> list[int | None]:
    """Return whom each worker meets; the partner of a rejected worker stays alone."""
    found = [rule.partner(worker, turn) for worker in range(len(decision.accepted))]
    return [None if other is None or not decision.accepted[other] else other for other in found]


def _end_epoch(run: Run, combined: Combined, state: State, objective: float | None) -> tuple[Combined, State]:
    """Let newbob judge the epoch, and keep the best model so far: both by the objective on the whole of dev."""
    objective = -math.inf if objective is None else objective
    if run.schedule.kind == "newbob":
        newbob, kept, stop = newbob_step(run.schedule.newbob, state.newbob or {}, objective)
        state = replace(state, newbob=newbob, stop=stop)
        if not kept and combined.best is not None:
            combined, state = _back_to_best(run, combined, combined.best, state)
    is_best = state.best is None or objective > state.best["objective"]
    if is_best and math.isfinite(objective):
        combined.best = combined.model
        state = replace(state, best={"iteration": state.iteration, "objective": objective})
    return combined, state


def _back_to_best(run: Run, combined: Combined, best: Tensor, state: State) -> tuple[Combined, State]:
    """Return to the best model, from which all workers go on with fresh optimiser state."""
    logger.info("iteration %d: dev objective did not rise: back to the best model", state.iteration)
    workers = len(state.workers)
    rule = rule_for(run.parallel.combine, workers)
    combined = replace(combined, model=best, start=best, starts={}, rule=rule.init(best), optimiser={})
    return combined, replace(state, shared=False, fresh=tuple(range(workers)))


def _observe(run: Run, plan: Plan, previous: Combined, combined: Combined, state: State, decision: Decision) -> State:
    """Move the observers on, and count the models in the Polyak mean."""
    number = state.iteration
    progress = 1.0 if plan.is_last(number) else plan.iterations[number + 1].progress
    old, averaged = previous.observers, state.averaged
    seen: dict[str, Tensor] = {}
    ema, polyak = run.observers.ema, run.observers.polyak
    combines = decision.kind == "combine"
    if ema is not None:
        moves = combines and progress > ema.start
        seen["ema"] = observers.ema_step(old.pop("ema"), combined.model, ema.decay) if moves else combined.model
    if polyak is not None:
        moves = combines and progress > polyak.start
        averaged += int(moves)
        seen["polyak"] = observers.polyak_step(old.pop("polyak"), combined.model, averaged) if moves else combined.model
    combined.observers = seen
    return replace(state, averaged=averaged)
