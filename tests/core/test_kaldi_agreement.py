"""Our natural gradient and trainer against Kaldi's own numbers, in double and in single precision.

As a program it prints the table of docs/results/kaldi-agreement.md:
    PYTHONPATH=src python tests/core/test_kaldi_agreement.py FOLDER-OF-THE-NPZ-FILES
"""

import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch

from tests.support.settings import section
from unisono.config.network import DnnOptions
from unisono.config.optimiser import MaxChangeOptions, NgOptions, OptimiserOptions
from unisono.core import flat
from unisono.core.natural_gradient import PRESETS, OnlineEstimator
from unisono.core.ng_simple import SimpleEstimator, precondition
from unisono.core.optimiser import Optimiser
from unisono.nn.batch import Batch
from unisono.nn.dnn import Dnn

PLAIN = ("white_d30", "decay_d300", "softmax_d100", "jumps_d30", "history_varn", "d2", "alpha01_d30")
ONLINE = (*PLAIN, "relu_d441", "rank_ge_dim", "n_lt_rank")
TRAIN = (
    "train_plain_m0",
    "train_plain_m0_clip_global",
    "train_plain_m09",
    "train_plain_m09_clip_comp",
    "train_plain_m09_clip_global",
    "train_ng_m0",
    "train_ng_m09_clip_both",
    "train_ng_in440_clip_off",
    "nnet2_online_clip",
    "nnet2_online_clip_off",
    "nnet2_online_rank_out10",
    "nnet2_simple_clip",
)
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


def relative(found, expected):
    """Relative Frobenius error in double precision."""
    expected = np.asarray(expected, np.float64)
    return np.linalg.norm(np.asarray(found, np.float64) - expected) / max(np.linalg.norm(expected), 1e-300)


def online_tolerance(case, form, dtype):
    """README of kaldi-ng: (X-hat, gamma) by kind of data."""
    if case == "relu_d441":
        wide = form == "nnet2_2014"
        single = (2e-3, 3e-4) if wide else (2e-4, 2e-5)
        return single if dtype == SINGLE else ((5e-9,) * 2 if wide else (2e-11,) * 2)
    if case == "rank_ge_dim":
        return (3e-4, 2e-4) if dtype == SINGLE else (1e-12, 1e-12)
    if case == "n_lt_rank":
        return (2e-2, 1e-3) if dtype == SINGLE else (1e-5, 1e-5)
    if dtype == DOUBLE:
        return 1e-13, 1e-13
    return (5e-6, 1e-6) if form == "nnet3" and case != "alpha01_d30" else (2e-5, 1e-5)


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
    if dtype == DOUBLE and path.stem.removeprefix("online_") in PLAIN:
        assert relative(estimator.factor.rho, z[f"{form}_dp_rho"][-1]) < 1e-12
        assert relative(estimator.factor.d, z[f"{form}_dp_d"][-1]) < 1e-12
        w, expected = estimator.factor.w.numpy(), z[f"{form}_dp_w_last"]
        w = w[: len(expected)]  # the large cases keep three rows
        assert relative(np.abs(w), np.abs(expected)) < 1e-9
    return error, gamma_error


def simple(path, dtype):
    """Worst error over the matrices, before and after rescaling."""
    z, error, gamma_error = np.load(path), 0.0, 0.0
    for k in range(10):
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


def optimiser_options(z, form):
    """The options of a training case as ours; `form` is head, mar17 or oct14."""
    nnet2 = form == "oct14"
    kind = "sgd"
    if nnet2:
        kind = "ng_online" if str(z["opt_kind"]) == "online" else "ng_simple"
    elif z["opt_natural_gradient"]:
        kind = "ng_online"
    per_sample = 0.0
    if nnet2:
        online_kind = "opt_max_change_per_sample" in z
        per_sample = float(z["opt_max_change_per_sample"] if online_kind else z["opt_max_change"] / 128)
    ranks = "opt_rank_in" in z
    return section(
        OptimiserOptions,
        kind=kind,
        learning_rate=float(z["opt_learning_rate"]),
        momentum=0.0 if nnet2 else float(z["opt_momentum"]),
        l2=0.0,
        minibatch=128,
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


def train(path, form, dtype):
    """Run one trajectory; worst error over the stored minibatches, relative to the total change so far."""
    z = np.load(path)
    stored = "mar17" if z["forms_all_equal"] else form
    prefix = f"{stored}_dp_" if dtype == DOUBLE else f"{stored}_"
    dims = [int(d) for d in z["dims"]]
    options = section(
        DnnOptions, kind="dnn", hidden=tuple(dims[1:-1]), nonlinearity="relu", context=(0, 0), dropout=0.0
    )
    net = Dnn(options, dims[0], dims[-1])

    def vector(key):
        tensors = {}
        for i, name in enumerate(net.layout.names):
            tensors[f"{name}.weight"] = torch.from_numpy(z[f"{key}w{i}"])
            tensors[f"{name}.bias"] = torch.from_numpy(z[f"{key}b{i}"])
        return flat.from_tensors(net.layout, tensors)

    start = vector("init_").to(dtype)
    params = flat.zeros(net.layout.size, dtype).copy_(start)
    net.bind(params)
    optimiser = Optimiser(optimiser_options(z, form), net.layout)
    error = 0.0
    for t in range(len(z["xq"])):
        buffer = net.input_buffer(128)
        buffer.copy_(torch.from_numpy(z["xq"][t].astype(np.float32) * z["xscale"]))
        ids = torch.from_numpy(z["labels"][t].astype(np.int64))
        net.step_(Batch(buffer[:, None], ids[:, None], None), optimiser, optimiser.options.learning_rate)
        if f"{prefix}after{t + 1}_w0" in z:
            expected = vector(f"{prefix}after{t + 1}_")
            error = max(error, float((params - expected).norm() / (expected.double() - start).norm()))
    return error


def measure(folder):
    """Yield an Agreement for each case, form and precision."""
    for case in ONLINE:
        path = folder / f"online_{case}.npz"
        for form in map(str, np.load(path)["forms"]):
            for dtype in (DOUBLE, SINGLE):
                error, gamma = online(path, form, dtype)
                tolerance, gamma_tolerance = online_tolerance(case, form, dtype)
                yield Agreement(f"online_{case}", form, dtype, error, tolerance, gamma, gamma_tolerance)
    for dtype in (DOUBLE, SINGLE):
        tolerance = 3e-14 if dtype == DOUBLE else 2e-5
        yield Agreement("simple", "simple", dtype, simple(folder / "simple.npz", dtype), tolerance)
    for case in TRAIN:
        for form in ("oct14",) if case.startswith("nnet2") else ("head", "mar17"):
            for dtype in (DOUBLE, SINGLE):
                tolerance = 1e-12 if dtype == DOUBLE else 1e-5 if "plain" in case else 5e-5
                yield Agreement(case, form, dtype, train(folder / f"{case}.npz", form, dtype), tolerance)


def table(agreements):
    """The agreement as Markdown, double and single precision side by side."""
    lines = [
        "| case | form | float64 | expected | float32 | expected |",
        "|---|---|---|---|---|---|",
    ]

    def cell(value, gamma, online_case):
        return f"{value:.1e} ({gamma:.1e})" if online_case else f"{value:.1e}"

    rows = list(agreements)
    for double, single in zip(rows[::2], rows[1::2], strict=True):
        both = double.case.startswith("online")
        cells = [cell(a.error, a.gamma, both) for a in (double, single)]
        limits = [cell(a.tolerance, a.gamma_tolerance, both) for a in (double, single)]
        lines.append(f"| {double.case} | {double.form} | {cells[0]} | {limits[0]} | {cells[1]} | {limits[1]} |")
    return "\n".join(lines)


@pytest.fixture(scope="module")
def golden(corpora_dir):
    folder = corpora_dir.resolve().parent / "reference" / "kaldi-ng"
    if not folder.is_dir():
        pytest.skip("no golden numbers of Kaldi (reference/kaldi-ng beside CORPORA_DIR)")
    return folder


@pytest.mark.parametrize("dtype", [DOUBLE, SINGLE], ids=["float64", "float32"])
@pytest.mark.parametrize("case", ONLINE)
def test_preconditioner_equals_kaldi(golden, case, dtype):
    path = golden / f"online_{case}.npz"
    for form in map(str, np.load(path)["forms"]):
        error, gamma = online(path, form, dtype)
        tolerance, gamma_tolerance = online_tolerance(case, form, dtype)
        assert error <= tolerance, form
        assert gamma <= gamma_tolerance, form


def test_simple_method_equals_kaldi(golden):
    assert simple(golden / "simple.npz", DOUBLE) <= 3e-14
    assert simple(golden / "simple.npz", SINGLE) <= 2e-5


@pytest.mark.parametrize("case", TRAIN)
def test_training_follows_kaldi(golden, case):
    for form in ("oct14",) if case.startswith("nnet2") else ("head", "mar17"):
        assert train(golden / f"{case}.npz", form, DOUBLE) <= 1e-12, form
        assert train(golden / f"{case}.npz", form, SINGLE) <= (1e-5 if "plain" in case else 5e-5), form


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(table(measure(Path(sys.argv[1]))))
