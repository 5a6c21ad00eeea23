"""The inner loop: one worker is plain SGD, and it can be stopped, saved and gone on with at any minibatch."""

import numpy as np
import pytest
import torch

from tests.support.literal_sgd import literal_sgd
from tests.support.miniature import Interrupted, Task, config
from unisono.core.optimiser import Optimiser
from unisono.data.frames.loader import Slice
from unisono.engines.initial import initial_parameters
from unisono.engines.records import Record
from unisono.engines.store import COMBINE, WORKER, Stored, save
from unisono.engines.worker import Task as Work
from unisono.engines.worker import Worker
from unisono.errors import UserError

torch.set_num_threads(1)
LIMIT = {"kind": "nnet3", "per_layer": 0.2, "total": 0.0, "per_sample": 0.075}  # some steps are within it


@pytest.mark.parametrize("optimiser", ["sgd", "ng_online"])
@pytest.mark.parametrize(
    "combine",
    [
        "mean",
        {"kind": "bmuf", "block_momentum": 0.0, "block_learning_rate": 1.0, "weights": "frames"},
        {"kind": "bmuf_nesterov", "block_momentum": 0.0, "block_learning_rate": 1.0, "weights": "equal"},
        "butterfly",
        "ring",
        "hopping_ring",
    ],
)
def test_one_worker_is_plain_sgd_to_the_bit(tmp_path, combine, optimiser):
    settings = config(
        parallel__workers=1, parallel__combine=combine, optimiser__kind=optimiser, schedule__epochs=2,
        optimiser__max_change=LIMIT | {"per_layer": 0.05},
    )  # fmt: skip
    task = Task(tmp_path, settings, utterances=15)
    task.virtual()
    found = Stored(task.combined(task.last), COMBINE, task.network.layout, task.last).view("model")
    params, records = literal_sgd(task)
    assert found.numpy().tobytes() == params.numpy().tobytes()
    for number, record in enumerate(records):
        (said,) = task.read_state(number).workers
        assert (said.objective, said.frame_accuracy, said.limited_share) == record
    assert any(0.0 < record[2] < 1.0 for record in records)


@pytest.mark.parametrize(
    "changes", [{}, {"optimiser__kind": "ng_online"}, {"network__dropout": 0.3}, {"optimiser__max_change": LIMIT}]
)
def test_a_worker_stopped_saved_and_restored_anywhere_ends_at_the_same_bits(tmp_path, changes):
    task = Task(tmp_path, config(**changes))
    work = Work(2, 1, 1, Slice(1, -1, 64, 400), 32, 0.01, 1.0, 0, 2)
    layout, limit = task.network.layout, "optimiser__max_change" in changes

    def worker():
        made = Worker(1, task.network, Optimiser(task.run.optimiser, task.network.layout), 3)
        made.params.copy_(initial_parameters(task.session))
        return made

    with task.session.loader() as loader:
        whole = worker()
        wanted = whole.run(work, loader)
        for place in (1, 2, 5, 11):
            broken = worker()
            stats = broken.run(work, loader, Interrupted(place))
            assert not stats.complete and stats.frames == (place - 1) * 32
            save(tmp_path / "saved", broken.save(), WORKER, layout, 2)
            other = worker()
            other.params.fill_(7.0)
            saved = Stored(tmp_path / "saved", WORKER, layout, 2)
            other.restore({name: saved.take(name) for name in saved.names})
            stats = other.run(work, loader)
            assert stats.complete and other.params.numpy().tobytes() == whole.params.numpy().tobytes()
            assert (stats.objective_sum, stats.correct) == (wanted.objective_sum, wanted.correct)
            assert stats.limited == wanted.limited and (0 < stats.limited < stats.minibatches) == bool(limit)
            same = other.optimiser.state(), whole.optimiser.state()
            assert all(torch.equal(same[0][name], same[1][name]) for name in same[1])


def test_loading_ahead_does_not_change_a_bit(tmp_path):
    task = Task(tmp_path, config(data__shuffle_window=100))
    finals = []
    for ahead in (0, 1, 5):
        worker = Worker(0, task.network, Optimiser(task.run.optimiser, task.network.layout), 3)
        with task.session.loader(ahead) as loader:
            worker.run(Work(1, 0, 0, Slice(0, -1, 0, 1000), 32, 0.01, 1.0, 0, 2), loader)
        finals.append(worker.params.numpy().tobytes())
    assert finals[0] == finals[1] == finals[2]


def test_a_diverged_worker_says_so(tmp_path):
    task = Task(tmp_path)
    worker = Worker(0, task.network, Optimiser(task.run.optimiser, task.network.layout), 3)
    worker.params.copy_(initial_parameters(task.session))
    with task.session.loader() as loader:
        stats = worker.run(Work(1, 0, 0, Slice(0, -1, 0, 1000), 32, 1e30, 1.0, 0, 2), loader)
    assert stats.complete and not stats.finite
    assert stats.to_json()["objective_sum"] is None or np.isfinite(stats.to_json()["objective_sum"])


def test_chance_and_record_go_by_the_slice_not_by_who_does_it(tmp_path):
    """A fast worker may do two slices of one iteration, and either of them as anybody else would."""
    task = Task(tmp_path, config(network__dropout=0.3))
    work = Work(1, 0, 0, Slice(0, -1, 0, 320), 32, 0.01, 1.0, 0, 2)

    def trained(number, slices):
        worker = Worker(number, task.network, Optimiser(task.run.optimiser, task.network.layout), 3)
        for slice_ in slices:
            worker.forget()
            worker.params.copy_(initial_parameters(task.session))
            record = worker.run(work._replace(slice=slice_), loader)
        return record, worker.params.numpy().tobytes()

    with task.session.loader() as loader:
        (one, other), (fast, same) = trained(1, [1]), trained(0, [0, 1])
        assert other == same and (one.slice, one.worker, fast.slice, fast.worker) == (1, 1, 1, 0)
        assert trained(0, [0])[1] != same


def test_a_record_survives_message_and_file(tmp_path):
    record = Record(iteration=3, slice=2, worker=1, start=2, frames=640, minibatches=20, objective_sum=-0.1, correct=7)
    assert Record.from_row(record.to_row(), "cpu") == record == Record.from_json(record.to_json(), "here")
    assert (record.objective, record.frame_accuracy, record.limited_share) == (-0.1 / 640, 7 / 640, 0.0)
    wild = Record(iteration=3, slice=2, worker=1, start=2, objective_sum=float("inf"))
    assert wild.to_json()["objective_sum"] is None and np.isnan(Record.from_json(wild.to_json(), "").objective_sum)
    for wrong in ([], {"frames": 1}, record.to_json() | {"more": 1}):
        with pytest.raises(UserError, match="here: not the record of a worker"):
            Record.from_json(wrong, "here")
