"""What goes on when a network has another layout in the next iteration: a bigger model, and nothing that remembers."""

from dataclasses import replace

from torch import Tensor

from unisono.core import flat
from unisono.core.flat import Layout
from unisono.engines.rules import rule_for
from unisono.engines.run import Run
from unisono.engines.state import Combined, State


def grown(
    run: Run, combined: Combined, state: State, old: Layout, new: Layout, fresh: Tensor, workers: int
) -> tuple[Combined, State]:
    """Return what the next iteration starts from under the layout `new`.

    fresh [P]: initial parameters of the new layout; matrices that both layouts have keep their values. The rule's
    state and the observers start anew from the grown model, the Polyak mean counts from 0, the best model so far is
    given up, and all `workers` of the next iteration begin with fresh optimiser state.
    """
    model = flat.carried_over(old, new, combined.model, fresh)
    rule = rule_for(run.parallel.combine, workers)
    observers = dict.fromkeys(combined.observers, model)
    after = replace(state, averaged=0, best=None, shared=False, fresh=tuple(range(workers)))
    return Combined(model=model, start=model, rule=rule.init(model), observers=observers), after
