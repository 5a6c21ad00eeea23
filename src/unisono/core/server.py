"""How a parameter server takes in what a worker has trained (docs/mathematics.md 6.4).

A worker pulls the server's model W at some version, trains, and pushes. The staleness of a push is the number of
versions that the server has gone on since. All rules act number by number, so a vector may be handed over in pieces,
and on vectors of the same pieces they give the same bits.
"""

from torch import Tensor

CHUNK = 1 << 16  # numbers; of so many the old ones are kept in an exchange


def adopts(staleness: int, factor: float, momentum: float) -> bool:
    """Say whether a push is adopted as it is, because the server would come out there but for rounding.

    So with one worker, or without staleness, asynchronous training is plain training to the bit.
    """
    return staleness == 0 and factor == 1.0 and momentum == 0.0


def add_(
    model: Tensor, difference: Tensor, factor: float, momentum: float = 0.0, velocity: Tensor | None = None
) -> None:
    """Add a worker's progress to the server's model W, in place; all are [P], or the same piece of such.

    d = momentum * d + factor * difference, W <- W + d, with d = `velocity`, which is moved, too (at first zeros; needed
    only with momentum). There is no factor 1 - momentum: in all a push counts for factor / (1 - momentum).
    """
    if momentum == 0.0:
        model.add_(difference, alpha=factor)
        return
    if velocity is None:
        raise ValueError("server momentum needs a velocity")
    model.add_(velocity.mul_(momentum).add_(difference, alpha=factor))


def exchange_(server: Tensor, worker: Tensor, factor: float) -> None:
    """Draw server and worker towards each other, in place (elastic averaging); both are [P], or the same piece.

    x_s <- (1 - factor) x_s + factor x_w and x_w <- (1 - factor) x_w + factor x_s, both from the values before.
    """
    for begin in range(0, len(server), CHUNK):
        part = slice(begin, begin + CHUNK)
        before = server[part].clone()
        server[part].mul_(1.0 - factor).add_(worker[part], alpha=factor)
        worker[part].mul_(1.0 - factor).add_(before, alpha=factor)
