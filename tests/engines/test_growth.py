"""A network that grows between two iterations: a literal twin, what starts anew, and what never changes on disk."""

import contextlib
import math
import os
import signal
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.support.miniature import Task, config
from unisono.core import flat
from unisono.engines import growth, seeds
from unisono.engines.block import Stopped
from unisono.engines.growth import grown
from unisono.engines.step import first
from unisono.engines.store import COMBINE, Held, Stored
from unisono.errors import UserError

torch.set_num_threads(1)
SMALL = flat.make_layout([("hidden1", (3, 5)), ("output", (2, 4))])
LARGE = flat.make_layout([("hidden1", (3, 5)), ("hidden2", (6, 4)), ("output", (2, 7))])
DNN = {"hidden": [12, 12, 12], "context": [2, 1]}
PNORM = {"kind": "pnorm", "hidden": [8, 8, 8], "group": 2, "context": [2, 1]}
LAYERWISE = {"kind": "layerwise", "period": 2}


def growing(network=DNN, **changes):
    """Six iterations; layers are inserted before 1 and 3."""
    return config(
        **{"network": network, "initialisation": LAYERWISE, "parallel__workers": 3, "parallel__period_frames": 170}
        | changes
    )


def test_a_vector_is_carried_over_where_both_layouts_have_the_matrix():
    old, fresh = flat.zeros(SMALL.size), torch.full((LARGE.size,), -1.0)
    for matrix in flat.views(SMALL, old).values():
        matrix.copy_(torch.randn(matrix.shape, generator=torch.Generator().manual_seed(1)))
    found = flat.views(LARGE, flat.carried_over(SMALL, LARGE, old, fresh))
    assert torch.equal(found["hidden1"], flat.views(SMALL, old)["hidden1"])
    assert (found["hidden2"] == -1).all() and (found["output"] == -1).all()  # an output of another shape is new
    assert torch.equal(flat.carried_over(SMALL, SMALL, old, torch.zeros(SMALL.size)), old)
    assert (fresh == -1).all()


def twin(run, layers, feature_dim, iteration):
    """Insert a hidden layer below the output of [[W b], ...], all numbers drawn one network at a time.

    Povey 2014: the layers that are there stay as they are, the output layer too, the new one is as a first one would
    be: weights of standard deviation 1/sqrt(rows) (p-norm) or sqrt(2/inputs) (relu), biases `bias_stddev`.
    """
    width, group = run.network.hidden[0], getattr(run.network, "group", 1)
    generator = torch.Generator().manual_seed(seeds.seed_for(run.seed, seeds.GROWTH, iteration - 1))
    for inputs in [feature_dim * (sum(run.network.context) + 1), *[width] * (len(layers) - 1)]:
        rows = width * group
        weight = torch.randn(rows, inputs, generator=generator).numpy()
        bias = torch.randn(rows, generator=generator).numpy() if run.initialisation.bias_stddev else np.zeros(rows)
    stddev = 1 / math.sqrt(rows) if run.network.kind == "pnorm" else math.sqrt(2 / width)
    new = np.column_stack([weight * stddev, bias * run.initialisation.bias_stddev])
    return [*layers[:-1], new, layers[-1]]


@pytest.mark.parametrize("network", [DNN, PNORM], ids=["dnn", "pnorm"])
@pytest.mark.parametrize("stddev", [0.0, 0.5])
def test_a_grown_model_is_its_literal_twin(tmp_path, network, stddev):
    task = Task(tmp_path, growing(network, initialisation={**LAYERWISE, "bias_stddev": stddev}))
    session = task.session
    model, state = first(session, torch.randn(session.layout_at(0).size, generator=torch.Generator().manual_seed(7)))
    before, state = model, replace(state, iteration=0)
    layers = [matrix.double().numpy() for matrix in flat.views(session.layout_at(0), before.view("model")).values()]
    for iteration in range(1, task.last + 1):
        after, _ = grown(session, before, replace(state, iteration=iteration - 1))
        if iteration in (1, 3):
            layers = twin(task.run, layers, task.train.dim, iteration)
            assert set(after.names) == {"model", "start"} and after.view("start") is after.view("model")
        else:
            assert after is before
        found = flat.views(session.layout_at(iteration), after.view("model"))
        assert list(found) == [*(f"hidden{n + 1}" for n in range(len(layers) - 1)), "output"]
        for matrix, wanted in zip(found.values(), layers, strict=True):
            np.testing.assert_allclose(matrix.double().numpy(), wanted, rtol=1e-6, atol=1e-7)
        before = after
    assert session.network is session.network_at(task.last) and len(layers) == 4


def test_rule_observers_and_optimisers_start_anew(tmp_path):
    settings = growing(
        parallel__combine="bmuf", parallel__first_iteration="combine",
        observers__ema={"decay": 0.5, "start": 0.0}, observers__polyak={"start": 0.0},
    )  # fmt: skip
    session = Task(tmp_path, settings).session
    old, new = session.layout_at(2), session.layout_at(3)
    _, state = first(session, flat.zeros(session.layout_at(0).size))
    trained = flat.zeros(old.size)
    for matrix in flat.views(old, trained).values():
        matrix.fill_(5.0)
    kept = trained.clone()
    state = replace(state, iteration=2, best={"objective": -1.0}, observed={"ema": 2}, shared=True)
    before = Held({"model": trained, "start": trained * 2, "rule.delta": trained * 3, "observer.ema": trained * 4,
                   "optimiser.momentum": trained * 6})  # fmt: skip
    after, state = grown(session, before, state)
    found = flat.views(new, after.view("model"))
    assert (found["hidden1"] == 5).all() and (found["output"] == 5).all() and (found["hidden3"] != 5).all()
    names = {"start", "observer.ema", "observer.polyak"}
    assert all(after.view(name) is after.view("model") for name in names)
    assert set(after.names) == {"model", "rule.delta", *names}
    assert after.view("rule.delta").shape == (new.size,) and not after.view("rule.delta").any()
    assert (state.fresh, state.observed, state.best, state.iteration) == ((0, 1, 2), {}, None, 2)
    assert not state.shared and torch.equal(before.view("model"), kept)
    same = replace(state, iteration=1)
    assert grown(session, before, same) == (before, same)


def test_other_networks_never_grow(tmp_path):
    session = Task(tmp_path).session
    assert session.network_at(-1) is session.network_at(1000) is session.network
    assert not any(growth.grows(session, number) for number in range(6))


@pytest.mark.parametrize("network", [DNN, PNORM], ids=["dnn", "pnorm"])
def test_files_of_an_earlier_network_stay_as_they_were_written(tmp_path, network):
    task, seen = Task(tmp_path, growing(network)), {}

    def note(task, i):
        now = {path: path.read_bytes() for path in task.iterations.iterdir()}
        assert all(now[path] == content for path, content in seen.items())
        seen.update(now)

    task.jobs(spoil=note)
    session = task.session
    depths = [len(session.network_at(i).layout.names) - 1 for i in range(-1, task.last + 1)]
    assert depths == [1, 1, 2, 2, 3, 3, 3][: len(depths)] and len(depths) > 5
    for i in range(-1, task.last + 1):
        model = Stored(task.combined(i), COMBINE, session.layout_at(i), i).take("model")
        assert len(flat.views(session.layout_at(i), model)) == depths[i + 1] + 1
    for i in range(task.last):
        before = task.files.diagnostics(i).read_bytes()
        task.diagnose(i)  # whoever evaluates it later sees the network that was trained
        assert [b for b in before.split(b",") if b"seconds" not in b] == [
            b for b in task.files.diagnostics(i).read_bytes().split(b",") if b"seconds" not in b
        ]
    facts = task.facts()
    assert facts["parameters"] == session.layout.parameters() == session.layout_at(task.last).parameters()
    records = [record for i in range(task.last + 1) for record in task.read_state(i).workers]
    kept = {i for i in range(task.last + 1) if task.plan.iterations[i].best}
    assert kept == {0, 1, 3} and {r.iteration for r in records if r.discarded} == kept


KILLED = {
    "dnn": growing(optimiser__kind="ng_online", parallel__combine="bmuf_nesterov", network__dropout=0.1,
                   observers__ema={"decay": 0.8, "start": 0.2}, final_model="ema"),
    "pnorm": growing(PNORM, optimiser__kind="ng_online", parallel__first_iteration="combine"),
    "ring": growing(parallel__combine="ring", optimiser__kind="ng_simple", parallel__carry_state="carry"),
}  # fmt: skip


class Within:
    """Says stop from the n-th question within an iteration on. done: the last iteration before the block."""

    def __init__(self, number, done, n):
        self.number, self.done, self.left = number, done, n

    def after(self, state):
        self.done = state.iteration

    def __call__(self):
        self.left -= self.done + 1 >= self.number
        return self.left <= 0


@pytest.mark.parametrize("name", KILLED)
def test_stopped_within_an_insertion_it_ends_at_the_same_bytes(tmp_path, name):
    wanted = Task(tmp_path / "whole", KILLED[name]).virtual()
    task = Task(tmp_path / "killed", KILLED[name])
    task.initialise()
    done = -1
    for number in (1, 3):
        for n in (1, 4, 8):  # before the first step, within a worker's slice, within another worker's
            stop = Within(number, done, n)
            with pytest.raises(Stopped, match=f"stopped in iteration {number}"):
                task.block(interrupted=stop, after=stop.after)
            done = number - 1
    task.block()
    assert task.finish() == wanted


@pytest.mark.parametrize("name", KILLED)
def test_killed_within_an_insertion_it_goes_on_from_its_checkpoint(tmp_path, name):
    """kill -9 between two steps of iterations that began with a new layer."""
    wanted = Task(tmp_path / "whole", KILLED[name]).virtual()
    task = Task(tmp_path / "killed", KILLED[name])
    task.initialise()
    for number, done in ((1, -1), (3, 0)):
        child = os.fork()
        if child == 0:
            within = Within(number, done, 5)
            with contextlib.suppress(BaseException):
                task.block(
                    checkpoint_s=0, after=within.after,
                    interrupted=lambda within=within: within() and os.kill(os.getpid(), signal.SIGKILL),
                )  # fmt: skip
            os._exit(0)
        assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    task.block()
    assert task.finish() == wanted


def test_blocks_and_engines_follow_each_other_across_insertions(tmp_path):
    whole = Task(tmp_path / "whole", growing()).virtual()
    task = Task(tmp_path / "mixed", growing())
    task.initialise()
    task.block(last=0)
    for i in (1, 2):
        for j in range(3):
            task.train_worker(i, j)
        task.combine(i)
    task.block(first=3, last=3)
    task.block(first=4)
    assert task.finish() == whole


def test_a_plan_that_is_too_short_is_refused(tmp_path):
    task = Task(tmp_path, growing(initialisation={"kind": "layerwise", "period": 9}))
    with pytest.raises(UserError, match=r"initialisation.period: the last hidden layer comes before iteration 10"):
        growth.check(task.run, task.plan)
    task = Task(tmp_path / "tail", growing(observers__tail={"combinations": 3}))
    with pytest.raises(UserError, match=r"observers.tail.combinations: 3, and only 2 follow the insertion"):
        growth.check(task.run, task.plan)
    fits = Task(tmp_path / "fits", growing(observers__tail={"combinations": 2}))
    growth.check(fits.run, fits.plan)
    growth.check(Task(tmp_path / "plain").run, fits.plan)


def test_utterances_are_read_in_the_order_of_the_store(tmp_path):
    session = Task(tmp_path).session
    read = list(session.utterances())
    assert [len(frames) for frames in read] == session.train.lengths.tolist()
    assert torch.equal(torch.cat(read), torch.from_numpy(session.train.read(0, session.train.frames)).float())
