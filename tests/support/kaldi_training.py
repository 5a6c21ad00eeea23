"""Kaldi's trainers on our networks: options of a golden file as ours, and how far a trajectory goes astray."""

import numpy as np
import torch

from tests.support.settings import section
from unisono.config.optimiser import MaxChangeOptions, NgOptions, OptimiserOptions
from unisono.core import flat
from unisono.core.optimiser import Optimiser


def optimiser_options(z, form):
    """The options of a training case as ours; `form` is head, mar17 or oct14."""
    nnet2 = form == "oct14"
    kind = "sgd"
    if nnet2:
        kind = {"plain": "sgd", "online": "ng_online", "simple": "ng_simple"}[str(z["opt_kind"])]
    elif z["opt_natural_gradient"]:
        kind = "ng_online"
    per_sample = 0.0
    if "opt_max_change_per_sample" in z:
        per_sample = float(z["opt_max_change_per_sample"])
    elif "opt_max_change" in z:
        per_sample = float(z["opt_max_change"] / z["xq"].shape[1])
    ranks = "opt_rank_in" in z
    return section(
        OptimiserOptions,
        kind=kind,
        learning_rate=float(z["opt_learning_rate"]),
        momentum=0.0 if nnet2 else float(z["opt_momentum"]),
        l2=0.0,
        minibatch=z["xq"].shape[1],
        max_change=section(
            MaxChangeOptions,
            kind={"head": "nnet3", "mar17": "nnet3_2017", "oct14": "nnet2"}[form],
            per_layer=0.0 if nnet2 else float(z["opt_max_change_per_component"]),
            total=0.0 if nnet2 else float(z["opt_max_param_change"]),
            per_sample=per_sample,
        ),
        ng=section(
            NgOptions,
            preset={"head": "nnet3", "mar17": "nnet3_2017", "oct14": "nnet2_2014"}[form],
            rank_in=int(z["opt_rank_in"]) if ranks else None,
            rank_out=int(z["opt_rank_out"]) if ranks else None,
            update_period=int(z["opt_update_period"]) if ranks else None,
            history=float(z["opt_num_samples_history"]) if ranks else None,
            minibatches_history=None,
            alpha=float(z["opt_alpha"]) if "opt_alpha" in z else None,
        ),
    )


def vector(z, key, layout):
    """The flat vector of parameters that stand as `<key>w0`, `<key>b0`, ..."""
    tensors = {}
    for i, name in enumerate(layout.names):
        tensors[f"{name}.weight"] = torch.from_numpy(z[f"{key}w{i}"])
        tensors[f"{name}.bias"] = torch.from_numpy(z[f"{key}b{i}"])
    return flat.from_tensors(layout, tensors)


def trajectory_error(z, form, net, options, dtype):
    """Run one trajectory; worst error over the stored minibatches, relative to the total change so far."""
    prefix = f"{form}_dp_" if dtype == torch.float64 else f"{form}_"
    start = vector(z, "init_", net.layout).to(dtype)
    params = flat.zeros(net.layout.size, dtype).copy_(start)
    net.bind(params)
    optimiser = Optimiser(options, net.layout)
    error, compared = 0.0, 0
    for t, (xq, labels) in enumerate(zip(z["xq"], z["labels"], strict=True)):
        batch = net.buffers(len(xq))
        batch.x[:, 0] = torch.from_numpy(xq.astype(np.float32) * z["xscale"])
        batch.ids[:, 0] = torch.from_numpy(labels.astype(np.int64))
        net.step_(batch, optimiser, options.learning_rate)
        if f"{prefix}after{t + 1}_w0" in z:
            expected = vector(z, f"{prefix}after{t + 1}_", net.layout)
            error = max(error, float((params - expected).norm() / (expected.double() - start).norm()))
            compared += 1
    assert compared, "the file holds no parameters to compare with"
    return error
