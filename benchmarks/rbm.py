"""A step of an RBM by CD-1 against its five products alone, and the same step written plainly, on one thread."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

from benchmarks.setting import Size
from benchmarks.timing import Results, paired, pinned, put, ratio
from unisono.config.rbm import RbmMomentum
from unisono.core.rbm import RbmUpdater
from unisono.nn.batch import Batch
from unisono.nn.boltzmann import Rbm, RbmOptions

MINIBATCHES = (512, 100)
RATE = 0.001


def measure(folder: Path, size: Size) -> Results:
    """Return rbm_gemm_fraction_<minibatch> and rbm_plain_gemm_fraction_<minibatch>, Bernoulli, `width` to `width`."""
    torch.set_num_threads(1)
    units, results = size.width, Results()
    with pinned():
        for minibatch in MINIBATCHES:
            repeats = size.steps * MINIBATCHES[0] // minibatch
            steps = {
                "ours": ours(units, minibatch),
                "plain": plain(units, minibatch),
                "gemm": products(units, minibatch),
            }
            for step in steps.values():
                step()
            seconds = paired({name: partial(again, step, repeats) for name, step in steps.items()}, size.blocks)
            put(results, f"rbm_gemm_fraction_{minibatch}", ratio(seconds["gemm"], seconds["ours"]))
            put(results, f"rbm_plain_gemm_fraction_{minibatch}", ratio(seconds["gemm"], seconds["plain"]))
    return results


def again(step: Callable[[], object], repeats: int) -> None:
    for _ in range(repeats):
        step()


def start(units: int, minibatch: int) -> tuple[torch.Generator, torch.Tensor]:
    """Return a generator, and inputs in [0, 1]."""
    generator = torch.Generator().manual_seed(1)
    return generator, torch.rand(minibatch, units, generator=generator)


def ours(units: int, minibatch: int) -> Callable[[], object]:
    """Return our own step."""
    generator, x = start(units, minibatch)
    network = Rbm(RbmOptions(units="bernoulli", hidden=units), units)
    network.bind(network.initial_parameters(generator, x.mean(dim=0)))
    updater = RbmUpdater(RbmMomentum(), network.layout)
    batch = Batch(network.input_buffer(minibatch).copy_(x)[:, None], torch.zeros(minibatch, 1, dtype=torch.int64), None)
    return lambda: network.step_(batch, updater, RATE, generator)


def plain(units: int, minibatch: int) -> Callable[[], object]:
    """Return the step as one would write it first: a new tensor for each value."""
    generator, x = start(units, minibatch)
    w = 0.1 * torch.randn(units, units, generator=generator)
    b, c = torch.zeros(units), torch.zeros(units)
    dw, db, dc = torch.zeros_like(w), torch.zeros_like(b), torch.zeros_like(c)

    def step() -> None:
        h = torch.sigmoid(x @ w.t() + b)
        drawn = (torch.rand(h.shape, generator=generator) < h).float()
        v = torch.sigmoid(drawn @ w + c)
        model = torch.sigmoid(v @ w.t() + b)
        dw.mul_(0.5).add_(RATE * ((h.t() @ x - model.t() @ v) / minibatch - 0.0002 * w))
        db.mul_(0.5).add_(RATE * (h - model).mean(0))
        dc.mul_(0.5).add_(RATE * (x - v).mean(0))
        for values, delta in ((w, dw), (b, db), (c, dc)):
            values.add_(delta)

    return step


def products(units: int, minibatch: int) -> Callable[[], object]:
    """Return the five products that CD-1 cannot do without, on matrices made once."""
    generator, x = start(units, minibatch)
    w, h, v = torch.randn(units, units, generator=generator), torch.rand(minibatch, units), torch.rand(minibatch, units)
    out_h, out_v, out_w = torch.empty_like(h), torch.empty_like(v), torch.zeros_like(w)

    def step() -> None:
        torch.mm(x, w.t(), out=out_h)
        torch.mm(h, w, out=out_v)
        torch.mm(v, w.t(), out=out_h)
        out_w.addmm_(h.t(), x, alpha=1e-12)
        out_w.addmm_(h.t(), v, alpha=-1e-12)

    return step
