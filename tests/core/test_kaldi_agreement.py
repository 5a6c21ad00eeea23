"""Our natural gradient and trainer against Kaldi's own numbers, in double and in single precision.

As a program it prints docs/results/kaldi-agreement.csv (docs/results/kaldi-agreement.md):
    PYTHONPATH=src python tests/core/test_kaldi_agreement.py FOLDER-OF-THE-NPZ-FILES
"""

import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch

from tests.support.kaldi_files import cases, relative
from tests.support.kaldi_training import optimiser_options, trajectory_error
from tests.support.settings import section
from unisono.config.network import DnnOptions
from unisono.core import flat
from unisono.core.natural_gradient import PRESETS, OnlineEstimator
from unisono.core.ng_simple import SimpleEstimator, precondition
from unisono.nn.dnn import Dnn

DOUBLE, SINGLE = torch.float64, torch.float32


class Agreement(NamedTuple):
    """Worst relative error of a case, against what the golden numbers' README says to expect."""

    case: str
    form: str
    dtype: torch.dtype
    error: float
    tolerance: float
    gamma: float = 0.0
    gamma_tolerance: float = 0.0

    @property
    def holds(self):
        return self.error <= self.tolerance and self.gamma <= self.gamma_tolerance


def kind_of(z):
    """What the golden numbers' README tells kinds of data by: how singular they are and where their energy lies."""
    rank, dim = int(z["opt_rank"]), z["xq"].shape[1]
    x = np.repeat(z["xscale"], z["n"])[:, None].astype(np.float64) * z["xq"]
    if z["n"].min() < min(rank, dim - 1):
        return "short"
    if rank >= dim - 1 and dim > 2:
        return "singular"
    return "mean" if len(x) * (x.mean(0) ** 2).sum() > 0.5 * (x**2).sum() else "plain"


def online_tolerance(z, form, dtype):
    """README of kaldi-ng: (X-hat, gamma) by kind of data."""
    kind, strong = kind_of(z), float(z["opt_alpha"]) >= 4.0
    if kind == "short":
        return (2e-2, 1e-3) if dtype == SINGLE else (1e-5, 1e-5)
    if kind == "singular":
        return (3e-4, 2e-4) if dtype == SINGLE else (1e-12, 1e-12)
    if kind == "mean":
        wide = form == "nnet2_2014" or not strong
        single = (2e-3, 3e-4) if wide else (2e-4, 2e-5)
        return single if dtype == SINGLE else ((5e-9,) * 2 if wide else (2e-11,) * 2)
    if dtype == DOUBLE:
        return 1e-13, 1e-13
    return (5e-6, 1e-6) if form == "nnet3" and strong else (2e-5, 1e-5)


def online(path, form, dtype):
    """Feed the calls of one case to one estimator object."""
    z = np.load(path)
    pre = "dp_" if dtype == DOUBLE else ""
    starts = np.concatenate([[0], np.cumsum(z["n"])])
    estimator = OnlineEstimator(
        dim=z["xq"].shape[1],
        rank=int(z["opt_rank"]),
        update_period=int(z["opt_update_period"]),
        history=float(z["opt_num_samples_history"]),
        minibatches_history=float(z["opt_num_minibatches_history"]),
        alpha=float(z["opt_alpha"]),
        form=PRESETS[form].form,
    )
    assert estimator.rank == z[f"{form}_rank"]
    index = z["row_index_dp" if pre else "row_index"]
    error = gamma_error = 0.0
    for t, (begin, end) in enumerate(zip(starts[:-1], starts[1:], strict=True)):
        x = z["xq"][begin:end].astype(np.float32) * z["xscale"][t]
        rows = flat.matrix(*x.shape, torch.empty(0, dtype=dtype)).copy_(torch.from_numpy(x))
        assert estimator.updates() == z[f"{form}_updated"][t], f"call {t}"
        gamma = estimator.precondition_(rows)
        here = (index >= begin) & (index < end)
        if here.any():
            error = max(error, relative(rows.numpy()[index[here] - begin], z[f"{form}_{pre}xhat"][here]))
        gamma_error = max(gamma_error, relative(gamma, z[f"{form}_{pre}gamma"][t]))
    if dtype == DOUBLE and kind_of(z) == "plain":
        assert relative(estimator.factor.rho, z[f"{form}_dp_rho"][-1]) < 1e-12
        assert relative(estimator.factor.d, z[f"{form}_dp_d"][-1]) < 1e-12
        w, expected = estimator.factor.w.numpy(), z[f"{form}_dp_w_last"]
        w = w[: len(expected)]  # the large cases keep three rows
        assert relative(np.abs(w), np.abs(expected)) < 1e-9
    return error, gamma_error


def simple(path, dtype):
    """Worst error over the matrices, before and after rescaling."""
    z, error, gamma_error = np.load(path), 0.0, 0.0
    for k in range(sum(key.endswith("_alpha") for key in z.files)):
        x = torch.from_numpy(z[f"m{k}_xq"].astype(np.float32) * z[f"m{k}_xscale"]).to(dtype)
        rows = x.clone()
        gamma = SimpleEstimator(float(z[f"m{k}_alpha"])).precondition_(rows)
        if dtype == SINGLE:
            error = max(error, relative(gamma * rows, z[f"m{k}_p_rescaled"]), relative(rows, z[f"m{k}_p"]))
        else:
            expected = float(z[f"m{k}_dp_p_fro"])
            norm = precondition(x, float(z[f"m{k}_alpha"])).norm() if len(x) > 1 and expected > 0.0 else x.norm()
            gamma_error = max(gamma_error, relative(norm, expected))
    return max(error, gamma_error)


def forms_of(z):
    """The forms whose trajectories differ, or the one that stands for all."""
    return ["mar17"] if z["forms_all_equal"] else [str(form) for form in z["forms"]]


def train(path, form, dtype):
    """Run one trajectory; worst error over the stored minibatches, relative to the total change so far."""
    z = np.load(path)
    dims = [int(d) for d in z["dims"]]
    options = section(DnnOptions, hidden=tuple(dims[1:-1]), context=(0, 0))
    return trajectory_error(z, form, Dnn(options, dims[0], dims[-1]), optimiser_options(z, form), dtype)


def train_tolerance(z, dtype):
    """README of kaldi-ng: by whether there is natural gradient."""
    plain = not z["opt_natural_gradient"] if "opt_natural_gradient" in z else str(z["opt_kind"]) == "plain"
    return 1e-12 if dtype == DOUBLE else 1e-5 if plain else 5e-5


def measure(folder):
    """Yield an Agreement for each case, form and precision."""
    for path in sorted(folder.glob("online_*.npz")):
        z = np.load(path)
        for form in map(str, z["forms"]):
            for dtype in (DOUBLE, SINGLE):
                error, gamma = online(path, form, dtype)
                tolerance, gamma_tolerance = online_tolerance(z, form, dtype)
                yield Agreement(path.stem, form, dtype, error, tolerance, gamma, gamma_tolerance)
    for dtype in (DOUBLE, SINGLE):
        tolerance = 3e-14 if dtype == DOUBLE else 2e-5
        yield Agreement("simple", "simple", dtype, simple(folder / "simple.npz", dtype), tolerance)
    for path in [*sorted(folder.glob("train_*.npz")), *sorted(folder.glob("nnet2_*.npz"))]:
        z = np.load(path)
        for form in forms_of(z):
            for dtype in (DOUBLE, SINGLE):
                yield Agreement(path.stem, form, dtype, train(path, form, dtype), train_tolerance(z, dtype))


def table(agreements):
    """The agreement as CSV, double and single precision side by side."""
    lines = ["case,form,float64,expected,float32,expected"]

    def cell(value, gamma, online_case):
        return f"{value:.1e} ({gamma:.1e})" if online_case else f"{value:.1e}"

    rows = list(agreements)
    for double, single in zip(rows[::2], rows[1::2], strict=True):
        both = double.case.startswith("online")
        cells = [cell(a.error, a.gamma, both) for a in (double, single)]
        limits = [cell(a.tolerance, a.gamma_tolerance, both) for a in (double, single)]
        lines.append(f"{double.case},{double.form},{cells[0]},{limits[0]},{cells[1]},{limits[1]}")
    return "\n".join(lines)


DTYPES = pytest.mark.parametrize("dtype", [DOUBLE, SINGLE], ids=["float64", "float32"])


@DTYPES
@pytest.mark.parametrize("path", cases("kaldi-ng/online_*.npz"))
def test_preconditioner_equals_kaldi(path, dtype):
    z = np.load(path)
    for form in map(str, z["forms"]):
        error, gamma = online(path, form, dtype)
        tolerance, gamma_tolerance = online_tolerance(z, form, dtype)
        assert error <= tolerance, form
        assert gamma <= gamma_tolerance, form


@pytest.mark.parametrize("path", cases("kaldi-ng/simple*.npz"))
def test_simple_method_equals_kaldi(path):
    assert simple(path, DOUBLE) <= 3e-14
    assert simple(path, SINGLE) <= 2e-5


@DTYPES
@pytest.mark.parametrize("path", [*cases("kaldi-ng/train_*.npz"), *cases("kaldi-ng/nnet2_*.npz")])
def test_training_follows_kaldi(path, dtype):
    z = np.load(path)
    for form in forms_of(z):
        assert train(path, form, dtype) <= train_tolerance(z, dtype), form


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(table(measure(Path(sys.argv[1]))))
