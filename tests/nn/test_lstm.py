"""The LSTM against a literal twin, torch.nn.LSTM and finite differences; edges of utterances; every optimiser."""

import numpy as np
import pytest
import torch

from tests.support.settings import section
from tests.support.training import optimiser_options
from unisono.config.network import InitialisationOptions, LstmOptions
from unisono.core import flat, input_transform, products
from unisono.core.gradient import Gradient
from unisono.core.optimiser import Optimiser
from unisono.errors import UserError
from unisono.nn.batch import Batch
from unisono.nn.ends import NORMALISE, PRIOR_SCALES, TRANSFORM
from unisono.nn.lstm import Lstm

DOUBLE = torch.float64
OFF = {"clip": 0.0, "zeroing": 0.0}
RANDOM = section(InitialisationOptions, kind="random")


def optimiser(net, kind="sgd", limit="none", momentum=0.0, l2=0.0):
    return Optimiser(optimiser_options(kind, limit, momentum, l2, (0.05, 0.08, 0.001), minibatch=4), net.layout)


def network(dtype=DOUBLE, spread=0.4, constants=None, **changes):
    shape = {"cells": (7, 6), "left_context": 4, "chunk": 5, "label_delay": 2, "backprop_margin": None} | OFF | changes
    net = Lstm(LstmOptions(kind="lstm", **shape), 3, 8, constants=constants)
    params = flat.zeros(net.layout.size, dtype)
    generator = torch.Generator().manual_seed(1)
    for matrix in flat.views(net.layout, params).values():
        matrix.copy_(spread * torch.randn(matrix.shape, generator=generator, dtype=DOUBLE))
    net.bind(params)
    return net, params


def minibatch(net, chunks=4, dtype=DOUBLE, mask=None, before=None, seed=2):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(chunks, net.unit.frames, net.feature_dim, generator=generator, dtype=DOUBLE).to(dtype)
    ids = torch.randint(0, net.num_pdfs, (chunks, net.options.chunk), generator=generator)
    return Batch(x, ids, mask, before)


def decay(options):
    return 1.0 if options.decay_time is None else 1.0 - 1.0 / options.decay_time


def twin_objective(net, params, data, first=0):
    """The equations as they stand, loops over chunks and times; differentiable from time `first` on, no truncation."""
    views, options = flat.views(net.layout, params), net.options
    total = torch.zeros((), dtype=DOUBLE)
    for n in range(len(data.x)):
        width = 1 + sum(options.splice)
        held = 0 if data.before is None else int(data.before[n]) - options.splice[0]
        inputs = [data.x[n, t : t + width].flatten() for t in range(options.times)]
        if TRANSFORM in net.constants:
            inputs = [input_transform.apply(net.constants[TRANSFORM], x[None])[0] for x in inputs]
        for number, layer in enumerate(net.layers, start=1):
            cells, back = layer.shape.cells, layer.shape.fed_back()
            w_i, w_f, w_o, w_c = views[f"lstm{number}.gates"].chunk(4)
            p = views.get(f"lstm{number}.peepholes")
            p_i, p_f, p_o = p if p is not None else torch.zeros(3, cells, dtype=DOUBLE)
            c, r = torch.zeros(cells, dtype=DOUBLE), torch.zeros(back, dtype=DOUBLE)
            outputs = []
            for t, x in enumerate(inputs):
                row = torch.cat([x, r, torch.ones(1, dtype=DOUBLE)])
                i = torch.sigmoid(w_i @ row + p_i * c)
                f = torch.sigmoid(w_f @ row + p_f * c)
                c = decay(options) * (f * c + i * torch.tanh(w_c @ row))
                if t < held:
                    c = torch.zeros_like(c)
                m = torch.sigmoid(w_o @ row + p_o * c) * torch.tanh(c)
                if options.projection is not None:
                    projection = views[f"lstm{number}.projection"]
                    m = projection[:, :-1] @ m + projection[:, -1]
                if t < held:
                    m = torch.zeros_like(m)
                if t < first:
                    c, m = c.detach(), m.detach()
                r = decay(options) * m[:back]
                outputs.append(m)
            inputs = outputs
        for t in range(options.chunk):
            logits = (
                views["output"][:, :-1] @ inputs[options.left_context + options.label_delay + t]
                + views["output"][:, -1]
            ) * net.constants.get(PRIOR_SCALES, torch.ones(net.num_pdfs, dtype=DOUBLE))
            counts = 1.0 if data.mask is None else data.mask[n, t]
            total = total + counts * torch.log_softmax(logits, 0)[data.ids[n, t]]
    return total


SHAPES = [
    {},
    {"peepholes": False},
    {"projection": (3, 2)},
    {"projection": (4, 0), "cells": (6,)},
    {"cells": (5, 5, 5), "left_context": 0, "label_delay": 0},
    {"decay_time": 10.0},
    {"projection": (3, 2), "decay_time": 10.0},
]


@pytest.mark.parametrize("changes", SHAPES)
@pytest.mark.parametrize("edges", [False, True])
def test_gradient_is_that_of_the_twin(changes, edges):
    net, params = network(**changes)
    times = net.options.times
    mask = torch.tensor([[1, 1, 0, 0, 1]] * 4, dtype=DOUBLE) if edges else None
    before = torch.tensor([0, 2, 3, times - 1 if net.options.left_context else 0]) if edges else None
    data, leaf = minibatch(net, mask=mask, before=before), params.clone().requires_grad_()
    objective = twin_objective(net, leaf, data)
    objective.backward()
    gradient = Gradient(net.layout)
    for _ in range(2):  # the second time on used buffers
        gradient.reset()
        stats = net.step_(data, gradient, 1.0)
    assert stats.objective_sum == pytest.approx(objective.item(), rel=1e-12)
    assert stats.frames == (12 if edges else 20)
    torch.testing.assert_close(gradient.sum, leaf.grad, rtol=1e-10, atol=1e-12)
    assert net.evaluate(data) == stats


def held_fixed(width=9, kind=TRANSFORM):
    """A full transform with an offset, or a diagonal one, and scales of the softmax's inputs."""
    generator = torch.Generator().manual_seed(7)
    shape = (width, width + 1) if kind == TRANSFORM else (2, width)
    drawn = torch.randn(shape, generator=generator, dtype=DOUBLE)
    return {kind: drawn, PRIOR_SCALES: 0.5 + torch.rand(8, generator=generator, dtype=DOUBLE)}


@pytest.mark.parametrize("changes", [{}, {"projection": (3, 2), "decay_time": 10.0}])
@pytest.mark.parametrize("splice", [(0, 0), (2, 0), (1, 1)])
def test_transformed_inputs_and_scaled_outputs_are_the_twins(changes, splice):
    """Also at edges, where the state is held at zero while the offset of the transform is not."""
    net, params = network(constants=held_fixed(3 * (1 + sum(splice))), splice=splice, **changes)
    before = torch.tensor([0, 2, 3, net.options.left_context + splice[0]])
    mask = torch.tensor([[1, 1, 0, 0, 1]] * 4, dtype=DOUBLE)
    data, leaf = minibatch(net, mask=mask, before=before), params.clone().requires_grad_()
    objective = twin_objective(net, leaf, data)
    objective.backward()
    gradient = Gradient(net.layout)
    for _ in range(2):
        gradient.reset()
        stats = net.step_(data, gradient, 1.0)
    assert stats.objective_sum == pytest.approx(objective.item(), rel=1e-12)
    torch.testing.assert_close(gradient.sum, leaf.grad, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("kind", [TRANSFORM, NORMALISE])
@pytest.mark.parametrize(("dtype", "tolerance"), [(DOUBLE, 1e-9), (torch.float32, 1e-4)])
def test_a_folded_network_says_what_the_unfolded_says(monkeypatch, dtype, tolerance, kind):
    """Of whole utterances, in pieces and as a module, and of chunks at the edges of one."""
    monkeypatch.setattr("unisono.nn.lstm.PIECE", 8)
    changes = {"splice": (2, 1), "projection": (3, 2), "left_context": 10}
    net, params = network(dtype, constants=held_fixed(12, kind), **changes)
    plain, folded = network(dtype, **changes)
    folded.copy_(net.folded(params))
    x = torch.randn(20, 3, generator=torch.Generator().manual_seed(4), dtype=DOUBLE).to(dtype)
    whole = net.log_posteriors(x)
    assert not torch.allclose(whole, network(dtype, **changes)[0].log_posteriors(x), atol=0.1)
    torch.testing.assert_close(plain.log_posteriors(x), whole, rtol=0, atol=tolerance)
    torch.testing.assert_close(net.module()(x).detach(), whole, rtol=0, atol=tolerance)
    for begin in (0, 5, 10, 15):
        places = torch.arange(begin - 12, begin + 8).clamp(0, 19)
        chunk = Batch(x[places][None], torch.zeros(1, 5, dtype=torch.int64), None, torch.tensor([max(0, 12 - begin)]))
        found = net.chunk_log_posteriors(chunk)
        torch.testing.assert_close(plain.chunk_log_posteriors(chunk), found, rtol=0, atol=tolerance)
        if begin <= 10:  # its context covers all of its history
            torch.testing.assert_close(found[0], whole[begin : begin + 5], rtol=0, atol=tolerance)


def test_gradient_by_finite_differences():
    net, params = network(projection=(3, 2))
    data, gradient, epsilon = minibatch(net), Gradient(net.layout), 1e-5
    net.step_(data, gradient, 1.0)
    before = params.clone()
    for index in np.random.default_rng(0).choice(np.flatnonzero(gradient.sum), 40, replace=False):
        values = []
        for sign in (1, -1):
            params.copy_(before)
            params[index] += sign * epsilon
            values.append(net.evaluate(data).objective_sum)
        found = (values[0] - values[1]) / (2 * epsilon)
        assert float(gradient.sum[index]) == pytest.approx(found, rel=1e-6, abs=1e-7)


def test_work_space_does_not_grow_with_the_sizes_of_minibatches(monkeypatch):
    """With it go the rounded copies of what lies in it."""
    monkeypatch.setattr(products.bfloat16_unit, "takes", lambda *_: False)
    net = Lstm(LstmOptions(kind="lstm", cells=(7, 6), chunk=5, left_context=4, label_delay=2), 3, 8, "bf16")
    params = flat.zeros(net.layout.size)
    net.bind(params)
    sgd, kept = optimiser(net), []
    for _ in range(3):
        for chunks in range(1, 12):
            net.step_(minibatch(net, chunks, torch.float32), sgd, 0.01)
        kept.append((len(net._rooms), sum(len(room.products._copies) for room in net._rooms.values())))
    assert kept[0] == kept[1] == kept[2] and kept[0][0] == 8 and kept[0][1] > 0


@pytest.mark.parametrize("delay", [0, 2])
def test_of_no_frame_nothing_is_said(delay):
    net, _ = network(torch.float32, label_delay=delay)
    for said in (
        net.log_posteriors(torch.zeros(0, 3)),
        net.module()(torch.zeros(0, 3)),
        net.module()(torch.zeros(2, 0, 3)),
    ):
        assert said.numel() == 0 and said.shape[-1] == 8


@pytest.mark.parametrize(("dtype", "tolerance"), [(DOUBLE, 1e-12), (torch.float32, 2e-5)])
@pytest.mark.parametrize("projection", [None, (4, 0)])
def test_without_peepholes_it_is_torchs(dtype, tolerance, projection):
    net, params = network(
        dtype, cells=(9, 9), peepholes=False, projection=projection, left_context=3, chunk=6, label_delay=0
    )
    data = minibatch(net, 5, dtype)
    size = projection[0] if projection else 0
    other = torch.nn.LSTM(3, 9, num_layers=2, batch_first=True, proj_size=size).to(dtype)
    out = torch.nn.Linear(size or 9, 8).to(dtype)
    views, order = flat.views(net.layout, params), [0, 1, 3, 2]  # torch: i, f, c, o
    if projection:
        for number in (1, 2):
            views[f"lstm{number}.projection"][:, -1] = 0.0  # torch's has no bias
    with torch.no_grad():
        for layer in range(2):
            gates = torch.cat([views[f"lstm{layer + 1}.gates"].chunk(4)[part] for part in order])
            back = size or 9
            getattr(other, f"weight_ih_l{layer}").copy_(gates[:, : -back - 1])
            getattr(other, f"weight_hh_l{layer}").copy_(gates[:, -back - 1 : -1])
            getattr(other, f"bias_ih_l{layer}").copy_(gates[:, -1])
            getattr(other, f"bias_hh_l{layer}").zero_()
            if projection:
                getattr(other, f"weight_hr_l{layer}").copy_(views[f"lstm{layer + 1}.projection"][:, :-1])
        out.weight.copy_(views["output"][:, :-1])
        out.bias.copy_(views["output"][:, -1])
    log_p = torch.log_softmax(out(other(data.x)[0][:, 3:]), dim=2)
    objective = log_p.gather(2, data.ids[:, :, None]).sum()
    objective.backward()
    torch.testing.assert_close(net.chunk_log_posteriors(data), log_p.detach(), rtol=tolerance, atol=tolerance)
    gradient = Gradient(net.layout)
    assert net.step_(data, gradient, 1.0).objective_sum == pytest.approx(objective.item(), rel=1e-5)
    found = flat.views(net.layout, gradient.sum)
    for layer in range(2):
        gates = torch.cat([found[f"lstm{layer + 1}.gates"].chunk(4)[part] for part in order])
        expected = [getattr(other, f"{name}_l{layer}").grad for name in ("weight_ih", "weight_hh")]
        expected = torch.cat([*expected, getattr(other, f"bias_ih_l{layer}").grad[:, None]], dim=1)
        torch.testing.assert_close(gates, expected, rtol=100 * tolerance, atol=100 * tolerance)
    torch.testing.assert_close(found["output"][:, :-1], out.weight.grad, rtol=100 * tolerance, atol=100 * tolerance)


def test_margin_cuts_rows_out_of_gradient_and_statistics():
    """Rows before the margin reach no component; what they had to give stays away from the gradient."""
    net, params = network(backprop_margin=1)  # 4 frames before the chunk, derivatives from the fourth on
    data, seen = minibatch(net), []

    class Spy(Gradient):
        def layer_(self, index, x, error):
            seen.append((index, len(x), len(error)))
            super().layer_(index, x, error)

        def rows_(self, index, block, products):
            seen.append((index, block, len(products)))
            super().rows_(index, block, products)

    gradient = Spy(net.layout)
    net.step_(data, gradient, 1.0)
    kept = 4 * (net.options.times - 3)
    assert [entry for entry in seen if entry[0] == 0] == [(0, kept, kept)]
    assert [entry for entry in seen if entry[0] == 1] == [(1, part, kept) for part in range(3)]
    leaf = params.clone().requires_grad_()
    twin_objective(net, leaf, data, first=3).backward()
    torch.testing.assert_close(gradient.sum, leaf.grad, rtol=1e-10, atol=1e-12)
    whole, _ = network(backprop_margin=None)
    full = Gradient(whole.layout)
    whole.step_(data, full, 1.0)
    assert not torch.allclose(full.sum, gradient.sum)


def test_truncation_off_changes_nothing_and_high_limits_neither():
    data = minibatch(network()[0])
    results = []
    for truncation in (OFF, {"clip": 1e9, "zeroing": 1e9}, {"clip": 1e9, "zeroing": 0.0}):
        net, _ = network(**truncation)
        gradient = Gradient(net.layout)
        net.step_(data, gradient, 1.0)
        results.append(gradient.sum)
    assert torch.equal(results[0], results[1]) and torch.equal(results[0], results[2])


def test_posteriors_of_chunks_and_of_the_whole_utterance():
    """A chunk whose context covers all of its history sees what the whole utterance sees."""
    net, _ = network(left_context=10, chunk=5, label_delay=2)
    x = torch.randn(20, 3, generator=torch.Generator().manual_seed(4), dtype=DOUBLE)
    whole = net.log_posteriors(x)
    assert whole.shape == (20, 8)
    for begin in (0, 5, 10, 15):
        places = torch.arange(begin - 10, begin + 7)
        chunk = Batch(
            x[places.clamp(0, 19)][None],
            torch.zeros(1, 5, dtype=torch.int64),
            None,
            torch.tensor([max(0, 10 - begin)]),
        )
        found = net.chunk_log_posteriors(chunk)[0]
        error = ((found - whole[begin : begin + 5]).abs() / whole[begin : begin + 5].abs().clamp(min=1.0)).max()
        assert error < 1e-12 if begin <= 10 else error > 1e-9  # the last one's history is longer than its context


def test_long_utterances_are_computed_in_pieces(monkeypatch):
    net, _ = network(projection=(3, 2), label_delay=3)
    x = torch.randn(37, 3, generator=torch.Generator().manual_seed(4), dtype=DOUBLE)
    expected = net.log_posteriors(x)
    for piece in (1, 5, 8, 40):
        monkeypatch.setattr("unisono.nn.lstm.PIECE", piece)
        fresh, _ = network(projection=(3, 2), label_delay=3)
        torch.testing.assert_close(fresh.log_posteriors(x), expected, rtol=1e-12, atol=1e-13)
        assert torch.equal(fresh.log_posteriors(x), fresh.log_posteriors(x))


@pytest.mark.parametrize("kind", ["sgd", "ng_online", "ng_simple"])
@pytest.mark.parametrize("limit", ["none", "nnet3", "nnet3_2017", "nnet2", "su_chen"])
def test_every_optimiser_trains_and_goes_on_to_the_byte(kind, limit):
    def train(stop):
        net, params = network(torch.float32, projection=(3, 2), spread=0.2)
        trainer = optimiser(net, kind, limit, 0.5, 1e-4)
        for step in range(13):
            if step == stop:
                state = {key: value.clone() for key, value in trainer.state().items()}
                kept, (net, params) = params, network(torch.float32, projection=(3, 2))
                params.copy_(kept)
                trainer = optimiser(net, kind, limit, 0.5, 1e-4)
                trainer.load_state(state)
            stats = net.step_(minibatch(net, 6, torch.float32, seed=step), trainer, 0.01)
            assert stats.limited in (0, 1)
        return params

    whole = train(None)
    assert torch.equal(whole, train(7)) and bool(whole.isfinite().all())


def test_one_estimator_serves_all_gates_and_each_peephole_has_its_own():
    net, _ = network()
    trainer = optimiser(net, "ng_online")
    for step in range(3):
        net.step_(minibatch(net, 6, seed=step), trainer, 0.001)
    names = {key.rsplit(".", 1)[0] for key in trainer.state()}
    outs = [f"out{block}" for block in range(4)]
    for layer in ("lstm1", "lstm2"):
        assert {name for name in names if name.startswith(f"ng.{layer}.")} == {
            *(f"ng.{layer}.gates.{part}" for part in ("in", *outs)),
            *(f"ng.{layer}.peepholes.out{block}" for block in range(3)),
        }
    assert {"ng.output.in", "ng.output.out"} <= names


def test_l2_acts_on_weights_and_peepholes_and_counts_frames():
    for momentum in (0.0, 0.5):
        moved = []
        for l2 in (0.0, 0.01):
            net, params = network()
            before = params.clone()
            mask = torch.ones(4, 5, dtype=DOUBLE)
            mask[:, 3:] = 0.0
            net.step_(minibatch(net, mask=mask), optimiser(net, "sgd", "none", momentum, l2), 0.02)
            moved.append(params - before)
        shrunk = flat.views(net.layout, moved[1] - moved[0])
        for name, matrix in flat.views(net.layout, before).items():
            expected = -0.02 * 12 * 0.01 * (1.0 - momentum) * matrix
            if not name.endswith("peepholes"):
                expected[:, -1] = 0.0
            torch.testing.assert_close(shrunk[name], expected, rtol=1e-9, atol=1e-12)


def test_dropout_between_layers_is_inverted_and_repeats():
    net, params = network(cells=(300, 200), dropout=0.25)
    data, results = minibatch(net), []
    for _ in range(2):
        gradient = Gradient(net.layout)
        results.append((net.step_(data, gradient, 1.0, torch.Generator().manual_seed(3)).objective_sum, gradient.sum))
    assert results[0][0] == results[1][0] and torch.equal(results[0][1], results[1][1])
    room = net._room(net.options.times, 4)
    assert float((room.masks[0] == 0).double().mean()) == pytest.approx(0.25, abs=0.02)
    fed, up = room.layers[1].x[:-4, :300], room.layers[0].projected
    torch.testing.assert_close(fed, up * room.masks[0], rtol=1e-12, atol=0.0)
    with pytest.raises(ValueError, match="generator"):
        net.step_(data, Gradient(net.layout), 1.0)


def test_initial_parameters():
    options = LstmOptions(kind="lstm", cells=(128, 128), projection=(32, 32), forget_bias=1.0)
    net = Lstm(options, 40, 100)
    params = net.initial_parameters(RANDOM, torch.Generator().manual_seed(1))
    views = flat.views(net.layout, params)
    gates = views["lstm2.gates"]
    assert float(gates[:, :-1].std()) == pytest.approx((64 + 32) ** -0.5, rel=0.02)
    assert gates[:, -1].tolist() == [0.0] * 128 + [1.0] * 128 + [0.0] * 256
    assert not views["output"].any() and not views["lstm1.peepholes"].any()
    assert float(views["lstm1.projection"][:, :-1].std()) == pytest.approx(128**-0.5, rel=0.03)
    start = section(InitialisationOptions, kind="random", bias_stddev=1.0, hidden_gain=2.0, output_gain=0.5)
    views = flat.views(net.layout, net.initial_parameters(start, torch.Generator().manual_seed(1)))
    assert float(views["lstm1.peepholes"].std()) == pytest.approx(1.0, rel=0.1)
    gates = views["lstm2.gates"].chunk(4)
    assert [float(gate[:, -1].mean()) for gate in gates] == pytest.approx([0.0, 1.0, 0.0, 0.0], abs=0.25)
    assert float(gates[0][:, :-1].std()) == pytest.approx(2.0 * (64 + 32) ** -0.5, rel=0.03)
    assert float(views["output"][:, :-1].std()) == pytest.approx(0.5 * 64**-0.5, rel=0.05)
    assert not views["output"][:, -1].any()


@pytest.mark.parametrize("kind", ["sgd", "ng_online"])
def test_it_learns_to_remember(kind):
    """The label is the sign of an input of three frames ago."""
    net = Lstm(LstmOptions(kind="lstm", cells=(16,), left_context=4, chunk=8, label_delay=1), 1, 2)
    params = net.initial_parameters(RANDOM, torch.Generator().manual_seed(1))
    net.bind(params)
    trainer, generator = optimiser(net, kind), torch.Generator().manual_seed(2)
    for _ in range(250):
        x = torch.randn(16, 13, 1, generator=generator)
        labels = (x[:, 2:10, 0] > 0).long()  # frame t of the chunk is frame t + 4 of x
        stats = net.step_(Batch(x, labels, None), trainer, 0.02)
    assert stats.correct / stats.frames > 0.9


@pytest.mark.parametrize(
    "change", [{"cells": ()}, {"projection": (0, 3)}, {"chunk": 0}, {"left_context": -1}, {"splice": (-1, 0)}]
)
def test_a_senseless_shape_is_one_line(change):
    with pytest.raises(UserError, match="network: "):
        Lstm(LstmOptions(**({"kind": "lstm", "cells": (4,)} | change)), 3, 8)
