"""A small network with an optimiser, and minibatches for it: for tests of whole training steps."""

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from tests.support.settings import section
from unisono.config.network import DnnOptions, InitialisationOptions
from unisono.config.optimiser import MaxChangeOptions, NgOptions, OptimiserOptions
from unisono.core.optimiser import Optimiser
from unisono.nn.batch import Batch
from unisono.nn.dnn import Dnn

NG = section(
    NgOptions,
    preset="nnet3",
    rank_in=4,
    rank_out=6,
    update_period=4,
    history=None,
    minibatches_history=None,
    alpha=None,
)


def optimiser_options(kind="sgd", limit="none", momentum=0.0, l2=0.0, limits=(0.02, 0.03, 0.001), minibatch=32, ng=NG):
    """Options with a rate of 0.01. limits: of max-change, per layer, in all and per sample."""
    per_layer, total, per_sample = limits
    max_change = section(MaxChangeOptions, kind=limit, per_layer=per_layer, total=total, per_sample=per_sample)
    return section(
        OptimiserOptions,
        kind=kind,
        learning_rate=0.01,
        momentum=momentum,
        l2=l2,
        minibatch=minibatch,
        max_change=max_change,
        ng=ng,
    )


def training(kind="sgd", limit="none", nonlinearity="relu", momentum=0.0, l2=0.0, precision="float32", hidden=(24, 17)):
    """A small network with an optimiser whose limits are tight, its parameters, and minibatches."""
    shape = section(DnnOptions, kind="dnn", hidden=hidden, nonlinearity=nonlinearity, context=(1, 1), dropout=0.0)
    net = Dnn(shape, 5, 7, precision)
    start = section(InitialisationOptions, kind="random", path=None, hidden_gain=None, output_gain=0.5)
    params = net.initial_parameters(start, torch.Generator().manual_seed(1))
    net.bind(params)
    return net, Optimiser(optimiser_options(kind, limit, momentum, l2), net.layout), params


def batches(net, count, n=32):
    generator = torch.Generator().manual_seed(2)
    for _ in range(count):
        x = torch.randn(n, 1, net.input_dim, generator=generator)
        yield Batch(x, torch.randint(0, net.num_pdfs, (n, 1), generator=generator), None)


def deferred_rate(value=0.01):
    return torch.tensor(value, dtype=torch.float64)


class NoReading(TorchDispatchMode):
    """Raises where a tensor's value decides anything on the host: on a GPU that would wait, and break a capture."""

    READS = ("aten._local_scalar_dense", "aten.is_nonzero", "aten.nonzero", "aten.equal", "aten.masked_select")

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = str(func)
        assert not name.startswith(self.READS), f"{name} reads a number"
        indices = [i for i in args[1] if i is not None] if name.startswith("aten.index.") else []
        assert not any(i.dtype == torch.bool for i in indices), "a mask as an index reads numbers"
        return func(*args, **(kwargs or {}))
