"""A server in one process: its limits, a slow literal twin, orders of arrival, bounds, rejection, resume and replay."""

import dataclasses
import json
import math
import random

import numpy as np
import pytest
import torch

from tests.support.literal_sgd import literal_sgd
from tests.support.miniature import Interrupted, Task, config, scripted
from unisono.data.frames.ledger import ledger
from unisono.engines import arrivals, served
from unisono.engines.block import Stopped
from unisono.engines.state import Dealing
from unisono.engines.store import COMBINE, Stored
from unisono.engines.worker import Worker
from unisono.errors import UserError

torch.set_num_threads(1)
ADDITION = {"kind": "async", "factor": 0.5, "momentum": 0.3}
RULES = ["async", ADDITION, "elastic"]


def served_config(rule="async", workers=3, **changes):
    return config(parallel__combine=rule, parallel__workers=workers, **changes)


def events_of(task):
    return arrivals.read_log(task.iterations / "arrivals.jsonl")[1]


def vectors_of(task):
    file = Stored(task.combined(task.last), COMBINE, task.network.layout, task.last)
    return {name: file.take(name).numpy() for name in file.names}


def outcomes_of(task):
    return [outcome for i in range(task.last + 1) for outcome in task.read_state(i).workers]


@pytest.mark.parametrize("optimiser", [{}, {"optimiser__kind": "ng_online", "network__dropout": 0.2}])
def test_without_staleness_a_server_is_plain_sgd_to_the_bit(tmp_path, optimiser):
    """One worker; and three that wait for each other after every push, where no optimiser state is carried."""
    alone = Task(tmp_path / "alone", served_config(workers=1, **optimiser), 15)
    alone.virtual()
    assert vectors_of(alone)["model"].tobytes() == literal_sgd(alone)[0].numpy().tobytes()
    if optimiser:
        return
    changes = {"parallel__barrier_pushes": 1, "optimiser__momentum": 0.0, "parallel__period_frames": 150}
    turns = Task(tmp_path / "turns", served_config(**changes), 15)
    turns.virtual()
    assert {outcome.staleness for outcome in outcomes_of(turns)} == {0}
    assert vectors_of(turns)["model"].tobytes() == literal_sgd(turns)[0].numpy().tobytes()


def literal_server(task):
    """The server of docs/mathematics.md 6.4 event by event, in float64 but for the training itself.

    Returns the model and the running mean of all models after pushes.
    """
    combine, session = task.run.parallel.combine, task.session
    factor, momentum = combine.factor, getattr(combine, "momentum", 0.0)
    model = task.initialise()[0].view("model").double().numpy()
    velocity, mean, count = np.zeros_like(model), model, 0
    workers = {n: session.worker(n) for n in range(session.most_workers)}
    own, fetched = {}, {}
    total, judged, size = sum(len(i.slices) for i in task.plan.iterations), 0, task.train.frames * 2
    with session.loader() as loader:
        for event in events_of_copy(task):
            n = event.worker
            if event.what == "pull":
                fetched[n] = own[n] if combine.kind == "elastic" and n in own else model
                continue
            workers[n].params.copy_(torch.from_numpy(fetched[n]))
            before = sum(e - b for it in task.plan.iterations[: event.iteration] for b, e in it.slices)
            rate = 0.004 * (0.001 / 0.004) ** (before / size)
            rate = 0.001 if event.iteration == task.last else rate
            workers[n].run(session.task_of(event.iteration, event.slice, event.version, rate), loader)
            trained = workers[n].params.double().numpy().copy()
            if combine.kind == "elastic":
                model, own[n] = (1 - factor) * model + factor * trained, (1 - factor) * trained + factor * model
            else:
                velocity = momentum * velocity + factor * (trained - fetched[n])
                model = model + velocity
            judged += 1
            count += 1
            mean = mean + (model - mean) / count
    assert judged == total
    return model, mean


def events_of_copy(task):
    return arrivals.read_log(task.folder / "copy.jsonl")[1]


@pytest.mark.parametrize("rule", RULES)
def test_the_server_is_its_literal_twin(tmp_path, rule):
    settings = served_config(
        rule, parallel__arrival={"kind": "simulated", "speeds": [1.0, 0.4, 2.0]}, observers__polyak={"start": 0.0}
    )
    task = Task(tmp_path, settings)
    task.virtual()
    found = vectors_of(task)
    (task.iterations / "arrivals.jsonl").rename(tmp_path / "copy.jsonl")
    model, mean = literal_server(task)
    np.testing.assert_allclose(found["model"], model, atol=2e-5)
    np.testing.assert_allclose(found["observer.polyak"], mean, atol=2e-5)
    assert np.abs(mean - model).max() > 1e-3


@pytest.mark.parametrize("rule", RULES)
def test_vectors_in_pieces_give_the_same_bytes(tmp_path, monkeypatch, rule):
    whole = Task(tmp_path / "whole", served_config(rule)).virtual()
    monkeypatch.setattr(served, "PIECE", 48)
    assert Task(tmp_path / "pieces", served_config(rule)).virtual() == whole


def test_workers_take_turns_with_staleness_n_minus_one(tmp_path):
    task = Task(tmp_path, served_config(workers=4, parallel__period_frames=100))
    task.virtual()
    found = outcomes_of(task)
    per_epoch = len(found) // 2
    assert [outcome.worker for outcome in found] == [k % 4 for k in range(len(found))]
    for epoch in (found[:per_epoch], found[per_epoch:]):  # each begins from one model
        assert [outcome.staleness for outcome in epoch] == [min(k, 3) for k in range(per_epoch)]
    rows = [row for row in task.metrics() if row["worker"] is not None]
    assert [(r["slice_of"], r["slice"], r["staleness"]) for r in rows] == [
        (o.iteration, o.slice, o.staleness) for o in found
    ]


def test_a_fast_worker_does_more_and_nothing_is_lost(tmp_path):
    order = {"kind": "simulated", "speeds": [4.0, 1.0, 1.0], "jitter": 0.0}
    task = Task(tmp_path, served_config(parallel__arrival=order, parallel__period_frames=100))
    task.virtual()
    states = [task.read_state(i) for i in range(task.last + 1)]
    assert any(len({o.worker for o in s.workers}) < 3 for s in states)  # two slices of one iteration
    assert any(o.iteration != s.iteration for s in states for o in s.workers)  # an early slice of the next
    counts = json.loads((tmp_path / "ledger.json").read_text())
    seen = {worker: found["seen"] for worker, found in counts["workers"].items()}
    assert sum(seen.values()) == 2 * task.train.frames and counts["epochs"] == 2.0
    assert seen["0"] > 2 * seen["1"]
    twice = [dataclasses.replace(o, iteration=0, slice=0) for o in states[0].workers]
    with pytest.raises(UserError, match=r"iteration 0: slices \[0, 0, 0\] were read"):
        ledger(task.plan, [twice])


def test_the_simulation_is_seeded_and_its_order_changes_the_result(tmp_path):
    def result(name, **changes):
        order = {"kind": "simulated", "jitter": 0.5}
        task = Task(tmp_path / name, served_config(parallel__arrival=order | changes, parallel__period_frames=100))
        return task.virtual(), [event[:2] for event in events_of(task)]

    first, again, even, slow = result("a"), result("b"), result("c", jitter=0.0), result("d", speeds=[1.0, 1.0, 0.2])
    assert first == again
    assert len({one[0] for one in (first, even, slow)}) == 3


@pytest.mark.parametrize("bound", [None, 2, 4])
def test_staleness_is_bounded_by_waiting(tmp_path, bound):
    order = {"kind": "simulated", "speeds": [1.0, 1.0, 0.1]}
    task = Task(
        tmp_path, served_config(parallel__arrival=order, parallel__max_staleness=bound, parallel__period_frames=80)
    )
    task.virtual()
    worst = max(outcome.staleness for outcome in outcomes_of(task))
    assert worst > 4 if bound is None else worst == bound
    assert sum(o.frames for o in outcomes_of(task)) == 2 * task.train.frames


def test_a_barrier_begins_all_workers_from_one_model(tmp_path):
    task = Task(tmp_path, served_config(parallel__barrier_pushes=4, parallel__period_frames=80))
    task.virtual()
    pushes = 0
    for event in events_of(task):
        pushes += event.what != "pull"
        if event.what == "pull":
            number = event.iteration * 3 + event.slice
            assert pushes >= number // 4 * 4
    assert any(o.staleness == 0 for o in outcomes_of(task)[4::4])


@pytest.mark.parametrize("kind", ["nan", "low"])
@pytest.mark.parametrize("rule", RULES)
def test_a_spoilt_push_is_refused_and_recorded(tmp_path, spoil, rule, kind):  # noqa: F811
    task = Task(
        tmp_path,
        served_config(rule, schedule__epochs=3, optimiser__learning_rate=0.001, parallel__period_frames=400),
        80,
    )
    spoil[(2, 1)] = kind
    task.virtual()
    (bad,) = [outcome for outcome in outcomes_of(task) if outcome.rejected]
    assert (bad.iteration, bad.worker, bad.discarded) == (2, 1, bad.frames)
    assert ("finite" if kind == "nan" else "below") in bad.reason
    assert [e.what for e in events_of(task)].count("refuse") == 1
    assert all(np.isfinite(vector).all() for vector in vectors_of(task).values())
    counts = json.loads((tmp_path / "ledger.json").read_text())["workers"]
    assert counts["1"]["discarded"] == bad.frames
    assert sum(w["seen"] + w["discarded"] for w in counts.values()) == 3 * task.train.frames


def test_as_many_refused_in_a_row_as_there_are_workers_halve_the_rate(tmp_path, spoil):  # noqa: F811
    spoil[(2, None)] = "nan"
    task = Task(tmp_path, served_config(schedule__kind="fixed", observers__ema={"decay": 0.5, "start": 0.0}), 60)
    task.virtual()
    rates = {(o.iteration, o.slice): o.learning_rate for o in outcomes_of(task)}
    assert rates[1, 0] == 0.004 and rates[task.last, 2] == 0.002
    states = [task.read_state(i) for i in range(task.last + 1)]
    assert [s.backoffs for s in states][-1] == 0 and states[-1].rate_scale == 0.5
    spoil.update({(i, None): "nan" for i in range(9)})
    with pytest.raises(UserError, match="rejected 4 times in a row .*learning_rate"):
        Task(tmp_path / "all", served_config(parallel__max_backoffs=3, schedule__epochs=9), 60).virtual()


def test_newbob_decides_where_all_have_pushed(tmp_path, monkeypatch):
    scripted(monkeypatch, [-2.0, -1.0, -1.5, -1.4])
    task = Task(tmp_path, served_config(schedule__kind="newbob", schedule__epochs=6))
    task.virtual()
    ends = [it.iteration for it in task.plan.iterations if it.end_of_epoch]
    states = [task.read_state(i) for i in ends]
    assert [s.newbob and s.newbob["rate"] for s in states[:4]] == [0.004, 0.004, 0.002, 0.001]
    assert [s.stop for s in states[:4]] == [False, False, False, True]
    assert states[2].fresh == states[3].fresh == (0, 1, 2)  # rejected: all begin from the best model
    for state in states[:4]:  # a pass is clean
        assert state.dealing == Dealing(dealt=(state.iteration + 1) * 3, events=(state.iteration + 1) * 6)
    assert {e.iteration for e in events_of(task)} == set(range(ends[3] + 1))


def test_the_rate_falls_with_the_minibatches_of_the_plan(tmp_path, monkeypatch):
    rates = []
    original = Worker._step

    def step(self, batch, rate):
        rates.append(rate)
        return original(self, batch, rate)

    monkeypatch.setattr(Worker, "_step", step)
    settings = served_config(workers=1, schedule={"kind": "decaying", "epochs": 2, "decay": 0.02, "power": 0.6})
    task = Task(tmp_path, settings, 15)
    task.virtual()
    literal = [0.004 / (1 + 0.02 * t) ** 0.6 for t in range(len(rates))]
    assert rates == pytest.approx(literal, rel=1e-12) and rates[0] == 0.004
    first = [o.learning_rate for o in outcomes_of(task)]
    starts = np.cumsum([0] + [o.minibatches for o in outcomes_of(task)])[:-1]
    assert first == pytest.approx([literal[t] for t in starts], rel=1e-12)
    longer = Task(tmp_path / "longer", settings | {"schedule": settings["schedule"] | {"epochs": 3}}, 15)
    longer.virtual()  # needs no end: the first two passes are the same
    assert [o.objective for o in outcomes_of(longer)][: len(first)] == [o.objective for o in outcomes_of(task)]


@pytest.mark.parametrize("rule", RULES)
def test_stopped_anywhere_and_in_any_blocks_the_bytes_are_the_same(tmp_path, rule):
    order = {"kind": "simulated", "speeds": [1.0, 0.3, 2.0]}
    settings = served_config(
        rule, parallel__arrival=order, optimiser__kind="ng_online", observers__ema={"decay": 0.8, "start": 0.2},
        final_model="ema", network__dropout=0.1, parallel__period_frames=150,
    )  # fmt: skip
    whole = Task(tmp_path / "whole", settings)
    wanted = whole.virtual()
    log = events_of(whole)
    blocks = Task(tmp_path / "blocks", settings)
    blocks.initialise()
    for first in range(0, blocks.last + 1, 2):
        blocks.block(first, min(first + 1, blocks.last))
    assert blocks.finish() == wanted and events_of(blocks) == log
    broken = Task(tmp_path / "broken", settings)
    broken.initialise()
    chance, stops = random.Random(1), 0
    while not broken.combined(broken.last).exists():
        try:
            broken.block(checkpoint_s=0, interrupted=Interrupted(chance.randint(1, 14) if stops < 6 else 0))
        except Stopped:
            stops += 1
    assert stops == 6 and broken.finish() == wanted and events_of(broken) == log
    assert broken.metrics() == whole.metrics()


def test_an_unfinished_run_keeps_its_workers(tmp_path):
    task = Task(tmp_path, served_config())
    task.initialise()
    with pytest.raises(Stopped):
        task.block(checkpoint_s=0, interrupted=Interrupted(40))
    other = Task(tmp_path, served_config(workers=2))
    with pytest.raises(UserError, match="parallel.workers: 2, but .* of 3 workers .*: set it to 3 to resume or delete"):
        other.block()


@pytest.mark.parametrize("rule", RULES)
def test_a_log_is_replayed_to_the_same_bytes(tmp_path, rule):
    order = {"kind": "simulated", "speeds": [1.0, 0.3, 2.0], "jitter": 0.4}
    first = Task(tmp_path / "first", served_config(rule, parallel__arrival=order, parallel__period_frames=150))
    wanted = first.virtual()
    path = str(first.iterations / "arrivals.jsonl")

    def replay(name, **changes):
        settings = served_config(rule, parallel__period_frames=150, parallel__arrival={"kind": "log", "path": path})
        return Task(tmp_path / name, settings | changes)

    again = replay("again")
    assert again.virtual() == wanted and again.metrics() == first.metrics()
    assert events_of(again) == events_of(first)
    for other in (replay("other", seed=4), Task(tmp_path / "fewer", again.settings, 60)):
        with pytest.raises(UserError, match="is of another run"):
            other.virtual()
    lines = first.iterations.joinpath("arrivals.jsonl").read_text().splitlines()
    version = json.loads(lines[7])
    version[-1] += 1
    damaged = {
        "line 8: .*but this run comes to": [*lines[:7], json.dumps(version), *lines[8:]],
        "line 2: worker . has nothing to push": [lines[0], lines[1].replace('"pull"', '"adopt"'), *lines[2:]],
        "is missing": lines[:-3],
        "no log of arrivals": ["{}"],
    }
    path = str(tmp_path / "damaged.jsonl")
    for number, (message, text) in enumerate(damaged.items()):
        (tmp_path / "damaged.jsonl").write_text("\n".join(text) + "\n")
        with pytest.raises(UserError, match=message):
            replay(f"damaged{number}").virtual()
    path = str(tmp_path / "none.jsonl")
    with pytest.raises(UserError, match=r"none.jsonl: no such file"):
        replay("none").virtual()


def test_other_engines_say_that_they_cannot(tmp_path):
    task = Task(tmp_path, served_config())
    with pytest.raises(UserError, match="combine: async needs engine async or virtual"):
        task.jobs()
    live = Task(tmp_path / "live", served_config(parallel__arrival="live"))
    with pytest.raises(UserError, match="live is what engine async finds"):
        live.virtual()


def test_observers_count_pushes(tmp_path):
    observers = {"polyak": {"start": 0.5}}
    task = Task(tmp_path, served_config(observers=observers, final_model="polyak"))
    task.virtual()
    total = len(outcomes_of(task))
    assert task.read_state(task.last).observed == {"polyak": math.ceil(total / 2)}
