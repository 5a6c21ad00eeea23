"""The engine `sync`: one worker on each MPI rank, which lives through a block of iterations; vectors travel by MPI."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

import numpy as np
import safetensors.torch
from torch import Tensor

from unisono import console
from unisono.core import gossip
from unisono.data.frames.loader import Loader
from unisono.engines.block import Block, Joined, train_block
from unisono.engines.records import Record
from unisono.engines.session import Session
from unisono.engines.state import State
from unisono.engines.worker import Worker

if TYPE_CHECKING:
    from unisono.engines.mpi import Mpi


class Sync:
    """This rank's worker (`block.Group`) and all models (`step.Models`); slice k of an iteration is rank k's.

    Ranks beyond an iteration's workers are idle in it and have weight 0. Collective: every rank calls the same methods
    in the same order.
    """

    def __init__(self, session: Session, comm: "Mpi") -> None:
        self.comm, self._session = comm, session
        self.workers = {comm.rank: session.worker(comm.rank)}

    @property
    def _own(self) -> Worker:
        return self.workers[self.comm.rank]

    def train(self, state: State, loader: Loader, interrupted: Callable[[], bool]) -> None:
        """Train the own slice of the iteration after `state`, and begin to load the next one's first window."""
        plan, rank, number = self._session.plan, self.comm.rank, state.iteration + 1
        if rank < len(plan.iterations[number].slices):
            self._own.run(self._session.task(state, rank), loader, interrupted)
        if not plan.is_last(number) and rank < len(plan.iterations[number + 1].slices):
            loader.expect(self._session.part(number + 1, rank))

    def records(self, state: State) -> list[Record]:
        """Return what all slices of the iteration after `state` yielded, with the time that each rank waited."""
        rank, number = self.comm.rank, state.iteration + 1
        begun = time.perf_counter()
        self.comm.barrier()  # so that the time spent waiting is known before the records travel
        record = self._own.record
        if record is None or record.iteration != number:
            record = Record(iteration=number, slice=rank, worker=rank, start=state.iteration)
        record.seconds_wait = time.perf_counter() - begun
        rows = self.comm.gather_records(np.array(record.to_row()))[: len(self._session.plan.iterations[number].slices)]
        return [Record.from_row(row.tolist(), record.device) for row in rows]  # this rank's device stands for all

    def mean(self, weights: Sequence[float], name: Literal["params", "momentum"] = "params") -> Tensor:
        """Return the weighted mean of all ranks' parameters or momenta; an idle rank's vector does not count."""
        vector = self._own.vector(name if self.comm.rank < len(weights) else "params")
        return self.comm.mean(vector, [*weights, *[0.0] * (self.comm.size - len(weights))])

    def one(self, index: int) -> Tensor:
        """Return a rank's parameters, a copy."""
        return self.comm.broadcast_(self._own.params.clone(), index)

    def optimiser_state(self, index: int) -> dict[str, Tensor]:
        """Return a rank's optimiser state, a copy."""
        data = safetensors.torch.save(self._own.optimiser.state()) if index == self.comm.rank else b""
        data = self.comm.broadcast_bytes(data, index)
        return {name: tensor.clone() for name, tensor in safetensors.torch.load(data).items()}

    def average_with_partners(self, partners: Sequence[int | None], taking_part: Sequence[bool]) -> dict[int, Tensor]:
        """Take the own parameters half-way to the partner's and return them."""
        rank = self.comm.rank
        sources = [other if taking_part[worker] else None for worker, other in enumerate(partners)]
        source = sources[rank] if rank < len(sources) else None
        target = next((worker for worker, other in enumerate(sources) if other == rank), None)
        received = self.comm.exchange(self._own.params, source, target)
        if rank >= len(sources) or not taking_part[rank]:
            return {}
        if received is not None:
            gossip.average_with_partners_([self._own.params, received], [1, None])
        return {rank: self._own.params}


def train(session: Session, block: Block, comm: "Mpi") -> None:
    """Train a block of iterations. Collective: every rank calls it, rank 0 writes the results.

    Raises `block.Stopped` after an interruption, with everything saved.
    """
    train_block(session, Sync(session, comm), block)


@contextmanager
def join(workers: int, hang_timeout_s: float) -> Iterator[Joined]:
    """Yield this rank, of as many as there are workers; a rank that is silent for longer ends them all."""
    from unisono.engines.mpi import Mpi

    comm = Mpi(workers)
    heart = comm.heartbeat(hang_timeout_s, lambda line: console.report_error(f"unisono train: {line}"))
    try:
        yield Joined(lambda session, block: train(session, block, comm), comm.rank, heart.beat, heart.rest)
    finally:
        heart.close()
