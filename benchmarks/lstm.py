"""A step of the LSTM against torch.nn.LSTM and against its own products alone, on one thread.

Truncation and margin are off, as PyTorch has neither, nor peepholes.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks.setting import Size
from benchmarks.timing import Results, paired, pinned, put, ratio
from tests.support.settings import section
from unisono.config.network import LstmOptions, RandomStart
from unisono.config.optimiser import MaxChangeOptions, NgOptions, OptimiserOptions
from unisono.core.optimiser import Optimiser
from unisono.nn import packed
from unisono.nn.batch import Batch
from unisono.nn.lstm import Lstm

INPUTS, LEFT, WIDTH, CHUNKS = 40, 40, 20, 64
RATE = 1e-5
NG: dict[str, Any] = {"rank_in": None, "rank_out": None, "update_period": None}


def measure(folder: Path, size: Size) -> Results:
    """Return lstm_over_torch, lstm_ng_over_torch (frames/s over theirs) and lstm_products_fraction."""
    torch.set_num_threads(1)
    results = Results()
    cells, chunks, blocks = (800, CHUNKS, 7) if size.compiled else (size.width, 4, size.blocks)
    with pinned():
        sgd = ours("sgd", cells, chunks, size.pdfs)
        steps = {
            "sgd": sgd[1],
            "ng": ours("ng_online", cells, chunks, size.pdfs)[1],
            "torch": theirs(cells, chunks, size.pdfs),
            "products": partial(products, sgd[0], chunks),
        }
        for step in steps.values():
            step()
        seconds = paired(steps, blocks)
    put(results, "lstm_over_torch", ratio(seconds["torch"], seconds["sgd"]))
    put(results, "lstm_ng_over_torch", ratio(seconds["torch"], seconds["ng"]))
    put(results, "lstm_products_fraction", ratio(seconds["products"], seconds["sgd"]))
    return results


def data(chunks: int, pdfs: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return inputs [chunks, times, dim] and pdfs [chunks, width]."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(chunks, LEFT + WIDTH, INPUTS, generator=generator)
    return x, torch.randint(0, pdfs, (chunks, WIDTH), generator=generator)


def ours(kind: Any, cells: int, chunks: int, pdfs: int) -> tuple[Lstm, Callable[[], object]]:
    """Return our network and its step, with peepholes."""
    options = LstmOptions(
        kind="lstm",
        cells=(cells, cells),
        left_context=LEFT,
        chunk=WIDTH,
        label_delay=0,
        backprop_margin=None,
        clip=0.0,
        zeroing=0.0,
    )
    network = Lstm(options, INPUTS, pdfs)
    network.bind(network.initial_parameters(RandomStart(kind="random"), torch.Generator().manual_seed(1)))
    max_change = section(MaxChangeOptions, kind="none", per_layer=0.0, total=0.0, per_sample=0.0)
    ng = section(NgOptions, preset="nnet3", history=None, minibatches_history=None, alpha=None, **NG)
    optimiser = Optimiser(
        section(
            OptimiserOptions,
            kind=kind,
            learning_rate=RATE,
            momentum=0.0,
            l2=0.0,
            minibatch=chunks,
            max_change=max_change,
            ng=ng,
        ),
        network.layout,
    )
    x, ids = data(chunks, pdfs)
    batch = Batch(x, ids, None)
    return network, lambda: network.step_(batch, optimiser, RATE)


def theirs(cells: int, chunks: int, pdfs: int) -> Callable[[], object]:
    """Return PyTorch's step: its LSTM of oneDNN, a linear layer, fused SGD."""
    lstm, linear = torch.nn.LSTM(INPUTS, cells, num_layers=2), torch.nn.Linear(cells, pdfs)
    optimiser = torch.optim.SGD([*lstm.parameters(), *linear.parameters()], lr=RATE, fused=True)
    x, ids = data(chunks, pdfs)
    x, ids = x.transpose(0, 1).contiguous(), ids.t().reshape(-1)

    def step() -> None:
        optimiser.zero_grad(set_to_none=True)
        logits = linear(lstm(x)[0][LEFT:]).flatten(0, 1)
        torch.nn.functional.cross_entropy(logits, ids, reduction="sum").backward()
        optimiser.step()

    return step


def products(network: Lstm, chunks: int) -> None:
    """Make the matrix products of a step, in the step's own form and on its buffers, and nothing else."""
    room = network._room(LEFT + WIDTH, chunks)
    for index, (layer, own) in enumerate(zip(network.layers, room.layers, strict=True)):
        rows, inputs = own.times * own.chunks, layer.shape.inputs
        torch.mm(own.x[:rows, :inputs], layer._own.t(), out=own.gates)
        forward, backward = packed.products(layer._back, layer._bias, chunks)
        for at in own.at:
            forward(at.r, at.gates)
        for at in own.at[1:]:
            backward(at.gates)
        if index > 0:
            torch.mm(own.gates, layer._own, out=room.layers[index - 1].outer)
        layer._gates.addmm_(own.gates.t(), own.x[:rows], alpha=-1e-12)
    torch.mm(room.x, network._output.t(), out=room.logits)
    torch.mm(room.error, network._output[:, :-1], out=room.layers[-1].outer[-len(room.error) :])
    network._output.addmm_(room.error.t(), room.x, alpha=-1e-12)
