"""p-norm against autograd, finite differences and its limits; the network in the hands of every optimiser."""

import pytest
import torch

from tests.support.settings import section
from tests.support.training import optimiser_options
from unisono.config.network import InitialisationOptions, PnormOptions
from unisono.config.optimiser import NgOptions
from unisono.core import flat
from unisono.core.optimiser import Optimiser
from unisono.errors import UserError
from unisono.nn import activation
from unisono.nn.batch import Batch
from unisono.nn.pnorm import Pnorm

NG = section(NgOptions, preset="nnet2_2014", rank_in=4, rank_out=6, update_period=4)


def optimiser(net, kind="sgd", momentum=0.0):
    return Optimiser(optimiser_options(kind, momentum=momentum, ng=NG), net.layout)


def network(hidden=(6, 5), group=3, dropout=0.0):
    net = Pnorm(section(PnormOptions, kind="pnorm", hidden=hidden, group=group, context=(1, 1), dropout=dropout), 5, 7)
    start = section(InitialisationOptions, kind="random", path=None, hidden_gain=None, output_gain=1.0)
    drawn = net.initial_parameters(start, torch.Generator().manual_seed(1))
    params = flat.zeros(net.layout.size, torch.float64).copy_(drawn)
    net.bind(params)
    return net, params


def minibatch(net, n=32, dtype=torch.float64):
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(n, 1, net.input_dim, generator=generator, dtype=torch.float64).to(dtype)
    return Batch(x, torch.randint(0, net.num_pdfs, (n, 1), generator=generator), None)


def literal(values, group):
    """The definition, output by output."""
    rows = []
    for row in values:
        norms = [
            torch.sqrt(sum(row[k] ** 2 for k in range(j * group, (j + 1) * group)))
            for j in range(values.shape[1] // group)
        ]
        scale = 1.0 / torch.sqrt(torch.stack([norm**2 for norm in norms]).mean().clamp(min=2.0**-66))
        rows.append(torch.stack(norms) * scale)
    return torch.stack(rows)


@pytest.mark.parametrize("group", [1, 2, 5])
@pytest.mark.parametrize("hidden", [(6,), (6, 5), (16, 3, 8)])
def test_step_is_the_rate_times_autograds_gradient(hidden, group):
    net, params = network(hidden, group)
    data, leaf = minibatch(net), params.clone().requires_grad_()
    values = data.x[:, 0]
    matrices = list(flat.views(net.layout, leaf).values())
    for matrix in matrices[:-1]:
        values = literal(values @ matrix[:, :-1].t() + matrix[:, -1], group)
    logits = values @ matrices[-1][:, :-1].t() + matrices[-1][:, -1]
    objective = torch.log_softmax(logits, dim=1).gather(1, data.ids).sum()
    objective.backward()
    stats = net.step_(data, optimiser(net), 0.01)
    torch.testing.assert_close(params, leaf.detach() + 0.01 * leaf.grad, rtol=1e-11, atol=1e-12)
    assert stats.objective_sum == pytest.approx(objective.item(), rel=1e-12)


def run(values, derivative, group):
    """Outputs and the derivative at `values`."""
    width = values.shape[1] // group
    values, outputs = values.clone(), values.new_empty(len(values), width)
    scales = values.new_empty(len(values), 1)
    activation.forward_("pnorm", values, outputs, scales)
    result = outputs.clone()
    activation.backward_("pnorm", derivative.clone(), outputs, scales, values)
    return result, values


def test_zero_groups_and_rows_at_the_floor():
    generator = torch.Generator().manual_seed(3)
    values = torch.randn(4, 6, generator=generator, dtype=torch.float64)
    values[0, 2:4] = 0.0
    values[1] = 0.0
    values[2] *= 1e-12  # below the floor: the scale is 2^33 and stands still
    derivative = torch.randn(4, 3, generator=generator, dtype=torch.float64)
    found, slopes = run(values, derivative, 2)
    assert torch.equal(found[1], torch.zeros(3)) and torch.equal(slopes[1], torch.zeros(6))
    assert torch.equal(slopes[0, 2:4], torch.zeros(2)) and bool(slopes.isfinite().all())
    norms = values[2].view(3, 2).norm(dim=1)
    torch.testing.assert_close(found[2], norms * 2.0**33, rtol=1e-14, atol=0.0)
    expected = (values[2].view(3, 2) / norms[:, None] * (derivative[2] * 2.0**33)[:, None]).flatten()
    torch.testing.assert_close(slopes[2], expected, rtol=1e-14, atol=0.0)
    leaf = values[3:].clone().requires_grad_()
    (activation.pnorm(leaf, 2) * derivative[3:]).sum().backward()
    torch.testing.assert_close(slopes[3:], leaf.grad, rtol=1e-12, atol=1e-13)


def test_outputs_have_root_mean_square_one_and_know_no_scale():
    values = torch.randn(9, 20, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    outputs = activation.pnorm(values, 5)
    torch.testing.assert_close(outputs.square().mean(1), torch.ones(9, dtype=torch.float64))
    torch.testing.assert_close(activation.pnorm(values * 1e5, 5), outputs)
    torch.testing.assert_close(outputs, literal(values, 5))
    assert torch.equal(run(values, values[:, :4], 5)[0], outputs)


@pytest.mark.parametrize("dropout", [0.0, 0.2])
@pytest.mark.parametrize("kind", ["sgd", "ng_online", "ng_simple"])
def test_it_learns_and_repeats_to_the_bit(kind, dropout):
    def train():
        net, params = network((20, 20), 4, dropout)
        trainer, generator = optimiser(net, kind, 0.5), torch.Generator().manual_seed(5)
        means, seen = 1.5 * torch.randn(7, net.input_dim, generator=generator, dtype=torch.float64), []
        for _ in range(60):
            ids = torch.randint(0, 7, (64, 1), generator=generator)
            x = means[ids] + torch.randn(64, 1, net.input_dim, generator=generator, dtype=torch.float64)
            seen.append(net.step_(Batch(x, ids, None), trainer, 0.004, generator))
        return params, seen

    params, seen = train()
    assert seen[-1].correct / 64 >= 0.75 and seen[0].correct / 64 < 0.5
    assert torch.equal(train()[0], params)


def test_layout_spec_and_initial_parameters():
    net = Pnorm(section(PnormOptions, kind="pnorm", hidden=(50, 40), group=10, context=(4, 4), dropout=0.0), 40, 30)
    assert net.layout.shapes == ((500, 361), (400, 51), (30, 41))
    assert net.spec() == {
        "kind": "pnorm",
        "feature_dim": 40,
        "num_pdfs": 30,
        "hidden": [50, 40],
        "group": 10,
        "context": [4, 4],
    }
    for gain, deviations in ((None, (500**-0.5, 400**-0.5)), (2.0, (2.0 * 360**-0.5, 2.0 * 50**-0.5))):
        start = section(InitialisationOptions, kind="random", path=None, hidden_gain=gain, output_gain=0.0)
        params = net.initial_parameters(start, torch.Generator().manual_seed(1))
        views = list(flat.views(net.layout, params).values())
        for matrix, deviation in zip(views, deviations, strict=False):
            assert float(matrix[:, :-1].std()) == pytest.approx(deviation, rel=0.03)
            assert not matrix[:, -1].any()
        assert not views[-1].any()


@pytest.mark.parametrize("change", [{"hidden": ()}, {"hidden": (4, 0)}, {"group": 0}, {"context": (-1, 0)}])
def test_a_network_without_a_shape_is_refused(change):
    with pytest.raises(UserError, match="network: hidden .*: give widths and groups of 1 or more"):
        Pnorm(section(PnormOptions, **{"hidden": (4,), "group": 2, "context": (0, 0)} | change), 5, 7)
