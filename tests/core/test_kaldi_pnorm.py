"""p-norm with normalisation, and trajectories of p-norm networks, against Kaldi's own numbers."""

import numpy as np
import pytest
import torch

from tests.support.kaldi_files import cases
from tests.support.kaldi_training import optimiser_options, trajectory_error
from tests.support.settings import section
from unisono.config.network import PnormOptions
from unisono.core import flat
from unisono.nn import activation
from unisono.nn.pnorm import Pnorm

DTYPES = pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
FORMS = ("oct14", "mar17")


def rows_off(found, expected):
    """Relative error of each row."""
    norms = np.linalg.norm(expected.astype(np.float64), axis=1)
    return np.linalg.norm(found.astype(np.float64) - expected, axis=1) / np.maximum(norms, 1e-300)


@DTYPES
@pytest.mark.parametrize("path", cases("kaldi-nn/act_*.npz"))
def test_pnorm_and_its_derivative_equal_kaldi(path, dtype):
    z = np.load(path)
    tolerance, part = (4e-15, "dp_") if dtype == torch.float64 else (2e-6, "")
    x = torch.from_numpy(z["x"]).to(dtype)
    width = z["deriv"].shape[1]
    assert x.shape[1] == int(z["opt_group"]) * width
    like = torch.empty(0, dtype=dtype)
    values = flat.matrix(*x.shape, like).copy_(x)
    outputs, scales = flat.matrix(len(x), width, like), torch.empty(len(x), 1, dtype=dtype)
    activation.forward_("pnorm", values, outputs, scales)
    derivative = flat.matrix(len(x), width, like).copy_(torch.from_numpy(z["deriv"]))
    norms = outputs / scales
    result = outputs.clone()
    activation.backward_("pnorm", derivative, outputs, scales, values)
    given = np.linalg.norm(z["deriv"].astype(np.float64), axis=1) * scales[:, 0].double().numpy()
    for form in [form for form in FORMS if f"{form}_{part}norm" in z]:
        assert rows_off(norms.numpy(), z[f"{form}_{part}pnorm"]).max() <= tolerance
        assert rows_off(result.numpy(), z[f"{form}_{part}norm"]).max() <= tolerance
        error = np.linalg.norm(values.double().numpy() - z[f"{form}_{part}dx"], axis=1)
        assert (error / np.maximum(given, 1e-300)).max() <= tolerance


@DTYPES
@pytest.mark.parametrize("path", cases("kaldi-nn/pnorm_net_*.npz"))
def test_training_a_pnorm_network_follows_kaldi(path, dtype):
    z = np.load(path)
    dims, group = [int(d) for d in z["dims"]], int(z["opt_group"])
    options = section(PnormOptions, kind="pnorm", hidden=tuple(dims[1:-1]), group=group, context=(0, 0), dropout=0.0)
    net = Pnorm(options, dims[0], dims[-1])
    if dtype == torch.float64:
        tolerance = 7e-10 if str(z["opt_kind"]) == "online" else 2e-13
    else:
        tolerance = 4e-2 if str(z["opt_kind"]) == "online" else 8e-5
    assert trajectory_error(z, "oct14", net, optimiser_options(z, "oct14"), dtype) <= tolerance
