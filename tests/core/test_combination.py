"""Mean, acceptance, BMUF, gossip and observers: twins by hand, exact limits, order of summation."""

import math

import numpy as np
import pytest
import torch

from unisono.core import average, bmuf, gossip, observers
from unisono.errors import UserError


def vectors(count, size=1000, seed=0, scale=1.0):
    generator = torch.Generator().manual_seed(seed)
    result = [scale * torch.randn(size, generator=generator) for _ in range(count)]
    for vector in result:
        vector[::50] = -0.0  # a sign that sloppy limits lose
    return result


def same_bits(a, b):
    return torch.equal(a.view(torch.int32), b.view(torch.int32))


def test_mean_is_the_float64_sum_in_order_rounded_once():
    xs, frames = vectors(5), [100, 250, 1, 0, 77]
    weights = average.weights_of(frames, "frames")
    assert weights == [count / 428 for count in frames]
    expected = np.zeros(1000)
    for x, weight in zip(xs, weights, strict=True):
        expected = expected + x.numpy().astype(np.float64) * weight
    assert same_bits(average.weighted_mean(xs, weights), torch.from_numpy(expected.astype(np.float32)))


def test_order_of_summation_shows():
    """Broken on purpose: added the other way round (weights along), some of the bits differ."""
    xs = [x.double() * 10.0**k for k, x in enumerate(vectors(7, size=20000))]
    weights = average.weights_of([3, 1, 4, 1, 5, 9, 2], "frames")
    forward = average.weighted_mean(xs, weights)
    assert not torch.equal(forward, average.weighted_mean(xs[::-1], weights[::-1]))
    torch.testing.assert_close(forward, average.weighted_mean(xs[::-1], weights[::-1]))


def test_chunks_and_streaming_do_not_matter(monkeypatch):
    xs, weights = vectors(3), average.weights_of([3, 4, 5], "frames")
    whole = average.weighted_mean(xs, weights)
    monkeypatch.setattr(average, "CHUNK", 7)
    assert same_bits(average.weighted_mean(xs, weights), whole)


def test_one_worker_gets_its_own_vector_back():
    (x,) = vectors(1)
    assert average.weights_of([123], "frames") == [1.0]
    assert np.array_equal(average.weighted_mean([x], [1.0]), x)


def test_equal_and_accepted_weights():
    assert average.weights_of([10, 0, 30], "equal") == [0.5, 0.0, 0.5]
    assert average.weights_of([10, 20, 30], "frames", [True, False, True]) == [0.25, 0.0, 0.75]
    assert average.weights_of([10, 20], "equal", [False, False]) == [0.0, 0.0]


def test_a_worker_left_out_may_hold_anything():
    x, bad = vectors(2)
    bad[3] = math.nan
    assert torch.isfinite(average.weighted_mean([x, bad], [1.0, 0.0])).all()


@pytest.mark.parametrize(
    ("objectives", "finite", "minibatches", "expected"),
    [
        ([-2.0, -2.9, -3.1], [True] * 3, [50] * 3, [True, True, False]),
        ([-2.0, -4.0], [True] * 2, [50, 9], [True, True]),  # too short a slice to be judged by
        ([-2.0, -4.0], [True] * 2, [9, 50], [True, True]),  # nor is it a best to be compared with
        ([-2.0, -2.0], [True, False], [50] * 2, [True, False]),
        ([-2.0, -2.0], [True, False], [5] * 2, [True, False]),
        ([math.nan, -9.0], [True] * 2, [50] * 2, [False, True]),
        ([math.inf, -9.0], [True] * 2, [50] * 2, [False, True]),
        ([math.nan, -math.inf], [True] * 2, [50] * 2, [False, False]),
        ([-5.0], [True], [50], [True]),
    ],
)
def test_who_takes_part(objectives, finite, minibatches, expected):
    assert average.accept(objectives, finite, minibatches, 1.0) == expected


def literal_bmuf(initial, means, eta, zeta, nesterov):
    """The loop of docs/mathematics.md 6.3 with W, W_g and Delta, in float64."""
    w = w_g = initial.double()
    delta = torch.zeros_like(w)
    for mean in means:
        delta = eta * delta + zeta * (mean.double() - w_g)
        w = w + delta
        w_g = w + eta * delta if nesterov else w
    return w, delta, w_g


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize(("eta", "zeta"), [(0.75, 1.0), (0.0, 0.7), (0.9, 0.5), (0.0, 1.0), (0.5, 1.3)])
def test_bmuf_follows_the_paper(eta, zeta, nesterov):
    initial, *means = vectors(9)
    state = bmuf.BmufStep(initial, torch.zeros(1000), initial)
    double = bmuf.BmufStep(initial.double(), torch.zeros(1000).double(), initial.double())
    for mean in means:
        state = bmuf.bmuf_step(state.start, state.delta, mean.clone(), eta, zeta, nesterov)
        double = bmuf.bmuf_step(double.start, double.delta, mean.double(), eta, zeta, nesterov)
    for ours, in_double, expected in zip(state, double, literal_bmuf(initial, means, eta, zeta, nesterov), strict=True):
        torch.testing.assert_close(in_double, expected, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(ours.double(), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("nesterov", [False, True])
def test_bmuf_without_momentum_is_the_mean_to_the_bit(nesterov):
    start, mean, delta = vectors(3)
    step = bmuf.bmuf_step(start, delta, mean.clone(), 0.0, 1.0, nesterov)
    assert same_bits(step.model, mean) and same_bits(step.start, mean)


def test_bmuf_leaves_the_start_alone_which_others_may_hold():
    start, mean, delta = vectors(3)
    kept = start.clone()
    step = bmuf.bmuf_step(start, delta, mean, 0.9, 0.5, True)
    assert same_bits(start, kept) and len({x.data_ptr() for x in (start, *step)}) == 4


def test_nesterov_is_diloco_and_classical_is_slowmo():
    """DiLoCo: torch's SGD with Nesterov momentum on the outer gradient. SlowMo: u = b u + (x - mean)/g; x -= a g u."""
    initial, *means = (x.double() for x in vectors(7))
    outer = initial.clone().requires_grad_()
    sgd = torch.optim.SGD([outer], lr=0.7, momentum=0.9, nesterov=True)
    ours = bmuf.BmufStep(initial, torch.zeros_like(initial), initial)
    slow, u = initial.clone(), torch.zeros_like(initial)
    classical = bmuf.BmufStep(initial, torch.zeros_like(initial), initial)
    for mean in means:
        outer.grad = outer.detach() - mean
        sgd.step()
        ours = bmuf.bmuf_step(ours.start, ours.delta, mean.clone(), 0.9, 0.7, True)
        torch.testing.assert_close(ours.start, outer.detach())
        u = 0.6 * u + (slow - mean) / 0.05
        slow = slow - 0.8 * 0.05 * u
        classical = bmuf.bmuf_step(classical.start, classical.delta, mean, 0.6, 0.8, False)
        torch.testing.assert_close(classical.model, slow)


@pytest.mark.parametrize(("eta", "zeta"), [(1.0, 1.0), (-0.1, 1.0), (math.nan, 1.0), (0.5, 0.0), (0.5, math.inf)])
def test_bmuf_out_of_range_is_named(eta, zeta):
    with pytest.raises(UserError, match="parallel.combine.block_"):
        bmuf.bmuf_step(*vectors(3), eta, zeta, False)
    assert bmuf.default_momentum(8) == 0.875


@pytest.mark.parametrize("kind", ["butterfly", "ring", "hopping_ring"])
def test_all_meet_at_once_and_in_place(monkeypatch, kind):
    monkeypatch.setattr(gossip, "CHUNK", 48)
    before = vectors(4)
    partners = [gossip.partner(kind, rank, 1, 4) if rank != 2 else None for rank in range(4)]
    after = [x.clone() for x in before]
    gossip.average_with_partners_(after, partners)
    for own, other, found in zip(before, partners, after, strict=True):
        assert same_bits(found, gossip.pair_step(own, None if other is None else before[other]))


def test_butterfly_meets_everybody():
    """After log2 N rounds without training in between all hold the exact mean."""
    models = [torch.full((3,), float(rank)) for rank in range(8)]
    for round_ in range(3):
        partners = [gossip.partner("butterfly", rank, round_, 8) for rank in range(8)]
        assert all(partners[other] == rank for rank, other in enumerate(partners))
        models = [gossip.pair_step(models[rank], models[other]) for rank, other in enumerate(partners)]
    assert all(torch.equal(model, torch.full((3,), 3.5)) for model in models)
    assert gossip.partner("butterfly", 5, 3, 8) == gossip.partner("butterfly", 5, 0, 8) == 4


def test_rings():
    assert [gossip.partner("ring", rank, 7, 3) for rank in range(3)] == [2, 0, 1]
    assert [gossip.partner("hopping_ring", 0, round_, 4) for round_ in range(5)] == [3, 2, 1, 3, 2]
    for kind in ("ring", "hopping_ring", "butterfly"):
        for round_ in range(9):
            assert sorted(gossip.partner(kind, rank, round_, 4) for rank in range(4)) == [0, 1, 2, 3], "each sends once"
        assert gossip.partner(kind, 0, 3, 1) is None


def test_pair_step():
    a, b = vectors(2)
    assert torch.equal(gossip.pair_step(a, b), gossip.pair_step(b, a))
    torch.testing.assert_close(gossip.pair_step(a, b), (a + b) / 2)
    alone = gossip.pair_step(a, None)
    assert same_bits(alone, a) and alone.data_ptr() != a.data_ptr()


def test_butterfly_needs_a_power_of_two():
    with pytest.raises(UserError, match="power of two"):
        gossip.partner("butterfly", 0, 0, 6)


def test_observers():
    xs = vectors(6)
    ema = polyak = xs[0]
    expected = xs[0].double()
    for count, x in enumerate(xs[1:], start=2):
        ema, polyak = observers.move(ema, x, 1.0 - 0.9), observers.move(polyak, x, 1.0 / count)
        expected = 0.9 * expected + 0.1 * x.double()
    torch.testing.assert_close(ema.double(), expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(polyak, torch.stack(xs).mean(0), rtol=1e-5, atol=1e-6)
    assert same_bits(observers.move(xs[0], xs[1], 1.0), xs[1])
    assert torch.equal(observers.move(xs[1], xs[1], 0.1), xs[1])
    for weight in (0.0, -0.1, 1.1):
        with pytest.raises(ValueError, match="lies in"):
            observers.move(xs[0], xs[1], weight)
