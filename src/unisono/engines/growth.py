"""What goes on when a network has another layout in the next iteration: a bigger model, and nothing that remembers.

Growing happens when the next iteration reads the state, as a pure function of (seed, iteration): so whoever looks at
the model of an iteration sees the one that was trained, and every worker grows the same.
"""

from dataclasses import replace

from unisono.config.network import RandomStart
from unisono.core import flat
from unisono.engines import seeds
from unisono.engines.ending import anew
from unisono.engines.session import Session
from unisono.engines.state import State
from unisono.engines.store import Vectors


def on_reading(session: Session, before: Vectors, state: State) -> tuple[Vectors, State]:
    """Return what the iteration after `state` starts from, under its own layout.

    Matrices that both layouts have keep their values, others are initial ones. The rule's state and the observers
    start anew from the grown model, the best model so far is given up, and all workers
    begin with fresh optimiser state.
    """
    number, network = state.iteration, session.network
    old, new = network.layout_at(number), network.layout_at(number + 1)
    if old == new or session.plan.is_last(number):
        return before, state
    generator = seeds.generator_for(session.run.seed, seeds.GROWTH, number)
    given = session.run.initialisation
    start = given if isinstance(given, RandomStart) else RandomStart(kind="random")
    fresh = network.initial_parameters(start, generator)
    model = flat.carried_over(old, new, before.view("model"), fresh)
    workers = session.plan.iterations[number + 1].workers
    return anew(session, model, workers), replace(
        state, observed={}, best=None, shared=False, fresh=tuple(range(workers))
    )
