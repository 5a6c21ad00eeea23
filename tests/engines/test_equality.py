"""jobs, virtual and sync write the same bytes: the proof that they are one system.

The covering set and the full product train on the embedded corpus: spoken sentences, real features and alignments.
"""

import json

import pytest
import torch

from tests.support.miniature import TENANTS, Task, config
from unisono.core import average
from unisono.engines.worker import Worker

torch.set_num_threads(1)

PNORM, GROWING_PNORM, LSTM = TENANTS["pnorm"], TENANTS["growing"], TENANTS["lstm"]
GROWING = {"network": {"hidden": [12, 12, 12], "context": [2, 1]}, "initialisation": {"kind": "layerwise", "period": 1}}
# A covering set: every pair of values of two axes occurs.
COVERING = [
    ("mean", "sgd", 1, {}),
    ("mean", "ng_online", 2, {"parallel__carry_state": "average", "optimiser__max_change__kind": "nnet3"}),
    ("mean", "sgd", 3, {"parallel__dealing": "fixed", "network__dropout": 0.2}),
    ("mean", "ng_online", 4, {"parallel__workers": {"initial": 1, "final": 4}, "final_model": "ema",
                              "observers__ema": {"decay": 0.7, "start": 0.25}}),
    ("bmuf", "ng_online", 1, {"parallel__first_iteration": "combine"}),
    ("bmuf", "sgd", 2, {"schedule__kind": "newbob", "schedule__epochs": 3}),
    ("bmuf", "ng_simple", 3, {"parallel__carry_state": "reset"}),
    ("bmuf_nesterov", "sgd", 4, {"parallel__carry_state": "average", "final_model": "polyak",
                                 "observers__polyak": {"start": 0.25}}),
    ("bmuf_nesterov", "ng_online", 3, {"optimiser__max_change__kind": "nnet2"}),
    ("butterfly", "ng_online", 4, {}),
    ("butterfly", "sgd", 2, {"parallel__first_iteration": "combine", "final_model": "best"}),
    ("ring", "sgd", 3, {"parallel__dealing": "fixed", "final_model": "end",
                        "observers__end": {"kind": "tail", "combinations": 2}}),
    ("ring", "ng_online", 4, {"parallel__carry_state": "reset"}),
    ("mean", "ng_online", 2, {"parallel__carry_state": "epoch", "final_model": "combined", "network__dropout": 0.2,
                              "combined": {"models": 3, "frames": 300, "evaluations": 4}}),
    ("mean", "sgd", 3, LSTM | {"network__dropout": 0.2, "prior": "posteriors"}),
    ("bmuf", "ng_online", 3, LSTM | {"parallel__dealing": "fixed", "parallel__carry_state": "average",
                                     "optimiser__max_change__kind": "nnet3"}),
    ("ring", "ng_online", 1, LSTM | {"precision": "bf16"}),
    ("mean", "ng_online", 3, PNORM),
    ("mean", "ng_online", 4, GROWING_PNORM),
    ("bmuf_nesterov", "ng_simple", 2, GROWING | {"parallel__first_iteration": "combine", "final_model": "tail",
                                                "observers__tail": {"combinations": 2}}),
    ("ring", "sgd", 3, GROWING_PNORM | {"final_model": "best", "parallel__carry_state": "reset"}),
    ("hopping_ring", "sgd", 4, {"observers__ema": {"decay": 0.7, "start": 0.25}, "final_model": "ema"}),
]  # fmt: skip
RULES = ("mean", "bmuf", "bmuf_nesterov", "butterfly", "ring", "hopping_ring")
OPTIMISERS = ("sgd", "ng_online", "ng_simple")
FULL = (
    [
        (rule, optimiser, workers, {})
        for rule in RULES
        for optimiser in OPTIMISERS
        for workers in (1, 2, 3, 4)
        if rule != "butterfly" or workers != 3
    ]
    + [
        (rule, optimiser, 4, network)
        for network in (PNORM, GROWING, GROWING_PNORM)
        for rule in RULES
        for optimiser in OPTIMISERS
    ]
    + [
        (rule, optimiser, workers, LSTM)
        for rule in ("mean", "bmuf", "ring")
        for optimiser in ("sgd", "ng_online")
        for workers in (1, 3)
    ]
)


def named(case):
    network = case[3].get("network", {}).get("kind", "")
    return "-".join(
        [*map(str, case[:3]), *([network] if network else []), *(["grows"] * ("initialisation" in case[3]))]
    )


def settings_of(rule, optimiser, workers, changes):
    base = {"parallel__combine": rule, "optimiser__kind": optimiser, "parallel__workers": workers}
    return config(**base | {"parallel__period_frames": 250} | changes)


@pytest.mark.parametrize("case", COVERING, ids=named)
def test_jobs_and_virtual_write_the_same_bytes(tmp_path, spoken_task, case):
    settings = settings_of(*case)
    by_jobs, virtual = spoken_task(tmp_path / "jobs", settings), spoken_task(tmp_path / "virtual", settings)
    assert by_jobs.jobs() == virtual.virtual()
    assert virtual.virtual() == by_jobs.finish()  # a second run, from its checkpoint
    ledgers = [json.loads((tmp_path / name / "ledger.json").read_text()) for name in ("jobs", "virtual")]
    assert ledgers[0] == ledgers[1]
    assert by_jobs.metrics() == virtual.metrics()
    counts = ledgers[0]["workers"].values()
    epochs = case[3].get("schedule__epochs", 2)
    assert sum(c["seen"] + c["discarded"] for c in counts) == epochs * by_jobs.train.frames
    assert all(c["dropped"] == c["repeated"] == 0 for c in counts)
    assert not any(record.rejected for i in range(by_jobs.last + 1) for record in by_jobs.read_state(i).workers)


@pytest.mark.slow
@pytest.mark.parametrize("case", FULL, ids=named)
def test_jobs_and_virtual_write_the_same_bytes_everywhere(tmp_path, spoken_task, case):
    settings = settings_of(*case)
    by_jobs, virtual = spoken_task(tmp_path / "jobs", settings), spoken_task(tmp_path / "virtual", settings)
    assert by_jobs.jobs() == virtual.virtual()


def test_engines_may_follow_each_other_within_a_run(tmp_path):
    settings = settings_of("bmuf_nesterov", "ng_online", 2, {})
    whole = Task(tmp_path / "whole", settings).virtual()
    mixed = Task(tmp_path / "mixed", settings)
    mixed.initialise()
    mixed.block(last=1)
    for j in range(2):
        mixed.train_worker(2, j)
    mixed.combine(2)
    mixed.block(first=3, last=3)
    mixed.block(first=4)
    assert mixed.finish() == whole


def test_another_order_of_summation_is_caught(tmp_path, monkeypatch):
    original = Worker.run

    def run(self, task, *rest):
        stats = original(self, task, *rest)
        if task.iteration == 1:  # float64 hides the order of ordinary numbers: give it some that it cannot hide
            self.params[0] = (1e30, -1e30, 1.0)[self.number]
        return stats

    monkeypatch.setattr(Worker, "run", run)
    settings = settings_of("mean", "sgd", 3, {"parallel__combine": {"kind": "mean", "weights": "equal"}})
    by_jobs = Task(tmp_path / "jobs", settings).jobs()
    assert Task(tmp_path / "virtual", settings).virtual() == by_jobs
    mean = average.weighted_mean
    monkeypatch.setattr(average, "weighted_mean", lambda v, w: mean(v[::-1], w[::-1]))
    assert Task(tmp_path / "broken", settings).virtual() != by_jobs


def test_the_seed_counts(tmp_path):
    found = {Task(tmp_path / str(seed), config(seed=seed, schedule__epochs=1)).virtual() for seed in (1, 2)}
    assert len(found) == 2
