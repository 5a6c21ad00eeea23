"""Averaging between pairs of workers instead of all (docs/mathematics.md 1.4, the reduce types of Su and Chen)."""

from collections.abc import Sequence
from typing import Literal

from torch import Tensor

from unisono.errors import UserError

Gossip = Literal["butterfly", "ring", "hopping_ring"]
CHUNK = 1 << 16  # numbers; of so many each worker's old ones are kept


def check_workers(kind: Gossip, workers: int) -> None:
    """Raise UserError where `kind` cannot work with this number of workers."""
    if kind == "butterfly" and workers & (workers - 1):
        raise UserError(
            f"parallel.combine.kind: butterfly: {workers} workers are not a power of two: take 2, 4, 8, ..."
        )


def partner(kind: Gossip, rank: int, round_: int, workers: int) -> int | None:
    """Return the rank whose model worker `rank` takes in at combination `round_` (from 0); None for a lone worker.

    butterfly: rank XOR 2^(round mod log2 N), so both take each other's. ring: rank - 1. hopping_ring: rank - s with
    s = 1, 2, ..., N - 1, 1, ... . Ranks count modulo N.
    """
    check_workers(kind, workers)
    if workers == 1:
        return None
    if kind == "butterfly":
        return rank ^ (1 << round_ % (workers.bit_length() - 1))
    shift = 1 if kind == "ring" else 1 + round_ % (workers - 1)
    return (rank - shift) % workers


def pair_step(own: Tensor, other: Tensor | None) -> Tensor:
    """Return half of each vector [P] added up, or a copy of one's own where there is no other.

    Commutative to the bit, so both partners of a butterfly get the same.
    """
    return own.clone() if other is None else own.mul(0.5).add_(other, alpha=0.5)


def average_with_partners_(vectors: Sequence[Tensor], partners: Sequence[int | None]) -> None:
    """Take each vector [P] half-way to that of its partner (None: it stays), all at once and in place."""
    for begin in range(0, len(vectors[0]), CHUNK):
        part = slice(begin, begin + CHUNK)
        before = [vector[part].clone() for vector in vectors]
        for worker, other in enumerate(partners):
            if other is not None:
                vectors[worker][part] = pair_step(before[worker], before[other])
