"""jobs, virtual and sync write the same bytes: the proof that they are one system.

The covering set and the full product train on the embedded corpus: spoken sentences, real features and alignments.
"""

import json

import pytest
import torch

from tests.support.miniature import Task, config
from tests.support.product import COVERING, FULL, named, settings_of
from unisono.core import average
from unisono.engines.worker import Worker

torch.set_num_threads(1)


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
