"""Mixtures against numbers made by hand, the slow literal twin, and the wheel's own evaluation."""

import numpy as np
import pytest
from scipy.special import logsumexp
from scipy.stats import norm

from unisono.hmm import gmm
from unisono.hmm.libs import khg


def random_gmms(rng, sizes, dim):
    count = sum(sizes)
    weights = np.concatenate([rng.dirichlet(np.full(size, 5.0)) for size in sizes]).astype(np.float32)
    means = rng.normal(size=(count, dim)).astype(np.float32)
    variances = rng.uniform(0.3, 2.0, size=(count, dim)).astype(np.float32)
    return gmm.Gmms(weights, means, variances, np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64))


def literal_scores(gmms, frames):
    scores = np.empty((len(frames), gmms.num_pdfs))
    for pdf in range(gmms.num_pdfs):
        own = range(gmms.offsets[pdf], gmms.offsets[pdf + 1])
        parts = [
            np.log(gmms.weights[g]) + norm.logpdf(frames, gmms.means[g], np.sqrt(gmms.variances[g])).sum(axis=1)
            for g in own
        ]
        scores[:, pdf] = logsumexp(parts, axis=0)
    return scores


@pytest.mark.parametrize("frames", [0, 1, 7, gmm.BLOCK + 3])
def test_scores_equal_the_literal_sum(frames):
    rng = np.random.default_rng(frames)
    gmms = random_gmms(rng, [1, 4, 2], 5)
    x = rng.normal(size=(frames, 5)).astype(np.float32)
    found = gmm.Scorer(gmms)(x)
    assert found.dtype == np.float32 and found.shape == (frames, 3)
    np.testing.assert_allclose(found, literal_scores(gmms, x), atol=2e-4)


def test_scores_equal_those_of_the_wheel():
    rng = np.random.default_rng(3)
    gmms = random_gmms(rng, [3], 4)
    wheel = khg.DiagGmm(3, 4)
    wheel.set_weights(gmms.weights)
    wheel.set_invvars_and_means(1.0 / gmms.variances, gmms.means)
    wheel.compute_gconsts()
    x = rng.normal(size=(20, 4)).astype(np.float32)
    expected = [wheel.log_likelihood(row) for row in x]
    np.testing.assert_allclose(gmm.Scorer(gmms)(x)[:, 0], expected, atol=1e-4)


def test_a_frame_far_away_keeps_a_finite_score():
    gmms = random_gmms(np.random.default_rng(0), [3, 2], 4)
    assert np.isfinite(gmm.Scorer(gmms)(np.full((1, 4), 1e6, np.float32))).all()


def test_statistics_by_hand():
    # Two equal Gaussians at -1 and 1: a frame at 0 belongs half to each; the other frames have another PDF or none.
    gmms = gmm.Gmms(
        np.float32([0.5, 0.5, 1.0]), np.float32([[-1], [1], [0]]), np.float32([[1], [1], [4]]), np.array([0, 2, 3])
    )
    stats = gmm.accumulate(gmms, np.float32([[0], [9], [3]]), np.array([0, -1, 1]))
    np.testing.assert_allclose(stats.occupancy, [0.5, 0.5, 1.0])
    np.testing.assert_allclose(stats.first[:, 0], [0.0, 0.0, 3.0])
    np.testing.assert_allclose(stats.second[:, 0], [0.0, 0.0, 9.0])
    expected = norm.logpdf(0, 1, 1) + norm.logpdf(3, 0, 2)
    assert stats.frames == 2 and stats.log_likelihood == pytest.approx(expected)


def test_update_by_hand():
    gmms = gmm.Gmms(np.float32([0.5, 0.5]), np.float32([[0], [1]]), np.float32([[1], [1]]), np.array([0, 2]))
    stats = gmm.Stats(np.array([30.0, 10.5]), np.array([[60.0], [21.0]]), np.array([[240.0], [42.0]]), 0.0, 40)
    new = gmm.update(gmms, stats)
    np.testing.assert_allclose(new.weights, [30 / 40.5, 10.5 / 40.5], rtol=1e-6)
    np.testing.assert_allclose(new.means, [[2.0], [2.0]])
    # 240/30 - 4 = 4; 42/10.5 - 4 = 0, floored.
    np.testing.assert_allclose(new.variances, [[4.0], [gmm.MIN_VARIANCE]])


def test_a_weak_gaussian_is_removed_and_its_weight_shared():
    gmms = random_gmms(np.random.default_rng(1), [3, 1], 2)
    stats = gmm.Stats(np.array([20.0, 10.0, 60.0, 2.0]), np.ones((4, 2)), np.full((4, 2), 9.0), 0.0, 92)
    new = gmm.update(gmms, stats)
    assert new.offsets.tolist() == [0, 2, 3]
    np.testing.assert_allclose(new.weights, [0.25, 0.75, 1.0], rtol=1e-6)
    # The only Gaussian of a PDF stays as it was, however little it has seen.
    np.testing.assert_array_equal(new.means[2], gmms.means[3])
    np.testing.assert_array_equal(new.variances[2], gmms.variances[3])


def test_pdf_without_frames_stays():
    gmms = random_gmms(np.random.default_rng(1), [2], 2)
    new = gmm.update(gmms, gmm.Stats(np.zeros(2), np.zeros((2, 2)), np.zeros((2, 2)), 0.0, 0))
    assert len(new.weights) == 1 and new.weights[0] == 1.0 and np.isfinite(new.means).all()


def test_likelihood_never_falls():
    rng = np.random.default_rng(5)
    pdf_ids = rng.integers(0, 3, 3000)
    frames = (rng.normal(size=(3000, 3)) + pdf_ids[:, None] * rng.choice([-1, 2], (3000, 1))).astype(np.float32)
    gmms = random_gmms(rng, [4, 2, 3], 3)
    found = []
    for _ in range(12):
        stats = gmm.accumulate(gmms, frames, pdf_ids)
        found.append(stats.log_likelihood)
        gmms = gmm.update(gmms, stats)
    assert (np.diff(found) > -1e-3).all() and found[-1] > found[0] + 100


def test_sum_of_parts_equals_the_whole():
    rng = np.random.default_rng(6)
    gmms, frames, ids = random_gmms(rng, [2, 3], 3), rng.normal(size=(50, 3)), rng.integers(-1, 2, 50)
    whole = gmm.accumulate(gmms, frames, ids)
    parts = gmm.add([gmm.accumulate(gmms, frames[:20], ids[:20]), gmm.accumulate(gmms, frames[20:], ids[20:])])
    for one, two in zip(whole, parts, strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-9)


def test_splitting_conserves_weight_and_mean_and_repeats():
    gmms = random_gmms(np.random.default_rng(7), [1, 3], 4)
    targets = np.array([4, 2])
    one, two, other = (gmm.split(gmms, targets, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert np.diff(one.offsets).tolist() == [4, 3]  # never fewer than before
    for first, second in zip(one, two, strict=True):
        np.testing.assert_array_equal(first, second)
    assert not np.array_equal(one.means, other.means)
    for pdf in range(2):
        old, new = slice(*gmms.offsets[pdf : pdf + 2]), slice(*one.offsets[pdf : pdf + 2])
        assert one.weights[new].sum() == pytest.approx(gmms.weights[old].sum(), rel=1e-6)
        np.testing.assert_allclose(
            one.weights[new] @ one.means[new], gmms.weights[old] @ gmms.means[old], rtol=1e-5, atol=1e-6
        )
    assert one.means.dtype == np.float32 and len(np.unique(one.means[:4], axis=0)) == 4


def test_targets_follow_the_power_rule():
    # Of 160^(1/4) = 3.56 and 10000^(1/4) = 10 the largest per Gaussian are split: 10, 10/2, 3.56, 10/3.
    assert gmm.split_targets(np.array([160.0, 10000.0]), 6).tolist() == [2, 4]
    # Fewer than MIN_SPLIT_COUNT frames for each: no split, and asking for more ends all the same.
    assert gmm.split_targets(np.array([39.0, 0.0]), 50).tolist() == [1, 1]
