"""The engine `virtual` with a server: workers come to it one by one, in the order that `parallel.arrival` names.

A worker trains its slice when it is its turn to push, from the model that it had fetched: the result depends on the
order of fetches and pushes alone, which makes this the replay of every run of engine `async`.
"""

import logging
import time
from collections.abc import Callable

from torch import Tensor

from unisono.data.frames.loader import Loader
from unisono.engines.arrivals import Event, order_for
from unisono.engines.block import Block, Stopped
from unisono.engines.border import Border, Standing
from unisono.engines.comm import Alone
from unisono.engines.dealing import Dealer, dealing_of
from unisono.engines.diagnose import described
from unisono.engines.evaluate import Evaluator
from unisono.engines.records import Record
from unisono.engines.rules import How
from unisono.engines.session import Session
from unisono.engines.start import fetch_
from unisono.engines.state import State
from unisono.engines.step import pass_on, take_in
from unisono.engines.worker import Worker

logger = logging.getLogger("unisono.train")
PIECE = 1 << 20  # numbers


def pieces(size: int) -> list[slice]:
    """Return the parts in which a vector travels: 4 MB each."""
    return [slice(begin, min(begin + PIECE, size)) for begin in range(0, size, PIECE)]


class MemoryPush:
    """A worker's push (`step.Push`): its parameters, and those that it had fetched."""

    def __init__(self, params: Tensor, start: Tensor) -> None:
        self._params, self._start = params, start

    def hand_over(self, how: How, into_: Callable[[slice, Tensor], None]) -> None:
        """Give the parameters, or their difference from the start, piece by piece."""
        for part in pieces(len(self._params)):
            piece = self._params[part]
            into_(part, piece - self._start[part] if how == "add" else piece)

    def refuse(self) -> None:
        """Do nothing: the worker will fetch the model."""


def train(session: Session, block: Block) -> None:
    """Train a block of iterations. Raises Stopped after an interruption, with everything saved."""
    workers = {number: session.worker(number) for number in range(session.most_workers)}
    border = Border(session, block, Alone(), workers)
    Server(session, block, border, workers).train()


class Server:
    """One block: the server, and all workers in its process."""

    def __init__(self, session: Session, block: Block, border: Border, workers: dict[int, Worker]) -> None:
        self._session, self._block, self._border, self._workers = session, block, border, workers
        self._dealer, self._evaluator = Dealer(session), Evaluator(session, Alone())
        self._order = order_for(session, self._dealer, border.identity)
        self._standing = border.resume()
        self._standing.under_way = True

    def train(self) -> None:
        """Train from where the block stands to its end."""
        standing, block, begun = self._standing, self._block, time.perf_counter()
        with self._session.loader(keep=True) as loader:
            while standing.states[-1].iteration < block.last:
                if standing.states[-1].stop:
                    standing.states.append(pass_on(standing.states[-1]))
                    continue
                if standing.now is None:
                    standing.now = standing.states[-1]
                    begun = time.perf_counter()
                what, number = self._order.next(standing.now)
                if what == "pull":
                    self._pull(standing, standing.now, number)
                    continue
                record = self._run(standing.now, number, loader)
                if not record.complete:
                    self._border.save(standing)
                    at = f"stopped in iteration {standing.now.iteration + 1}"
                    raise Stopped(f"{at}, all is saved: the same command goes on")
                closed = self._push(standing, standing.now, record)
                if closed is not None:
                    seconds = time.perf_counter() - begun
                    logger.info("iteration %d: %s, %.1f s", closed.iteration, described(closed), seconds)
                    self._border.save_if_due(standing)
                    block.after(closed)
        self._border.write_results(standing)

    def _pull(self, standing: Standing, state: State, number: int) -> None:
        """Let a worker fetch the model and deal it a slice."""
        fetch_(self._session.run, state, standing.before, self._workers[number])
        state, out = self._dealer.deal(state, number)
        self._note(standing, state, Event("pull", number, out.iteration, out.slice, out.start))
        standing.now = self._order.dated(state, out)

    def _run(self, state: State, number: int, loader: Loader) -> Record:
        """Let a worker train its slice."""
        out = next(out for out in dealing_of(state).out if out.worker == number)
        worker, taking = self._workers[number], self._session.rule(self._dealer.workers).taking
        if taking is not None and taking.how(state.turn - out.start) == "add" and number not in self._standing.starts:
            self._standing.starts[number] = worker.params.clone()
        task = self._session.task_of(out.iteration, out.slice, out.start, out.rate)
        record = worker.run(task, loader, self._block.interrupted)
        self._block.resting()
        return record

    def _push(self, standing: Standing, state: State, record: Record) -> State | None:
        """Take in what a worker has trained; return the state if that closes an iteration."""
        number = record.worker
        worker, state = self._workers[number], self._dealer.back(state, number)
        push = MemoryPush(worker.params, standing.starts.pop(number, worker.params))
        before, evaluator = standing.before, self._evaluator
        standing.before, after, what = take_in(self._session, before, state, record, push, evaluator)
        self._note(standing, state, Event(what, number, record.iteration, record.slice, record.start))
        if after.iteration == state.iteration:
            standing.now = after
            return None
        standing.states.append(after)
        standing.now = None
        return after

    def _note(self, standing: Standing, state: State, event: Event) -> None:
        """Write an event into the log, if it is what the order wants."""
        self._order.check(state, event)
        standing.events.append(event)
