"""A network that grows between two iterations: a hidden layer is inserted before the output layer (Povey et al. 2014).

Growing happens when the next iteration reads the state, as a pure function of (seed, iteration): so whoever evaluates
the model of an iteration sees the one that was trained, its files stay as they were written, and every worker grows the
same. Equation and source: docs/mathematics.md 4.3.4.
"""

from collections.abc import MutableMapping
from dataclasses import replace

from unisono.config.network import Drawn
from unisono.config.run import Run
from unisono.core import flat
from unisono.engines import seeds
from unisono.engines.ending import anew
from unisono.engines.session import Session
from unisono.engines.state import State
from unisono.engines.store import Vectors
from unisono.engines.worker import Worker
from unisono.errors import UserError
from unisono.schedule import Plan


def grows(session: Session, number: int) -> bool:
    """Say whether iteration `number` trains another network than the one before."""
    return session.layout_at(number) != session.layout_at(number - 1)


def grown(session: Session, before: Vectors, state: State) -> tuple[Vectors, State]:
    """Return what the iteration after `state` starts from, under its own layout.

    Matrices that both layouts have keep their values, others are initial ones. The rule's state and the observers start
    anew from the grown model, the best model so far is given up, and all workers begin with fresh optimiser state.
    before: the vectors after the last combination; lent, and returned as they are where nothing grows.
    """
    number, plan = state.iteration + 1, session.plan
    if number == len(plan.iterations) or not grows(session, number):
        return before, state
    network, old = session.network_at(number), session.layout_at(number - 1)
    start = session.run.initialisation
    assert isinstance(start, Drawn)  # from a model's or another start nothing grows
    generator = seeds.generator_for(session.run.seed, seeds.GROWTH, state.iteration)
    fresh = network.initial_parameters(start, generator, session.utterances)
    model = flat.carried_over(old, network.layout, before.view("model"), fresh)
    workers = plan.iterations[number].workers
    everyone = tuple(range(workers))
    return anew(session, model, workers), replace(state, observed={}, best=None, shared=False, fresh=everyone)


def fit_(session: Session, workers: MutableMapping[int, Worker], number: int) -> None:
    """Replace the workers of another network than that of iteration `number`, in place, by new ones."""
    for name, worker in workers.items():
        if worker.network is not session.network_at(number):
            workers[name] = session.worker(name, number)


def check(run: Run, plan: Plan) -> None:
    """Refuse a plan that ends before the network has all its layers, or averages models across an insertion.

    Raises UserError naming the key and the remedy.
    """
    if not run.insertions:
        return
    last, iterations = run.insertions[-1], len(plan.iterations)
    if last >= iterations:
        raise UserError(
            f"initialisation.period: the last hidden layer comes before iteration {last}, and the plan has only"
            f" {iterations} iterations, from 0: train longer, or lower it or parallel.period_frames"
        )
    whole = iterations - last - plan.iterations[last].best  # combinations of models with all layers
    for name, options in run.observers.items():
        if options.kind == "tail" and options.combinations > whole:
            raise UserError(
                f"observers.{name}.combinations: {options.combinations}, and only {whole} follow the insertion of the"
                f" last hidden layer before iteration {last} of {iterations}: lower it"
            )
