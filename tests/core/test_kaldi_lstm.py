"""The LSTM against Kaldi's own numbers: gradients of one minibatch, and whole trajectories of its trainer."""

import numpy as np
import pytest
import torch

from tests.support.kaldi_files import cases, relative
from tests.support.settings import section
from unisono.config.network import LstmOptions
from unisono.config.optimiser import MaxChangeOptions, NgOptions, OptimiserOptions
from unisono.core import flat
from unisono.core.gradient import Gradient
from unisono.core.optimiser import Optimiser
from unisono.nn.batch import Batch
from unisono.nn.lstm import Lstm

DTYPES = pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
GATES = "ifoc"


def network(z, truncation, min_deriv_time):
    clip, zero, interval, scale = (float(value) for value in truncation)
    projection = (int(z["opt_rec"]), int(z["opt_nonrec"])) if str(z["kind"]) == "lstmp" else None
    options = LstmOptions(
        kind="lstm",
        cells=(int(z["opt_cell"]),) * int(z["opt_layers"]),
        projection=projection,
        left_context=int(z["opt_left"]),
        chunk=int(z["opt_width"]),
        label_delay=int(z["opt_delay"]),
        backprop_margin=None if min_deriv_time <= -9999 else -int(min_deriv_time),
        clip=clip,
        zeroing=zero,
        zeroing_interval=int(interval),
        decay_time=None if scale == 1.0 else 1.0 / (1.0 - scale),
    )
    return Lstm(options, int(z["opt_din"]), int(z["opt_pdf"]))


def pieces(net, params):
    """The parts of a flat vector under Kaldi's names."""
    views, found = flat.views(net.layout, params), {}
    for layer in range(len(net.layers)):
        name = f"lstm{layer + 1}"
        for gate, part in zip(GATES, views[f"{name}.gates"].chunk(4), strict=True):
            found |= {f"l{layer}_W{gate}": part[:, :-1], f"l{layer}_b{gate}": part[:, -1]}
        for gate, part in zip(GATES, views[f"{name}.peepholes"], strict=False):
            found[f"l{layer}_p{gate}"] = part
        if f"{name}.projection" in views:
            part = views[f"{name}.projection"]
            found |= {f"l{layer}_Wrp": part[:, :-1], f"l{layer}_brp": part[:, -1]}
    return found | {"out_W": views["output"][:, :-1], "out_b": views["output"][:, -1]}


def bound(z, net, dtype):
    params = flat.zeros(net.layout.size, dtype)
    parts = pieces(net, params)
    assert set(parts) == {str(name) for name in z["param_names"]}
    for name, part in parts.items():
        part.copy_(torch.from_numpy(z[f"init_{name}"]))
    net.bind(params)
    return params


def minibatch(net, xq, scale, labels):
    x = net.buffers(len(xq)).x.copy_(torch.from_numpy(xq.astype(np.float32) * scale))
    return Batch(x, torch.from_numpy(labels.astype(np.int64)), None)


@DTYPES
@pytest.mark.parametrize("path", cases("kaldi-nn/lstm_grad_*.npz"))
def test_gradients_equal_kaldi(path, dtype):
    z = np.load(path)
    part = "dp_" if dtype == torch.float64 else ""
    limits = {"gradient": 1e-13, "logp": 1e-14, "objective": 4e-15}
    if dtype == torch.float32:
        limits = {"gradient": 1e-4, "logp": 1e-5, "objective": 3e-6}
    for variant in map(str, z["variants"]):
        truncation, begin = z[f"opt_{variant}_trunc"], int(z[f"opt_{variant}_min_deriv_time"])
        net = network(z, truncation, begin)
        params = bound(z, net, dtype)
        gradient, before = Gradient(net.layout), params.clone()
        stats = net.step_(minibatch(net, z["xq"], z["xscale"], z["labels"]), gradient, 1.0)
        ending = "_decay" if f"mar17_{part}objf_{variant}" in z else ""
        assert relative(stats.objective_sum, z[f"mar17_{part}objf{ending}"]) <= limits["objective"], variant
        log_p = net.chunk_log_posteriors(minibatch(net, z["xq"], z["xscale"], z["labels"]))
        assert relative(log_p, z[f"mar17_{part}logp{ending}"]) <= limits["logp"], variant
        for name, found in pieces(net, gradient.sum).items():
            assert relative(found, z[f"mar17_{part}grad_{variant}_{name}"]) <= limits["gradient"], (variant, name)
        room = net._room(net.options.times, len(z["xq"]))
        for index, (layer, own) in enumerate(zip(net.layers, room.layers, strict=True)):
            first = 0 if net.options.backprop_margin is None else net.options.left_context - net.options.backprop_margin
            at_c, at_r = layer.truncations(own, first, -net.options.left_context)
            assert at_c == tuple(z[f"trunc_counts_{variant}_c{index}"]), variant
            assert at_r == tuple(z[f"trunc_counts_{variant}_r{index}"]), variant
        assert torch.equal(params, before)


def optimiser(z, net):
    is_natural = bool(z["opt_natural_gradient"])
    ng = section(
        NgOptions,
        preset="nnet3_2017",
        rank_in=int(z["opt_affine_rank_in"]) if is_natural else None,
        rank_out=int(z["opt_affine_rank_out"]) if is_natural else None,
        update_period=int(z["opt_affine_update_period"]) if is_natural else None,
        history=float(z["opt_num_samples_history"]) if is_natural else None,
        minibatches_history=None,
        alpha=float(z["opt_alpha"]) if is_natural else None,
    )
    options = section(
        OptimiserOptions,
        kind="ng_online" if is_natural else "sgd",
        learning_rate=float(z["opt_learning_rate"]),
        momentum=float(z["opt_momentum"]),
        l2=0.0,
        minibatch=len(z["xq"][0]),
        max_change=section(
            MaxChangeOptions,
            kind="nnet3_2017",
            per_layer=float(z["opt_max_change_per_component"]),
            total=float(z["opt_max_param_change"]),
            output=float(z["opt_max_change_output"]),
            per_sample=0.0,
        ),
        ng=ng,
    )
    return Optimiser(options, net.layout)


@DTYPES
@pytest.mark.parametrize("path", cases("kaldi-nn/lstm_train_*.npz"))
def test_training_follows_kaldi(path, dtype):
    z = np.load(path)
    part, is_natural = "dp_" if dtype == torch.float64 else "", bool(z["opt_natural_gradient"])
    tolerance = (6e-10 if is_natural else 2e-14) if part else (1e-3 if is_natural else 3e-5)
    net = network(z, z["opt_trunc"], int(z["opt_min_deriv_time"]))
    params = bound(z, net, dtype)
    start, trainer, compared = params.clone(), optimiser(z, net), 0
    begun = pieces(net, start)
    for t, (xq, labels) in enumerate(zip(z["xq"], z["labels"], strict=True)):
        before = params.clone()
        stats = net.step_(minibatch(net, xq, z["xscale"], labels), trainer, float(z["opt_learning_rate"]))
        assert relative(stats.objective_sum, z[f"mar17_{part}objf"][t]) <= (1e-10 if part else 1e-4), t
        if part:
            norms = [float(part.norm()) for part in flat.segments(net.layout, params - before)]
            assert relative(sorted(norms), sorted(z["mar17_dp_step_norm"][t])) <= 1e-8, t
        if f"mar17_{part}after{t + 1}_out_W" in z:
            error = change = 0.0
            for name, found in pieces(net, params).items():
                expected = z[f"mar17_{part}after{t + 1}_{name}"].astype(np.float64)
                error += float(np.square(found.double().numpy() - expected).sum())
                change += float(np.square(expected - begun[name].double().numpy()).sum())
            assert (error / change) ** 0.5 <= tolerance, t
            compared += 1
    assert compared >= 3
