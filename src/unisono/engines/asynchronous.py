"""The engine `async`: a parameter server on rank 0 and one worker on each other rank; vectors travel by MPI."""

from typing import TYPE_CHECKING

from unisono.engines.block import Block
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
