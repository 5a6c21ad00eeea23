"""One step of each optimiser against a literal twin in float64; max-change, momentum, L2, state."""

import math

import numpy as np
import pytest
import torch

from tests.support.settings import section
from unisono.config.optimiser import MaxChangeOptions, NgOptions, OptimiserOptions
from unisono.core import flat
from unisono.core.max_change import row_scale, step_scales
from unisono.core.natural_gradient import estimator_for, vector_estimator
from unisono.core.ng_simple import SimpleEstimator
from unisono.core.optimiser import Optimiser
from unisono.errors import UserError

LAYOUT = flat.make_layout([("hidden1", (7, 6)), flat.Entry("output", (5, 8), is_output=True)])
NG = section(
    NgOptions,
    preset="nnet3",
    rank_in=None,
    rank_out=None,
    update_period=None,
    history=None,
    minibatches_history=None,
    alpha=None,
)


def limits(kind="none", per_layer=0.0, total=0.0, per_sample=0.0):
    return section(MaxChangeOptions, kind=kind, per_layer=per_layer, total=total, per_sample=per_sample)


def options(kind="sgd", momentum=0.0, l2=0.0, max_change=None, learning_rate=0.1):
    return section(
        OptimiserOptions,
        kind=kind,
        learning_rate=learning_rate,
        momentum=momentum,
        l2=l2,
        minibatch=16,
        max_change=max_change or limits(),
        ng=NG,
    )


def minibatches(count, rows=16, seed=0):
    """Inputs with their ones and derivatives for both layers, as plain arrays."""
    rng = np.random.default_rng(seed)
    result = []
    for _ in range(count):
        layers = []
        for outputs, columns in LAYOUT.shapes:
            x = rng.standard_normal((rows, columns))
            x[:, -1] = 1.0
            layers.append((x, rng.standard_normal((rows, outputs)) * 0.3))
        result.append(layers)
    return result


def start(dtype=torch.float64):
    params = flat.zeros(LAYOUT.size, dtype)
    generator = torch.Generator().manual_seed(4)
    for matrix in flat.views(LAYOUT, params).values():
        matrix.copy_(torch.randn(matrix.shape, generator=generator))
    return params


def run(optimiser, data, params, rate=0.1, limited=None):
    for layers in data:
        optimiser.begin(params, rate)
        for index in (1, 0):
            x, error = (flat.matrix(*a.shape, params).copy_(torch.from_numpy(a)) for a in layers[index])
            optimiser.layer_(index, x, error)
        was_limited = optimiser.finish_()
        if limited is not None:
            limited.append(was_limited)
    return params


def twin(data, opts, rate=0.1, limit_scale=1.0):
    """The same rules, literally, layer by layer in numpy. Returns the weights, and which minibatches it limited."""
    limited = []
    weights = [matrix.numpy().copy() for matrix in flat.views(LAYOUT, start()).values()]
    deltas = [np.zeros_like(w) for w in weights]
    mc, m = opts.max_change, opts.momentum
    sides = [[estimator_for(NG, "in", c), estimator_for(NG, "out", o)] for o, c in LAYOUT.shapes]
    if opts.kind == "ng_simple":
        sides = [[SimpleEstimator(4.0), SimpleEstimator(4.0)] for _ in LAYOUT.shapes]
    for layers in data:
        factors = []
        for index, (x, error) in enumerate(layers):
            gamma = 1.0
            if opts.kind != "sgd":
                x, error = torch.from_numpy(x.copy()), torch.from_numpy(error.copy())
                gamma = sides[index][0].precondition_(x) * sides[index][1].precondition_(error)
                x, error = x.numpy(), error.numpy()
            step = -rate * gamma * sum(np.outer(e, r) for e, r in zip(error, x, strict=True))
            bound = sum(np.linalg.norm(r) * np.linalg.norm(e) for e, r in zip(error, x, strict=True)) * gamma
            limit = getattr(mc, "per_sample", 0.0) * len(x) * limit_scale
            if mc.kind == "nnet2":
                factors.append(min(1.0, limit / (rate * bound)))
            elif mc.kind == "su_chen":
                factors.append(min(1.0, limit / bound))
            if factors:
                step *= factors[-1]
            decay = opts.l2 * len(x) * rate * weights[index]
            decay[:, -1] = 0.0
            deltas[index] += step - decay
        scales = [1.0] * len(weights)
        if mc.kind.startswith("nnet3"):
            norms = [np.linalg.norm(d) * (1 - m if mc.kind == "nnet3" else 1) for d in deltas]
            if mc.per_layer:
                scales = [min(1.0, mc.per_layer / n) for n in norms]
            if mc.total:
                total = (1 - m) * math.sqrt(
                    sum(np.linalg.norm(k * d) ** 2 for k, d in zip(scales, deltas, strict=True))
                )
                scales = [k * min(1.0, mc.total * limit_scale / total) for k in scales]
        for w, d, k in zip(weights, deltas, scales, strict=True):
            w += (1 - m) * k * d
            d *= m
        limited.append(int(min(factors + scales) < 1.0))
    return weights, limited


CASES = {
    "plain": options(),
    "l2": options(l2=0.01),
    "momentum": options(momentum=0.9),
    "momentum_l2": options(momentum=0.5, l2=0.01),
    "nnet3_layer": options(max_change=limits("nnet3", per_layer=0.2)),
    "nnet3_some": options(max_change=limits("nnet3", per_layer=0.75)),
    "nnet3_both_momentum": options(momentum=0.9, max_change=limits("nnet3", 0.2, 0.15)),
    "nnet3_2017_both_momentum": options(momentum=0.9, max_change=limits("nnet3_2017", 0.2, 0.015)),
    "nnet3_inactive": options(max_change=limits("nnet3", 1e6, 1e6)),
    "nnet2": options(max_change=limits("nnet2", per_sample=0.05)),
    "su_chen": options(max_change=limits("su_chen", per_sample=0.5)),
    "su_chen_momentum": options(momentum=0.9, max_change=limits("su_chen", per_sample=0.5)),
    "ng": options("ng_online"),
    "ng_nnet3": options("ng_online", momentum=0.5, l2=0.001, max_change=limits("nnet3", 0.3, 0.35)),
    "ng_nnet2": options("ng_online", max_change=limits("nnet2", per_sample=0.05)),
    "simple_nnet2": options("ng_simple", max_change=limits("nnet2", per_sample=0.05)),
}


@pytest.mark.parametrize("limit_scale", [1.0, math.sqrt(0.5)])
@pytest.mark.parametrize("case", CASES)
def test_steps_equal_the_literal_rules(case, limit_scale):
    data, opts = minibatches(14), CASES[case]
    optimiser = Optimiser(opts, LAYOUT)
    optimiser.max_change_scale = limit_scale
    limited = []
    params = run(optimiser, data, start(), limited=limited)
    weights, expected = twin(data, opts, limit_scale=limit_scale)
    for matrix, weight in zip(flat.views(LAYOUT, params).values(), weights, strict=True):
        np.testing.assert_allclose(matrix, weight, rtol=1e-9, atol=1e-10)
    assert limited == expected
    single = run(Optimiser(opts, LAYOUT), data, start(torch.float32))
    double = run(Optimiser(opts, LAYOUT), data, start())
    assert float((single - double).norm() / (double - start()).norm()) < 1e-4
    padding = single.clone()
    for matrix in flat.views(LAYOUT, padding).values():
        matrix.zero_()
    assert not padding.any()


def test_limits_that_should_bite_do():
    plain = run(Optimiser(CASES["plain"], LAYOUT), minibatches(1), start())
    for case in ("nnet3_layer", "nnet2", "su_chen"):
        limited = run(Optimiser(CASES[case], LAYOUT), minibatches(1), start())
        assert float((limited - start()).norm()) < 0.9 * float((plain - start()).norm()), case
    step = run(Optimiser(CASES["nnet3_layer"], LAYOUT), minibatches(1), start()) - start()
    assert float(flat.views(LAYOUT, step)["hidden1"].norm()) == pytest.approx(0.2, rel=1e-6)


def test_momentum_keeps_the_total_effect_of_a_gradient():
    """One gradient, then zeros: the steps sum to the plain step."""
    data = minibatches(1)
    silence = [[(x, 0.0 * e) for x, e in data[0]]] * 400
    plain = run(Optimiser(options(), LAYOUT), data, start())
    slow = run(Optimiser(options(momentum=0.9), LAYOUT), data + silence, start())
    np.testing.assert_allclose(slow, plain, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("case", ["momentum", "nnet3_both_momentum", "ng", "ng_nnet3", "simple_nnet2"])
def test_state_goes_on_to_the_bit(case):
    data, opts = minibatches(17), CASES[case]
    whole = run(Optimiser(opts, LAYOUT), data, start(torch.float32))
    first, second = Optimiser(opts, LAYOUT), Optimiser(opts, LAYOUT)
    half = run(first, data[:9], start(torch.float32))
    state = first.state()
    second.load_state(state)
    assert torch.equal(run(second, data[9:], half), whole)
    # The state is a copy, and reset forgets.
    third = Optimiser(opts, LAYOUT)
    third.load_state(state)
    run(third, data[9:], start(torch.float32))
    assert set(third.state()) == set(state)
    third.reset()
    assert torch.equal(run(third, data, start(torch.float32)), whole)
    assert all(tensor.dtype in (torch.float32, torch.float64, torch.int64) for tensor in state.values())


def test_one_vector_can_follow_another():
    """`virtual` may hand the same optimiser another vector; momentum stays with the optimiser."""
    data, opts = minibatches(6), CASES["momentum"]
    whole = run(Optimiser(opts, LAYOUT), data, start())
    optimiser = Optimiser(opts, LAYOUT)
    moved = run(optimiser, data[:3], start()).clone()
    np.testing.assert_array_equal(run(optimiser, data[3:], moved), whole)


def test_wrong_states_are_named():
    state = Optimiser(CASES["ng_nnet3"], LAYOUT)
    run(state, minibatches(2), start())
    with pytest.raises(UserError, match="is not used by sgd"):
        Optimiser(options(), LAYOUT).load_state(state.state())
    other = flat.make_layout([("hidden1", (70, 6)), ("output", (5, 71))])
    with pytest.raises(UserError, match="momentum has shape"):
        Optimiser(CASES["ng_nnet3"], other).load_state(state.state())


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("case", CASES)
def test_poison_shows_in_the_parameters_and_raises_nothing(case, bad):
    data = minibatches(3)
    data[1][0][1][2, 3] = bad
    params = run(Optimiser(CASES[case], LAYOUT), data, start(torch.float32))
    assert not torch.isfinite(params).all()


def test_scales_by_hand():
    assert step_scales(limits("nnet3", 0.5, 0.0), [1.0, 0.25], 0.0, 1.0) == [0.5, 1.0]
    assert step_scales(limits("nnet3", 0.5, 0.0), [1.0, 0.25], 0.9, 1.0) == [1.0, 1.0]
    assert step_scales(limits("nnet3_2017", 0.5, 0.0), [1.0, 0.25], 0.9, 1.0) == [0.5, 1.0]
    assert step_scales(limits("nnet3", 0.0, 1.0), [3.0, 4.0], 0.0, 1.0) == [0.2, 0.2]
    assert step_scales(limits("nnet3", 0.0, 1.0), [3.0, 4.0], 0.0, 0.5) == [0.1, 0.1]
    assert step_scales(limits("nnet3", 0.5, 1.0), [0.0, 0.0], 0.0, 1.0) == [1.0, 1.0]
    assert row_scale(limits("nnet2", per_sample=0.1), 100.0, 0.5, 10, 1.0) == 1.0 / 50.0
    assert row_scale(limits("su_chen", per_sample=0.1), 100.0, 0.5, 10, 1.0) == 1.0 / 100.0
    assert row_scale(limits("su_chen", per_sample=0.1), 0.0, 0.5, 10, 1.0) == 1.0


BLOCKS = flat.make_layout(
    [flat.Entry("gates", (12, 6), blocks=3), flat.Entry("vectors", (2, 8), bias=False, blocks=2, gradient="rows")]
)
APART = flat.make_layout([(f"gate{block}", (4, 6)) for block in range(3)])


@pytest.mark.parametrize("kind", ["sgd", "ng_online", "ng_simple"])
@pytest.mark.parametrize("limit", ["none", "nnet3", "nnet2", "su_chen"])
@pytest.mark.parametrize("momentum", [0.0, 0.5])
def test_blocks_are_what_matrices_of_their_own_would_be(kind, limit, momentum):
    """They see the same inputs, so one estimator of these serves them all; the global limit is off."""
    change = section(MaxChangeOptions, kind=limit, per_layer=0.05, total=0.0, per_sample=0.001)
    given = options(kind, momentum=momentum, max_change=change)
    layouts = (flat.make_layout([flat.Entry("gates", (12, 6), blocks=3)]), APART)
    params = [torch.linspace(-1.0, 1.0, layout.size, dtype=torch.float64) for layout in layouts]
    trainers = [Optimiser(given, layout) for layout in layouts]
    generator = torch.Generator().manual_seed(4)
    for _ in range(6):
        x = torch.randn(20, 6, generator=generator, dtype=torch.float64)
        error = torch.randn(20, 12, generator=generator, dtype=torch.float64)
        limited = []
        for trainer, vector in zip(trainers, params, strict=True):
            trainer.begin(vector, 0.01)
            if trainer is trainers[0]:
                trainer.layer_(0, x.clone(), error.clone())
            else:
                for block in range(3):
                    trainer.layer_(block, x.clone(), error[:, 4 * block : 4 * block + 4].clone())
            limited.append(trainer.finish_())
        assert limited[0] == limited[1]
    torch.testing.assert_close(params[0], params[1], rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("kind", ["sgd", "ng_online", "ng_simple"])
@pytest.mark.parametrize("momentum", [0.0, 0.5])
def test_a_vectors_step_is_the_sum_of_its_preconditioned_rows(kind, momentum):
    change = section(MaxChangeOptions, kind="none", per_layer=0.0, total=0.0, per_sample=0.0)
    trainer = Optimiser(options(kind, momentum=momentum, max_change=change), BLOCKS)
    params = torch.zeros(BLOCKS.size, dtype=torch.float64)
    alone, delta = vector_estimator(NG, 8), torch.zeros(8, dtype=torch.float64)
    simple, expected = SimpleEstimator(4.0), torch.zeros(8, dtype=torch.float64)
    generator = torch.Generator().manual_seed(5)
    for _ in range(5):
        rows = torch.randn(30, 8, generator=generator, dtype=torch.float64)
        trainer.begin(params, 0.1)
        trainer.layer_(0, torch.zeros(30, 6, dtype=torch.float64), torch.zeros(30, 12, dtype=torch.float64))
        trainer.rows_(1, 0, torch.zeros(30, 8, dtype=torch.float64))
        trainer.rows_(1, 1, rows.clone())
        trainer.finish_()
        own = flat.matrix(30, 8, rows).copy_(rows)
        gamma = {"sgd": lambda r: 1.0, "ng_online": alone.precondition_, "ng_simple": simple.precondition_}[kind](own)
        delta = momentum * delta - 0.1 * gamma * own.sum(0)
        expected += (1.0 - momentum) * delta
    views = flat.views(BLOCKS, params)
    torch.testing.assert_close(views["vectors"][1], expected, rtol=1e-11, atol=1e-13)
    assert not views["vectors"][0].any() and not views["gates"].any()


def test_the_output_has_a_limit_of_its_own():
    """Wherever it lies: here below the gates."""
    layout = flat.make_layout([flat.Entry("output", (4, 6), is_output=True), flat.Entry("gates", (12, 6), blocks=3)])
    change = section(MaxChangeOptions, kind="nnet3", per_layer=0.5, total=0.0, output=0.125)
    trainer = Optimiser(options("sgd", max_change=change), layout)
    params = torch.zeros(layout.size, dtype=torch.float64)
    trainer.begin(params, 1.0)
    for index, rows in ((1, 12), (0, 4)):
        trainer.layer_(index, torch.full((1, 6), 9.0, dtype=torch.float64), torch.ones(1, rows, dtype=torch.float64))
    assert trainer.finish_() == 1
    norms = [float(part.norm()) for part in flat.segments(layout, params)]
    assert norms == pytest.approx([0.125, 0.5, 0.5, 0.5])
