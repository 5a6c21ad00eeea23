"""Input transforms and scales by priors: estimated once, held fixed while workers train, folded into the result."""

import json

import numpy as np
import pytest
import torch

import unisono
from tests.support.miniature import Interrupted, Task, config
from unisono.config.transform import ConstantsOptions, Lda, Normalise, constants_of
from unisono.core import flat, input_transform
from unisono.engines import constants
from unisono.engines.block import Stopped
from unisono.engines.run import make_run
from unisono.engines.store import COMBINE, Stored
from unisono.errors import UserError
from unisono.nn.ends import NORMALISE, PRIOR_SCALES, TRANSFORM
from unisono.nn.model_file import load_model

torch.set_num_threads(1)
NETWORKS = {
    "dnn": {"kind": "dnn", "hidden": [16, 12], "context": [2, 1]},
    "pnorm": {"kind": "pnorm", "hidden": [8, 6], "group": 2, "context": [2, 1]},
    "lstm": {"kind": "lstm", "cells": [8, 6], "chunk": 6, "left_context": 5, "label_delay": 2, "splice": [2, 1]},
}


def settings(transform, prior_power=-0.25, kind="dnn", **more):
    network = NETWORKS[kind] | {"transform": transform, "prior_power": prior_power}
    more = {"optimiser__minibatch": 8} | more if kind == "lstm" else more
    return config(network=network, parallel__workers=2, schedule__epochs=1, **more)


def all_spliced(store, left, right):
    rows, ids = [], []
    for begin, end in zip(store.offsets, store.offsets[1:], strict=False):
        frames = np.asarray(store.read(int(begin), int(end)), np.float64)
        padded = np.concatenate([frames[:1]] * left + [frames] + [frames[-1:]] * right)
        rows += [padded[t : t + left + 1 + right].ravel() for t in range(len(frames))]
        ids += store.read_ids(int(begin), int(end)).tolist()
    return np.array(rows), np.array(ids)


def test_estimates_are_those_of_all_spliced_frames(task):
    x, ids = all_spliced(task.train, 2, 1)
    options = ConstantsOptions(context=(2, 1), transform=Normalise(kind="normalise"), prior_power=-0.5)
    found = constants.estimate(options, task.train)
    scale, offset = found[NORMALISE].numpy()
    np.testing.assert_allclose(scale, 1.0 / x.std(0), rtol=1e-9)
    np.testing.assert_allclose(offset, -x.mean(0) / x.std(0), rtol=1e-7, atol=1e-9)
    assert torch.equal(found[PRIOR_SCALES], input_transform.prior_scales(torch.from_numpy(task.train.pdf_counts), -0.5))
    counts = np.bincount(ids, minlength=task.train.num_pdfs)
    assert counts.tolist() == task.train.pdf_counts.tolist()


def test_options_name_the_file_by_what_it_depends_on():
    def named(**values):
        return ConstantsOptions(context=(2, 1), **values).digest

    one = named(transform=Normalise(kind="normalise"))
    assert len({named(), one, named(transform=Lda(kind="lda")), named(prior_power=-0.25)}) == 4
    assert one == named(transform=Normalise(kind="normalise"), prior_power=0.0)
    assert constants_of(make_run(settings("none", 0.0)).network) is None


@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize("transform", ["normalise", "lda"])
def test_engines_write_the_same_folded_model(tmp_path, transform, kind):
    by_jobs = Task(tmp_path / "jobs", settings(transform, kind=kind))
    virtual = Task(tmp_path / "virtual", settings(transform, kind=kind))
    assert by_jobs.jobs() == virtual.virtual()
    model = load_model(tmp_path / "jobs/final.safetensors")
    assert [row["objective_dev"] for row in by_jobs.metrics() if row["worker"] is None][-1] > -np.log(9)
    assert not model.constants and set(model.network) & {"transform", "prior_power"} == set()
    last = Stored(by_jobs.combined(by_jobs.last), COMBINE, by_jobs.session.layout).take("model")
    assert not torch.equal(last, model.flat)
    frames = torch.from_numpy(by_jobs.train.read(0, 90)).float()
    network = by_jobs.session.network
    network.bind(last)
    unfolded = network.log_posteriors(frames)
    torch.testing.assert_close(unisono.load(tmp_path / "jobs/final.safetensors")(frames), unfolded, rtol=0, atol=1e-4)
    double = last.double()
    network.bind(double)
    plain = Task(tmp_path / "plain", settings("none", 0.0, kind)).session.network
    folded = network.log_posteriors(frames)
    plain.bind(network.folded(double))
    torch.testing.assert_close(plain.log_posteriors(frames), folded, rtol=0, atol=1e-9)


def test_a_step_is_that_of_the_literal_network(tmp_path):
    """Plain SGD on softmax(s (W2 relu(W1 (M x + o) + b1) + b2)), with autograd, float64."""
    task = Task(tmp_path, settings("lda", optimiser__momentum=0.0))
    network = task.session.network
    params, generator = flat.zeros(network.layout.size, torch.float64), torch.Generator().manual_seed(1)
    for matrix in flat.views(network.layout, params).values():
        matrix.copy_(0.3 * torch.randn(matrix.shape, generator=generator))
    x, ids = all_spliced(task.train, 2, 1)
    x, ids = torch.from_numpy(x[:32]), torch.from_numpy(ids[:32])
    weights = [m.clone().requires_grad_() for m in flat.views(network.layout, params).values()]
    held = task.session.constants
    y = input_transform.apply(held[TRANSFORM], x)
    for matrix in weights[:-1]:
        y = torch.relu(y @ matrix[:, :-1].t() + matrix[:, -1])
    logits = (y @ weights[-1][:, :-1].t() + weights[-1][:, -1]) * held[PRIOR_SCALES]
    objective = torch.log_softmax(logits, 1)[torch.arange(32), ids].sum()
    objective.backward()
    network.bind(params)
    batch = network.buffers(32)
    batch.x.copy_(x[:, None])
    batch.ids.copy_(ids[:, None])
    stats = network.step_(batch, network.updater(task.run.optimiser), 0.01)
    assert float(stats.objective_sum) == pytest.approx(float(objective.detach()), rel=1e-12)
    for found, matrix in zip(flat.views(network.layout, params).values(), weights, strict=True):
        torch.testing.assert_close(found, (matrix + 0.01 * matrix.grad).detach(), rtol=1e-9, atol=1e-11)


def test_a_run_goes_on_only_under_the_same_constants(tmp_path):
    task = Task(tmp_path, settings("normalise"))
    task.initialise()
    with pytest.raises(Stopped):
        task.block(interrupted=Interrupted(9))
    kept = task.session.constants
    task.constants = {**kept, NORMALISE: kept[NORMALISE] * 1.01}
    other = Task(tmp_path / "other", settings("normalise"))
    other.constants = task.constants
    assert (other.virtual(), task.virtual())[0] == task.finish()
    task.constants = kept
    whole = Task(tmp_path / "whole", settings("normalise")).virtual()
    task.block()
    assert task.finish() == whole
    assert json.loads((tmp_path / "final.json").read_text())["constants"] == constants.digest_of(kept)


def test_files_and_mistakes(tmp_path):
    task = Task(tmp_path, settings("lda"))
    path = tmp_path / "constants.safetensors"
    constants.save(path, task.session.constants)
    again = constants.load([path])
    assert constants.digest_of(again) == constants.digest_of(task.session.constants) and constants.load([]) == {}
    first = path.read_bytes()
    constants.save(path, again)
    assert path.read_bytes() == first
    with pytest.raises(UserError, match="no such file"):
        constants.load([tmp_path / "absent"])
    (tmp_path / "bad").write_bytes(first[:50])
    with pytest.raises(UserError, match="not readable"):
        constants.load([tmp_path / "bad"])
    task.constants = {}
    with pytest.raises(UserError, match=r"network.transform: lda: .*constants"):
        _ = task.session.network
    task.constants = again | {TRANSFORM: torch.zeros(3, 4, dtype=torch.float64)}
    with pytest.raises(UserError, match=r"transform has shape \[3, 4\], expected \[24, 25\]"):
        _ = task.session.network
