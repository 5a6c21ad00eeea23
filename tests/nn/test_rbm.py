"""RBMs against a literal twin, against enumerated likelihoods, and by their limits."""

import contextlib
import itertools
import math

import pytest
import torch

from tests.support.training import NoReading, deferred_rate
from unisono.config.rbm import ContrastiveDivergence, RbmMomentum, RbmNetwork
from unisono.core import flat, rbm
from unisono.core.rbm import RbmUpdater, scheduled
from unisono.errors import UserError
from unisono.nn.batch import Batch
from unisono.nn.boltzmann import Rbm, RbmOptions
from unisono.nn.network import make

DOUBLE = torch.float64
STILL = RbmMomentum(initial=0.0, final=0.0)
CD = ContrastiveDivergence(kind="cd", learning_rate=0.1, minibatch=20, weight_decay=0.01, ramp=STILL)


def machine(units="bernoulli", visible=6, hidden=4, steps=1, kind="probabilities", spread=0.6, dtype=DOUBLE):
    net = Rbm(RbmOptions(units=units, hidden=hidden, steps=steps, visible=kind), visible)
    params = flat.zeros(net.layout.size, dtype)
    generator = torch.Generator().manual_seed(1)
    for matrix in flat.views(net.layout, params).values():
        matrix.copy_(spread * torch.randn(matrix.shape, generator=generator, dtype=DOUBLE))
    net.bind(params)
    return net, params


def batch(x):
    return Batch(x[:, None], torch.zeros(len(x), 1, dtype=torch.int64), None)


def data(units, count, visible, seed=2):
    generator = torch.Generator().manual_seed(seed)
    if units == "gaussian":
        return torch.randn(count, visible, generator=generator, dtype=DOUBLE)
    return torch.rand(count, visible, generator=generator, dtype=DOUBLE)


def uniforms(shape, generator):
    """The draws of a step, one number after the other: 16 bits each, as fractions."""
    count = shape[0] * shape[1]
    drawn = torch.empty(-(-count // 4), dtype=torch.int64).random_(-(2**63), None, generator=generator)
    numbers = [(word >> 16 * lane) & 0xFFFF for word in drawn.tolist() for lane in range(4)][:count]
    signed = [number - 65536 if number >= 32768 else number for number in numbers]
    return torch.tensor([number / 65536 + 0.5 for number in signed], dtype=DOUBLE).view(shape)


class Twin:
    """The equations of docs/mathematics.md 6.5 as they stand there, frame by frame sums, float64."""

    def __init__(self, net, params, momentum, decay):
        w, c = (matrix.clone() for matrix in flat.views(net.layout, params).values())
        self.w, self.b, self.c = w[:, :-1].clone(), w[:, -1].clone(), c[0]
        self.options, self.momentum, self.decay, self.frames = net.options, momentum, decay, 0
        self.dw, self.db, self.dc = (torch.zeros_like(value) for value in (self.w, self.b, self.c))

    def step(self, x, rate, generator):
        now = self.momentum.initial + (self.momentum.final - self.momentum.initial) * (
            min(self.frames // (self.momentum.ramp_frames // self.momentum.steps), self.momentum.steps)
            / self.momentum.steps
        )
        m_used = self.momentum.final if self.momentum.final_at_once else now
        actual = rate * (1.0 - now)
        is_gaussian = self.options.units == "gaussian"
        h = h_plus = torch.sigmoid(x @ self.w.t() + self.b)
        for _ in range(self.options.steps):
            h_s = (uniforms(h.shape, generator) < h).to(DOUBLE)
            v = h_s @ self.w + self.c
            if not is_gaussian:
                v = torch.sigmoid(v)
            if self.options.visible == "sample":
                if is_gaussian:
                    v = v + flat.matrix(*x.shape, x).normal_(generator=generator)
                else:
                    v = (uniforms(x.shape, generator) < v).to(DOUBLE)
            h = torch.sigmoid(v @ self.w.t() + self.b)
        error = float(((x - v) ** 2).sum())
        sums_w, sums_b, sums_c = torch.zeros_like(self.w), torch.zeros_like(self.b), torch.zeros_like(self.c)
        for n in range(len(x)):
            sums_w += torch.outer(h_plus[n], x[n]) - torch.outer(h[n], v[n])
            sums_b += h_plus[n] - h[n]
            sums_c += x[n] - v[n]
        self.dw = m_used * self.dw + actual / len(x) * sums_w - actual * self.decay * self.w
        self.db = m_used * self.db + actual / len(x) * sums_b
        self.dc = m_used * self.dc + actual / len(x) * sums_c
        self.w, self.b, self.c = self.w + self.dw, self.b + self.db, self.c + self.dc
        self.frames += len(x)
        return error


@pytest.mark.parametrize("units", ["bernoulli", "gaussian"])
@pytest.mark.parametrize("kind", ["probabilities", "sample"])
@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize("at_once", [False, True])
def test_steps_are_those_of_the_twin(units, kind, steps, at_once):
    net, params = machine(units, 7, 5, steps, kind, spread=0.2)
    momentum = RbmMomentum(initial=0.5, final=0.9, steps=4, ramp_frames=100, final_at_once=at_once)
    twin, updater = Twin(net, params, momentum, 0.01), RbmUpdater(momentum, net.layout, 0.01)
    own, other = torch.Generator().manual_seed(3), torch.Generator().manual_seed(3)
    for step in range(7):
        x = data(units, 21 if step % 2 else 20, 7, seed=step)
        stats = net.step_(batch(x), updater, 0.1, own)
        assert -stats.objective_sum == pytest.approx(twin.step(x, 0.1, other), rel=1e-12)
        assert (stats.frames, stats.limited) == (len(x), 0)
    weights, visible = flat.views(net.layout, params).values()
    torch.testing.assert_close(weights[:, :-1], twin.w, rtol=1e-11, atol=1e-12)
    torch.testing.assert_close(weights[:, -1], twin.b, rtol=1e-11, atol=1e-12)
    torch.testing.assert_close(visible[0], twin.c, rtol=1e-11, atol=1e-12)
    assert updater.frames == 4 * 20 + 3 * 21


def states(count):
    return torch.tensor(list(itertools.product((0.0, 1.0), repeat=count)), dtype=DOUBLE)


def likelihood_gradient(net, params, x):
    """d mean log p(v) / d (W, b, c), by enumeration of the hidden and, where they are binary, the visible states."""
    matrix, visible = flat.views(net.layout, params).values()
    w, b, c = matrix[:, :-1], matrix[:, -1], visible[0]
    h = states(net.options.hidden)
    if net.options.units == "bernoulli":
        v = states(net.visible)
        joint = torch.softmax(((h @ b)[:, None] + v @ c + h @ w @ v.t()).flatten(), 0).view(len(h), len(v))
        model = (h.t() @ joint @ v, joint.sum(1) @ h, joint.sum(0) @ v)
    else:
        mean = h @ w + c
        p = torch.softmax(h @ b + 0.5 * mean.square().sum(1), 0)
        model = (h.t() @ (p[:, None] * mean), p @ h, p @ mean)
    up = torch.sigmoid(x @ w.t() + b)
    seen = (up.t() @ x / len(x), up.mean(0), x.mean(0))
    return [one - other for one, other in zip(seen, model, strict=True)]


def distance(units, kind, steps, chains=40_000):
    """How far the step of CD-k lies from the enumerated gradient, relative to it."""
    net, params = machine(units, steps=steps, kind=kind, spread=0.6 if units == "bernoulli" else 0.3)
    few = data(units, 10, net.visible)
    few = few.round() if units == "bernoulli" else few
    wanted = torch.cat([part.flatten() for part in likelihood_gradient(net, params, few)])
    before = params.clone()
    net.step_(
        batch(few.repeat(chains // 10, 1)), RbmUpdater(STILL, net.layout, 0.0), 1.0, torch.Generator().manual_seed(4)
    )
    matrix, visible = flat.views(net.layout, params - before).values()
    found = torch.cat([matrix[:, :-1].flatten(), matrix[:, -1], visible[0]])
    return float((found - wanted).norm() / wanted.norm())


@pytest.mark.parametrize("units", ["bernoulli", "gaussian"])
def test_sampled_chains_approach_the_gradient_of_the_likelihood(units):
    far, near, nearest = (distance(units, "sample", steps) for steps in (1, 4, 30))
    assert far > 2.0 * near and nearest < 0.03 and near < far
    assert distance(units, "probabilities", 30) > 3.0 * nearest


@pytest.mark.parametrize("units", ["bernoulli", "gaussian"])
def test_free_energy_is_that_of_the_sum_over_hidden_states(units):
    net, params = machine(units)
    x = data(units, 9, 6)
    matrix, visible = flat.views(net.layout, params).values()
    h = states(4)
    energy = -((h @ matrix[:, -1])[:, None] + h @ matrix[:, :-1] @ x.t())  # [states, N]
    own = -(x @ visible[0]) if units == "bernoulli" else 0.5 * (x - visible[0]).square().sum(1)
    torch.testing.assert_close(net.free_energy(x), own - torch.logsumexp(-energy, 0), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("units", ["bernoulli", "gaussian"])
def test_evaluation_is_mean_field_and_changes_nothing(units):
    net, params = machine(units)
    before, x = params.clone(), data(units, 30, 6)
    matrix, visible = flat.views(net.layout, params).values()
    up = torch.sigmoid(x @ matrix[:, :-1].t() + matrix[:, -1])
    down = up @ matrix[:, :-1] + visible[0]
    down = down if units == "gaussian" else torch.sigmoid(down)
    stats = net.evaluate(batch(x))
    assert stats.objective_sum == pytest.approx(-float((x - down).square().sum()), rel=1e-12)
    energy = None if units == "gaussian" else pytest.approx(float(net.free_energy(x).sum()), rel=1e-12)
    assert stats.free_energy == energy
    assert stats == net.evaluate(batch(x)) and torch.equal(params, before)
    torch.testing.assert_close(net.hidden(x), up, rtol=1e-13, atol=1e-14)


def test_ramp_of_momentum():
    ramp = RbmMomentum()
    values = [scheduled(ramp, frames) for frames in (0, 499_999, 500_000, 10_000_000, 20_000_000, 10**9)]
    assert values == pytest.approx([0.5, 0.5, 0.51, 0.7, 0.9, 0.9])


@pytest.mark.parametrize(("ramp", "frames"), [("global", 1000 + 4 * 25), ("local", 250 + 25)])
def test_a_ramp_counts_the_frames_of_all_workers_or_its_own(ramp, frames):
    net, _ = machine()
    updater = RbmUpdater(RbmMomentum(initial=0.0, final=0.0, ramp=ramp), net.layout)
    updater.begin_task(1.0, seen=1000, workers=4)
    net.step_(batch(data("bernoulli", 25, 6)), updater, 0.1, torch.Generator())
    assert updater.frames == frames


def test_a_gaussian_reconstruction_that_is_too_wide_shrinks_all():
    net, params = machine("gaussian", spread=20.0)
    x = data("gaussian", 50, 6)
    updater = RbmUpdater(RbmMomentum(), net.layout)
    before, draws = params.clone(), torch.Generator().manual_seed(5)
    matrix, visible = flat.views(net.layout, params).values()
    drawn = uniforms((50, 4), torch.Generator().manual_seed(5)) < torch.sigmoid(x @ matrix[:, :-1].t() + matrix[:, -1])
    wide = drawn.to(DOUBLE) @ matrix[:, :-1] + visible[0]
    ratio = sum(math.sqrt(float(x[:, d].var(correction=0))) for d in range(6))
    ratio /= sum(math.sqrt(float(wide[:, d].var(correction=0))) for d in range(6))
    stats = net.step_(batch(x), updater, 0.1, draws)
    assert stats.limited == 1 and updater.rate_scale == 0.9 and updater.frames == 50
    torch.testing.assert_close(params, before * ratio, rtol=1e-12, atol=0.0)
    assert not updater.state()["momentum"].any()
    assert rbm.shrinkage(x, 1.99 * x) == 1.0 and rbm.shrinkage(x, 2.01 * x) == pytest.approx(1 / 2.01)


@pytest.mark.parametrize("units", ["bernoulli", "gaussian"])
@pytest.mark.parametrize("kind", ["probabilities", "sample"])
@pytest.mark.parametrize("at_once", [False, True])
def test_a_tensor_as_rate_gives_the_same_steps_and_reads_no_number(units, kind, at_once):
    """Along the ramp, from task to task, through reconstructions that are too wide, and saved on the way."""
    ends = []
    for rate in (0.1, deferred_rate(0.1)):
        net, params = machine(units, steps=2, kind=kind, spread=9.0 if units == "gaussian" else 0.3)
        momentum = RbmMomentum(steps=4, ramp_frames=900, final_at_once=at_once)
        updater, generator, stats = RbmUpdater(momentum, net.layout, 0.01), torch.Generator().manual_seed(3), []
        for task in range(3):
            updater.begin_task(1.0, 200 * task, 1 + task)
            for step in range(5):
                x = batch(data(units, 20 + step % 2, 6, seed=5 * task + step))
                with NoReading() if isinstance(rate, torch.Tensor) else contextlib.nullcontext():
                    stats.append(net.step_(x, updater, rate, generator))
            updater.load_state(updater.state())
        sums = [[float(s.objective_sum) for s in stats], [int(s.limited) for s in stats]]
        ends.append((params, updater.state(), sums, float(updater.frames)))
    (eager, state, sums, frames), (deferred, same, others, counted) = ends
    assert (0 < sum(sums[1]) < 15) == (units == "gaussian") and sums[1] == others[1] and frames == counted
    torch.testing.assert_close(deferred, eager, rtol=1e-10, atol=1e-12)
    assert others[0] == pytest.approx(sums[0], rel=1e-10) and updater.is_static()
    assert torch.equal(same["rate_scale"], state["rate_scale"])
    torch.testing.assert_close(same["momentum"], state["momentum"], rtol=1e-9, atol=1e-11)


def test_what_a_captured_step_uses_stays_where_it_is():
    """Between minibatches of other sizes, and of evaluation; only a larger one moves it, to another address."""
    net = layer((5, 3), below(8, 5) | {"normalise": torch.ones(2, 8).double()})
    params = net.initial_parameters(None, torch.Generator().manual_seed(9), lambda: [torch.randn(50, 4)])
    net.bind(params)
    updater, rate = net.updater(CD), deferred_rate()
    places = set()
    for n in (40, 20, 40, 7, 40):
        net.step_(net.buffers(n), updater, rate, torch.Generator())
        rows = net._machine._room(n)
        places.add((net.buffers(n).x.data_ptr(), *(t.data_ptr() for t in (rows.v, rows.h, rows.drawn, rows.errors))))
        places.add(updater.version)
    assert len(places) == 2
    old = net.buffers(40)
    assert net.buffers(60).x.data_ptr() != old.x.data_ptr()
    updater.load_state({name: tensor.clone() for name, tensor in updater.state().items()})
    assert updater.version not in places, "a step captured before would write into the old momentum"


@pytest.mark.parametrize("units", ["bernoulli", "gaussian"])
@pytest.mark.parametrize("dtype", [torch.float32, DOUBLE])
def test_it_goes_on_to_the_byte(units, dtype):
    def train(stop):
        net, params = machine(units, dtype=dtype, spread=0.1)
        updater, seen = RbmUpdater(RbmMomentum(ramp_frames=200), net.layout), 0
        for step in range(12):
            if step == stop:
                state = {key: value.clone() for key, value in updater.state().items()}
                kept, (net, params) = params, machine(units, dtype=dtype)
                params.copy_(kept)
                updater = RbmUpdater(RbmMomentum(ramp_frames=200), net.layout)
                updater.load_state(state)
                updater.begin_task(1.0, seen, 1)
            seen += 16 if step % 3 else 9
            x = data(units, 16 if step % 3 else 9, 6, seed=step).to(dtype)
            net.step_(batch(x), updater, 0.1, torch.Generator().manual_seed(step))
        return params

    assert torch.equal(train(None), train(5)) and bool(train(5).isfinite().all())


@pytest.mark.parametrize("units", ["bernoulli", "gaussian"])
def test_reconstruction_improves(units):
    generator = torch.Generator().manual_seed(6)
    basis = torch.randn(3, 20, generator=generator)
    x = torch.randn(2000, 3, generator=generator) @ basis
    x = (x - x.mean(0)) / x.std(0) if units == "gaussian" else torch.sigmoid(3.0 * x)
    net = Rbm(RbmOptions(units=units, hidden=30), 20)
    params = net.initial_parameters(generator, x.mean(0))
    net.bind(params)
    updater, before = RbmUpdater(RbmMomentum(), net.layout), net.evaluate(batch(x)).objective_sum
    for begin in range(0, 2000, 100):
        net.step_(batch(x[begin : begin + 100]), updater, 0.02 if units == "gaussian" else 0.4, generator)
    assert net.evaluate(batch(x)).objective_sum > 0.9 * before


def test_start_and_file_form():
    net = Rbm(RbmOptions(units="bernoulli", hidden=300), 200)
    mean = torch.cat([torch.tensor([0.0, 1.0]), torch.linspace(0.1, 0.9, 198)])
    params = net.initial_parameters(torch.Generator().manual_seed(1), mean)
    matrix, visible = flat.views(net.layout, params).values()
    assert float(matrix[:, :-1].std()) == pytest.approx(0.1, rel=0.01) and not matrix[:, -1].any()
    expected = [math.log(p / (1.0 - p)) for p in (1e-4, 1.0 - 1e-4)]
    assert visible[0, :2].tolist() == pytest.approx(expected, rel=1e-4)
    torch.testing.assert_close(torch.sigmoid(visible[0, 2:]), mean[2:])
    assert set(flat.to_tensors(net.layout, params)) == {"hidden.weight", "hidden.bias", "visible.weight"}
    gaussian = Rbm(RbmOptions(units="gaussian", hidden=3), 200)
    assert not flat.views(gaussian.layout, gaussian.initial_parameters(torch.Generator()))["visible"].any()
    with pytest.raises(ValueError, match="mean activations"):
        net.initial_parameters(torch.Generator())


def layer(widths, constants=None, context=(1, 0), **values):
    return make(RbmNetwork(kind="rbm", widths=widths, context=context, **values), 4, 7, constants=constants or {})


def below(*sizes):
    generator = torch.Generator().manual_seed(8)
    return {
        f"below{number}": torch.randn(outputs, inputs + 1, generator=generator)
        for number, (inputs, outputs) in enumerate(itertools.pairwise(sizes), start=1)
    }


def test_frames_go_up_through_the_layers_below():
    held = below(8, 5, 6)
    held["normalise"] = torch.stack([torch.linspace(0.5, 2.0, 8), torch.linspace(-1.0, 1.0, 8)]).double()
    net = layer((5, 6, 3), held)
    frames = [torch.randn(n, 4, generator=torch.Generator().manual_seed(n)) for n in (7, 600)]
    params = net.initial_parameters(None, torch.Generator().manual_seed(9), lambda: frames)
    x = torch.cat([torch.cat([torch.cat([f[:1], f[:-1]]), f], dim=1) for f in frames])
    h = x * held["normalise"][0].float() + held["normalise"][1].float()
    for name in ("below1", "below2"):
        h = torch.sigmoid(h @ held[name][:, :-1].t() + held[name][:, -1])
    weights, visible = flat.views(net.layout, params).values()
    torch.testing.assert_close(visible[0], torch.logit(h.mean(0)), rtol=1e-4, atol=1e-4)
    net.bind(params)
    filled = net.buffers(9)
    filled.x.copy_(x[:9, None])
    up = torch.sigmoid(h[:9] @ weights[:, :-1].t() + weights[:, -1])
    down = torch.sigmoid(up @ weights[:, :-1] + visible[0])
    assert net.evaluate(filled).objective_sum == pytest.approx(-float((h[:9] - down).square().sum()), rel=1e-5)
    machine = Rbm(RbmOptions(units="bernoulli", hidden=3), 6)
    own = params.clone()
    machine.bind(own)
    momentum = RbmMomentum(ramp_frames=100)
    machine.step_(batch(h[:9]), RbmUpdater(momentum, machine.layout), 0.4, torch.Generator().manual_seed(2))
    filled.x.copy_(x[:9, None])
    net.step_(filled, RbmUpdater(momentum, net.layout), 0.4, torch.Generator().manual_seed(2))
    torch.testing.assert_close(params, own, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("spread", [0.8, 1.3])
def test_a_gaussian_rbm_refuses_an_input_of_another_variance(spread):
    x = torch.randn(4000, 4, generator=torch.Generator().manual_seed(1))
    assert layer((3,)).initial_parameters(None, torch.Generator(), lambda: [x]).isfinite().all()
    for wrong in (x * torch.tensor([1.0, 1.0, 1.0, spread]), x + torch.tensor([0.0, 0.0, 0.4, 0.0])):
        with pytest.raises(UserError, match=r"a Gaussian RBM wants .*: set network.transform: normalise") as caught:
            layer((3,)).initial_parameters(None, torch.Generator(), lambda wrong=wrong: [wrong])
        assert "\n" not in str(caught.value)


def test_layers_that_do_not_chain_are_refused():
    with pytest.raises(UserError, match=r"below2: an RBM of 5 to 6 units where 5 to 9 are due: .* do not chain"):
        layer((5, 9, 3), below(8, 5, 6))
    with pytest.raises(UserError, match="layers below are missing"):
        net = layer((5, 9))
        net.bind(torch.zeros(net.layout.size))
    with pytest.raises(UserError, match="recognises nothing"):
        layer((5,)).log_posteriors(torch.zeros(3, 4))


def test_mistakes_are_one_line():
    net, _ = machine()
    updater = RbmUpdater(STILL, net.layout)
    with pytest.raises(UserError, match="another network"):
        updater.load_state({"momentum": torch.zeros(3)})
    with pytest.raises(UserError, match="another config"):
        updater.load_state({"ng.hidden.in.w": torch.zeros(3)})
    updater.load_state({})
    assert updater.rate_scale == 1.0
