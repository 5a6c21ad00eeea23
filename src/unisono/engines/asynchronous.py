"""The engine `async`: a parameter server on rank 0 and one worker on each other rank; vectors travel by MPI."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from unisono import console
from unisono.engines.block import Block, Joined
from unisono.engines.session import Session
from unisono.errors import UserError

if TYPE_CHECKING:
    from unisono.engines.mpi import Mpi


def train(session: Session, block: Block, comm: "Mpi") -> None:
    """Train a block of iterations. Every rank calls it, rank 0 writes the results.

    Raises `block.Stopped` after an interruption, with everything saved.
    """
    from unisono.engines.async_server import Server
    from unisono.engines.async_worker import work

    parallel = session.run.parallel
    if not parallel.served or parallel.arrival.kind != "live":
        raise UserError("parallel.engine: async needs combine async or elastic, and arrival live: see docs/async.md")
    link = comm.link()
    if comm.rank == 0:
        Server(session, block, link).serve()
    else:
        work(session, block, link)


@contextmanager
def join(workers: int, hang_timeout_s: float) -> Iterator[Joined]:
    """Yield this rank, of one more than there are workers; a rank that is silent for longer ends them all."""
    from unisono.engines.mpi import Mpi

    comm = Mpi(workers, server=True)
    heart = comm.heartbeat(hang_timeout_s, lambda line: console.report_error(f"unisono train: {line}"))
    try:
        yield Joined(
            lambda session, block: train(session, block, comm), comm.rank, heart.beat, heart.rest, comm.rank > 0
        )
    finally:
        heart.close()
