"""The engine `virtual`: all workers in one process, one after the other; vectors stay in memory."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Literal

from torch import Tensor

from unisono.core import average, gossip
from unisono.data.frames.loader import Loader
from unisono.engines import served
from unisono.engines.block import Block, Joined, train_block
from unisono.engines.comm import Alone
from unisono.engines.records import Record
from unisono.engines.session import Session
from unisono.engines.state import State


class Virtual:
    """The workers (`block.Group`) and their models (`step.Models`); slice k of an iteration is worker k's."""

    def __init__(self, session: Session) -> None:
        self.comm = Alone()
        self.workers = {number: session.worker(number) for number in range(session.most_workers)}
        self._session = session

    def train(self, state: State, loader: Loader, interrupted: Callable[[], bool]) -> None:
        """Let each worker train its slice of the iteration after `state`."""
        for number in range(len(self._session.plan.iterations[state.iteration + 1].slices)):
            self.workers[number].run(self._session.task(state, number), loader, interrupted)

    def records(self, state: State) -> list[Record]:
        """Return what each slice of the iteration after `state` yielded; incomplete where it was not even begun."""
        number = state.iteration + 1
        found = []
        for slice_ in range(len(self._session.plan.iterations[number].slices)):
            record = self.workers[slice_].record
            if record is None or record.iteration != number:
                record = Record(iteration=number, slice=slice_, worker=slice_, start=state.iteration)
            found.append(record)
        return found

    def mean(self, weights: Sequence[float], name: Literal["params", "momentum"] = "params") -> Tensor:
        """Return the weighted mean of the workers' parameters or momenta."""
        return average.weighted_mean([self.workers[n].vector(name) for n in range(len(weights))], weights)

    def one(self, index: int) -> Tensor:
        """Return a worker's parameters, a copy."""
        return self.workers[index].params.clone()

    def optimiser_state(self, index: int) -> dict[str, Tensor]:
        """Return a worker's optimiser state, a copy."""
        return {name: tensor.clone() for name, tensor in self.workers[index].optimiser.state().items()}

    def average_with_partners(self, partners: Sequence[int | None], taking_part: Sequence[bool]) -> dict[int, Tensor]:
        """Take the workers' parameters half-way to their partners' and return them."""
        gossip.average_with_partners_([self.workers[n].params for n in range(len(partners))], partners)
        return {number: self.workers[number].params for number, good in enumerate(taking_part) if good}


def train(session: Session, block: Block) -> None:
    """Train a block of iterations. Raises `block.Stopped` after an interruption, with everything saved."""
    if session.run.parallel.served:
        served.train(session, block)
        return
    train_block(session, Virtual(session), block)


@contextmanager
def join(workers: int, hang_timeout_s: float) -> Iterator[Joined]:
    """Yield the only process there is."""
    del workers, hang_timeout_s
    yield Joined(train)
