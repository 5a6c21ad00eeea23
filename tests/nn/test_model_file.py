"""Model files: round trip, repeatable bytes, hostile and damaged files, and the module made of one."""

import json
import struct

import pytest
import safetensors.torch
import torch

import unisono
from tests.support.settings import section
from unisono.config.network import DnnOptions, InitialisationOptions, PnormOptions
from unisono.core import flat
from unisono.errors import UserError
from unisono.nn.dnn import Dnn
from unisono.nn.model_file import load_model, network_of, save_model
from unisono.nn.network import make


def network(hidden=(9, 6), pdfs=7, nonlinearity="relu"):
    return Dnn(
        section(DnnOptions, kind="dnn", hidden=hidden, nonlinearity=nonlinearity, context=(2, 1), dropout=0.1), 5, pdfs
    )


def parameters(net):
    options = section(InitialisationOptions, kind="random", path=None, hidden_gain=None, output_gain=1.0)
    return net.initial_parameters(options, torch.Generator().manual_seed(1))


@pytest.fixture
def model(tmp_path):
    """A saved model: (network, parameters, path)."""
    net = network()
    params = parameters(net)
    path = tmp_path / "final.safetensors"
    save_model(path, net.spec(), net.layout, params, torch.full((7,), 1 / 7).log())
    return net, params, path


def test_round_trip(model):
    net, params, path = model
    loaded = load_model(path, net.layout)
    assert torch.equal(loaded.flat, params) and loaded.layout == net.layout and loaded.network == net.spec()
    assert torch.equal(loaded.log_prior, torch.full((7,), 1 / 7).log())
    assert network_of(loaded.network).layout == net.layout
    save_model(path, net.spec(), net.layout, params, None)
    assert load_model(path).log_prior is None


def test_file_holds_what_is_promised_and_repeats(model, tmp_path):
    net, params, path = model
    save_model(tmp_path / "again", net.spec(), net.layout, params.clone(), torch.full((7,), 1 / 7).log())
    assert (tmp_path / "again").read_bytes() == path.read_bytes()
    with safetensors.safe_open(path, "pt") as file:
        metadata = file.metadata()
        names = set(file.keys())
    layers = ("hidden1", "hidden2", "output")
    assert names == {f"{layer}.{part}" for layer in layers for part in ("weight", "bias")} | {"log_prior"}
    assert list(metadata) == ["unisono"]
    header = json.loads(metadata["unisono"])
    assert json.dumps(header, sort_keys=True) == metadata["unisono"]
    assert header["format"] == "unisono.model/1"
    assert header["layout"][0] == ["hidden1", 9, 21]


def test_diverged_models_can_be_read(model):
    net, params, path = model
    params[0] = float("nan")
    save_model(path, net.spec(), net.layout, params, None)
    assert load_model(path).flat.isnan().any()


def test_another_network_is_named(model):
    _, _, path = model
    with pytest.raises(
        UserError, match=r"hidden1 9x21.*expected hidden1 9x21, hidden2 6x10, output 8x7: the model is of"
    ):
        load_model(path, network(pdfs=8).layout)


def test_every_cut_is_an_error_in_one_line(model):
    _, _, path = model
    whole = path.read_bytes()
    for size in [0, 1, 7, 8, 9, 100, len(whole) // 2, len(whole) - 1]:
        path.write_bytes(whole[:size])
        with pytest.raises(UserError) as caught:
            load_model(path)
        assert str(path) in str(caught.value) and "\n" not in str(caught.value)
    path.unlink()
    with pytest.raises(UserError, match="no such file"):
        load_model(path)
    with pytest.raises(UserError):
        load_model(path.parent)


def write(path, tensors, metadata):
    safetensors.torch.save_file(tensors, path, metadata=metadata)


def hostile_headers():
    good = {
        "format": "unisono.model/1",
        "layout": [["hidden1", 9, 21], ["hidden2", 6, 10], ["output", 7, 7]],
        "network": network().spec(),
    }
    yield "no metadata", None
    yield "other keys", {"other": "x"}
    yield "one key more", {"unisono": json.dumps(good), "more": "x"}
    yield "no JSON", {"unisono": "{"}
    yield "deep JSON", {"unisono": "[" * 100_000}
    yield "no object", {"unisono": "[1, 2]"}
    for name, change in {
        "format": {"format": "unisono.model/2"},
        "layout type": {"layout": 3},
        "layout entries": {"layout": [["hidden1", 9]]},
        "layout huge": {"layout": [["hidden1", 10**30, 21], *good["layout"][1:]]},
        "layout infinite": {"layout": [["hidden1", 1e999, 21], *good["layout"][1:]]},
        "layout name": {"layout": [["../../x", 9, 21], *good["layout"][1:]]},
        "layout twice": {"layout": [good["layout"][0]] * 3},
        "layout of another": {"layout": good["layout"][:2]},
        "network type": {"network": "dnn"},
        "network kind": {"network": network().spec() | {"kind": "transformer"}},
        "network hidden": {"network": network().spec() | {"hidden": [9, "6"]}},
        "network huge": {"network": network().spec() | {"hidden": [10**15, 6]}},
        "network pdfs": {"network": network().spec() | {"num_pdfs": True}},
        "network key": {"network": network().spec() | {"extra": 1}},
        "network nonlinearity": {"network": network().spec() | {"nonlinearity": "__import__"}},
    }.items():
        yield name, {"unisono": json.dumps(good | change)}


@pytest.mark.parametrize(
    ("name", "metadata"), list(hostile_headers()), ids=lambda value: value if type(value) is str else ""
)
def test_hostile_headers_are_refused(model, name, metadata):
    net, params, path = model
    write(path, flat.to_tensors(net.layout, params), metadata)
    with pytest.raises(UserError) as caught:
        load_model(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "tensor"),
    [
        ("hidden1.weight", torch.zeros(9, 19)),
        ("hidden1.weight", torch.zeros(9, 20, dtype=torch.float64)),
        ("hidden1.weight", torch.zeros(9, 20, dtype=torch.int32)),
        ("output.bias", None),
        ("surplus", torch.zeros(1)),
        ("log_prior", torch.zeros(8)),
    ],
)
def test_wrong_tensors_are_refused(model, name, tensor):
    net, params, path = model
    with safetensors.safe_open(path, "pt") as file:
        metadata = file.metadata()
    tensors = flat.to_tensors(net.layout, params)
    if tensor is None:
        del tensors[name]
    else:
        tensors[name] = tensor
    write(path, tensors, metadata)
    with pytest.raises(UserError, match=name):
        load_model(path)


def test_a_header_that_claims_terabytes_is_refused(tmp_path):
    path = tmp_path / "m"
    text = json.dumps({"x": {"dtype": "F32", "shape": [10**12], "data_offsets": [0, 4 * 10**12]}}).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text)
    with pytest.raises(UserError):
        load_model(path)
    path.write_bytes(struct.pack("<Q", 2**60) + b"{}")
    with pytest.raises(UserError):
        load_model(path)


@pytest.mark.parametrize("kind", ["relu", "relu_renorm", "sigmoid", "tanh", "pnorm"])
def test_load_gives_a_module_that_splices_and_agrees(tmp_path, kind):
    pnorm = section(PnormOptions, hidden=(9, 6), group=3, context=(2, 1))
    net = make(pnorm, 5, 7) if kind == "pnorm" else network(nonlinearity=kind)
    params = parameters(net)
    path = tmp_path / "final.safetensors"
    save_model(path, net.spec(), net.layout, params, torch.arange(7.0))
    module = unisono.load(path)
    assert isinstance(module, torch.nn.Module) and not module.training
    frames = torch.randn(1101, 5, generator=torch.Generator().manual_seed(2))  # more than are computed at a time
    rows = [torch.cat([frames[min(max(t + k, 0), 1100)] for k in (-2, -1, 0, 1)]) for t in range(1101)]
    net.bind(params)
    assert net.log_posteriors(frames[:0]).shape == (0, 7)
    torch.testing.assert_close(module(frames), net.log_posteriors(frames), rtol=1e-5, atol=1e-5)
    batch = net.buffers(1101)
    batch.x[:, 0] = torch.stack(rows)
    batch.ids.fill_(3)
    objective = float(module(frames).detach()[:, 3].double().sum())
    assert net.evaluate(batch).objective_sum == pytest.approx(objective, rel=1e-6)
    torch.testing.assert_close(module(frames.expand(3, 1101, 5))[2], module(frames))
    assert torch.equal(module.log_prior, torch.arange(7.0))
    with pytest.raises(ValueError, match="expected frames of 5"):
        module(torch.zeros(3, 6))
    with pytest.raises(UserError):
        unisono.load(tmp_path / "absent")
