"""The LDA-like input transform against Kaldi's own numbers."""

import numpy as np
import pytest
import torch

from tests.support.kaldi_files import cases, relative
from unisono.core.input_transform import Statistics, lda


def statistics(z):
    dim = z["xq"].shape[1]
    found = Statistics(int(z["num_classes"]), dim)
    x = torch.from_numpy(z["xq"].astype(np.float64) * float(z["xscale"]))
    found.add(x, torch.from_numpy(z["labels"].astype(np.int64)), torch.from_numpy(z["weights"]))
    return found


def is_ambiguous(values):
    """Where eigenvalues coincide their rows may be turned into each other."""
    gaps = -np.diff(values) / values.max()
    return gaps.min() < 1e-6


@pytest.mark.parametrize("path", cases("kaldi-nn/lda_*.npz"))
def test_transform_equals_kaldi(path):
    """Tolerances of the golden numbers' README; it calls a W steep that is ill-conditioned."""
    z = np.load(path)
    stats, names = statistics(z), [str(name) for name in z["opt_names"]]
    forced = True if z["info_smoothed"] else None
    is_steep = float(torch.linalg.cond(stats.covariances()[1])) > 1e3
    for i, row in enumerate(z["opts"]):
        options = dict(zip(names, row, strict=True))
        found = lda(
            stats,
            dim=None if options["dim"] < 0 else int(options["dim"]),
            within_class_factor=float(np.float32(options["within_class_factor"])),
            max_singular_value=float(options["max_singular_value"]),
            remove_offset=bool(options["remove_offset"]),
            smooth=forced,
        ).numpy()
        double, single = z[f"mar17_dp_m{i}"], z[f"mar17_m{i}"]
        assert found.shape == double.shape
        gram = relative(found.T @ found, double.T @ double)
        assert gram <= (6e-10 if forced else 1e-8 if is_steep else 4e-12), i
        assert relative(found.T @ found, single.T.astype(np.float64) @ single) <= 2e-5, i
        if not is_ambiguous(z[f"info_lambda{i}"]):
            turned = found * np.sign((found * double).sum(1, keepdims=True))
            assert relative(turned, double) <= (1e-8 if is_steep else 2e-10), i
            assert relative(turned, single) <= 2e-5, i
    if forced:
        assert torch.equal(lda(stats), lda(stats, smooth=True))
    else:
        assert torch.equal(lda(stats), lda(stats, smooth=False))
