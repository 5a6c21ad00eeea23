"""A network that grows between two iterations: what is kept of the model, and what starts anew, when it is read."""

from dataclasses import replace

import torch

from tests.support.miniature import Task, config
from unisono.core import flat
from unisono.engines.start import grown
from unisono.engines.step import first
from unisono.engines.store import Held

torch.set_num_threads(1)
SMALL = flat.make_layout([("hidden1", (3, 5)), ("output", (2, 4))])
LARGE = flat.make_layout([("hidden1", (3, 5)), ("hidden2", (6, 4)), ("output", (2, 7))])


class Network:
    """What is new begins as ones."""

    def __init__(self, layout):
        self.layout = layout

    def initial_parameters(self, options, generator, utterances):
        fresh = flat.zeros(LARGE.size)
        for matrix in flat.views(LARGE, fresh).values():
            matrix.fill_(1.0)
        return fresh


def test_a_vector_is_carried_over_where_both_layouts_have_the_matrix():
    old, fresh = flat.zeros(SMALL.size), torch.full((LARGE.size,), -1.0)
    for matrix in flat.views(SMALL, old).values():
        matrix.copy_(torch.randn(matrix.shape, generator=torch.Generator().manual_seed(1)))
    found = flat.views(LARGE, flat.carried_over(SMALL, LARGE, old, fresh))
    assert torch.equal(found["hidden1"], flat.views(SMALL, old)["hidden1"])
    assert (found["hidden2"] == -1).all() and (found["output"] == -1).all()  # an output of another shape is new
    assert torch.equal(flat.carried_over(SMALL, SMALL, old, torch.zeros(SMALL.size)), old)
    assert (fresh == -1).all()


def test_rule_observers_and_optimisers_start_anew_when_the_layout_changes(tmp_path):
    settings = config(
        parallel__combine="bmuf", parallel__first_iteration="combine",
        observers__ema={"decay": 0.5, "start": 0.0}, observers__polyak={"start": 0.0},
    )  # fmt: skip
    session = Task(tmp_path, settings).session
    _, state = first(session, flat.zeros(SMALL.size))
    networks = Network(SMALL), Network(LARGE)  # one hidden layer before iteration 2, two from then on
    session.network_at = lambda iteration: networks[iteration >= 2]
    trained, ran = flat.zeros(SMALL.size), {"iteration": 1, "best": {"objective": -1.0}, "observed": {"ema": 2}}
    for matrix in flat.views(SMALL, trained).values():
        matrix.fill_(5.0)
    state = replace(state, **ran)
    before = Held({"model": trained, "start": trained * 2, "rule.delta": trained * 3, "observer.ema": trained * 4})
    after, state = grown(session, before, state)
    found = flat.views(LARGE, after.view("model"))
    assert (found["hidden1"] == 5).all() and (found["hidden2"] == 1).all()
    names = {"start", "observer.ema", "observer.polyak"}
    assert all(after.view(name) is after.view("model") for name in names)
    assert set(after.names) == {"model", "rule.delta", *names}
    assert after.view("rule.delta").shape == (LARGE.size,) and not after.view("rule.delta").any()
    assert (state.fresh, state.observed, state.best, state.iteration) == ((0, 1), {}, None, 1)
    assert torch.equal(before.view("model"), trained)  # whoever looks at iteration 1 sees what was trained
    same = replace(state, iteration=0)
    assert grown(session, before, same) == (before, same)


def test_networks_of_today_keep_their_layout(tmp_path):
    session = Task(tmp_path).session
    assert session.network_at(-1) is session.network_at(1000) is session.network
