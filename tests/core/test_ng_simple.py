"""The simple natural gradient against its definition: leave each row out, invert, multiply."""

import numpy as np
import pytest
import torch

from unisono.core.ng_simple import SimpleEstimator, precondition


@pytest.mark.parametrize(("rows", "dim"), [(30, 6), (6, 30), (9, 9), (2, 4)])
@pytest.mark.parametrize("alpha", [0.1, 4.0])
def test_is_the_leave_one_out_form(rows, dim, alpha):
    """p_i is proportional to the inverse of the smoothed Fisher matrix of the other rows, times r_i."""
    r = np.random.default_rng(rows).standard_normal((rows, dim)) * np.linspace(0.2, 3.0, dim)
    smoothing = alpha / (rows * dim) * np.trace(r.T @ r)
    expected = []
    for i in range(rows):
        others = np.delete(r, i, axis=0)
        expected.append(np.linalg.inv(smoothing * np.eye(dim) + others.T @ others / (rows - 1)) @ r[i])
    np.testing.assert_allclose(precondition(torch.from_numpy(r), alpha), np.array(expected), rtol=1e-9)


def test_norm_is_restored():
    x = torch.randn(40, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    rows = x.clone()
    gamma = SimpleEstimator(4.0).precondition_(rows)
    assert gamma * float(rows.norm()) == pytest.approx(float(x.norm()), rel=1e-13)
    assert not torch.allclose(gamma * rows, x, rtol=1e-2)


@pytest.mark.parametrize("x", [torch.ones(1, 5), torch.zeros(8, 5), torch.full((8, 5), torch.nan), torch.empty(0, 5)])
def test_what_cannot_be_estimated_is_left_alone(x):
    rows = x.clone()
    assert SimpleEstimator(4.0).precondition_(rows) == 1.0
    torch.testing.assert_close(rows, x, rtol=0.0, atol=0.0, equal_nan=True)
