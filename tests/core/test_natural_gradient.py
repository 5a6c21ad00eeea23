"""Online natural gradient against a dense twin in float64, and the invariants of docs/mathematics.md 6.1.10."""

import math

import numpy as np
import pytest
import torch

from tests.support.settings import section
from unisono.config.optimiser import NgOptions
from unisono.core import fisher, flat
from unisono.core.natural_gradient import PRESETS, OnlineEstimator, estimator_for
from unisono.errors import UserError

EPSILON = 1e-10


class DenseTwin:
    """The equations with full D x D matrices, explicit inverses and a singular value decomposition."""

    def __init__(self, dim, rank, form, period=4, history=2000.0, alpha=4.0):
        self.dim, self.rank, self.form = dim, min(rank, dim - 1), form
        self.period, self.history, self.alpha = period, history, alpha
        self.calls, self.r = 0, None

    def fisher(self):
        return self.r.T @ np.diag(self.d) @ self.r + self.rho * np.eye(self.dim)

    def precondition(self, x):
        if self.r is None:
            self.start(x)
        f = self.fisher()
        g = f + self.alpha / self.dim * np.trace(f) * np.eye(self.dim)
        beta = self.rho * (1 + self.alpha) + self.alpha / self.dim * self.d.sum()
        x_hat = x @ (beta * np.linalg.inv(g))
        last = self.form.initial_updates
        if self.calls <= last or (self.calls - last) % self.period == 0:
            self.update(x)
        self.calls += 1
        before, after = np.sum(x * x), np.sum(x_hat * x_hat)
        return x_hat, (math.sqrt(before / after) if before > 0 and after > 0 else 1.0)

    def start(self, x):
        if self.form.eigen_start:
            values, vectors = np.linalg.eigh(x.T @ x / len(x))
            top = np.argsort(values)[::-1][: self.rank]
            self.r = vectors[:, top].T
            self.rho = (np.sum(x * x) / len(x) - values[top].sum()) / (self.dim - self.rank)
            self.rho = max(self.rho, EPSILON, self.form.delta * values[top].max())
            self.d = np.maximum(values[top] - self.rho, EPSILON)
            return
        self.r = np.zeros((self.rank, self.dim))
        for row in range(self.rank):
            self.r[row, row :: self.rank] = 1.0
            self.r[row, row] = 1.1
            self.r[row] /= np.linalg.norm(self.r[row])
        self.rho, self.d = EPSILON, np.full(self.rank, EPSILON)
        for _ in range(1 if self.form.one_pass and len(x) <= self.rank else 3):
            self.update(x)

    def update(self, x):
        eta = min(1 - math.exp(-len(x) / self.history), self.form.largest_eta)
        target = eta / len(x) * x.T @ x + (1 - eta) * self.fisher()
        y = self.r @ target
        u, root, _ = np.linalg.svd(y, full_matrices=False)
        floored = np.maximum(root, self.rho * (1 - eta))
        check = root[0] ** 2 > 1e6 * root[-1] ** 2 or np.any(floored > root)
        rows = (u.T @ y) / floored[:, None]
        if check and np.abs(rows @ rows.T - np.eye(self.rank)).max() > 1e-3:
            lower = np.linalg.cholesky(rows @ rows.T)
            rows = np.linalg.solve(lower, rows)
        rho = (np.trace(target) - floored.sum()) / (self.dim - self.rank)
        floor = max(EPSILON, self.form.delta * floored[0])
        self.d = np.maximum(floored - rho, floor if self.form.floor_d else EPSILON)
        self.rho, self.r = max(rho, floor), rows


def make(dim, rank, form, period=4, alpha=4.0):
    return OnlineEstimator(
        dim=dim,
        rank=rank,
        update_period=period,
        history=2000.0,
        minibatches_history=0.0,
        alpha=alpha,
        form=PRESETS[form].form,
    )


def padded_copy(x, dtype=torch.float64):
    x = torch.as_tensor(x)
    return flat.matrix(*x.shape, torch.empty(0, dtype=dtype)).copy_(x)


def dense_fisher(factor, alpha, dim):
    """F = R^T D R + rho I from what the estimator keeps."""
    w, d, rho = factor
    r = w.double() / fisher.inverse_weights(d, rho, alpha, dim).sqrt()[:, None]
    return (r.t() @ torch.diag(d) @ r + rho * torch.eye(dim, dtype=torch.float64)).numpy()


def run_both(minibatches, rank, form, alpha=4.0, period=4, dtype=torch.float64):
    """Worst relative error of X^, of gamma and of F over a sequence of minibatches."""
    dim = minibatches[0].shape[1]
    ours = make(dim, rank, form, period, alpha)
    twin = DenseTwin(dim, rank, PRESETS[form].form, period, alpha=alpha)
    worst = np.zeros(3)
    for x in minibatches:
        rows = padded_copy(x, dtype)
        gamma = ours.precondition_(rows)
        x_hat, twin_gamma = twin.precondition(x)
        f = dense_fisher(ours.factor, alpha, dim)
        norm = max(np.linalg.norm(x_hat), 1e-300)
        errors = [
            np.linalg.norm(rows.double().numpy() - x_hat) / norm,
            abs(gamma / twin_gamma - 1),
            np.linalg.norm(f - twin.fisher()) / np.linalg.norm(twin.fisher()),
        ]
        worst = np.maximum(worst, errors)
    return worst


def correlated(rng, rows, dim, decay=0.9):
    return rng.standard_normal((rows, dim)) * decay ** np.arange(dim) @ np.linalg.qr(rng.standard_normal((dim, dim)))[0]


@pytest.mark.parametrize("form", ["nnet3", "nnet3_2017", "nnet2", "nnet2_2014"])
@pytest.mark.parametrize("seed", range(4))
def test_equals_the_dense_twin_on_random_shapes(form, seed):
    rng = np.random.default_rng(seed)
    dim, rank = int(rng.integers(3, 60)), int(rng.integers(1, 20))
    sizes = rng.integers(max(rank, 8) + 1, 120, size=25)
    base = np.linalg.qr(rng.standard_normal((dim, dim)))[0] * 0.85 ** np.arange(dim)[:, None]
    minibatches = [rng.standard_normal((n, dim)) @ base for n in sizes]
    worst = run_both(minibatches, rank, form, alpha=float(rng.choice([0.1, 1.0, 4.0])), period=int(rng.integers(1, 5)))
    assert worst.max() < 1e-9


@pytest.mark.parametrize(
    ("name", "tolerance"),
    # Mean over standard deviation of the last two: 10, and 1 with columns that differ by 1e4 in scale.
    [("rank_ge_dim", 1e-8), ("ones_column", 1e-9), ("mean_dominated", 1e-8), ("ill_scaled", 1e-8)],
)
def test_equals_the_dense_twin_on_hard_input(name, tolerance):
    rng = np.random.default_rng(5)
    dim, rank = (6, 20) if name == "rank_ge_dim" else (24, 5)
    minibatches = [rng.standard_normal((64, dim)) for _ in range(20)]
    for x in minibatches:
        if name == "ones_column":
            x[:, -1] = 1.0
        elif name == "mean_dominated":
            x += 10.0
        elif name == "ill_scaled":
            x *= np.logspace(-2, 2, dim)
    for form in ("nnet3", "nnet2_2014"):
        assert run_both(minibatches, rank, form).max() < tolerance, form


@pytest.mark.parametrize(("mean", "tolerance"), [(6.0, 5e-5), (60.0, 5e-4)])
def test_single_precision_is_close_where_the_mean_dominates(mean, tolerance):
    """Mean over standard deviation of the rows is given; the tolerance must grow with it."""
    rng = np.random.default_rng(6)
    minibatches = [(rng.standard_normal((128, 100)) + mean).astype(np.float32).astype(np.float64) for _ in range(15)]
    assert run_both(minibatches, 20, "nnet3", dtype=torch.float32)[0] < tolerance


def test_equals_the_dense_twin_with_fewer_rows_than_the_rank():
    """What is floored is noise: the repair of orthogonality must act, and on the same rows."""
    rng = np.random.default_rng(3)
    for rows, rank, dim in ((5, 8, 20), (4, 6, 10), (8, 12, 40)):
        minibatches = [rng.standard_normal((rows, dim)) for _ in range(20)]
        assert run_both(minibatches, rank, "nnet3").max() < 1e-6


def test_rows_stay_orthonormal_where_directions_vanish():
    """Data of rank 3 under an estimate of rank 8, at changing scales: eigenvalues hit the floor again and again."""
    rng = np.random.default_rng(11)
    ours = make(20, 8, "nnet3", period=1)
    base = rng.standard_normal((3, 20))
    for step in range(40):
        ours.precondition_(padded_copy(rng.standard_normal((10, 3)) @ base * 10.0 ** (step % 5)))
        w, d, rho = ours.factor
        r = w / fisher.inverse_weights(d, rho, 4.0, 20).sqrt()[:, None]
        np.testing.assert_allclose(r @ r.t(), np.eye(8), atol=2e-3)


def test_constant_rows_and_single_rows():
    constant = [np.ones((32, 10)) for _ in range(15)]
    assert run_both(constant, 4, "nnet3")[:2].max() < 1e-7
    ours = make(10, 4, "nnet3")
    for _ in range(15):
        rows = padded_copy(np.arange(10.0)[None])
        gamma = ours.precondition_(rows)
        assert math.isfinite(gamma) and torch.isfinite(rows).all()


@pytest.mark.parametrize("form", list(PRESETS))
def test_zeros_stay_zeros_then_learning_goes_on(form):
    """6.1.10 (7): no NaN, output unchanged."""
    rng = np.random.default_rng(1)
    ours = make(12, 4, form)
    for step in range(30):
        x = np.zeros((16, 12)) if step % 10 < 5 else rng.standard_normal((16, 12))
        rows = padded_copy(x, torch.float32)
        gamma = ours.precondition_(rows)
        if step % 10 < 5:
            assert gamma == 1.0 and not rows.any()
        assert torch.isfinite(rows).all() and math.isfinite(gamma)
        assert torch.isfinite(ours.factor.w).all() and torch.isfinite(ours.factor.d).all()
        assert 0.0 < ours.factor.rho < math.inf


@pytest.mark.parametrize("bad", [math.nan, math.inf, 1e30])
def test_what_is_not_finite_never_reaches_the_estimate(bad):
    rng = np.random.default_rng(2)
    ours = make(12, 4, "nnet3")
    for _ in range(3):
        ours.precondition_(padded_copy(rng.standard_normal((16, 12)), torch.float32))
    kept = {key: value.clone() for key, value in ours.state().items() if key != "t"}
    poisoned = rng.standard_normal((16, 12))
    poisoned[3, 4] = bad
    ours.precondition_(padded_copy(poisoned, torch.float32))
    for key, value in kept.items():
        assert torch.equal(ours.state()[key], value)


def test_norm_is_preserved_and_large_alpha_changes_nothing():
    """6.1.10 (1) and (2)."""
    rng = np.random.default_rng(3)
    ours, smooth = make(20, 6, "nnet3"), make(20, 6, "nnet3", alpha=1e12)
    for _ in range(12):
        x = correlated(rng, 50, 20)
        rows, smoothed = padded_copy(x), padded_copy(x)
        gamma = ours.precondition_(rows)
        assert gamma * float(rows.norm()) == pytest.approx(np.linalg.norm(x), rel=1e-13)
        assert not np.allclose(rows, x, rtol=1e-2)
        np.testing.assert_allclose(smooth.precondition_(smoothed) * smoothed, x, rtol=1e-9, atol=1e-10)


def test_trace_balances_and_rows_stay_orthonormal():
    """6.1.10 (3) and (4): tr F' = eta tr S + (1 - eta) tr F where nothing is floored."""
    rng = np.random.default_rng(4)
    ours = make(20, 6, "nnet3", period=1)
    for _ in range(30):
        x = rng.standard_normal((50, 20)) * np.linspace(1, 2, 20)
        old = ours.factor
        ours.precondition_(padded_copy(x))
        w, d, rho = ours.factor
        if old is not None:
            eta = ours.eta(50)
            expected = eta * np.sum(x * x) / 50 + (1 - eta) * (20 * old.rho + float(old.d.sum()))
            assert 20 * rho + float(d.sum()) == pytest.approx(expected, rel=1e-12)
        r = w / fisher.inverse_weights(d, rho, 4.0, 20).sqrt()[:, None]
        np.testing.assert_allclose(r @ r.t(), np.eye(6), atol=1e-3)


def test_finds_the_leading_directions_of_stationary_data():
    """6.1.10 (6)."""
    rng = np.random.default_rng(7)
    std = np.array([5.0, 4.0, 3.0] + [1.0] * 17)
    ours = make(20, 3, "nnet3", period=1)
    for _ in range(400):
        ours.precondition_(padded_copy(rng.standard_normal((200, 20)) * std))
    w, d, rho = ours.factor
    r = (w / fisher.inverse_weights(d, rho, 4.0, 20).sqrt()[:, None]).numpy()
    assert np.linalg.norm(r[:, :3]) ** 2 == pytest.approx(3.0, rel=2e-3)
    np.testing.assert_allclose(d.numpy() + rho, [25.0, 16.0, 9.0], rtol=0.1)
    assert rho == pytest.approx(1.0, rel=0.05)


def test_scale_does_not_matter_far_above_epsilon():
    """6.1.10 (8)."""
    rng = np.random.default_rng(8)
    one, big = make(15, 4, "nnet3"), make(15, 4, "nnet3")
    for _ in range(10):
        x = correlated(rng, 40, 15)
        a, b = padded_copy(x), padded_copy(1000.0 * x)
        assert one.precondition_(a) == pytest.approx(big.precondition_(b), rel=1e-6)
        np.testing.assert_allclose(1000.0 * a, b, rtol=1e-4, atol=1e-6)


def test_fourth_powers_do_not_overflow_in_single_precision():
    rng = np.random.default_rng(12)
    one, big = make(15, 4, "nnet3"), make(15, 4, "nnet3")
    for _ in range(10):
        x = correlated(rng, 40, 15)
        a, b = padded_copy(x, torch.float32), padded_copy(1e10 * x, torch.float32)
        assert one.precondition_(a) == pytest.approx(big.precondition_(b), rel=1e-4)


def test_a_bad_first_minibatch_starts_nothing():
    for form in PRESETS:
        ours = make(12, 4, form)
        rows = torch.full((16, 12), math.nan)
        assert ours.precondition_(rows) == 1.0 and ours.factor is None and ours.count == 0


def test_updates_fall_on_the_published_calls():
    def updates(form, period):
        ours, calls = make(8, 2, form, period), []
        for call in range(20):
            if ours.updates():
                calls.append(call)
            ours.count += 1
        return calls

    assert updates("nnet3_2017", 4) == [*range(10), 13, 17]
    assert updates("nnet2_2014", 4) == [*range(10), 13, 17]
    assert updates("nnet3", 4) == [*range(11), 14, 18]
    assert updates("effective_2015", 1) == list(range(20))


def test_state_goes_on_to_the_bit():
    rng = np.random.default_rng(9)
    data = [torch.from_numpy(rng.standard_normal((33, 21))).float() for _ in range(12)]
    whole, first, second = (make(21, 7, "nnet3") for _ in range(3))
    for x in data:
        expected = padded_copy(x, torch.float32)
        expected_gamma = whole.precondition_(expected)
    for x in data[:5]:
        first.precondition_(padded_copy(x, torch.float32))
    second.load_state(first.state(), "state: ")
    for x in data[5:]:
        found = padded_copy(x, torch.float32)
        gamma = second.precondition_(found)
    assert torch.equal(found, expected) and gamma == expected_gamma
    second.load_state({}, "state: ")
    assert second.factor is None and second.state() == {}
    with pytest.raises(UserError, match="state: w: shape"):
        make(22, 7, "nnet3").load_state(first.state(), "state: ")


def test_width_one_and_no_rows_are_left_alone():
    for estimator, rows in ((make(1, 5, "nnet3"), torch.randn(4, 1)), (make(9, 5, "nnet3"), torch.empty(0, 9))):
        kept = rows.clone()
        assert estimator.precondition_(rows) == 1.0
        assert torch.equal(rows, kept)


def test_lost_orthogonality_is_repaired():
    """A start whose rows are almost parallel: Gram-Schmidt or a fresh start must repair it."""
    rng = np.random.default_rng(10)
    for form in ("nnet3", "nnet2_2014"):
        w = torch.from_numpy(rng.standard_normal((1, 12)) + 1e-9 * rng.standard_normal((4, 12)))
        sqrt_e = torch.full((4,), 0.5, dtype=torch.float64)
        fisher._repair_(w, sqrt_e, PRESETS[form].form)
        np.testing.assert_allclose(4.0 * w @ w.t(), np.eye(4), atol=1e-9)
    rows = torch.zeros(3, 5, dtype=torch.float64)
    rows[1, 0] = math.nan
    fisher.orthonormal_rows_(rows)
    np.testing.assert_allclose(rows @ rows.t(), np.eye(3), atol=1e-12)


def options(**changes):
    nothing = dict.fromkeys(("rank_in", "rank_out", "update_period", "history", "minibatches_history", "alpha"))
    return section(NgOptions, **{"preset": "nnet3", **nothing, **changes})


def test_presets_and_what_is_given():
    wide, narrow = estimator_for(options(), "out", 1000), estimator_for(options(), "in", 31)
    assert (wide.rank, wide.update_period, wide.alpha, wide.history) == (80, 4, 4.0, 2000.0)
    assert narrow.rank == 15
    assert estimator_for(options(preset="nnet2_2014"), "in", 31).rank == 20
    effective = estimator_for(options(preset="effective_2015"), "out", 1000)
    assert (effective.rank, effective.update_period) == (40, 1)
    given = estimator_for(options(preset="effective_2015", rank_in=7, update_period=3, alpha=0.5), "in", 100)
    assert (given.rank, given.update_period, given.alpha) == (7, 3, 0.5)
    assert estimator_for(options(minibatches_history=10.0), "in", 9).eta(512) == pytest.approx(0.1)
    assert estimator_for(options(), "in", 9).eta(100_000) == 0.9
