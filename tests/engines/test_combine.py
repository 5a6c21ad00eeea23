"""What the end of an iteration decides: rejection, back-off, observers, newbob, best; the same in every engine."""

import dataclasses
import json
import math

import numpy as np
import pytest
import torch

from tests.support.miniature import Task, config, scripted
from unisono.config.observers import EmaOptions
from unisono.data.frames.ledger import ledger
from unisono.engines.comm import Alone
from unisono.engines.evaluate import Evaluator
from unisono.engines.jobs import FileModels
from unisono.engines.judge import decide
from unisono.engines.records import Record
from unisono.engines.step import advance
from unisono.engines.store import COMBINE, Stored, known
from unisono.errors import UserError

torch.set_num_threads(1)


class Models:
    """The vectors after an iteration; what a file lacks equals the model."""

    def __init__(self, task, i):
        self.file = Stored(task.combined(i), COMBINE, task.network.layout, i)

    def __getitem__(self, name):
        assert name.split(".")[0] in ("model", "start", "rule", "observer", "best", "optimiser")
        return self.file.take(known(self.file, name))

    def group(self, prefix):
        return [name for name in self.file.names if name.startswith(prefix)]


RULES = ["mean", "bmuf", "butterfly"]


def test_limited_steps_are_told_of_each_worker_and_of_all(tmp_path):
    limit = {"kind": "nnet3", "per_layer": 0.1, "total": 0.15, "per_sample": 0.075}
    task = Task(tmp_path, config(optimiser__max_change=limit, parallel__period_frames=333))
    task.virtual()
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    for i in range(task.last + 1):
        records = task.read_state(i).workers
        *workers, combined = [row["limited"] for row in rows if row["iteration"] == i]
        assert workers == [record.limited / record.minibatches for record in records]
        steps = [record.minibatches for record in records]
        assert combined == sum(map(math.prod, zip(steps, workers, strict=True))) / sum(steps)
    assert any(0.0 < row["limited"] < 1.0 for row in rows)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("kind", ["nan", "low"])
def test_a_spoilt_worker_is_left_out_in_every_engine(tmp_path, spoil, rule, kind):
    spoil[(2, 1)] = kind
    settings = config(parallel__combine=rule, parallel__workers=4, parallel__period_frames=330, schedule__epochs=3)
    by_jobs, virtual = Task(tmp_path / "jobs", settings, 80), Task(tmp_path / "virtual", settings, 80)
    assert by_jobs.jobs() == virtual.virtual()
    records = by_jobs.read_state(2).workers
    assert [record.rejected for record in records] == [False, True, False, False]
    assert ("finite" if kind == "nan" else "below") in records[1].reason
    assert by_jobs.read_state(2).fresh == (1,)
    rows = [json.loads(line) for line in (tmp_path / "jobs/metrics.jsonl").read_text().splitlines()]
    assert [(row["iteration"], row["worker"]) for row in rows if row["rejected"]] == [(2, 1)]
    ledger = json.loads((tmp_path / "jobs/ledger.json").read_text())["workers"]
    total = sum(worker["seen"] + worker["discarded"] for worker in ledger.values())
    assert total == 3 * by_jobs.train.frames
    begin, end = by_jobs.plan.iterations[2].slices[1]
    assert ledger["1"]["discarded"] >= end - begin


@pytest.mark.parametrize("limit, rejected", [(0.5, True), (1e6, False)])
def test_how_far_below_the_best_a_worker_may_be_is_the_configs(tmp_path, spoil, limit, rejected):
    spoil[(2, 1)] = "low"
    settings = config(parallel__reject_below=limit, parallel__workers=4, parallel__period_frames=330)
    task = Task(tmp_path, settings, 80)
    task.virtual()
    assert [record.rejected for record in task.read_state(2).workers] == [False, rejected, False, False]


def test_a_partner_of_a_rejected_worker_keeps_its_own(tmp_path, spoil):
    spoil[(1, 1)] = "nan"
    task = Task(tmp_path, config(parallel__combine="butterfly", parallel__workers=4, parallel__period_frames=150), 80)
    task.initialise()
    for i in range(2):
        for j in range(4):
            task.train_worker(i, j)
        task.combine(i)
    files = FileModels([task.worker(1, j).model for j in range(4)], [], task.network.layout)
    combined = Models(task, 1)
    assert torch.equal(combined["start.0"], files.one(0))  # its partner in turn 0 is worker 1
    assert torch.equal(combined["start.2"], files.one(2) * 0.5 + files.one(3) * 0.5)
    assert combined.group("start") == ["start.0", "start.2", "start.3"]  # the rejected one starts from the model
    mean = sum(files.one(j).double() for j in (0, 2, 3)) / 3
    torch.testing.assert_close(combined["model"].double(), mean, atol=1e-7, rtol=1e-6)


@pytest.mark.parametrize("rule", RULES)
def test_when_all_are_rejected_the_model_stays_and_the_rate_halves(tmp_path, spoil, rule):
    spoil[(2, None)] = "nan"
    settings = config(
        parallel__combine=rule, schedule__kind="fixed", observers__ema={"decay": 0.5, "start": 0.0},
        optimiser__max_change__kind="none",
    )  # fmt: skip
    by_jobs, virtual = Task(tmp_path / "jobs", settings), Task(tmp_path / "virtual", settings)
    assert by_jobs.jobs() == virtual.virtual()
    before, after = Models(by_jobs, 1), Models(by_jobs, 2)
    names = ["model", "observer.ema", *before.group("rule.")]
    assert all(torch.equal(before[name], after[name]) for name in names)
    states = [by_jobs.read_state(i) for i in range(by_jobs.last)]
    rates = [state.learning_rate for state in states]
    assert rates[2] == rates[1] / 2 == rates[3] and [s.backoffs for s in states[1:4]] == [0, 1, 0]
    ledger = json.loads((tmp_path / "jobs/ledger.json").read_text())["workers"]
    begin, end = by_jobs.plan.iterations[0].slices[0]
    assert sum(w["discarded"] for w in ledger.values()) <= 2 * (end - begin)  # of iteration 0 only


def test_back_off_ends_with_one_line(tmp_path, spoil):
    for i in range(6):
        spoil[(i, None)] = "nan"
    task = Task(tmp_path, config(parallel__max_backoffs=2))
    with pytest.raises(UserError, match="iteration 2: all workers were rejected 3 times in a row .*learning_rate"):
        task.virtual()


def test_a_wild_rate_backs_off_without_help(tmp_path):
    task = Task(tmp_path, config(optimiser__learning_rate=1e20, schedule__kind="fixed"))
    with pytest.raises(UserError, match="rejected 4 times in a row"):
        task.virtual()


def records(objectives, minibatches=20, finite=True):
    counts = {
        "units": 100,
        "frames": 100,
        "minibatches": minibatches,
        "correct": 50,
        "finite": finite,
        "complete": True,
    }
    return [
        Record(iteration=1, slice=j, worker=j, start=0, objective_sum=o * 100, **counts)
        for j, o in enumerate(objectives)
    ]


def test_decisions(tmp_path):
    task = Task(tmp_path)
    first, second = task.plan.iterations[:2]

    def verdict(iteration, found):
        return decide(task.run, iteration, found, equal=False)

    assert verdict(first, records([-2.0, -1.0, -1.0])).chosen == 1
    assert verdict(second, records([-2.5, -1.0])).accepted == (False, True)
    assert verdict(second, records([-2.5, -1.0], minibatches=9)).accepted == (True, True)
    assert verdict(second, records([math.nan, -1.0])).accepted == (False, True)
    assert verdict(second, records([-1.0, -1.0], finite=False)).kind == "none"
    assert verdict(second, records([-1.0, -1.5])).weights == (0.5, 0.5)


def test_iteration_zero_hands_on_the_best_worker_and_its_momentum(tmp_path):
    task = Task(tmp_path)
    task.initialise()
    for j in range(2):
        task.train_worker(0, j)
    task.combine(0)
    objectives = [record.objective for record in task.read_state(0).workers]
    best = objectives.index(max(objectives))
    files = FileModels([task.worker(0, j).model for j in range(2)], [task.worker(0, j).state for j in range(2)],
                       task.network.layout)  # fmt: skip
    combined = Models(task, 0)
    assert torch.equal(combined["model"], files.one(best)) and task.read_state(0).shared
    assert torch.equal(combined["optimiser.momentum"], files.optimiser_state(best)["momentum"])


def test_optimiser_states_that_end_with_the_epoch(tmp_path):
    def task(carry, name, **changes):
        settings = config(
            parallel__carry_state=carry, optimiser__kind="ng_online", parallel__first_iteration="combine", **changes
        )
        made = Task(tmp_path / f"{carry}-{name}", settings)
        return made, made.virtual()

    made, found = task("epoch", "two")
    fresh = [made.read_state(i).fresh for i in range(made.last + 1)]
    ends = [it.end_of_epoch for it in made.plan.iterations]
    assert fresh == [(0, 1) if end and i < made.last else () for i, end in enumerate(ends)] and sum(ends) == 2
    assert found != task("carry", "two")[1] and found != task("reset", "two")[1]
    # Within one epoch it is `carry`, and with one combination in each it is `reset`.
    assert task("epoch", "one", schedule__epochs=1)[1] == task("carry", "one", schedule__epochs=1)[1]
    long = {"parallel__period_frames": 100_000}
    assert task("epoch", "rare", **long)[1] == task("reset", "rare", **long)[1]


def test_observers_are_the_literal_averages_of_the_models(tmp_path):
    settings = config(
        observers__ema={"decay": 0.8, "start": 0.4}, observers__mine={"kind": "polyak", "start": 0.4},
        observers__slow={"kind": "ema", "window": 0.5, "start": 0.4}, observers__tail={"combinations": 3},
        parallel__period_frames=150, parallel__combine="bmuf_nesterov", final_model="mine",
    )  # fmt: skip
    task = Task(tmp_path, settings)
    task.jobs()
    starts = [it.progress for it in task.plan.iterations[1:]] + [1.0]
    decay, kept, models, wanted = 1 - 1 / (0.5 * len(starts)), [], [], {}
    for i, progress in enumerate(starts):
        found = Models(task, i)
        model = found["model"].double().numpy()
        models.append(model)
        if progress <= 0.4 or i == 0:
            wanted = dict.fromkeys(("ema", "mine", "slow"), model)
        else:
            kept.append(model)
            ema, slow = 0.8 * wanted["ema"] + 0.2 * model, decay * wanted["slow"] + (1 - decay) * model
            wanted = {"ema": ema, "mine": np.mean(kept, axis=0), "slow": slow}
        last = models[len(starts) - 3 :]
        wanted["tail"] = np.mean(last, axis=0) if last else model
        for name, vector in wanted.items():
            np.testing.assert_allclose(found[f"observer.{name}"].double().numpy(), vector, atol=1e-5)
    assert len(kept) > 3 and len(last) == 3 and not np.allclose(wanted["tail"], wanted["mine"], atol=1e-4)
    assert sorted(task.facts()["candidates"]) == ["ema", "last", "mine", "slow", "tail"]
    assert (tmp_path / "final.safetensors").read_bytes() == (tmp_path / "models/mine.safetensors").read_bytes()


@pytest.mark.parametrize(
    ("window", "combinations", "weight"), [(0.1, 200, 0.05), (1.0, 4, 0.25), (0.01, 50, 1.0), (0.5, 1, 1.0)]
)
def test_a_window_is_a_fraction_of_the_run(window, combinations, weight):
    assert EmaOptions(kind="ema", window=window).weight(7, combinations) == pytest.approx(weight)


def test_newbob_goes_back_halves_and_stops(tmp_path, monkeypatch):
    scripted(monkeypatch, [-2.0, -1.0, -1.5, -1.4])
    task = Task(tmp_path, config(schedule__kind="newbob", schedule__epochs=6, parallel__period_frames=450))
    task.jobs()
    ends = [it.iteration for it in task.plan.iterations if it.end_of_epoch]
    states = [task.read_state(i) for i in ends]
    assert [s.newbob["rate"] for s in states[:4]] == [0.004, 0.004, 0.002, 0.001]
    assert [s.stop for s in states[:4]] == [False, False, False, True] and states[5].stop
    assert torch.equal(Models(task, ends[2])["model"], Models(task, ends[1])["model"])  # rejected: back to the best
    assert states[2].fresh == (0, 1) and states[3].best["iteration"] == ends[1]
    facts = task.facts()
    assert facts["stopped_early"] and facts["iterations"] == ends[3] + 1
    assert (tmp_path / "final.safetensors").read_bytes() == (tmp_path / "models/best.safetensors").read_bytes()


def test_a_warm_up_is_in_the_rates_of_its_iterations(tmp_path):
    plain, warm = (
        Task(tmp_path / str(frames), config(schedule__warm_up_frames=frames, parallel__period_frames=150))
        for frames in (0, 1000)
    )
    for task in (plain, warm):
        task.virtual()
    rates = [[task.read_state(i).workers[0].learning_rate for i in range(task.last + 1)] for task in (plain, warm)]
    ends = [warm.plan.span(i) for i in range(warm.last + 1)]
    assert ends[1][1] < 1000 < ends[-2][0]
    for without, with_it, (begin, end) in zip(*rates, ends, strict=True):
        literal = sum(min(1.0, (frame + 0.5) / 1000) for frame in range(begin, end)) / (end - begin)
        assert with_it == pytest.approx(literal * without)


def test_the_best_model_on_dev_can_be_the_final_one(tmp_path, monkeypatch):
    scripted(monkeypatch, [-1.0, -2.0, -1.5])
    task = Task(tmp_path, config(final_model="best", schedule__epochs=3))
    task.jobs()
    first = next(it.iteration for it in task.plan.iterations if it.end_of_epoch)
    assert task.read_state(task.last).best == {"iteration": first, "objective": -1.0}
    assert torch.equal(Models(task, task.last)["best"], Models(task, first)["model"])
    assert (tmp_path / "final.safetensors").read_bytes() == (tmp_path / "models/best.safetensors").read_bytes()


def test_a_static_number_of_iterations_may_end_within_an_epoch(tmp_path):
    settings = config(
        schedule__epochs=None, schedule__iterations=3, final_model="best", parallel__combine="hopping_ring",
        parallel__workers=3, parallel__period_frames=150,
    )  # fmt: skip
    task, virtual = Task(tmp_path / "jobs", settings), Task(tmp_path / "virtual", settings)
    assert not task.plan.iterations[-1].end_of_epoch
    assert task.jobs() == virtual.virtual()
    assert task.read_state(task.last).best["iteration"] == task.last
    ledger = json.loads((tmp_path / "jobs/ledger.json").read_text())
    assert ledger["epochs"] == sum(e - b for it in task.plan.iterations for b, e in it.slices) / task.train.frames


def test_rates_follow_the_workers_and_the_rule(tmp_path):
    ramp = Task(tmp_path / "a", config(parallel__workers={"initial": 1, "final": 3}, schedule__kind="fixed"))
    ramp.virtual()
    found = [ramp.read_state(i - 1).learning_rate for i in range(ramp.last + 1)]
    assert found == pytest.approx([0.004 * it.workers for it in ramp.plan.iterations])
    bmuf = Task(tmp_path / "b", config(parallel__combine="bmuf", schedule__kind="fixed"))
    bmuf.initialise()
    assert bmuf.read_state(-1).learning_rate == 0.004


def test_a_warm_start_begins_from_the_model_and_checks_its_layout(tmp_path):
    first = Task(tmp_path / "a")
    first.virtual()
    path = str(tmp_path / "a/final.safetensors")
    warm = Task(tmp_path / "b", config(initialisation={"kind": "model", "path": path, "hidden_gain": None,
                                                       "output_gain": 0.0}))  # fmt: skip
    vectors, _ = warm.initialise()
    assert torch.equal(vectors.view("model"), Models(first, first.last)["model"])
    for changes, message in (({"hidden": [16, 13]}, "another network"), ({"nonlinearity": "tanh"}, "nonlinearity")):
        settings = warm.settings | {"network": warm.settings["network"] | changes}
        with pytest.raises(UserError, match=message):
            Task(tmp_path / "b", settings).initialise()


def test_a_model_is_looked_at_on_the_same_frames_whatever_the_seed(tmp_path):
    found = []
    for seed in (1, 2):
        task = Task(tmp_path, config(seed=seed, diagnostics__frames=50))
        assert task.dev.frames > 50 and task.train.frames > 50
        params = torch.linspace(-1, 1, task.network.layout.size)
        evaluator = Evaluator(task.session, Alone())
        found.append(evaluator.evaluate(params, iteration=0, whole_dev=False))
    assert found[0] == found[1]


def test_the_step_is_fed_one_arrival_at_a_time(tmp_path):
    """Nothing waits for the others: each arrival is combined, and with the last slice the iteration ends."""
    task = Task(
        tmp_path, config(parallel__workers=3, parallel__first_iteration="combine", observers__polyak={"start": 0.0})
    )
    task.initialise()
    for j in range(3):
        task.train_worker(0, j)
    files = [task.worker(0, j) for j in range(3)]
    session, vectors, state = task.session, Stored(task.combined(-1), COMBINE, task.network.layout), task.read_state(-1)
    for count, j in enumerate((2, 0, 1), start=1):  # whoever is ready first
        record = Record.from_json(json.loads(files[j].record.read_text()), "here")
        models = FileModels([files[j].model], [files[j].state], task.network.layout)
        vectors, state = advance(session, vectors, state, [record], models, None)
        assert torch.equal(vectors.view("model"), models.one(0)) and state.turn == count
        if count < 3:
            assert (state.iteration, [outcome.slice for outcome in state.arrived]) == (-1, [2, 0][:count])
            assert "observer.polyak" in vectors.names and state.observed == {}
    assert (state.iteration, state.arrived, state.observed) == (0, (), {"polyak": 1})
    assert [outcome.slice for outcome in state.workers] == [2, 0, 1] and not any(o.rejected for o in state.workers)
    counts = ledger(task.plan, [state.workers])["workers"]
    assert [counts[str(j)]["seen"] for j in range(3)] == [end - begin for begin, end in task.plan.iterations[0].slices]
    twice = [dataclasses.replace(outcome, slice=0) for outcome in state.workers]
    with pytest.raises(UserError, match=r"iteration 0: slices \[0, 0, 0\] were read, the plan has 3"):
        ledger(task.plan, [twice])
