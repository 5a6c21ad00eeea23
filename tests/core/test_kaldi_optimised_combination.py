"""The optimised combination against Kaldi's nnet3-combine, by its objective: the optimum is flat."""

import numpy as np
import pytest
import torch

from tests.support.kaldi_files import cases
from tests.support.settings import section
from unisono.config.network import DnnOptions
from unisono.core import combination, flat
from unisono.core.gradient import Gradient
from unisono.nn.batch import Batch
from unisono.nn.dnn import Dnn


def problem(z, dtype):
    """A network, its models as flat vectors, and the objective per frame with its gradient."""
    dims = [int(d) for d in z["dims"]]
    options = section(DnnOptions, hidden=tuple(dims[1:-1]), context=(0, 0))
    net = Dnn(options, dims[0], dims[-1])
    x = torch.from_numpy(z["xq"].astype(np.float32) / 32).to(dtype)[:, None]
    data = Batch(x, torch.from_numpy(z["labels"].astype(np.int64))[:, None], None)
    gradient = Gradient(net.layout)

    def vector(numbers):
        params, begin = flat.zeros(net.layout.size, dtype), 0
        for matrix in flat.views(net.layout, params).values():
            rows, inputs = matrix.shape[0], matrix.shape[1] - 1
            dense = torch.from_numpy(numbers[begin : begin + rows * (inputs + 1)].astype(np.float64))
            matrix[:, :-1], matrix[:, -1] = dense[: rows * inputs].view(rows, inputs), dense[rows * inputs :]
            begin += rows * (inputs + 1)
        assert begin == len(numbers)
        return params

    def objective(params):
        net.bind(params)
        gradient.reset()
        stats = net.step_(data, gradient, 0.0)
        return stats.objective_sum / stats.frames, gradient.sum / stats.frames

    return net, vector, objective


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
@pytest.mark.parametrize("path", cases("kaldi-ng/combine_*.npz"))
def test_objective_equals_kaldi(path, dtype):
    z = np.load(path)
    assert z["opt_enforce_positive_weights"] and z["opt_enforce_sum_to_one"] and z["opt_separate_weights_per_component"]
    net, vector, objective = problem(z, dtype)
    models = [vector(numbers) for numbers in z["models"]]
    shares = combination.triangular_shares(len(models), int(z["opt_max_effective_inputs"]))
    result = combination.combine(models.__getitem__, shares, net.layout, objective, int(z["opt_num_iters"]), dtype)
    assert result.mean_objective == pytest.approx(float(z["dp_objf_mean"]), abs=1e-5)
    assert objective(vector(z["dp_final"]))[0] == pytest.approx(float(z["dp_objf_final"]), abs=1e-5)
    assert abs(result.objective - float(z["dp_objf_final"])) <= 5e-4
    assert objective(result.model)[0] == pytest.approx(result.objective, abs=1e-6)
    short = combination.combine(models.__getitem__, shares, net.layout, objective, 20, dtype)
    assert short.mean_objective <= short.objective <= result.objective + 1e-6
    assert short.objective >= float(z["dp_objf_final"]) - 5e-4


@pytest.mark.parametrize("path", cases("kaldi-ng/combine_*.npz"))
def test_kaldis_weights_give_kaldis_model(path):
    """The shares of effective models are Kaldi's."""
    z = np.load(path)
    net, vector, _ = problem(z, torch.float64)
    shares = combination.triangular_shares(len(z["models"]), int(z["opt_max_effective_inputs"]))
    weights, expected = shares.t() @ torch.from_numpy(z["dp_weights"]), flat.views(net.layout, vector(z["dp_final"]))
    models = [flat.views(net.layout, vector(numbers)) for numbers in z["models"]]
    for c, (name, matrix) in enumerate(expected.items()):
        mixed = sum(float(weights[n, c]) * model[name] for n, model in enumerate(models))
        torch.testing.assert_close(mixed, matrix, rtol=1e-6, atol=1e-7)
