"""The end of an iteration, the same in every engine: judge the workers, combine, evaluate, decide how to go on."""

import hashlib
import logging
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

from torch import Tensor

from unisono.core import average, observers
from unisono.engines.evaluate import Evaluator
from unisono.engines.growth import grown
from unisono.engines.rules import CombineRule, rule_for
from unisono.engines.run import Run, generator_for
from unisono.engines.state import Combined, State
from unisono.engines.worker import Stats
from unisono.errors import UserError
from unisono.nn.dnn import Dnn
from unisono.rates import base_rate, newbob_start, newbob_step, scales_with_workers
from unisono.schedule import Iteration, Plan

logger = logging.getLogger("unisono.combine")
_GROWTH = 4  # purpose in the generator's key


class Models(Protocol):
    """The workers' results of one iteration, wherever they lie; vectors come as one's own."""

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

    def meet(self, partners: Sequence[int | None], taking_part: Sequence[bool]) -> dict[int, Tensor]:
        """Return for each worker that takes part half its own model plus half its partner's (None: its own)."""
        ...


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
    pair = rule_for(options, len(stats)).pattern == "pair"
    weights = average.weights_of([s.frames for s in stats], "equal" if pair else options.weights, accepted)
    return Decision("combine", tuple(accepted), tuple(weights), reasons, -1)


def advance(
    run: Run,
    plan: Plan,
    previous: Combined,
    state: State,
    stats: Sequence[Stats],
    models: Models,
    evaluator: Evaluator,
) -> tuple[Combined, State]:
    """Combine one iteration's workers and return what the next one starts from.

    Collective where `models` and `evaluator` are: every rank calls it with the same arguments and gets the same, save
    that `starts` may hold a rank's own only. `previous` is used up: it lets go of its vectors as they are replaced.
    Raises UserError where all workers were rejected too often.
    """
    begun = time.perf_counter()
    iteration = plan.iterations[state.iteration + 1]
    decision = decide(run, iteration, stats)
    _log(iteration, decision, stats)
    combined, turn, shared = _combine(run, plan, previous, state, decision, models)
    averaged = state.averaged
    evaluated = time.perf_counter()
    ends = iteration.end_of_epoch or plan.is_last(iteration.iteration)  # a run of n iterations may end within an epoch
    diagnostics = evaluator.evaluate(combined.model, whole_dev=ends)
    evaluated = time.perf_counter() - evaluated
    fresh = {worker for worker, good in enumerate(decision.accepted) if not good}
    newbob, best, stop = state.newbob, state.best, False
    if ends:
        objective = diagnostics["objective_dev_full"]
        objective = -math.inf if objective is None else objective
        if run.schedule.kind == "newbob":
            newbob, kept, stop = newbob_step(run.schedule.newbob, state.newbob or {}, objective)
            if not kept and combined.best is not None:
                combined, shared = _back_to_best(run, combined, iteration.workers), False
                fresh = set(range(iteration.workers))
                logger.info("iteration %d: dev objective did not rise: back to the best model", iteration.iteration)
        if run.keeps_best and (best is None or objective > best["objective"]) and math.isfinite(objective):
            combined.best, best = combined.model, {"iteration": iteration.iteration, "objective": objective}
    if decision.kind != "backoff":
        averaged = _observe(run, plan, previous, combined, state, decision)
    backoffs = state.backoffs + 1 if decision.kind == "backoff" else 0
    scale = state.rate_scale * 0.5 if backoffs else state.rate_scale
    if backoffs > run.parallel.max_backoffs:
        raise UserError(
            f"iteration {iteration.iteration}: all workers were rejected {backoffs} times in a row"
            f" ({decision.reasons[0]}): lower optimiser.learning_rate, or look at the data"
        )
    rate = next_rate(run, plan, iteration.iteration, scale, newbob)
    seconds = {"average": time.perf_counter() - begun - evaluated, "evaluate": evaluated}
    after = State(
        iteration=iteration.iteration,
        learning_rate=None if stop else rate,
        rate_scale=scale,
        backoffs=backoffs,
        stop=stop,
        turn=turn,
        averaged=averaged,
        fresh=tuple(sorted(fresh)),
        shared=shared,
        best=best,
        newbob=newbob,
        diagnostics=diagnostics,
        workers=tuple(_records(decision, stats, state)),
        seconds=seconds,
        initial=state.initial,
    )
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
    return replace(state, iteration=state.iteration + 1, workers=(), seconds={}, diagnostics={})


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
    fresh = network.initial_parameters(run.initialisation, generator_for(run.seed, _GROWTH, number))
    return grown(run, combined, after, old, new, fresh, plan.iterations[number + 1].workers)


def _combine(
    run: Run, plan: Plan, previous: Combined, state: State, decision: Decision, models: Models
) -> tuple[Combined, int, bool]:
    """Return the combined vectors, the number of pair combinations so far, and whether optimiser state is shared."""
    carry = run.parallel.carry_state
    workers = len(decision.accepted)
    rule = rule_for(run.parallel.combine, workers)
    if decision.kind == "backoff":
        start = previous.start if rule.pattern == "sum" else previous.model
        return replace(previous, start=start, starts={}, optimiser={}), state.turn, False
    if decision.kind == "best":
        model = models.one(decision.chosen)
        optimiser = models.optimiser_state(decision.chosen) if carry != "reset" else {}
        fresh = Combined(
            model=model,
            start=model,
            rule=rule.init(model),
            observers=dict.fromkeys(previous.observers, model),
            optimiser=optimiser,
        )
        return fresh, state.turn, carry != "reset"
    previous.starts, previous.optimiser = {}, {}
    combined = replace(previous)
    previous.model = combined.model = combined.start  # W(t-1) is not needed any more
    mean = models.mean(decision.weights)
    combined.rule, combined.model, combined.start = rule.step(combined.rule, combined.start, mean)
    previous.rule, previous.model, previous.start = {}, combined.model, combined.start
    if rule.pattern == "pair":
        combined.starts = models.meet(_partners(rule, decision, state.turn), decision.accepted)
    if carry == "average" and (momentum := models.mean_momentum(decision.weights)) is not None:
        combined.optimiser = {"momentum": momentum}
    return combined, state.turn + 1, False


def _partners(rule: CombineRule, decision: Decision, turn: int) -> list[int | None]:
    """Return whom each worker meets; the partner of a rejected worker stays alone."""
    found = [rule.partner(worker, turn) for worker in range(len(decision.accepted))]
    return [None if other is None or not decision.accepted[other] else other for other in found]


def _back_to_best(run: Run, combined: Combined, workers: int) -> Combined:
    best = combined.best
    assert best is not None
    rule = rule_for(run.parallel.combine, workers)
    return replace(combined, model=best, start=best, starts={}, rule=rule.init(best), optimiser={})


def _observe(run: Run, plan: Plan, previous: Combined, combined: Combined, state: State, decision: Decision) -> int:
    """Move the observers on; return the number of models in the Polyak mean."""
    number = state.iteration + 1
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
    return averaged


def _records(decision: Decision, stats: Sequence[Stats], state: State) -> list[dict[str, Any]]:
    """Return what each worker did, for metrics and ledger; the frames are either seen or discarded."""
    records = []
    for item, accepted, reason in zip(stats, decision.accepted, decision.reasons, strict=True):
        if decision.kind == "best":
            counted = item.worker == decision.chosen
        else:
            counted = accepted or decision.kind == "backoff"
        objective = item.objective if math.isfinite(item.objective) else None
        records.append(
            {
                "worker": item.worker, "frames": item.frames, "minibatches": item.minibatches, "objective": objective,
                "frame_accuracy": item.correct / item.frames if item.frames else None,
                "learning_rate": state.learning_rate, "rejected": not accepted, "reason": reason,
                "discarded": 0 if counted else item.frames,
                "seconds_start": item.seconds_start, "seconds_load": item.seconds_load,
                "seconds_compute": item.seconds_compute, "seconds_wait": item.seconds_wait,
                "seconds_write": item.seconds_write,
            }
        )  # fmt: skip
    return records


def _reason(stats: Stats, best: float) -> str:
    if not (stats.finite and math.isfinite(stats.objective)):
        return "parameters or objective are not finite"
    return f"objective {stats.objective:.4f} is {best - stats.objective:.4f} below the best worker's"


def _log(iteration: Iteration, decision: Decision, stats: Sequence[Stats]) -> None:
    for item, reason in zip(stats, decision.reasons, strict=True):
        if reason:
            logger.warning("iteration %d: worker %d left out: %s", iteration.iteration, item.worker, reason)
    if decision.kind == "backoff":
        line = "iteration %d: no worker is left: the model stays, the rate is halved for the rest"
        logger.warning(line, iteration.iteration)
