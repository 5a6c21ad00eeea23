"""Products in bf16 on a CPU: the same numbers whether its unit rounds the factors or we do.

On a machine without such a unit the tests that need it are skipped; all others see the products by copies.
"""

import contextlib
import functools

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from tests.support.training import NoReading, batches, deferred_rate, training
from unisono.core import bfloat16_unit, flat, products
from unisono.core.products import Products

LARGE = 96, 129, 112  # rows, columns with the bias, outputs
SHAPES = [LARGE, (1, 441, 1024), (700, 34, 9), (7, 2001, 5), (3, 25, 17), (33, 49, 48), (512, 441, 256)]


def factors(rows, columns, outputs):
    """x, weight, error and places for outputs, for the derivative below and for a step; in padded storage."""
    generator = torch.Generator().manual_seed(3)
    shapes = (rows, columns), (outputs, columns), (rows, outputs), (rows, outputs), (rows, columns), (outputs, columns)
    x, weight, error, *places = (flat.matrix(*shape, torch.empty(0)) for shape in shapes)
    return [one.copy_(torch.randn(one.shape, generator=generator)) for one in (x, weight, error)] + places


def three_products(made, sizes, keep, rate=0.5):
    x, weight, error, out, below, target = factors(*sizes)
    target.fill_(1.0 if keep else torch.nan)
    made.begin()
    made.forward(x, weight, out)
    made.backward(error, weight, below[:, :-1])
    made.add_step_(target, x, error, rate, keep)
    return out, below[:, :-1], target


@pytest.fixture
def unit():
    x, weight, _, out, *_ = factors(*LARGE)
    if not bfloat16_unit.takes(products.forward_product, out, x, weight):
        pytest.skip("this CPU has no unit for bfloat16 that torch uses for float32 factors")


@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize("sizes", SHAPES, ids=str)
def test_factors_are_rounded_and_nothing_else_whatever_the_shape(sizes, keep):
    x, weight, error, *_ = (one.bfloat16().double() for one in factors(*sizes))
    wanted = x @ weight.t(), error @ weight[:, :-1], float(keep) - 0.5 * (error.t() @ x)
    for found, exact in zip(three_products(Products("bf16"), sizes, keep), wanted, strict=True):
        assert float((found.double() - exact).norm()) < 2e-6 * float(exact.norm())


class NoCopies(TorchDispatchMode):
    """Raises where a matrix is copied in bfloat16."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        assert not any(isinstance(one, torch.Tensor) and one.dtype == torch.bfloat16 for one in args), func
        found = func(*args, **(kwargs or {}))
        assert not (isinstance(found, torch.Tensor) and found.dtype == torch.bfloat16), func
        return found


def test_copies_in_bfloat16_are_noticed(monkeypatch):
    monkeypatch.setattr(bfloat16_unit, "takes", lambda *matrices: False)
    with NoCopies(), pytest.raises(AssertionError):
        three_products(Products("bf16"), LARGE, True)


@pytest.mark.parametrize("keep", [True, False])
def test_what_the_unit_makes_is_what_copies_give(unit, monkeypatch, keep):
    wanted = None
    with monkeypatch.context() as without:
        without.setattr(bfloat16_unit, "takes", lambda *matrices: False)
        wanted = three_products(Products("bf16"), LARGE, keep)
    with NoCopies():
        made = three_products(Products("bf16"), LARGE, keep)
    for found, same in zip(made, wanted, strict=True):
        torch.testing.assert_close(found, same, rtol=1e-5, atol=1e-4)


def test_a_step_with_a_deferred_rate_goes_by_copies():
    """It belongs to a GPU, and stays a tensor; addmm would read it."""
    wanted = three_products(Products("bf16"), LARGE, True, 0.5)[2]
    x, _, error, *_, target = factors(*LARGE)
    target.fill_(1.0)
    with NoReading():
        Products("bf16").add_step_(target, x, error, deferred_rate(0.5))
    torch.testing.assert_close(target, wanted, rtol=1e-5, atol=1e-4)


def test_addmm_reads_a_deferred_rate():
    x, _, error, *_, target = factors(*LARGE)
    with NoReading(), pytest.raises(AssertionError, match="reads a number"):
        products.add_gradient(target, x, error, deferred_rate(0.5))


def test_products_in_float32_stay_what_they_are_before_and_after(unit):
    before = three_products(Products(), LARGE, True)
    three_products(Products("bf16"), LARGE, True)
    for found, same in zip(three_products(Products(), LARGE, True), before, strict=True):
        assert torch.equal(found, same)
    setting = torch.backends.mkldnn.matmul.fp32_precision
    with pytest.raises(RuntimeError, match="shape"), bfloat16_unit.rounding():
        torch.mm(torch.ones(2, 3), torch.ones(2, 3))
    assert torch.backends.mkldnn.matmul.fp32_precision == setting


def truncated(value):
    return (value.view(torch.int32) & -65536).view(torch.float32)


@pytest.mark.parametrize("as_it_comes_in", [lambda value: value, truncated], ids=["not at all", "truncated"])
def test_a_library_that_does_not_round_to_nearest_is_found_out(monkeypatch, as_it_comes_in):
    monkeypatch.setattr(torch.backends.mkldnn, "matmul", object(), raising=False)  # an older torch has none

    def multiply(out, x, weight):
        torch.mm(as_it_comes_in(x), as_it_comes_in(weight).t(), out=out)

    x, weight, error, out, below, target = factors(*LARGE)
    takes = functools.partial(bfloat16_unit.takes, under=contextlib.nullcontext)
    assert not takes(multiply, out, x, weight)
    assert not takes(products.backward_product, below[:, :-1], error, weight)
    assert not takes(products.add_gradient, target, x, error)
    assert takes(lambda out, a, b: torch.mm(a.bfloat16().float(), b.bfloat16().float().t(), out=out), out, x, weight)


def test_float64_and_an_older_torch_have_no_unit(monkeypatch):
    x, weight, _, out, *_ = factors(*LARGE)
    assert not bfloat16_unit.takes(products.forward_product, out.double(), x.double(), weight.double())
    monkeypatch.setattr(torch.backends.mkldnn, "matmul", None, raising=False)
    assert not bfloat16_unit.takes(products.forward_product, out, x, weight)


@pytest.mark.parametrize(("kind", "momentum"), [("sgd", 0.0), ("sgd", 0.9), ("ng_online", 0.9)])
def test_training_by_the_unit_stays_near_that_by_copies(unit, monkeypatch, kind, momentum):
    ends = []
    for by_unit in (True, False):
        if not by_unit:
            monkeypatch.setattr(bfloat16_unit, "takes", lambda *matrices: False)
        net, optimiser, params = training(kind, "nnet3", momentum=momentum, precision="bf16", hidden=(64, 80))
        before = params.clone()
        for batch in batches(net, 12, n=64):
            net.step_(batch, optimiser, 0.002)
        ends.append(params - before)
    assert 0.0 < float((ends[0] - ends[1]).norm()) < 0.02 * float(ends[1].norm())
