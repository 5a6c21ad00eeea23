"""Pending updates of natural gradient, all of a step at once (docs/mathematics.md 6.1.4).

The small eigenproblem of an update is solved on the CPU. Were each side of each layer to fetch its numbers by itself, a
GPU would stand still several times per layer; so in a deferred step they are gathered, fetched and sent back together.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from unisono.core.fisher import FactorUpdate


class PendingUpdate(NamedTuple):
    """What an update is made of, on the device: H^T H and J J^T [R, R], tr(X X^T) [], float64; N, the rows of X."""

    big_l: Tensor
    big_k: Tensor
    trace: Tensor
    rows: int

    def numbers(self) -> Tensor:
        """Return all of it in one vector [2 R R + 1]."""
        return torch.cat([part.reshape(-1) for part in self[:3]])

    def with_numbers(self, numbers: Tensor) -> "PendingUpdate":
        """Return the same with what was fetched."""
        rank = len(self.big_l)
        big_l, big_k, trace = numbers.split([rank * rank, rank * rank, 1])
        return self._replace(big_l=big_l.view(rank, rank), big_k=big_k.view(rank, rank), trace=trace[0])


class Updated(Protocol):
    """An estimator that may have an update pending."""

    pending: PendingUpdate | None

    def solve(self, pending: PendingUpdate) -> FactorUpdate | None:
        """Return the update for numbers on the CPU; None where there is none."""
        ...

    def apply(self, update: FactorUpdate, left: Tensor, scale: Tensor) -> None:
        """Apply the update; left [R, R] and scale [R] as the estimate's matrix has them."""
        ...


def flush(estimators: Sequence[Updated], like: Tensor) -> None:
    """Apply the pending updates, by matrices with the type of `like` and on its device.

    The host waits for the device once, whatever their number.
    """
    pending = [(one, one.pending) for one in estimators if one.pending is not None]
    if not pending:
        return
    gathered = [what.numbers() for _, what in pending]
    fetched = torch.cat(gathered).cpu().split([len(numbers) for numbers in gathered])
    solved = [(one, one.solve(what.with_numbers(part))) for (one, what), part in zip(pending, fetched, strict=True)]
    for one, _ in pending:
        one.pending = None
    made = [(one, update) for one, update in solved if update is not None]
    parts = [part.reshape(-1).to(like.dtype) for _, update in made for part in (update.left, update.scale)]
    if made:
        sent = iter(torch.cat(parts).to(like.device).split([len(part) for part in parts]))
        for one, update in made:
            one.apply(update, next(sent).view_as(update.left), next(sent))
