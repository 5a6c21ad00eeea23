"""Input transforms: what they promise of the data, their limits, and folding into a network."""

import numpy as np
import pytest
import torch

from tests.support.settings import section
from unisono.config.network import DnnOptions, InitialisationOptions
from unisono.core import flat, input_transform
from unisono.core.input_transform import Statistics, lda, normalise
from unisono.nn.dnn import Dnn


def frames(count=600, dim=7, classes=5, seed=0):
    """Frames with correlated dimensions around a mean for each class, class 3 empty, and weights."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(0, classes, (count,), generator=generator)
    ids[ids == 3] = 4
    means = 2.0 * torch.randn(classes, dim, generator=generator, dtype=torch.float64)
    turn = torch.randn(dim, dim, generator=generator, dtype=torch.float64)
    x = means[ids] + torch.randn(count, dim, generator=generator, dtype=torch.float64) @ turn + 3.0
    return x, ids, torch.rand(count, generator=generator, dtype=torch.float64)


def gathered(x, ids, weights=None, pieces=1, classes=5):
    found = Statistics(classes, x.shape[1])
    for begin in range(0, len(x), -(-len(x) // pieces)):
        part = slice(begin, begin + -(-len(x) // pieces))
        found.add(x[part], ids[part], None if weights is None else weights[part])
    return found


def test_covariances_are_those_of_numpy():
    x, ids, weights = frames()
    between, within = gathered(x, ids, weights, pieces=4).covariances()
    total = np.cov(x.T.numpy(), aweights=weights.numpy(), ddof=0)
    torch.testing.assert_close(between + within, torch.from_numpy(total), rtol=1e-10, atol=1e-10)
    literal = sum(
        float(weights[ids == c].sum()) * np.cov(x[ids == c].T.numpy(), aweights=weights[ids == c].numpy(), ddof=0)
        for c in (0, 1, 2, 4)
    )
    literal = torch.from_numpy(literal / float(weights.sum()))
    torch.testing.assert_close(within, literal, rtol=1e-10, atol=1e-10)
    ones = gathered(x, ids, torch.ones(len(x))).covariances()
    assert all(torch.equal(a, b) for a, b in zip(ones, gathered(x, ids).covariances(), strict=True))


def test_lda_whitens_within_and_diagonalises_between():
    x, ids, weights = frames()
    stats = gathered(x, ids, weights)
    between, within = stats.covariances()
    plain = lda(stats, within_class_factor=1.0, max_singular_value=0.0)
    matrix = plain[:, :-1]
    eye = torch.eye(7, dtype=torch.float64)
    torch.testing.assert_close(matrix @ within @ matrix.t(), eye, rtol=0.0, atol=1e-9)
    projected = matrix @ between @ matrix.t()
    values = projected.diagonal()
    torch.testing.assert_close(projected, torch.diag(values), rtol=0.0, atol=1e-9)
    # Four classes have three directions between them.
    assert bool((values[:2] >= values[1:3]).all()) and float(values[2]) > 0.1 and float(values[3:].abs().max()) < 1e-9
    mean = (x * weights[:, None]).sum(0) / weights.sum()
    torch.testing.assert_close(input_transform.apply(plain, mean[None])[0], torch.zeros(7, dtype=torch.float64))
    scaled = lda(stats, within_class_factor=0.01, max_singular_value=0.0)
    factors = ((0.01 + values.clamp(min=0.0)) / (1.0 + values.clamp(min=0.0))).sqrt()
    torch.testing.assert_close(scaled[:3], factors[:3, None] * plain[:3], rtol=1e-8, atol=1e-10)


def test_dimensions_cap_offset_and_signs():
    stats = gathered(*frames())
    full = lda(stats, max_singular_value=0.0)
    torch.testing.assert_close(lda(stats, dim=3, max_singular_value=0.0), full[:3])
    torch.testing.assert_close(lda(stats, max_singular_value=0.0, remove_offset=False), full[:, :-1])
    largest = float(torch.linalg.svdvals(full[:, :-1]).max())
    capped = lda(stats, max_singular_value=largest / 2)
    assert float(torch.linalg.svdvals(capped[:, :-1]).max()) == pytest.approx(largest / 2)
    assert torch.equal(lda(stats, max_singular_value=2 * largest), full)
    for row in full[:, :-1]:
        assert float(row[row.abs().argmax()]) > 0.0


def test_a_singular_covariance_is_smoothed():
    x, ids, _ = frames()
    x[:, 6] = x[:, 0] + x[:, 1]
    stats = gathered(x, ids)
    found = lda(stats)
    assert bool(found.isfinite().all()) and torch.equal(found, lda(stats, smooth=True))
    _, within = stats.covariances()
    smoothed = within + torch.eye(7, dtype=torch.float64) * 0.001 * within.trace() / 7
    matrix = lda(stats, within_class_factor=1.0, max_singular_value=0.0)[:, :-1]
    torch.testing.assert_close(matrix @ smoothed @ matrix.t(), torch.eye(7, dtype=torch.float64), rtol=0.0, atol=1e-7)


def test_normalised_frames_have_mean_zero_and_variance_one():
    x, ids, _ = frames()
    x[:, 2] = 4.0
    result = input_transform.apply(normalise(gathered(x, ids)), x)
    expected = torch.ones(7, dtype=torch.float64)
    expected[2] = 0.0
    torch.testing.assert_close(result.mean(0), torch.zeros(7, dtype=torch.float64), rtol=0.0, atol=1e-12)
    torch.testing.assert_close(result.var(0, correction=0), expected, rtol=1e-10, atol=1e-12)


def test_no_frames_are_refused():
    with pytest.raises(ValueError, match="weigh nothing"):
        lda(Statistics(3, 4))
    with pytest.raises(ValueError, match="weigh nothing"):
        normalise(Statistics(3, 4))


@pytest.mark.parametrize("nonlinearity", ["sigmoid", "relu"])
@pytest.mark.parametrize("dim", [None, 4])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.float64, 1e-9)])
def test_folded_equals_unfolded(nonlinearity, dim, dtype, tolerance):
    x, ids, _ = frames()
    transform = lda(gathered(x, ids), dim=dim)
    scales = input_transform.prior_scales(torch.bincount(ids, minlength=5))

    def network(width):
        options = section(
            DnnOptions, kind="dnn", hidden=(30, 20), nonlinearity=nonlinearity, context=(0, 0), dropout=0.0
        )
        return Dnn(options, width, 5)

    inner, outer = network(dim or 7), network(7)
    start = section(InitialisationOptions, kind="random", path=None, hidden_gain=None, output_gain=1.0)
    params = inner.initial_parameters(start, torch.Generator().manual_seed(1)).to(dtype)
    folded = flat.zeros(outer.layout.size, dtype)
    views, targets = flat.views(inner.layout, params), flat.views(outer.layout, folded)
    targets["hidden1"].copy_(input_transform.fold_below(views["hidden1"], transform))
    targets["hidden2"].copy_(views["hidden2"])
    targets["output"].copy_(input_transform.fold_above(views["output"], scales))
    inner.bind(params)
    outer.bind(folded)
    x = x.to(dtype)
    below = inner._forward(input_transform.apply(transform, x), inner._room(len(x)), inner._plain)
    expected = torch.log_softmax(below[:, :5] * scales.to(dtype), dim=1).clone()
    torch.testing.assert_close(outer.log_posteriors(x), expected, rtol=0.0, atol=tolerance)


def test_prior_scales_are_those_of_kaldis_script():
    counts, power = [7, 0, 120, 33], -0.25
    average = sum(counts) / len(counts)
    powers = [(count + 0.01 * average) ** power for count in counts]
    expected = [value * len(counts) / sum(powers) for value in powers]
    torch.testing.assert_close(
        input_transform.prior_scales(torch.tensor(counts)), torch.tensor(expected, dtype=torch.float64)
    )
    assert torch.equal(input_transform.prior_scales(torch.tensor(counts), 0.0), torch.ones(4, dtype=torch.float64))
