"""Recurrent networks of Kaldi: what they compute, and which are refused by name."""

import re

import numpy as np
import pytest
import torch

from tests.kaldi.golden import IO, cases
from unisono import load
from unisono.__main__ import main
from unisono.config.build import build
from unisono.config.network import NetworkOptions, RandomStart
from unisono.data.kaldi.archive import Script, read_archive
from unisono.data.kaldi.lstm_write import lstm_bytes
from unisono.data.kaldi.nnet3 import read_nnet3
from unisono.data.kaldi.nnet3_lstm import cells_of, recurrent
from unisono.data.kaldi.stack import Affine, Cell, RecurrentStack
from unisono.errors import UserError
from unisono.nn.model_file import Model, load_model
from unisono.nn.network import make
from unisono.recognise.kaldi_export import nnet3_of
from unisono.recognise.kaldi_lstm import lstm_of


def evaluate(stack, frames):
    """Go through time step by step, in float64; log-posteriors of all frames."""
    count = len(frames) + stack.delay
    places = (np.arange(count)[:, None] + np.array(stack.offsets)).clip(0, len(frames) - 1)
    x = frames.astype(np.float64)[places].reshape(count, -1)
    for cell in stack.cells:
        x = layer(cell, x)
    logits = (x @ stack.output.weight.T.astype(np.float64) + stack.output.bias)[stack.delay :]
    logits -= logits.max(axis=1, keepdims=True)
    return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))


def layer(cell, x):
    weight, peepholes = cell.gates.weight.astype(np.float64), cell.peepholes.astype(np.float64)
    size, out = peepholes.shape[1], []
    c, r = np.zeros(size), np.zeros(cell.recurrent)
    for frame in x:
        i, f, o, z = (weight @ np.concatenate([frame, r]) + cell.gates.bias).reshape(4, size)
        i, f = sigmoid(i + peepholes[0] * c), sigmoid(f + peepholes[1] * c)
        c = f * c + i * np.tanh(z)
        m = sigmoid(o + peepholes[2] * c) * np.tanh(c)
        if cell.projection is not None:
            m = cell.projection.weight.astype(np.float64) @ m + cell.projection.bias
        r = m[: cell.recurrent]
        out.append(m)
    return np.array(out)


def sigmoid(values):
    return 1 / (1 + np.exp(-values))


def of_fast_layers(*patterns):
    return [case for case in cases(*patterns) if case.values[0] is None or recurrent(read_nnet3(case.values[0]))]


def read(path):
    """Return the layers of a golden network; one that ours cannot do is refused in one line, and skipped."""
    try:
        return cells_of(read_nnet3(path), str(path))
    except UserError as error:
        assert str(error).startswith(str(path)) and "\n" not in str(error)
        pytest.skip("a golden recurrent network that ours cannot do")


@pytest.mark.parametrize("path", of_fast_layers("nnet3/*.raw", "nnet3/*.mdl"))
def test_outputs_are_kaldis(path):
    file = read_nnet3(path)
    stack, stem = read(path), re.sub("_text$", "", path.stem)
    features = Script(IO / "feats/cmvned.scp", "matrix")
    for utt, expected in read_archive(path.with_name(f"{stem}.out.ark"), "matrix"):
        assert np.abs(evaluate(stack, features[utt]) - expected).max() <= 1e-4
    if file.priors is not None:
        for utt, expected in read_archive(path.with_name(f"{stem}.out_priors.ark"), "matrix"):
            assert np.abs(evaluate(stack, features[utt]) - np.log(stack.priors) - expected).max() <= 1e-4


def draw(*shape):
    return np.random.default_rng(list(shape)).normal(0, 0.5, shape).astype(np.float32)


def of_ours(cells=(5, 4), projection=(3, 2), offsets=(0,), delay=0, dim=6):
    """A network of the layers that ours has."""
    made, inputs = [], dim * len(offsets)
    for number, size in enumerate(cells):
        recurrent = projection[0] if projection else size
        outputs = sum(projection) if projection else size
        below = Affine(draw(outputs, size), draw(outputs + 100)[:outputs]) if projection else None
        gates = Affine(draw(4 * size, inputs + recurrent), draw(4 * size + 200 + number)[: 4 * size])
        made.append(Cell(gates, draw(3, size), below, recurrent))
        inputs = outputs
    return RecurrentStack("x", dim, offsets, tuple(made), Affine(draw(7, inputs), draw(7)), delay, None)


def write(path, stack):
    path.write_bytes(b"\0B" + lstm_bytes(stack))
    return read_nnet3(path)


@pytest.mark.parametrize(
    "stack", [of_ours(), of_ours(projection=None, delay=5), of_ours((4,), (4, 0), (-2, 0, 1))], ids=["p", "plain", "s"]
)
def test_networks_that_are_written_come_back(stack, tmp_path):
    again, frames = cells_of(write(tmp_path / "x.raw", stack), "x"), draw(20, 6)
    assert again.offsets == stack.offsets and again.delay == stack.delay and again.input_dim == stack.input_dim
    for mine, other in zip(again.cells, stack.cells, strict=True):
        for one, two in zip(mine, other, strict=True):
            assert (
                all(np.array_equal(a, b) for a, b in zip(one, two, strict=True))
                if isinstance(one, Affine)
                else (np.array_equal(one, two))
            )
    assert np.array_equal(evaluate(again, frames), evaluate(stack, frames))


@pytest.mark.parametrize("path", of_fast_layers("nnet3/*.raw"))
def test_components_are_written_as_kaldi_does(path, tmp_path):
    """The nodes compute the same; each component has Kaldi's fields in Kaldi's order and form."""
    theirs = read_nnet3(path).network
    again = write(tmp_path / "x.raw", read(path)).network
    mine = {component.kind: component for component in again.components}
    assert len(again.components) == len(theirs.components)
    for other in theirs.components:
        one = mine[other.kind]
        assert [field.name for field in one.fields] == [field.name for field in other.fields]
        if path.read_bytes()[:2] == b"\0B":
            for a, b in zip(one.fields, other.fields, strict=True):
                assert type(a.value) is type(b.value) and a.wide == b.wide
                assert a.name != "MaxChange" or a.value == b.value
                if isinstance(a.value, np.ndarray):
                    assert a.value.dtype == b.value.dtype and a.value.ndim == b.value.ndim
    unit = next(component for component in theirs.components if component.kind == "LstmNonlinearityComponent")
    np.testing.assert_allclose(mine[unit.kind].get("SelfRepairConfig"), unit.get("SelfRepairConfig"))
    features = next(iter(Script(IO / "feats/cmvned.scp", "matrix").values()))
    stacks = [cells_of(file, "x") for file in (read_nnet3(path), read_nnet3(tmp_path / "x.raw"))]
    one, other = (evaluate(stack, features) for stack in stacks)
    assert np.array_equal(one, other) or (path.read_bytes()[:2] != b"\0B" and np.abs(one - other).max() < 1e-5)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("l1.r_trunc, -1", "l1.r_trunc, -3"), "recurrence over 3 frames: ours is over one"),
        (("l1.r_trunc, -1", "l1.r_trunc, 1"), "no recurrence"),
        (("IfDefined(Offset(l1.r_trunc, -1))", "Offset(l1.r_trunc, -1)"), "no recurrence"),
        (("IfDefined(Offset(l1.c_trunc, -1))", "IfDefined(Offset(l2.c_trunc, -1))"), "its own cell before"),
        (("IfDefined(Offset(l2.r_trunc, -1))", "IfDefined(Offset(l1.r_trunc, -1))"), "the layer's output before"),
        (("input=Append(l1.W_rp, IfD", "input=Append(Offset(l1.W_rp, -1), l1.W_rp, IfD"), "splicing between"),
        (("input=l2.W_rp", "input=output.affine"), "feeds itself|no other frame|an LSTM here has not|takes"),
        (("name=l1.c_trunc input-node=l1.trunc", "name=l1.c_trunc input-node=l1.c_trunc"), "without end"),
        (("dim-offset=0 dim=5", "dim-offset=x dim=5"), "a range of"),
        (("name=input dim=6", "name=ivector dim=6"), "only networks of the one input"),
        (("input=l2.m", "input=Sum(l2.m, l2.m)"), "only Append and Offset are read"),
    ],
)
def test_what_is_no_layer_of_ours_is_named(tmp_path, change, said):
    file = write(tmp_path / "x.raw", of_ours())
    nodes = "\n".join(file.network.nodes)
    assert change[0] in nodes
    spoiled = file._replace(network=file.network._replace(nodes=tuple(nodes.replace(*change).split("\n"))))
    with pytest.raises(UserError, match=said) as caught:
        cells_of(spoiled, "some.mdl")
    assert str(caught.value).startswith("some.mdl: ") and "\n" not in str(caught.value)


@pytest.mark.parametrize("path", of_fast_layers("nnet3/*.raw", "nnet3/*.mdl"))
def test_imported_networks_give_kaldis_outputs(path, tmp_path):
    read(path)
    assert main(["import-model", str(path), "--out", str(tmp_path / "x.safetensors")]) == 0
    network, stem = load(tmp_path / "x.safetensors"), re.sub("_text$", "", path.stem)
    features = Script(IO / "feats/cmvned.scp", "matrix")
    for utt, expected in read_archive(path.with_name(f"{stem}.out.ark"), "matrix"):
        with torch.no_grad():
            found = network(torch.from_numpy(np.array(features[utt]))).numpy()
        assert np.abs(found - expected).max() <= 1e-4


OURS = {
    "projection": {"cells": (5, 4), "projection": (3, 2), "splice": (1, 2), "label_delay": 3},
    "plain": {"cells": (4,)},
    "without peepholes": {"cells": (4, 3), "peepholes": False, "label_delay": 0},
}


@pytest.mark.parametrize("name", OURS)
def test_networks_of_ours_come_back(name, tmp_path):
    options = build(NetworkOptions, {"kind": "lstm", **OURS[name]}, "network")
    network, generator = make(options, 6, 7), torch.Generator().manual_seed(1)
    start = RandomStart(kind="random", output_gain=1.0, bias_stddev=0.5)
    parameters = network.initial_parameters(start, generator)
    network.bind(parameters)
    model = Model(network.spec(), network.layout, parameters, None)
    body, context = nnet3_of(model)
    (tmp_path / "x.raw").write_bytes(b"\0B" + body)
    before, after = options.splice
    assert context == (before, after + options.label_delay)
    stack, frames = cells_of(read_nnet3(tmp_path / "x.raw"), "x"), draw(30, 6)
    expected = network.log_posteriors(torch.from_numpy(frames)).numpy()
    assert np.abs(evaluate(stack, frames) - expected).max() < 1e-5
    assert main(["import-model", str(tmp_path / "x.raw"), "--out", str(tmp_path / "x.safetensors")]) == 0
    again = load_model(tmp_path / "x.safetensors")
    if options.peepholes:
        assert torch.equal(again.flat, parameters) and again.network == network.spec()
    with torch.no_grad():
        found = load(tmp_path / "x.safetensors")(torch.from_numpy(frames)).numpy()
    assert np.abs(found - expected).max() < 1e-5


def test_layers_of_different_projections_are_refused():
    stack = of_ours()
    cell = stack.cells[1]._replace(recurrent=1, gates=Affine(draw(16, 6), stack.cells[1].gates.bias))
    with pytest.raises(UserError, match="layers of different projections"):
        lstm_of(stack._replace(cells=(stack.cells[0], cell)))
