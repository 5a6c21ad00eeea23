"""Steps on a device that is not there: torch's fake tensors have a device and a shape, and refuse what does not fit.

No number is computed, so this cannot say that a GPU's results are right (tests/engines/test_gpu.py does, where one is);
it says that nothing mixes devices or types, which no other test on a CPU could see.
"""

import dataclasses

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils import backend_registration

from tests.support.settings import section
from tests.support.training import NG, training
from unisono.config.network import LstmOptions, NetworkOptions, PnormOptions
from unisono.config.rbm import RbmMomentum, RbmNetwork
from unisono.core import fisher, flat, natural_gradient, products
from unisono.core.natural_gradient import OnlineEstimator, estimator_for
from unisono.core.optimiser import Optimiser
from unisono.core.rbm import RbmUpdater
from unisono.nn import boltzmann, frame_network, lstm
from unisono.nn.lstm import Lstm
from unisono.nn.network import make
from unisono.nn.pnorm import Pnorm

DEVICE = torch.device("privateuseone", 0)


@pytest.fixture
def fake(monkeypatch):
    """A world of fake tensors; where the host must read one it is told 1, and each update is some turn."""
    register = getattr(backend_registration, "_setup_privateuseone_for_python_backend", None)
    if register is None:
        pytest.skip("this torch pretends no device")
    if torch._C._get_privateuse1_backend_name() != "pretended":
        register("pretended")

    def solve(self, asked):
        assert asked.big_l.device.type == asked.big_k.device.type == asked.trace.device.type == "cpu"
        square, row = (torch.ones(shape, dtype=torch.float64) for shape in ((self.rank, self.rank), (self.rank,)))
        return fisher.FactorUpdate(square, row, row, 0.5, row, repair=False)

    monkeypatch.setattr(OnlineEstimator, "solve", solve)
    for module in (natural_gradient, fisher):
        monkeypatch.setattr(module, "float", lambda value: 1.0, raising=False)
    monkeypatch.setattr(natural_gradient, "int", lambda value: 13, raising=False)
    monkeypatch.setattr(natural_gradient.math, "isfinite", lambda value: True)
    monkeypatch.setattr(flat, "wants_whole_rows", _pretended)
    monkeypatch.setattr(products, "multiplies_bfloat16", _pretended)
    with FakeTensorMode():
        yield


def _pretended(tensor):
    return tensor.device == DEVICE


def test_fake_tensors_refuse_to_mix_devices(fake):
    with pytest.raises(RuntimeError, match="device"):
        torch.cat([torch.zeros(2, device=DEVICE), torch.zeros(2)])
    with pytest.raises(RuntimeError):
        torch.mm(torch.zeros(2, 3, device=DEVICE), torch.zeros(4, 2, device=DEVICE))


@pytest.mark.parametrize("precision", ["float32", "bf16"])
@pytest.mark.parametrize(
    ("limit", "momentum", "hidden"), [("none", 0.0, (24, 17)), ("nnet3", 0.9, (16, 33)), ("nnet2", 0.0, (15, 16))]
)
@pytest.mark.parametrize("kind", ["sgd", "ng_online"])
def test_a_step_stays_on_its_device(fake, kind, limit, precision, momentum, hidden):
    net, optimiser, _ = training(kind, limit, "relu_renorm", momentum, 0.001, precision, hidden)
    params = torch.zeros(net.layout.size, device=DEVICE)
    net.bind(params)
    rate = torch.zeros((), dtype=torch.float64, device=DEVICE)
    static = 0
    for _ in range(13):
        batch = net.buffers(30)
        assert batch.x.device == batch.ids.device == DEVICE
        static += optimiser.is_static()
        stats = net.step_(batch, optimiser, rate)
        assert stats.objective_sum.device == stats.correct.device == DEVICE
    assert static == (13 if kind == "sgd" else 2)
    state = optimiser.state()
    assert all(tensor.device.type == "cpu" for tensor in state.values())
    optimiser.load_state(state)
    net.step_(batch, optimiser, rate)
    assert params.device == DEVICE and flat.whole(batch.x[:, 0]).shape[1] % 16 == 0


@pytest.mark.parametrize("limit", ["none", "nnet3", "nnet2"])
@pytest.mark.parametrize("kind", ["sgd", "ng_online"])
@pytest.mark.parametrize("network", ["pnorm", "lstm"])
def test_other_networks_stay_on_their_device(fake, network, kind, limit):
    optimiser = training(kind, limit, momentum=0.5, l2=0.001)[1]
    if network == "pnorm":
        net = Pnorm(section(PnormOptions, kind="pnorm", hidden=(7, 16), group=3, context=(1, 1), dropout=0.0), 5, 7)
        units = 30
    else:
        options = LstmOptions(
            kind="lstm", cells=(6, 5), projection=(3, 2), left_context=3, chunk=4, label_delay=1, backprop_margin=2
        )
        held = {"transform": torch.ones(5, 6, dtype=torch.float64), "prior_scales": torch.ones(7, dtype=torch.float64)}
        net = Lstm(options, 5, 7, constants=held)
        units = 8
    optimiser = Optimiser(optimiser.options, net.layout)
    params = torch.zeros(net.layout.size, device=DEVICE)
    net.bind(params)
    rate = torch.zeros((), dtype=torch.float64, device=DEVICE)
    for _ in range(3):
        stats = net.step_(net.buffers(units), optimiser, rate)
        assert stats.objective_sum.device == stats.correct.device == params.device == DEVICE
    assert all(tensor.device.type == "cpu" for tensor in optimiser.state().values())


@pytest.mark.parametrize("kind", ["sgd", "ng_online"])
@pytest.mark.parametrize("network", ["dnn", "pnorm"])
def test_a_network_that_grows_stays_on_its_device(fake, network, kind):
    """The vector grows on the host, between iterations; the new network trains it where the old one did."""
    rate = torch.zeros((), dtype=torch.float64, device=DEVICE)
    group = {"group": 2} if network == "pnorm" else {}
    trained = old = None
    for hidden in ((16,), (16, 16)):
        options = section(NetworkOptions, kind=network, hidden=hidden, context=(1, 1), **group)
        net = make(options, 5, 7)
        host = flat.zeros(net.layout.size)
        if trained is not None:
            host = flat.carried_over(old.layout, net.layout, trained.cpu(), host)
        trained, old = host.to(DEVICE), net
        net.bind(trained)
        optimiser = Optimiser(training(kind, "nnet3", momentum=0.5)[1].options, net.layout)
        for _ in range(3):
            stats = net.step_(net.buffers(30), optimiser, rate)
            assert stats.objective_sum.device == trained.device == DEVICE
        assert all(tensor.device.type == "cpu" for tensor in optimiser.state().values())


USED = {
    "dnn": {"hidden": (16, 9), "context": (1, 1), "nonlinearity": "relu_renorm"},
    "pnorm": {"hidden": (7, 16), "context": (1, 1), "group": 3},
    "lstm": {"cells": (6, 5), "splice": (1, 1), "projection": (3, 2), "label_delay": 2},
}


@pytest.mark.parametrize(
    ("kind", "fixed"), [("dnn", 0), ("dnn", 1), ("pnorm", 0), ("pnorm", 1), ("lstm", 0), ("lstm", 1)]
)
def test_what_a_network_says_of_an_utterance_is_computed_where_it_is_bound(fake, monkeypatch, kind, fixed):
    """Frames come from the host, in any float type; the last piece is a short one."""
    for module in (frame_network, lstm):
        monkeypatch.setattr(module, "PIECE", 8)
    held = {"normalise": torch.ones(2, 15), "prior_scales": torch.ones(7)} if fixed else {}
    options = section(NetworkOptions, kind=kind, **USED[kind])
    net = make(options, 5, 7, constants=held)
    net.bind(torch.zeros(net.layout.size, device=DEVICE))
    for frames in (torch.zeros(0, 5), torch.zeros(11, 5), torch.zeros(11, 5, dtype=torch.float16)):
        found = net.log_posteriors(frames)
        assert (found.device, found.shape, found.dtype) == (DEVICE, (len(frames), 7), torch.float32)


@pytest.mark.parametrize("preset", ["nnet3", "nnet2_2014"])
def test_an_estimate_lies_where_its_rows_do(fake, preset):
    side = estimator_for(dataclasses.replace(NG, preset=preset), "in", 12)
    rows = flat.matrix(32, 12, torch.zeros(0, device=DEVICE))
    gamma = side.precondition_(rows, deferred=True)
    natural_gradient.flush([side], rows)
    assert side.factor.w.device == gamma.device == DEVICE and side.factor.d.device.type == "cpu"


@pytest.mark.parametrize("widths", [(7,), (7, 6)])
def test_an_rbm_stays_on_its_device(fake, monkeypatch, widths):
    """Its chance is drawn there, too; the host reads no number of a step, only those of an evaluation."""
    drawn = torch.bernoulli
    monkeypatch.setattr(torch, "bernoulli", lambda p, generator, out: out.copy_(drawn(p)))
    held = {"normalise": torch.ones(2, 15, dtype=torch.float64), "below1": torch.zeros(7, 16)}
    held = held if len(widths) > 1 else {"normalise": held["normalise"]}
    net = make(RbmNetwork(kind="rbm", widths=widths, context=(1, 1)), 5, 7, constants=held)
    params = torch.zeros(net.layout.size, device=DEVICE)
    updater = RbmUpdater(RbmMomentum(), net.layout)
    rate = torch.zeros((), dtype=torch.float64, device=DEVICE)
    net.bind(params)
    for _ in range(2):
        batch = net.buffers(30)
        assert batch.x.device == batch.ids.device == DEVICE and updater.is_static()
        stats = net.step_(batch, updater, rate, torch.Generator())
        assert stats.objective_sum.device == updater.rate_scale.device == updater.frames.device == DEVICE
        assert widths[1:] or stats.limited.device == DEVICE
        with monkeypatch.context() as reading:
            reading.setattr(boltzmann, "float", lambda value: 1.0, raising=False)
            assert net.evaluate(net.buffers(30)).limited == 0
        updater.begin_task(1.0, 60, 2)
    assert params.device == DEVICE and all(tensor.device.type == "cpu" for tensor in updater.state().values())
