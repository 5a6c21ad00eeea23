"""How an iteration begins: with another layout, where the network grows, and what each worker sets out with.

Growing happens when the next iteration reads the state, as a pure function of (seed, iteration): so whoever evaluates
the model of an iteration sees the one that was trained, and every worker grows the same.
"""

from dataclasses import replace

from unisono.config.network import RandomStart
from unisono.config.run import Run
from unisono.core import flat
from unisono.engines import seeds
from unisono.engines.ending import anew
from unisono.engines.session import Session
from unisono.engines.state import State
from unisono.engines.store import Vectors, known, take_group
from unisono.engines.worker import Worker


def grown(session: Session, before: Vectors, state: State) -> tuple[Vectors, State]:
    """Return what the iteration after `state` starts from, under its own layout.

    Matrices that both layouts have keep their values, others are initial ones. The rule's state and the observers
    start anew from the grown model, the best model so far is given up, and all workers
    begin with fresh optimiser state.
    """
    number, network = state.iteration, session.network_at(state.iteration + 1)
    old, new = session.network_at(number).layout, network.layout
    if old == new or session.plan.is_last(number):
        return before, state
    generator = seeds.generator_for(session.run.seed, seeds.GROWTH, number)
    given = session.run.initialisation
    start = given if isinstance(given, RandomStart) else RandomStart(kind="random")
    fresh = network.initial_parameters(start, generator, session.utterances)
    model = flat.carried_over(old, new, before.view("model"), fresh)
    workers = session.plan.iterations[number + 1].workers
    return anew(session, model, workers), replace(
        state, observed={}, best=None, shared=False, fresh=tuple(range(workers))
    )


def begin_(run: Run, state: State, before: Vectors, worker: Worker, own: Vectors | None = None) -> None:
    """Set a worker's parameters and optimiser for the iteration after `state`, in place.

    before: the vectors after the last combination; lent. own: what the worker left in a file, where it does not hold it
    itself. Fresh are: every worker with `carry_state: reset`, one that was rejected, one that did nothing in the
    iteration before, as it joins by the ramp. With `average` the momentum is the workers' mean, natural-gradient
    factors stay the worker's own.
    """
    number, optimiser = worker.number, worker.optimiser
    if own is not None and "start" in own.names:
        worker.params.copy_(own.view("start"))
    else:
        worker.params.copy_(before.view(known(before, f"start.{number}", "start")))
    joins = all(outcome.worker != number for outcome in state.workers)
    if run.parallel.carry_state == "reset" or joins or number in state.fresh:
        optimiser.reset()
        return
    passed_on = {n.removeprefix("optimiser."): before.view(n) for n in before.names if n.startswith("optimiser.")}
    if state.shared:
        optimiser.load_state(passed_on)
        return
    if own is not None:
        optimiser.load_state(take_group(own, "optimiser."))
    if passed_on:
        optimiser.load_state(optimiser.state() | passed_on)


def fetch_(run: Run, state: State, before: Vectors, worker: Worker) -> None:
    """Set a worker's parameters and optimiser for a slice that a server deals it, in place.

    Under `elastic` it goes on from its own model, unless it is in `state.fresh`.
    """
    fresh = worker.number in state.fresh
    if fresh or run.parallel.combine.kind != "elastic":
        worker.params.copy_(before.view("model"))
    if fresh or run.parallel.carry_state == "reset":
        worker.optimiser.reset()
