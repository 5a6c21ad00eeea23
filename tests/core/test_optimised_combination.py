"""The optimised combination on problems whose optimum is known, its limits, and the gradient it is fed with."""

import math

import pytest
import torch

from tests.support.training import batches, training
from unisono.core import flat
from unisono.core.combination import combine, triangular_shares
from unisono.core.gradient import Gradient

LAYOUT = flat.make_layout([("hidden1", (3, 5)), ("output", (2, 4))])


def models(count, seed=0):
    generator = torch.Generator().manual_seed(seed)
    vectors = [flat.zeros(LAYOUT.size, torch.float64) for _ in range(count)]
    for vector in vectors:
        for matrix in flat.views(LAYOUT, vector).values():
            matrix.normal_(generator=generator)
    return vectors


def distance_to(target):
    """An objective whose maximum is at `target`."""

    def objective(vector):
        difference = vector - target
        return -float(difference @ difference), -2.0 * difference

    return objective


def mixture(vectors, weights):
    """sum_n s_nc W_nc by a loop over components."""
    result = flat.zeros(LAYOUT.size, torch.float64)
    for c, part in enumerate(flat.segments(LAYOUT, result)):
        for vector, weight in zip(vectors, weights, strict=True):
            part += weight[c] * flat.segments(LAYOUT, vector)[c]
    return result


def test_known_weights_are_found_layer_by_layer():
    vectors = models(3)
    weights = torch.tensor([[0.7, 0.1], [0.2, 0.3], [0.1, 0.6]], dtype=torch.float64)
    target = mixture(vectors, weights)
    result = combine(vectors.__getitem__, triangular_shares(3, 20), LAYOUT, distance_to(target), 60, torch.float64)
    torch.testing.assert_close(result.weights, weights, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(result.model, target, rtol=1e-4, atol=1e-4)
    assert result.mean_objective < result.objective <= 0.0


def test_weights_stay_positive_and_sum_to_one_where_the_optimum_is_outside():
    vectors = models(4)
    target = 3.0 * vectors[0] - 2.0 * vectors[1]
    result = combine(vectors.__getitem__, triangular_shares(4, 20), LAYOUT, distance_to(target), 40, torch.float64)
    assert bool((result.weights > 0.0).all())
    torch.testing.assert_close(result.weights.sum(0), torch.ones(2, dtype=torch.float64))
    assert float(result.weights[0].min()) > 0.9


def test_slopes_are_those_of_autograd():
    """The first step of L-BFGS goes along the derivative that it is given, min(1, 1/|g|_1) g."""
    vectors, target = models(5), models(1, seed=9)[0]
    shares = triangular_shares(5, 3)
    seen = []

    def objective(vector):
        seen.append(vector.clone())
        return distance_to(target)(vector)

    combine(vectors.__getitem__, shares, LAYOUT, objective, 2, torch.float64)
    theta = torch.zeros(3, 2, dtype=torch.float64, requires_grad=True)
    weights = shares.t() @ torch.softmax(theta, dim=0)
    value = sum(
        -((sum(weights[n, c] * flat.segments(LAYOUT, v)[c] for n, v in enumerate(vectors)) - t).square().sum())
        for c, t in enumerate(flat.segments(LAYOUT, target))
    )
    (slope,) = torch.autograd.grad(value, theta)
    step = slope * min(1.0, 1.0 / float(slope.abs().sum()))
    expected = mixture(vectors, shares.t() @ torch.softmax(step, dim=0))
    torch.testing.assert_close(seen[1], expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("evaluations", [1, 2, 7, 20])
def test_evaluations_are_counted_strictly(evaluations):
    vectors, calls = models(6), []

    def objective(vector):
        calls.append(1)
        return distance_to(4.0 * vectors[2])(vector)

    result = combine(vectors.__getitem__, triangular_shares(6, 20), LAYOUT, objective, evaluations, torch.float64)
    assert len(calls) == result.evaluations <= evaluations
    if evaluations == 1:
        torch.testing.assert_close(result.model, sum(vectors) / 6)
        assert result.objective == result.mean_objective


@pytest.mark.parametrize("elsewhere", [-5.0, math.nan, -math.inf])
def test_never_worse_than_the_mean(elsewhere):
    vectors = models(3)
    mean = sum(vectors) / 3

    def objective(vector):
        value = -1.0 if torch.allclose(vector, mean) else elsewhere
        return value, vectors[0]

    result = combine(vectors.__getitem__, triangular_shares(3, 20), LAYOUT, objective, 10, torch.float64)
    assert result.objective == result.mean_objective == -1.0
    torch.testing.assert_close(result.model, mean)


def test_one_model_is_itself_and_a_broken_mean_is_refused():
    (vector,) = models(1)
    shares = triangular_shares(1, 20)
    result = combine(lambda n: vector, shares, LAYOUT, distance_to(vector * 2), 5, torch.float64)
    assert torch.equal(result.model, vector) and torch.equal(result.weights, torch.ones(1, 2, dtype=torch.float64))
    with pytest.raises(ValueError, match="mean is nan"):
        combine(lambda n: vector, shares, LAYOUT, lambda v: (math.nan, v), 5, torch.float64)
    with pytest.raises(ValueError, match="needs an evaluation"):
        combine(lambda n: vector, shares, LAYOUT, lambda v: (0.0, v), 0, torch.float64)


@pytest.mark.parametrize(("count", "effective"), [(18, 15), (40, 15), (7, 3), (5, 1), (3, 20), (2, 2)])
def test_triangular_shares(count, effective):
    shares = triangular_shares(count, effective)
    expected = torch.zeros(min(count, effective), count, dtype=torch.float64)
    for n in range(count):
        u = (len(expected) - 1) * n / max(1, count - 1)
        low = math.floor(u + 1e-12)
        expected[low, n] += 1.0 - (u - low)
        if low + 1 < len(expected):
            expected[low + 1, n] += u - low
    torch.testing.assert_close(shares, expected / expected.sum(1, keepdim=True), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("nonlinearity", ["relu", "sigmoid"])
def test_gradient_sums_over_minibatches_and_leaves_the_parameters(nonlinearity):
    net, _, params = training(nonlinearity=nonlinearity)
    before, gradient = params.clone(), Gradient(net.layout)
    data = list(batches(net, 3))
    objective = 0.0
    for _ in range(2):
        gradient.reset()
        objective = sum(net.step_(batch, gradient, 0.5).objective_sum for batch in data)
    assert torch.equal(params, before)
    leaf = params.clone().requires_grad_()
    values = torch.cat([batch.x[:, 0] for batch in data])
    matrices = list(flat.views(net.layout, leaf).values())
    for matrix in matrices[:-1]:
        values = getattr(torch, nonlinearity)(values @ matrix[:, :-1].t() + matrix[:, -1])
    logits = values @ matrices[-1][:, :-1].t() + matrices[-1][:, -1]
    expected = torch.log_softmax(logits, 1).gather(1, torch.cat([batch.ids for batch in data])).sum()
    expected.backward()
    assert objective == pytest.approx(expected.item(), rel=1e-5)
    torch.testing.assert_close(gradient.sum, leaf.grad, rtol=1e-4, atol=1e-4)
