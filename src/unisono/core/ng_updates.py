"""Updates of natural gradient that were asked for, all of a step at once (docs/mathematics.md 6.1.4).

The small eigenproblem of an update is solved on the CPU. Were each side of each layer to fetch its numbers by itself, a
GPU would stand still several times per layer; so in a deferred step they are gathered, fetched and sent back together.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from unisono.core.fisher import Turn


class Asked(NamedTuple):
    """What an update is made of, on the device: H^T H and J J^T [R, R], tr(X X^T) [], float64; N, the rows of X."""

    big_l: Tensor
    big_k: Tensor
    trace: Tensor
    rows: int

    def numbers(self) -> Tensor:
        """Return all of it in one vector [2 R R + 1]."""
        return torch.cat([part.reshape(-1) for part in self[:3]])

    def with_numbers(self, numbers: Tensor) -> "Asked":
        """Return the same with what was fetched."""
        rank = len(self.big_l)
        big_l, big_k, trace = numbers.split([rank * rank, rank * rank, 1])
        return self._replace(big_l=big_l.view(rank, rank), big_k=big_k.view(rank, rank), trace=trace[0])


class Asking(Protocol):
    """An estimator that may have asked for an update."""

    asked: Asked | None

    def solve(self, asked: Asked) -> Turn | None:
        """Return the turn for numbers on the CPU; None where there is none."""
        ...

    def take(self, turn: Turn, left: Tensor, scale: Tensor) -> None:
        """Make the turn; left [R, R] and scale [R] as the estimate's matrix has them."""
        ...


def settle(estimators: Sequence[Asking], like: Tensor) -> None:
    """Make the updates that were asked for, by matrices with the type of `like` and on its device.

    The host waits for the device once, whatever their number.
    """
    asked = [(one, one.asked) for one in estimators if one.asked is not None]
    if not asked:
        return
    gathered = [what.numbers() for _, what in asked]
    fetched = torch.cat(gathered).cpu().split([len(numbers) for numbers in gathered])
    turns = [(one, one.solve(what.with_numbers(part))) for (one, what), part in zip(asked, fetched, strict=True)]
    for one, _ in asked:
        one.asked = None
    made = [(one, turn) for one, turn in turns if turn is not None]
    parts = [part.reshape(-1).to(like.dtype) for _, turn in made for part in (turn.left, turn.scale)]
    if made:
        sent = iter(torch.cat(parts).to(like.device).split([len(part) for part in parts]))
        for one, turn in made:
            one.take(turn, next(sent).view_as(turn.left), next(sent))
