"""Server rules against their literal form, by their limits, and in pieces."""

import pytest
import torch

from unisono.core import server


def vectors(count, size=5, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(size, generator=generator, dtype=dtype) for _ in range(count)]


def test_addition_is_that_of_the_equations():
    model, *differences = vectors(6)
    velocity, literal_model, literal_d = torch.zeros(5, dtype=torch.float64), model.tolist(), [0.0] * 5
    for difference in differences:
        server.add_(model, difference, 0.5, 0.9, velocity)
        literal_d = [0.9 * d + 0.5 * x for d, x in zip(literal_d, difference.tolist(), strict=True)]
        literal_model = [w + d for w, d in zip(literal_model, literal_d, strict=True)]
    assert model.tolist() == pytest.approx(literal_model, rel=1e-14)
    assert velocity.tolist() == pytest.approx(literal_d, rel=1e-14)
    with pytest.raises(ValueError, match="velocity"):
        server.add_(model, differences[0], 0.5, 0.9)


def test_a_push_counts_for_factor_over_one_minus_momentum():
    model, velocity = torch.zeros(1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
    server.add_(model, torch.ones(1, dtype=torch.float64), 0.5, 0.9, velocity)
    for _ in range(500):
        server.add_(model, torch.zeros(1, dtype=torch.float64), 0.5, 0.9, velocity)
    assert model.item() == pytest.approx(0.5 / (1.0 - 0.9))


def test_without_staleness_a_push_is_adopted():
    assert server.adopts(0, 1.0, 0.0)
    assert not any((server.adopts(1, 1.0, 0.0), server.adopts(0, 0.5, 0.0), server.adopts(0, 1.0, 0.9)))
    # Why: the sum of start and difference is not the model to the bit.
    start, model = vectors(2, 1000, dtype=torch.float32)
    added = start.clone()
    server.add_(added, model - start, 1.0)
    torch.testing.assert_close(added, model)
    assert not torch.equal(added, model)


def test_workers_in_turns_with_staleness_n_minus_one():
    """Each worker adds a constant to what it pulled: nothing of any push is lost, whatever the order."""
    model = torch.zeros(3, dtype=torch.float64)
    pulled = [model.clone() for _ in range(4)]
    for turn in range(12):
        worker = turn % 4
        trained = pulled[worker] + 1.0
        server.add_(model, trained - pulled[worker], 1.0)
        pulled[worker] = model.clone()
    assert model.tolist() == [12.0] * 3


@pytest.mark.parametrize("factor", [0.1, 0.5, 1.0])
def test_elastic_exchange_uses_the_values_before(factor):
    one, other = vectors(2, 200_000, dtype=torch.float32)
    expected = (1 - factor) * one + factor * other, (1 - factor) * other + factor * one
    total = (one + other).double()
    server.exchange_(one, other, factor)
    torch.testing.assert_close(one, expected[0])
    torch.testing.assert_close(other, expected[1])
    torch.testing.assert_close((one + other).double(), total, rtol=0.0, atol=1e-5)
    assert torch.equal(one, other) == (factor == 0.5)


@pytest.mark.parametrize("rule", ["add", "momentum", "elastic"])
def test_pieces_give_the_bits_of_the_whole(rule):
    results = []
    for size in (150_001, 4096, 7919):
        model, worker, velocity = vectors(3, 150_001, dtype=torch.float32)
        for begin in range(0, len(model), size):
            part = slice(begin, begin + size)
            if rule == "elastic":
                server.exchange_(model[part], worker[part], 0.3)
            else:
                server.add_(model[part], worker[part], 0.7, 0.9 if rule == "momentum" else 0.0, velocity[part])
        results.append((model, worker, velocity))
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))
