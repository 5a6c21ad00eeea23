"""A network that grows between two iterations: what is kept of the model, and what starts anew."""

import torch

from tests.support.miniature import Task, config
from unisono.core import flat
from unisono.engines.combine import advance, first_state
from unisono.engines.worker import Stats

torch.set_num_threads(1)
SMALL = flat.make_layout([("hidden1", (3, 5)), ("output", (2, 4))])
LARGE = flat.make_layout([("hidden1", (3, 5)), ("hidden2", (6, 4)), ("output", (2, 7))])


class Toy:
    """One hidden layer before iteration 2, two from then on; what is new begins as ones."""

    def layout_at(self, iteration):
        return SMALL if iteration < 2 else LARGE

    def initial_parameters(self, options, generator):
        fresh = flat.zeros(LARGE.size)
        for matrix in flat.views(LARGE, fresh).values():
            matrix.fill_(1.0)
        return fresh


class Diagnostics:
    network = Toy()

    def evaluate(self, params, *, whole_dev):
        names = ("objective_train", "objective_dev", "frame_accuracy", "objective_dev_full", "frame_accuracy_full")
        return dict.fromkeys(names, -1.0)


class Models:
    """Two workers whose mean is 5 everywhere, padding apart."""

    def mean(self, weights):
        vector = flat.zeros(SMALL.size)
        for matrix in flat.views(SMALL, vector).values():
            matrix.fill_(5.0)
        return vector


def stats(iteration):
    return [Stats(worker, iteration, 100, 10, -100.0, 50, finite=True, complete=True) for worker in range(2)]


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
        parallel__combine="bmuf", parallel__first_iteration="combine", final_model="best",
        observers__ema={"decay": 0.5, "start": 0.0}, observers__polyak={"start": 0.0},
    )  # fmt: skip
    task = Task(tmp_path, settings)
    combined, state = first_state(task.run, task.plan, flat.zeros(SMALL.size))
    combined, state = advance(task.run, task.plan, combined, state, stats(0), Models(), Diagnostics())
    assert len(combined.model) == SMALL.size and combined.rule["delta"].any()  # 0 and 1 have the same layout
    assert state.fresh == () and state.averaged == 1
    combined, state = advance(task.run, task.plan, combined, state, stats(1), Models(), Diagnostics())
    found = flat.views(LARGE, combined.model)
    assert found["hidden1"].min() > 2 and (found["hidden2"] == 1).all()
    assert combined.start is combined.model and set(combined.observers) == {"ema", "polyak"}
    assert all(torch.equal(observer, combined.model) for observer in combined.observers.values())
    assert combined.rule["delta"].shape == (LARGE.size,) and not combined.rule["delta"].any()
    assert (state.fresh, state.averaged, state.best, state.iteration) == ((0, 1), 0, None, 1)


def test_networks_of_today_keep_their_layout(tmp_path):
    network = Task(tmp_path).network
    assert network.layout_at(0) is network.layout_at(1000) is network.layout
