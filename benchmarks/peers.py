"""The same network in plain PyTorch: eager and compiled, on minibatches that lie in memory already."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from benchmarks.setting import DIM, Size

POOL = 8  # minibatches that take turns


def _model(size: Size) -> nn.Sequential:
    layers: list[nn.Module] = []
    inputs = 11 * DIM
    for _ in range(4):
        layers += [nn.Linear(inputs, size.width), nn.ReLU()]
        inputs = size.width
    return nn.Sequential(*layers, nn.Linear(inputs, size.pdfs))


def _minibatches(size: Size) -> Iterator[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(1)
    pool = [
        (
            torch.randn(size.minibatch, 11 * DIM, generator=generator),
            torch.randint(size.pdfs, (size.minibatch,), generator=generator),
        )
        for _ in range(POOL)
    ]
    while True:
        yield from pool


def peer(size: Size, *, compiled: bool) -> Callable[[int], None]:
    """Return a function that trains so many minibatches: cross entropy, SGD(fused=True), nothing else."""
    torch.manual_seed(1)
    model, loss = _model(size), nn.CrossEntropyLoss(reduction="sum")
    optimiser = torch.optim.SGD(model.parameters(), lr=1e-5, fused=True)
    minibatches = _minibatches(size)

    def objective(x: Tensor, ids: Tensor) -> Tensor:
        return loss(model(x), ids)

    step = torch.compile(objective) if compiled else objective

    def train(steps: int) -> None:
        for _ in range(steps):
            x, ids = next(minibatches)
            optimiser.zero_grad(set_to_none=True)
            step(x, ids).backward()
            optimiser.step()

    return train
