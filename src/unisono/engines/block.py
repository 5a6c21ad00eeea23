"""A block of iterations in one command, with checkpoints and exact resume: the life that `virtual` and `sync` share.

A block reads and writes the same files as `jobs` does at its borders, so blocks and engines may follow each other.
"""

import logging
import time
from collections.abc import Callable, MutableMapping
from typing import NamedTuple, Protocol

from unisono.data.frames.loader import Loader
from unisono.engines.border import Block, Border
from unisono.engines.comm import Comm
from unisono.engines.diagnose import described
from unisono.engines.evaluate import Evaluator
from unisono.engines.growth import fit_, grown
from unisono.engines.place import Device
from unisono.engines.records import Record
from unisono.engines.session import Session
from unisono.engines.start import begin_
from unisono.engines.state import State
from unisono.engines.step import Models, advance, pass_on
from unisono.engines.worker import Worker

logger = logging.getLogger("unisono.train")


class Stopped(Exception):
    """The block was interrupted and its state is saved."""


def nothing() -> None:
    """Do nothing."""


class Joined(NamedTuple):
    """A process in an engine, which each engine's `join` yields.

    train: trains a block. rank: among the processes. beat: called before each minibatch, rest: where it may be silent.
    computes: whether it trains, and may need a GPU.
    """

    train: Callable[[Session, Block], None]
    rank: int = 0
    beat: Callable[[], None] = nothing
    rest: Callable[[], None] = nothing
    computes: bool = True

    def place(self, device: Device) -> Device:
        """Return where this process shall compute."""
        return device if self.computes else "cpu"


class Group(Models, Protocol):
    """The workers of a run as one process sees them, and their models: what an engine is."""

    @property
    def comm(self) -> Comm:
        """The ranks."""
        ...

    @property
    def workers(self) -> MutableMapping[int, Worker]:
        """The workers of this process, by number; others take their place where the network grows."""
        ...

    def train(self, state: State, loader: Loader, interrupted: Callable[[], bool]) -> None:
        """Let the own workers train the iteration after `state`, until done or interrupted."""
        ...

    def records(self, state: State) -> list[Record]:
        """Return what each slice of that iteration yielded, the same on every rank."""
        ...


def train_block(session: Session, group: Group, block: Block) -> None:
    """Train iterations first to last. Raises Stopped after an interruption, with everything saved.

    Collective: every rank calls it. Rank 0 writes the results.
    """
    border = Border(session, block, group.comm, group.workers)
    evaluator = Evaluator(session, group.comm)
    standing = border.resume()
    with session.loader(keep=True) as loader:
        while standing.states[-1].iteration < block.last:
            if standing.states[-1].stop:
                standing.states.append(pass_on(standing.states[-1]))
                continue
            before, state = grown(session, standing.before, standing.states[-1])
            if before is not standing.before:
                standing.owned = {}
            fit_(session, group.workers, state.iteration + 1)
            begun = time.perf_counter()
            if not standing.under_way:
                for number, worker in group.workers.items():
                    begin_(session.run, state, before, worker, standing.owned.get(number))
                standing.owned, standing.under_way = {}, True
            group.train(state, loader, block.interrupted)
            block.resting()
            records = group.records(state)
            if not all(record.complete for record in records):
                border.save(standing)
                raise Stopped(f"stopped in iteration {state.iteration + 1}, all is saved: the same command goes on")
            standing.before, after = advance(session, before, state, records, group, evaluator)
            standing.states.append(after)
            standing.under_way = False
            logger.info("iteration %d: %s, %.1f s", after.iteration, described(after), time.perf_counter() - begun)
            border.save_if_due(standing)
            block.after(after)
    border.write_results(standing)
