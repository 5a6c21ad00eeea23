"""A step whose rate is a tensor: the same mathematics, and nothing in it reads a number."""

import contextlib
import math

import numpy as np
import pytest
import torch

from tests.support.settings import section
from tests.support.training import NG, NoReading, batches, deferred_rate, optimiser_options, training
from unisono.config.network import InitialisationOptions, LstmOptions
from unisono.core import bfloat16_unit, flat, number
from unisono.core.natural_gradient import estimator_for
from unisono.core.ng_updates import flush
from unisono.core.products import Products, allow_tf32
from unisono.nn import frame_network, loss
from unisono.nn.lstm import Lstm


@pytest.fixture(autouse=True)
def no_unit(monkeypatch):
    """Steps in bf16 go by copies, as on a GPU, also where the CPU has a unit for them (test_bfloat16_unit.py)."""
    monkeypatch.setattr(bfloat16_unit, "takes", lambda *matrices: False)


@pytest.mark.parametrize("limit", ["none", "nnet3", "nnet3_2017", "nnet2", "su_chen"])
@pytest.mark.parametrize("kind", ["sgd", "ng_online", "ng_simple"])
@pytest.mark.parametrize(
    ("nonlinearity", "momentum", "l2"),
    [("relu", 0.0, 0.001), ("sigmoid", 0.9, 0.0), ("tanh", 0.5, 0.001), ("relu_renorm", 0.9, 0.001)],
)
def test_a_tensor_as_rate_gives_the_same_steps(kind, limit, nonlinearity, momentum, l2):
    ends = []
    for rate in (0.01, deferred_rate()):
        net, optimiser, params = training(kind, limit, nonlinearity, momentum, l2)
        before = params.clone()
        sums = [net.step_(batch, optimiser, rate) for batch in batches(net, 14)]
        counts = [(int(s.correct), int(s.limited)) for s in sums]
        ends.append((params, [float(s.objective_sum) for s in sums], counts))
        assert not torch.equal(params, before)
    (eager, objectives, counts), (deferred, others, same) = ends
    torch.testing.assert_close(deferred, eager, rtol=2e-5, atol=2e-6)
    assert others == pytest.approx(objectives, rel=1e-5) and counts == same


@pytest.mark.parametrize("precision", ["float32", "bf16"])
@pytest.mark.parametrize("limit", ["none", "nnet3", "nnet2"])
@pytest.mark.parametrize(("kind", "momentum"), [("sgd", 0.0), ("sgd", 0.9), ("ng_online", 0.0), ("ng_online", 0.9)])
def test_a_static_step_reads_no_number(kind, momentum, limit, precision):
    net, optimiser, _ = training(kind, limit, "relu", momentum, 0.001, precision)
    static = 0
    for batch in batches(net, 20):
        if optimiser.is_static():
            with NoReading():
                stats = net.step_(batch, optimiser, deferred_rate())
            static += 1
            assert isinstance(stats.objective_sum, torch.Tensor) and isinstance(stats.correct, torch.Tensor)
        else:
            net.step_(batch, optimiser, deferred_rate())
    assert static == (20 if kind == "sgd" else 7), "natural gradient updates in calls 0 to 10, 14, 18"


@pytest.mark.parametrize("precision", ["float32", "bf16"])
@pytest.mark.parametrize("limit", ["none", "nnet3", "nnet2"])
@pytest.mark.parametrize("kind", ["sgd", "ng_online"])
def test_so_does_a_step_on_chunks_with_masked_frames_and_edges(kind, limit, precision):
    ends = []
    for rate in (0.01, deferred_rate()):
        shape = {"cells": (6, 5), "left_context": 3, "chunk": 4, "label_delay": 1, "splice": (1, 0)}
        net = Lstm(section(LstmOptions, kind="lstm", **shape), 5, 7, precision)
        optimiser = net.updater(optimiser_options(kind, limit, 0.5, 0.001))
        params = net.initial_parameters(section(InitialisationOptions), torch.Generator().manual_seed(1))
        net.bind(params)
        generator, stats = torch.Generator().manual_seed(2), []
        for _ in range(16):
            batch = net.buffers(9)
            batch.x.normal_(generator=generator)
            batch.ids.random_(7, generator=generator)
            batch.mask.bernoulli_(0.8, generator=generator)
            batch.before.random_(5, generator=generator)
            reads = (
                NoReading() if optimiser.is_static() and isinstance(rate, torch.Tensor) else contextlib.nullcontext()
            )
            with reads:
                stats.append(net.step_(batch, optimiser, rate))
        ends.append((params, [[float(one) for one in step if one is not None] for step in stats]))
    torch.testing.assert_close(ends[1][0], ends[0][0], rtol=2e-4, atol=2e-5)
    assert np.allclose(ends[1][1], ends[0][1], rtol=1e-4)


@pytest.mark.parametrize("precision", ["float32", "bf16"])
@pytest.mark.parametrize("limit", ["none", "nnet3", "nnet2"])
@pytest.mark.parametrize("kind", ["sgd", "ng_online", "ng_simple"])
@pytest.mark.parametrize("hidden", [(24, 17), (16, 33), (15, 16)])
def test_steps_on_whole_rows_are_those_on_views(monkeypatch, kind, limit, precision, hidden):
    """As on a GPU, where matrices are worked on with the padding of their rows; it is zero and stays zero."""
    ends = []
    for whole in (False, True):
        monkeypatch.setattr(flat, "wants_whole_rows", lambda matrix, whole=whole: whole)
        net, optimiser, params = training(kind, limit, "relu_renorm", 0.5, 0.001, precision, hidden)
        sums = [net.step_(batch, optimiser, deferred_rate()) for batch in batches(net, 14, 30)]
        sums.append(net.evaluate(next(batches(net, 1))))
        ends.append((params, [float(s.objective_sum) for s in sums], [int(s.correct) for s in sums]))
        for name, matrix in flat.views(net.layout, params).items():
            padded = matrix.as_strided((len(matrix), matrix.stride(0)), (matrix.stride(0), 1))
            assert not padded[:, matrix.shape[1] :].any(), name
    (views, objectives, correct), (rows, others, same) = ends
    # A sum made in another order may round to the next bfloat16, a 256th away.
    relative, absolute, frames = (2e-5, 2e-6, 0) if precision == "float32" else (1e-3, 2e-4, 1)
    torch.testing.assert_close(rows, views, rtol=relative, atol=absolute)
    assert others == pytest.approx(objectives, rel=relative) and same == pytest.approx(correct, abs=frames)


@pytest.mark.parametrize("hidden", [(24, 17), (20, 21)])
@pytest.mark.parametrize("precision", ["float32", "bf16"])
@pytest.mark.parametrize("kind", ["sgd", "ng_online"])
def test_a_minibatch_that_is_not_finite_leaves_nothing_behind(monkeypatch, kind, precision, hidden):
    """The network and its buffers serve other workers, and this one again from good parameters."""
    monkeypatch.setattr(flat, "wants_whole_rows", lambda matrix: True)
    net, optimiser, params = training(kind, "nnet3", momentum=0.5, precision=precision, hidden=hidden)
    good, start = list(batches(net, 14)), params.clone()
    for batch in good:
        net.step_(batch, optimiser, deferred_rate())
    wanted = params.clone()
    broken = good[0]._replace(x=good[0].x.clone().fill_(math.inf))
    assert not math.isfinite(float(net.step_(broken, optimiser, deferred_rate()).objective_sum))
    params.copy_(start)
    optimiser.reset()
    assert math.isfinite(net.evaluate(good[1]).objective_sum)
    for batch in good:
        assert math.isfinite(float(net.step_(batch, optimiser, deferred_rate()).objective_sum))
    assert torch.equal(params, wanted)


def test_places_of_rounded_copies_do_not_grow_with_the_sizes_of_minibatches():
    net, optimiser, _ = training("ng_online", precision="bf16")
    for n in (32, 31, 7, 32, 64, 63, 32):
        for batch in batches(net, 1, n):
            net.step_(batch, optimiser, deferred_rate())
    assert len(net._products._copies) == 3 * len(net.layout.names), "an input, a weight and an error of each layer"


@pytest.mark.parametrize(("precision", "allowed"), [("float32", False), ("tf32", True), ("bf16", True)])
def test_tf32_is_allowed_beside_short_products_only(precision, allowed):
    try:
        allow_tf32(precision)
        assert torch.backends.cuda.matmul.allow_tf32 is allowed
    finally:
        allow_tf32("float32")


def test_reading_would_be_seen():
    net, optimiser, _ = training("ng_simple")
    assert not optimiser.is_static()
    with NoReading(), pytest.raises(AssertionError, match="reads a number"):
        net.step_(next(batches(net, 1)), optimiser, 0.01)


def test_a_captured_step_finds_its_storage_again():
    """Updates write into the tensors that a captured step reads; what replaces them changes the version."""
    net, optimiser, params = training("ng_online", "nnet3", momentum=0.9)
    data = list(batches(net, 15))
    places = set()
    for batch in data:
        net.step_(batch, optimiser, deferred_rate())
        places.add((*(s.factor.w.data_ptr() for s in optimiser._estimators), optimiser._delta.data_ptr()))
    assert len(places) == 1
    version, state = optimiser.version, optimiser.state()
    state["momentum"] = state["momentum"].clone()
    kept = {name: tensor.clone() for name, tensor in state.items()}
    for batch in data:
        net.step_(batch, optimiser, deferred_rate())
    assert optimiser.version == version
    assert all(torch.equal(state[name], kept[name]) for name in kept), "factors are copies"
    optimiser.load_state(state)
    assert optimiser.version != version


def test_underflow_and_nan_in_a_deferred_objective():
    logits = torch.tensor([[0.0, 200.0, 3.0], [1.0, 2.0, 3.0]])
    ids = torch.tensor([0, 2])
    stats = loss.posteriors_and_stats(logits, ids, None, torch.empty(2, 3), deferred=True)
    expected = torch.log_softmax(logits.double(), dim=1)
    assert float(stats.objective_sum) == pytest.approx(float(expected[0, 0] + expected[1, 2]), rel=1e-7)
    assert int(stats.correct) == 1
    broken = torch.tensor([[math.nan, 1.0]])
    stats = loss.posteriors_and_stats(broken, torch.tensor([0]), None, torch.empty(1, 2), deferred=True)
    assert math.isnan(float(stats.objective_sum)) and int(stats.correct) == 0


@pytest.mark.parametrize("above", [0.0, 1.0, 4.0, math.inf, math.nan])
@pytest.mark.parametrize("below", [0.0, 1.0, 9.0])
def test_roots_of_ratios_are_numbers_one_can_multiply_with(above, below):
    found = float(number.root_of_ratio(*(torch.tensor(v, dtype=torch.float64) for v in (above, below))))
    good = 0.0 < above < math.inf and below > 0.0
    assert found == (pytest.approx(math.sqrt(above / below)) if good else 1.0)


@pytest.mark.parametrize("limit", [0.0, 2.0])
@pytest.mark.parametrize("size", [0.0, 1.0, 2.0, 8.0, math.inf, math.nan])
def test_caps_agree(limit, size):
    wanted = 0.25 if (limit, size) == (2.0, 8.0) else 1.0
    assert number.cap(limit, size) == wanted
    assert float(number.cap(limit, torch.tensor(size, dtype=torch.float64))) == wanted


def factors(rows=30, columns=41, outputs=24, seed=3):
    """x with its ones, weight, error and an empty place for outputs, in padded storage."""
    generator = torch.Generator().manual_seed(seed)
    like = torch.empty(0)
    made = [flat.matrix(*shape, like) for shape in ((rows, columns), (outputs, columns), (rows, outputs))]
    return [m.copy_(torch.randn(m.shape, generator=generator)) for m in made] + [flat.matrix(rows, outputs, like)]


def test_bf16_rounds_the_factors_and_nothing_else():
    x, weight, error, out = factors()
    short = Products("bf16")
    short.forward(x, weight, out)
    exact = x.bfloat16().double() @ weight.bfloat16().double().t()
    torch.testing.assert_close(out.double(), exact, rtol=1e-5, atol=1e-5)
    assert float((out.double() - x.double() @ weight.double().t()).abs().max()) > 1e-3, "nothing was rounded"
    below = torch.empty(30, 40)
    short.backward(error, weight, below)
    exact = error.bfloat16().double() @ weight.bfloat16().double()[:, :-1]
    torch.testing.assert_close(below.double(), exact, rtol=1e-5, atol=1e-5)
    target = torch.ones_like(weight)
    short.add_step_(target, x, error, 0.5)
    exact = error.bfloat16().double().t() @ x.bfloat16().double()
    torch.testing.assert_close(target.double(), 1.0 - 0.5 * exact, rtol=1e-5, atol=1e-5)
    for precision in ("float32", "tf32"):
        Products(precision).forward(x, weight, out)
        assert torch.equal(out, torch.mm(x, weight.t()))


def test_what_was_rounded_is_rounded_again_when_it_changed():
    x, weight, error, out = factors()
    short = Products("bf16")
    short.forward(x, weight, out)
    before = out.clone()
    x.mul_(2.0)
    short.forward(x, weight, out)
    assert torch.equal(out, before), "the copy serves for the whole step"
    short.changed(x)
    short.forward(x, weight, out)
    torch.testing.assert_close(out, 2.0 * before)
    weight.mul_(2.0)
    short.begin()
    short.forward(x, weight, out)
    torch.testing.assert_close(out, 4.0 * before)


@pytest.mark.parametrize("kind", ["sgd", "ng_online"])
def test_a_step_in_bf16_never_multiplies_what_is_stale(monkeypatch, kind):
    """With copies made anew for every product the steps are the same."""

    class Anew(Products):
        def _short(self, factor, rows=0):
            self.begin()
            return super()._short(factor, rows).clone()

    ends = []
    for cls in (Products, Anew):
        monkeypatch.setattr(frame_network, "Products", cls)  # a network makes a new one with its buffers
        net, optimiser, params = training(kind, "nnet3", momentum=0.5, l2=0.001, precision="bf16")
        for rate in (0.01, deferred_rate()):
            for batch in batches(net, 6):
                net.step_(batch, optimiser, rate)
        assert type(net._products) is cls
        ends.append(params)
    assert torch.equal(*ends)


@pytest.mark.parametrize("kind", ["sgd", "ng_online"])
def test_bf16_training_stays_near_float32_and_is_evaluated_in_float32(kind):
    ends = {}
    for precision in ("float32", "bf16"):
        net, optimiser, params = training(kind, "nnet3", momentum=0.5, precision=precision)
        before = params.clone()
        for batch in batches(net, 30):
            net.step_(batch, optimiser, 0.002)
        assert params.dtype == torch.float32 and all(t.dtype != torch.bfloat16 for t in optimiser.state().values())
        ends[precision] = params - before, params, net.evaluate(next(batches(net, 1))).objective_sum
    moved, near = ends["float32"][0], ends["bf16"][0]
    assert 0.0 < float((near - moved).norm()) < 0.05 * float(moved.norm())
    # A plain network with the parameters that bf16 reached sees the same objective to the bit.
    net, _, params = training(kind)
    params.copy_(ends["bf16"][1])
    assert net.evaluate(next(batches(net, 1))).objective_sum == ends["bf16"][2]


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_what_is_not_kept_is_overwritten(precision):
    x, target = torch.eye(4), torch.full((4, 4), math.nan)
    Products(precision).add_step_(target, x, x.clone(), 0.5, keep=False)
    assert torch.equal(target, -0.5 * x)


def test_a_deferred_update_never_takes_in_what_is_not_finite():
    """Each side asks for an update; where its numbers are bad it alone stays as it was."""
    good, bad = (estimator_for(NG, "in", 12) for _ in range(2))
    rows = torch.randn(32, 12, generator=torch.Generator().manual_seed(4))
    for side in (good, bad):
        side.precondition_(rows.clone(), deferred=True)
    flush([good, bad], rows)
    kept, broken = bad.factor, rows.clone()
    w, broken[3, 4] = kept.w.clone(), math.inf
    before = good.factor.w.clone()
    good.precondition_(rows.clone(), deferred=True)
    bad.precondition_(broken, deferred=True)
    assert good.pending is not None and bad.pending is not None
    flush([good, bad], rows)
    assert good.pending is None and bad.pending is None
    assert torch.equal(bad.factor.w, w) and bad.factor.d is kept.d
    assert not torch.equal(good.factor.w, before) and bool(good.factor.w.isfinite().all())
