"""The hand-written network against torch's autograd and finite differences; masks, dropout, repeats to the bit."""

import math

import numpy as np
import pytest
import torch

from tests.support.settings import section
from tests.support.training import optimiser_options
from unisono.config.network import DnnOptions, InitialisationOptions
from unisono.config.optimiser import NgOptions
from unisono.core import flat
from unisono.core.optimiser import Optimiser
from unisono.errors import UserError
from unisono.nn import activation, loss
from unisono.nn.batch import Batch
from unisono.nn.dnn import Dnn

NG = section(NgOptions, preset="nnet3", rank_in=4, rank_out=6)


def sgd_options(kind="sgd", momentum=0.0, limit="none"):
    return optimiser_options(kind, limit, momentum, limits=(0.75, 2.0, 0.075), ng=NG)


def network(nonlinearity="relu", hidden=(13, 9), dropout=0.0, context=(1, 2)):
    options = section(
        DnnOptions, kind="dnn", hidden=hidden, nonlinearity=nonlinearity, context=context, dropout=dropout
    )
    return Dnn(options, 5, 7)


def initial(net, dtype=torch.float64, output_gain=1.0, seed=1):
    options = section(InitialisationOptions, kind="random", path=None, hidden_gain=None, output_gain=output_gain)
    drawn = net.initial_parameters(options, torch.Generator().manual_seed(seed))
    params = flat.zeros(net.layout.size, dtype).copy_(drawn)
    for matrix in flat.views(net.layout, params).values():
        matrix[:, -1].normal_(std=0.3, generator=torch.Generator().manual_seed(seed + 1))
    return params


def batch(net, n=32, dtype=torch.float64, seed=2, mask=None):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 1, net.input_dim, generator=generator, dtype=torch.float64).to(dtype)
    ids = torch.randint(0, net.num_pdfs, (n, 1), generator=generator)
    return Batch(x, ids, mask)


def renormed(values):
    return torch.nn.functional.rms_norm(torch.relu(values), values.shape[-1:], eps=0.0)


def reference_objective(net, params, data):
    """Summed log-probability by torch's own layers; differentiable in `params`."""
    kinds = {"relu": torch.relu, "relu_renorm": renormed, "sigmoid": torch.sigmoid, "tanh": torch.tanh}
    values = data.x[:, 0]
    matrices = list(flat.views(net.layout, params).values())
    for index, matrix in enumerate(matrices):
        values = torch.nn.functional.linear(values, matrix[:, :-1], matrix[:, -1])
        if index < len(matrices) - 1:
            values = kinds[net.options.nonlinearity](values)
    log_p = torch.log_softmax(values, dim=1).gather(1, data.ids)
    return (log_p if data.mask is None else log_p * data.mask).sum()


@pytest.mark.parametrize("nonlinearity", ["relu", "relu_renorm", "sigmoid", "tanh"])
@pytest.mark.parametrize("hidden", [(13,), (13, 9), (16, 32, 17, 8)])
@pytest.mark.parametrize("masked", [False, True])
def test_step_is_the_rate_times_autograds_gradient(nonlinearity, hidden, masked):
    net = network(nonlinearity, hidden)
    mask = (torch.arange(32)[:, None] % 3 > 0).double() if masked else None
    data = batch(net, mask=mask)
    params = initial(net)
    leaf = params.clone().requires_grad_()
    objective = reference_objective(net, leaf, data)
    objective.backward()
    expected = params + 0.01 * leaf.grad
    net.bind(params)
    stats = net.step_(data, Optimiser(sgd_options(), net.layout), 0.01)
    torch.testing.assert_close(params, expected, rtol=1e-12, atol=1e-13)
    assert stats.objective_sum == pytest.approx(objective.item(), rel=1e-12)
    assert stats.frames == (21 if masked else 32)


def test_frames_without_outputs_neither_break_nor_move_a_renormed_layer():
    net = network("relu_renorm")
    data, params = batch(net), initial(net)
    first = flat.views(net.layout, params)["hidden1"]
    first[:, -1] = -1000.0
    before = first.clone()
    net.bind(params)
    net.step_(data, Optimiser(sgd_options(), net.layout), 0.01)
    assert torch.equal(first, before) and bool(params.isfinite().all())
    assert torch.equal(activation.relu_renorm(torch.full((2, 3), -1.0)), torch.zeros(2, 3))


def test_renormed_outputs_do_not_depend_on_the_scale_of_the_weights():
    net = network("relu_renorm")
    frames, params = torch.randn(32, 5, dtype=torch.float64), initial(net)
    net.bind(params)
    wanted = net.log_posteriors(frames)
    flat.views(net.layout, params)["hidden1"].mul_(1e-6)
    torch.testing.assert_close(net.log_posteriors(frames), wanted, rtol=1e-10, atol=1e-10)


def test_gradient_by_finite_differences():
    net, epsilon = network("tanh"), 1e-5
    data, params = batch(net), initial(net)
    net.bind(params)
    before = params.clone()
    net.step_(data, Optimiser(sgd_options(), net.layout), 1.0)
    gradient = params - before
    for index in np.random.default_rng(0).choice(np.flatnonzero(gradient), 25, replace=False):
        values = []
        for sign in (1, -1):
            params.copy_(before)
            params[index] += sign * epsilon
            values.append(net.evaluate(data).objective_sum)
        assert float(gradient[index]) == pytest.approx((values[0] - values[1]) / (2 * epsilon), rel=1e-6, abs=1e-7)


@pytest.mark.parametrize("kind", ["sgd", "ng_online", "ng_simple"])
def test_derivative_goes_down_before_rows_are_overwritten(kind):
    """All layers of one step see the weights and activations of before: natural gradient must not leak downwards."""
    net = network("relu", (13, 9))
    data, params = batch(net), initial(net)
    seen = {}

    class Spy(Optimiser):
        def layer_(self, index, x, error):
            seen[index] = (x.clone(), error.clone())
            super().layer_(index, x, error)

    net.bind(params)
    before = params.clone()
    net.step_(data, Spy(sgd_options(kind), net.layout), 0.01)
    leaf = before.requires_grad_()
    reference_objective(net, leaf, data).backward()
    for index, gradient in enumerate(flat.views(net.layout, leaf.grad).values()):
        x, error = seen[index]
        torch.testing.assert_close(-error.t() @ x, gradient, rtol=1e-11, atol=1e-12)


def test_dropout_is_inverted_and_its_gradient_is_right():
    net = network("sigmoid", (400, 300), dropout=0.3)
    params = initial(net)
    net.bind(params)
    data = batch(net, 64)
    seen = {}

    class Spy(Optimiser):
        def layer_(self, index, x, error):
            seen[index] = (x.clone(), error.clone())

        def finish_(self):
            pass

    spy = Spy(sgd_options(), net.layout)
    net.step_(data, spy, 0.01, torch.Generator().manual_seed(5))
    dropped = float((seen[1][0][:, :-1] == 0).double().mean())
    assert dropped == pytest.approx(0.3, abs=0.02)
    masks = [(seen[index][0][:, :-1] != 0).double() * (65536 / 45875) for index in (1, 2)]  # 0.7, of 65536
    # The same network by autograd, with those masks.
    leaf = params.clone().requires_grad_()
    values = data.x[:, 0]
    for index, matrix in enumerate(flat.views(net.layout, leaf).values()):
        values = torch.nn.functional.linear(values, matrix[:, :-1], matrix[:, -1])
        if index < 2:
            values = torch.sigmoid(values) * masks[index]
    torch.log_softmax(values, dim=1).gather(1, data.ids).sum().backward()
    for index, gradient in enumerate(flat.views(net.layout, leaf.grad).values()):
        x, error = seen[index]
        torch.testing.assert_close(-error.t() @ x, gradient, rtol=1e-10, atol=1e-11)
    assert net.evaluate(data) == net.evaluate(data)
    with pytest.raises(ValueError, match="generator"):
        net.step_(data, spy, 0.01)


@pytest.mark.parametrize(
    ("probability", "keep"), [(0.2, 52429), (0.5, 32768), (0.999, 66), (1e-6, 65536), (1.0 - 1e-9, 1)]
)
@pytest.mark.parametrize("width", [512, 33])
def test_masks_drop_their_share_and_keep_the_mean(probability, keep, width):
    """keep: of 65536, so many are kept."""
    rows, generator = 1000, torch.Generator().manual_seed(7)
    draws = torch.empty(activation.room_for_draws(rows, width) + 5, dtype=torch.int64)
    masks = []
    for _ in range(2):
        mask = flat.matrix(rows, width, torch.empty(0))
        activation.dropout_mask_(mask, draws, probability, generator)
        masks.append(mask.double())
    kept, share = torch.stack(masks) > 0.0, keep / 65536
    assert torch.equal(torch.stack(masks), kept * torch.tensor(1.0 / share, dtype=torch.float32).double())
    deviation = (share * (1.0 - share)) ** 0.5
    assert abs(float(kept.double().mean()) - share) <= 5.0 * deviation / kept.numel() ** 0.5
    # Neither neighbours, which share a draw, nor rows, nor masks hang together.
    centred = kept.double() - share
    pairs = [(centred[:, :, step:], centred[:, :, :-step]) for step in (1, 2, 3, 4)]
    pairs += [(centred[:, 1:], centred[:, :-1]), (centred[0], centred[1])]
    for one, other in pairs:
        assert abs(float((one * other).mean())) <= 5.0 * deviation**2 / one.numel() ** 0.5 + 1e-12


def test_an_empty_minibatch_passes_dropout():
    net = network("relu", (13, 9), dropout=0.2)
    net.bind(initial(net))
    empty = batch(net, 3)
    empty = empty._replace(x=empty.x[:0], ids=empty.ids[:0])
    stats = net.step_(empty, Optimiser(sgd_options(), net.layout), 0.01, torch.Generator())
    assert (stats.objective_sum, stats.correct, stats.frames) == (0.0, 0, 0)


def test_masks_of_each_place_are_unbiased():
    """No column or quarter of a draw is favoured."""
    generator, total = torch.Generator().manual_seed(8), torch.zeros(4, 8, dtype=torch.float64)
    draws = torch.empty(activation.room_for_draws(4, 8), dtype=torch.int64)
    mask = torch.empty(4, 8)
    for _ in range(4000):
        activation.dropout_mask_(mask, draws, 0.3, generator)
        total += mask > 0.0
    assert float((total / 4000 - 0.7).abs().max()) < 4.5 * (0.21 / 4000) ** 0.5


@pytest.mark.parametrize("dropout", [0.0, 0.2])
@pytest.mark.parametrize("kind", ["sgd", "ng_online"])
def test_repeats_to_the_bit(kind, dropout):
    def train(sizes):
        net = network("relu", (40, 30), dropout)
        params = initial(net, torch.float32)
        net.bind(params)
        optimiser = Optimiser(sgd_options(kind, 0.9, "nnet3"), net.layout)
        for step, n in enumerate(sizes):
            data = batch(net, n, torch.float32, seed=step)
            net.step_(data, optimiser, 0.01, torch.Generator().manual_seed(step))
        return params

    sizes = [64] * 12 + [13]
    first = train(sizes)
    assert torch.isfinite(first).all()
    assert torch.equal(train(sizes), first)


def test_work_space_of_another_size_does_not_matter():
    net, other = network(), network()
    params, again = initial(net, torch.float32), initial(net, torch.float32)
    net.bind(params)
    other.bind(again)
    other.evaluate(batch(net, 500, torch.float32))
    for one, vector in ((net, params), (other, again)):
        optimiser = Optimiser(sgd_options("ng_online"), one.layout)
        for step in range(4):
            one.step_(batch(net, 33, torch.float32, seed=step), optimiser, 0.01)
        assert torch.isfinite(vector).all()
    assert torch.equal(params, again)


def test_buffers_save_the_copy_and_change_nothing():
    net = network()
    data = batch(net)
    results = []
    for place in (False, True):
        params = initial(net)
        net.bind(params)
        x = data.x
        if place:
            x = net.buffers(32).x.copy_(data.x)
            assert x.data_ptr() == net.buffers(32).x.data_ptr()
        optimiser = Optimiser(sgd_options("ng_online"), net.layout)
        results.append((net.step_(data._replace(x=x), optimiser, 0.01), params))
    assert results[0][0] == results[1][0]
    assert torch.equal(results[0][1], results[1][1])


def test_posteriors_and_accuracy():
    net = network(context=(0, 0))
    params, data = initial(net, torch.float32), batch(net, dtype=torch.float32)
    net.bind(params)
    log_p = net.log_posteriors(data.x[:, 0])
    torch.testing.assert_close(log_p.exp().sum(1), torch.ones(32))
    stats = net.evaluate(data)
    chosen = log_p.gather(1, data.ids)
    assert stats.objective_sum == pytest.approx(float(chosen.double().sum()), rel=1e-6)
    assert stats.correct == int((log_p.argmax(1) == data.ids[:, 0]).sum())
    again = net.log_posteriors(data.x[:, 0])
    assert torch.equal(again, log_p) and again.data_ptr() != log_p.data_ptr()


def test_objective_survives_underflow():
    """A probability below float32's range still has its logarithm."""
    logits = torch.tensor([[0.0, 200.0, 3.0], [1.0, 2.0, 3.0]])
    out = torch.empty(2, 3)
    stats = loss.posteriors_and_stats(logits, torch.tensor([0, 2]), None, out)
    expected = torch.log_softmax(logits.double(), dim=1)
    assert float(out[0, 0]) == 0.0
    assert stats.objective_sum == pytest.approx(float(expected[0, 0] + expected[1, 2]), rel=1e-7)
    assert stats.correct == 1
    broken = loss.posteriors_and_stats(torch.tensor([[math.nan, 1.0]]), torch.tensor([0]), None, torch.empty(1, 2))
    assert math.isnan(broken.objective_sum) and broken.correct == 0


@pytest.mark.parametrize("mask", [None, torch.tensor([1.0, 1.0, 0.0])])
def test_equal_posteriors_are_not_correct(mask):
    """A network that starts from equal posteriors has learned nothing: its accuracy is 0, not 1."""
    logits = torch.tensor([[0.0, 0.0, 0.0], [2.0, 2.0, 1.0], [1.0, 2.0, 3.0]])
    out = torch.empty(3, 3)
    stats = loss.posteriors_and_stats(logits, torch.tensor([0, 1, 2]), mask, out)
    assert stats.correct == (1 if mask is None else 0)
    assert torch.equal(out, torch.softmax(logits, dim=1))
    assert loss.posteriors_and_stats(torch.zeros(2, 1), torch.tensor([0, 0]), None, torch.empty(2, 1)).correct == 2


@pytest.mark.parametrize("nonlinearity", ["relu", "relu_renorm", "tanh", "sigmoid"])
@pytest.mark.parametrize("kind", ["sgd", "ng_online"])
def test_it_learns(nonlinearity, kind):
    net = Dnn(
        section(DnnOptions, kind="dnn", hidden=(64, 64), nonlinearity=nonlinearity, context=(0, 0), dropout=0.0), 10, 5
    )
    params = initial(net, torch.float32, output_gain=0.0)
    net.bind(params)
    generator = torch.Generator().manual_seed(3)
    means = 1.5 * torch.randn(5, 10, generator=generator)
    optimiser = Optimiser(sgd_options(kind), net.layout)
    for _ in range(150):
        ids = torch.randint(0, 5, (64, 1), generator=generator)
        x = means[ids] + torch.randn(64, 1, 10, generator=generator)
        stats = net.step_(Batch(x, ids, None), optimiser, 0.004)
    assert stats.correct / 64 > 0.9


def test_initialisation_has_the_promised_spread():
    net = Dnn(
        section(DnnOptions, kind="dnn", hidden=(512, 512), nonlinearity="relu", context=(5, 5), dropout=0.0), 40, 100
    )
    options = section(InitialisationOptions, kind="random", path=None, hidden_gain=None, output_gain=0.0)
    params = net.initial_parameters(options, torch.Generator().manual_seed(1))
    views = flat.views(net.layout, params)
    assert float(views["hidden2"][:, :-1].std()) == pytest.approx(math.sqrt(2 / 512), rel=0.01)
    assert float(views["hidden1"][:, :-1].std()) == pytest.approx(math.sqrt(2 / 440), rel=0.01)
    assert not views["output"].any() and not views["hidden1"][:, -1].any()
    again = net.initial_parameters(options, torch.Generator().manual_seed(1))
    assert torch.equal(again, params)
    assert not torch.equal(net.initial_parameters(options, torch.Generator().manual_seed(2)), params)


@pytest.mark.parametrize("change", [{"hidden": ()}, {"hidden": (3, 0)}, {"context": (-1, 0)}])
def test_a_network_without_a_shape_is_refused(change):
    with pytest.raises(UserError, match="network: hidden .*, context .*: give widths and groups of 1 or more"):
        network(**change)


def test_hidden_biases_are_uniform_and_the_output_keeps_none():
    net = Dnn(section(DnnOptions, hidden=(400, 300), nonlinearity="sigmoid", context=(0, 0)), 8, 5)
    plain = section(InitialisationOptions, kind="random")
    spread = section(InitialisationOptions, kind="random", hidden_bias={"mean": -2.0, "range": 4.0})
    params = net.initial_parameters(spread, torch.Generator().manual_seed(1))
    *hidden, output = flat.views(net.layout, params).values()
    for matrix in hidden:
        biases = matrix[:, -1]
        assert -4.0 <= float(biases.min()) < -3.9 and -0.1 < float(biases.max()) <= 0.0
        assert float(biases.mean()) == pytest.approx(-2.0, abs=0.15)
    assert not output.any()
    first = next(iter(flat.views(net.layout, net.initial_parameters(plain, torch.Generator().manual_seed(1))).values()))
    assert torch.equal(first[:, :-1], hidden[0][:, :-1]) and not first[:, -1].any()
