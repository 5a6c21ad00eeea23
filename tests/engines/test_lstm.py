"""The LSTM in a run: chunks in plan, diagnostics and ledger, resume, whole utterances afterwards, one-line mistakes."""

import json

import numpy as np
import pytest
import torch

import unisono
from tests.support.miniature import Interrupted, Task, config
from unisono.data.frames.units import listed
from unisono.engines.block import Stopped
from unisono.engines.comm import Alone
from unisono.engines.evaluate import Evaluator
from unisono.errors import UserError
from unisono.nn.model_file import load_model
from unisono.schedule import build_plan

torch.set_num_threads(1)
SHAPE = {"kind": "lstm", "cells": [8, 6], "chunk": 6, "left_context": 5, "label_delay": 2, "backprop_margin": 2}


def settings(**changes):
    network = SHAPE | changes.pop("shape", {})
    own = {"optimiser__minibatch": 8, "optimiser__kind": "ng_online", "optimiser__learning_rate": 0.02}
    return config(**{"network": network, "schedule__final_learning_rate": 0.01} | own | changes)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run with all kinds of state, which was never interrupted."""
    task = Task(tmp_path_factory.mktemp("whole"), settings(**STATES))
    task.virtual()
    return task


STATES = {
    "parallel__workers": 3, "parallel__combine": "bmuf", "network__dropout": 0.2, "prior": "posteriors",
    "observers__ema": {"decay": 0.5, "start": 0.2}, "final_model": "ema", "optimiser__max_change__kind": "nnet3",
}  # fmt: skip


def test_a_run_learns_and_counts_every_frame_once(whole):
    ledger = json.loads((whole.folder / "ledger.json").read_text())
    counts = ledger["workers"].values()
    assert (ledger["corpus_frames"], ledger["epochs"]) == (whole.train.frames, 2.0)
    assert sum(c["seen"] + c["discarded"] for c in counts) == 2 * whole.train.frames
    assert whole.plan.units == sum(-(-n // 6) for n in whole.train.lengths.tolist()) < whole.train.frames
    objectives = [row["objective_train"] for row in whole.metrics() if row.get("objective_train") is not None]
    assert objectives[-1] > objectives[0] + 0.3


def test_stopped_anywhere_the_bytes_are_the_same(tmp_path, whole):
    task = Task(tmp_path, settings(**STATES))
    task.initialise()
    stops, place = 0, 5
    while True:
        try:
            task.block(checkpoint_s=0, interrupted=Interrupted(place))
            break
        except Stopped:
            stops, place = stops + 1, place + 6
    final = (whole.folder / "final.safetensors").read_bytes()
    assert stops > 2 and task.finish() == final
    assert Task(tmp_path / "jobs", settings(**STATES)).jobs() == final


def test_diagnostics_are_of_whole_chunks_until_there_are_enough_frames(whole):
    evaluator = Evaluator(whole.session, Alone())
    network, model = whole.network, load_model(whole.folder / "final.safetensors").flat
    drawn = np.concatenate(evaluator._train_batches)
    pieces = evaluator._train._pieces(drawn)
    chosen = listed(pieces, whole.train.lengths, network.unit)
    assert 200 <= chosen.mask.sum() < 200 + 12 and len(np.unique(drawn)) == len(drawn)
    network.bind(model)
    total = 0.0
    for number, begin, mask in zip(chosen.piece, chosen.begin, chosen.mask, strict=True):
        first, last = whole.train.offsets[pieces[number].utterance :][:2].tolist()
        frames, length = whole.train.read(first, last), last - first
        places = np.arange(begin - 5, begin + 8)
        batch = network.buffers(1)
        batch.x[0] = torch.from_numpy(frames[places.clip(0, length - 1)])
        batch.before[0] = max(0, 5 - begin)
        ids = whole.train.read_ids(first, last)[np.arange(begin, begin + 6).clip(0, length - 1)]
        log_p = network.chunk_log_posteriors(batch)[0].numpy()
        total += float(log_p[np.arange(6), ids][mask].sum(dtype=np.float64))
    found = evaluator.evaluate(model, iteration=whole.last, whole_dev=False)["objective_train"]
    assert found == pytest.approx(total / chosen.mask.sum(), rel=1e-5)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
@pytest.mark.parametrize(
    "shape", [{}, {"splice": [2, 1], "projection": [4, 3]}, {"peepholes": False, "decay_time": 9.0}]
)
def test_chunks_whose_context_covers_their_history_are_the_whole_utterance(tmp_path, dtype, tolerance, shape):
    """Gathered by the loader from the store, edges and short utterances included."""
    task = Task(tmp_path, settings(shape=shape | {"left_context": 120, "chunk": 15}))
    network, longest = task.network, int(task.train.lengths.max())
    assert 15 < longest <= 120 and task.train.lengths.min() < 15
    generator = torch.Generator().manual_seed(1)
    network.bind(0.5 * torch.randn(network.layout.size, dtype=dtype, generator=generator))
    whole = [network.log_posteriors(frames) for frames in task.session.utterances()]
    compared = 0
    with task.session.loader() as loader:
        order = loader.order(0, -1)
        for number in order.windows(0, len(order)):
            pieces, shuffle = order.pieces(number), order.shuffle(number)
            units = listed(pieces, task.train.lengths, network.unit)
            part = task.session.part(0, 0)._replace(begin=order.span(number)[0], end=order.span(number)[1])
            ((batch, frames),) = loader.minibatches(part, len(shuffle), network.buffers)
            found = network.chunk_log_posteriors(batch)
            for k, unit in enumerate(shuffle.tolist()):
                kept, begin = units.mask[unit], int(units.begin[unit])
                wanted = whole[pieces[units.piece[unit]].utterance][begin : begin + 15]
                error = (found[k, : len(wanted)] - wanted).abs() / wanted.abs().clamp(min=1.0)
                assert float(error.max()) <= tolerance
                compared += int(kept.sum())
    assert compared == task.train.frames


def test_the_loaded_module_agrees_and_has_gradients(whole):
    path = whole.folder / "final.safetensors"
    network, module = whole.network, unisono.load(path)
    network.bind(load_model(path).flat)
    frames = torch.randn(2, 700, 6, generator=torch.Generator().manual_seed(2), requires_grad=True)  # two pieces
    found = module(frames)
    for one, own in zip(found, frames, strict=True):
        wanted, one = network.log_posteriors(own.detach()), one.detach()
        assert float(((one - wanted).abs() / wanted.abs().clamp(min=1.0)).max()) < 1e-5
    found[0, 300].sum().backward()
    assert float(frames.grad[0, 300].abs().sum()) > 0.0 and not frames.grad[1].any() and not frames.grad[0, 310:].any()
    assert all(parameter.grad is not None for parameter in module.parameters())
    with pytest.raises(ValueError, match="expected frames of 6"):
        module(torch.zeros(3, 5))


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"shape": {"label_delay": 6}}, "network.label_delay: 6 is not below network.chunk, 6"),
        (
            {"parallel__period_frames": 47},
            "47 is less than one optimiser.minibatch of 8 chunks of 6 frames",
        ),
        ({"shape": {"chunk": 200}, "parallel__period_frames": 9000}, "network.chunk: 200 frames are more than every"),
        ({"initialisation": "layerwise"}, "initialisation.kind: layerwise inserts hidden layers, which"),
        ({"parallel__workers": 60}, "parallel.workers: 60 workers, but an epoch has only"),
    ],
)
def test_what_makes_no_sense_is_one_line(tmp_path, changes, line):
    with pytest.raises(UserError) as caught:
        Task(tmp_path, settings(**changes))
    assert line in str(caught.value) and "\n" not in str(caught.value)


def test_a_model_of_the_other_kind_is_refused_as_a_start(tmp_path, whole):
    path = whole.folder / "final.safetensors"
    task = Task(tmp_path, config(initialisation={"kind": "model", "path": str(path)}))
    with pytest.raises(UserError, match="its network is of kind lstm, the config says dnn: make them equal"):
        task.initialise()
    again = Task(tmp_path / "again", settings(initialisation={"kind": "model", "path": str(path)}))
    assert torch.equal(again.initialise()[0].view("model"), load_model(path).flat)


def test_minibatches_have_their_default_by_the_unit(tmp_path):
    task = Task(tmp_path, settings(optimiser__minibatch=None, parallel__period_frames=9000))
    assert (task.run.minibatch, task.plan.minibatch) == (64, 64)
    frames = Task(tmp_path / "frames", config(optimiser__minibatch=None))
    assert frames.plan == build_plan(frames.train.lengths.tolist(), frames.run.schedule, frames.run.parallel, 256)


def test_bf16_is_another_run_near_the_same_end(tmp_path, whole):
    short = Task(tmp_path, settings(**STATES) | {"precision": "bf16"})
    assert short.virtual() != (whole.folder / "final.safetensors").read_bytes()
    ends = [task.facts()["candidates"]["last"]["objective_dev"] for task in (whole, short)]
    assert ends[1] == pytest.approx(ends[0], abs=0.02)
