"""What becomes of the slices that arrived: judge, combine, observe, set the next rate. The same in every engine.

The step is fed with what arrived: which slices, by whom, from which start. Where workers wait for each other that is
all slices of an iteration (`advance`), or some of them; a server takes in one at a time (`take_in`). Each arrival is
combined; with the last one the iteration ends.
"""

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Literal, Protocol

from torch import Tensor

from unisono.engines.ending import anew, end, next_rate, observe, pushed, refused
from unisono.engines.evaluate import Evaluates
from unisono.engines.judge import Verdict, decide, outcomes
from unisono.engines.records import Record
from unisono.engines.rules import CombineRule, How, Taking
from unisono.engines.session import Session
from unisono.engines.state import Dealing, State
from unisono.engines.store import Formed, Held, Vectors, known, take_group
from unisono.errors import UserError
from unisono.rates import newbob_start


class Models(Protocol):
    """What the arrived slices yielded, wherever it lies; slices count from 0 in the order of their records.

    Vectors come as the caller's own, save from `average_with_partners`.
    """

    def mean(self, weights: Sequence[float], name: Literal["params", "momentum"] = "params") -> Tensor:
        """Return the weighted mean of a vector [P]: float64 in order, rounded once; weight 0 leaves out."""
        ...

    def one(self, index: int) -> Tensor:
        """Return one model [P]."""
        ...

    def optimiser_state(self, index: int) -> dict[str, Tensor]:
        """Return the optimiser state of one worker."""
        ...

    def average_with_partners(
        self, partners: Sequence[int | None], taking_part: Sequence[bool]
    ) -> Mapping[int, Tensor | Formed]:
        """Return for each that takes part half its own model plus half its partner's (None: its own).

        The last that is asked of them: vectors in memory become their workers' new parameters. Of other ranks' workers
        nothing is returned.
        """
        ...


class Push(Protocol):
    """What one slice yielded, wherever it lies, for a server."""

    def hand_over(self, how: How, into_: Callable[[slice, Tensor], None]) -> None:
        """Give `into_` the worker's model (adopt, exchange) or what it has learned since its fetch (add), in pieces.

        After an exchange the worker goes on from the pieces as `into_` left them.
        """
        ...

    def refuse(self) -> None:
        """Do without it."""
        ...


def first(session: Session, model: Tensor) -> tuple[Held, State]:
    """Return what the first iteration starts from."""
    run, plan = session.run, session.plan
    newbob = newbob_start(run.optimiser.learning_rate) if run.schedule.kind == "newbob" else None
    served = run.parallel.served
    everyone = tuple(range(plan.iterations[0].workers)) if served else ()
    state = State(
        iteration=-1, learning_rate=next_rate(run, plan, -1, 1.0, newbob), rate_scale=1.0, backoffs=0, stop=False,
        turn=0, observed={}, fresh=everyone, shared=False, best=None, newbob=newbob, diagnostics={}, workers=(),
        arrived=(), seconds={}, initial=hashlib.sha256(model.numpy().tobytes()).hexdigest(),
        dealing=Dealing() if served else None,
    )  # fmt: skip
    return anew(session, model, plan.iterations[0].workers), state


def pass_on(state: State) -> State:
    """Return the state after an iteration that does nothing because the run has stopped."""
    return replace(state, iteration=state.iteration + 1, workers=(), seconds={}, diagnostics={})


def advance(
    session: Session, before: Vectors, state: State, arrived: Sequence[Record], models: Models,
    evaluator: Evaluates | None,
) -> tuple[Held, State]:  # fmt: skip
    """Combine slices of the iteration after `state` and return what goes on; with the last slice the iteration ends.

    before: given up, what is replaced as soon as that is possible. evaluator: None where a job of its own evaluates the
    model; the state's diagnostics are then None. Collective where `models` and `evaluator` are: every rank calls it
    with the same arguments and gets the same, save that the starts of single workers may be a rank's own only.
    Raises UserError where all workers were rejected too often.
    """
    begun = time.perf_counter()
    iteration = session.plan.iterations[state.iteration + 1]
    rule = session.rule(iteration.workers)
    if rule.pattern == "server":
        raise UserError(f"parallel.combine: {session.run.parallel.combine.kind} needs engine async or virtual")
    verdict = decide(session.run, iteration, arrived, equal=rule.pattern == "pair")
    became = outcomes(verdict, arrived)
    after, state = _combine(session, rule, before, state, arrived, verdict, models)
    state = replace(state, arrived=(*state.arrived, *became))
    if len(state.arrived) < len(iteration.slices):
        kept = [f"observer.{name}" for name in session.observers] + (["best"] if state.best else [])
        for name in kept:
            after.put(name, before.take(known(before, name)))
        return after, state
    after, state = end(session, iteration, before, after, state, evaluator)
    average = time.perf_counter() - begun - (state.seconds["evaluate"] or 0.0)
    return after, replace(state, seconds=state.seconds | {"average": average})


def take_in(
    session: Session, before: Vectors, state: State, record: Record, push: Push, evaluator: Evaluates | None
) -> tuple[Held, State, str]:
    """Let a server take in one worker; as `advance`, and what became of its push: adopt, add, exchange or refuse.

    A worker of `state.fresh` begins with the server's model and a fresh optimiser.
    """
    begun = time.perf_counter()
    plan, run = session.plan, session.run
    iteration, staleness = plan.iterations[state.iteration + 1], state.turn - record.start
    recent = (*state.workers, *state.arrived)[-iteration.workers :]
    verdict = decide(run, iteration, [record], equal=True, recent=recent)
    accepted, rule = verdict.accepted[0], session.rule(iteration.workers)
    (became,) = outcomes(verdict, [record], staleness)
    fresh = tuple(worker for worker in state.fresh if worker != record.worker)
    state = replace(state, fresh=fresh if accepted else (*fresh, record.worker), arrived=(*state.arrived, became))
    after, what = Held({name: before.take(name) for name in before.names if _is_servers(name)}), "refuse"
    if accepted and rule.taking is not None:
        what = _take_in(rule.taking, after, staleness, push, shared=_shared(before, after))
        state = replace(state, turn=state.turn + 1)
    else:
        push.refuse()
    state = refused(run, state, iteration, accepted)
    judged = (state.iteration + 1) * iteration.workers + len(state.arrived)
    state = observe(session, before, after, state, pushed(plan, judged), moves=accepted, stays=not accepted)
    if len(state.arrived) < iteration.workers:
        if state.best is not None:
            after.put("best", before.take(known(before, "best")))
        return after, state, what
    after, state = end(session, iteration, before, after, state, evaluator)
    average = time.perf_counter() - begun - (state.seconds["evaluate"] or 0.0)
    return after, replace(state, seconds=state.seconds | {"average": average}), what


def _take_in(taking: Taking, after: Held, staleness: int, push: Push, *, shared: bool) -> How:
    """Change the server's vectors in place. shared: the model is another vector, too."""
    model = after.take("model").clone() if shared else after.take("model")
    names = [name for name in after.names if name.startswith("rule.")]
    kept = {name.removeprefix("rule."): after.view(name) for name in names}
    how = taking.how(staleness)
    push.hand_over(how, lambda part, piece: taking.into_(model, kept, part, piece, how))
    after.put("model", model)
    return how


def _is_servers(name: str) -> bool:
    return name == "model" or name.startswith("rule.")


def _shared(before: Vectors, after: Held) -> bool:
    """Say whether a vector that is left is the model itself; those of a file never are."""
    return isinstance(before, Held) and any(before.view(name) is after.view("model") for name in before.names)


def _combine(
    session: Session, rule: CombineRule, before: Vectors, state: State, arrived: Sequence[Record], verdict: Verdict,
    models: Models,
) -> tuple[Held, State]:  # fmt: skip
    """Return the vectors after an arrival, but for observers and best, and what follows for the workers."""
    carry = session.run.parallel.carry_state
    came = {record.worker for record in arrived}
    rejected = [record.worker for record, good in zip(arrived, verdict.accepted, strict=True) if not good]
    fresh = (*(worker for worker in state.fresh if worker not in came), *rejected)
    if verdict.kind == "none":
        after = Held({name: before.take(name) for name in before.names if name == "model" or name.startswith("rule.")})
        name = known(before, "start")
        after.put("start", before.take("start") if name == "start" and rule.pattern == "sum" else after.view("model"))
        return after, replace(state, fresh=fresh, shared=False)
    if verdict.kind == "best":
        after = anew(session, models.one(verdict.chosen), len(arrived))
        shared = models.optimiser_state(verdict.chosen) if carry != "reset" else {}
        for name, tensor in shared.items():
            after.put(f"optimiser.{name}", tensor)
        return after, replace(state, fresh=fresh, shared=carry != "reset")
    after = _apply(rule, before, state.turn, arrived, verdict, models)
    if carry == "average" and session.run.optimiser.momentum > 0.0:
        after.put("optimiser.momentum", models.mean(verdict.weights, "momentum"))
    return after, replace(state, turn=state.turn + 1, fresh=fresh, shared=False)


def _apply(
    rule: CombineRule, before: Vectors, turn: int, arrived: Sequence[Record], verdict: Verdict, models: Models
) -> Held:
    """Return what the rule makes of the accepted models."""
    before.drop(*(name for name in before.names if name.startswith(("start.", "optimiser."))))
    start = before.take(known(before, "start")) if rule.step else None
    before.drop("model", "start")  # W(t-1) is not needed any more: room for the mean
    mean = models.mean(verdict.weights)
    if rule.step is None or start is None:
        after = Held({"model": mean, "start": mean})
    else:
        rule_state, model, start = rule.step(take_group(before, "rule."), start, mean)
        named = {f"rule.{name}": vector for name, vector in rule_state.items()}
        after = Held({"model": model, "start": start, **named})
    if rule.pattern == "pair":
        partners = _partners(rule, turn, arrived, verdict)
        for index, vector in models.average_with_partners(partners, verdict.accepted).items():
            after.put(f"start.{arrived[index].worker}", vector)
    return after


def _partners(rule: CombineRule, turn: int, arrived: Sequence[Record], verdict: Verdict) -> list[int | None]:
    """Return by whose model each goes half-way; one whose partner was rejected or did not come stays alone."""
    places = {record.worker: index for index, record in enumerate(arrived) if verdict.accepted[index]}
    others = [rule.partner(record.worker, turn) for record in arrived]
    return [None if other is None else places.get(other) for other in others]
