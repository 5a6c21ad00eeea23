"""The server of the engine `async`, rank 0: it deals slices, takes in pushes as they come, and waits for nobody.

It holds the model, the rule's state and the observers, and of a worker's vector one piece at a time. A push is
announced, judged and only then sent: only the server knows whether the model moved meanwhile. Checkpoints are made
where nothing is out: no slice is dealt until all have pushed, each worker writes its own state, then the server the
rest. A model is evaluated by the first worker that asks after it was made; until it has fetched it no push is taken in.
"""

import logging
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from unisono.engines.arrivals import Event
from unisono.engines.async_worker import NAME_BYTES
from unisono.engines.block import Block, Stopped
from unisono.engines.border import Border, Standing
from unisono.engines.comm import Alone
from unisono.engines.dealing import Dealer, dealing_of
from unisono.engines.diagnose import described
from unisono.engines.evaluate import KEYS, SUBSETS
from unisono.engines.link import PIECE, Link, Say, Tell, nap, pieces
from unisono.engines.records import NUMBERS, Record
from unisono.engines.rules import How
from unisono.engines.session import Session
from unisono.engines.state import State
from unisono.engines.step import pass_on, take_in

logger = logging.getLogger("unisono.train")
_HOW = {"adopt": Say.ADOPT, "add": Say.ADD, "exchange": Say.EXCHANGE}


class RankPush:
    """A push (`step.Push`) of a worker on another rank."""

    def __init__(self, link: Link, worker: int, size: int) -> None:
        self._link, self._worker, self._size = link, worker, size

    def hand_over(self, how: How, into_: Callable[[slice, Tensor], None]) -> None:
        """Ask for the vector and take it in, piece by piece."""
        self._link.answer(self._worker, _HOW[how])
        buffer = np.empty(min(PIECE, self._size), np.float32)
        for part in pieces(self._size):
            piece = self._link.receive(buffer[: part.stop - part.start], self._worker)
            into_(part, torch.from_numpy(piece))
            if how == "exchange":
                self._link.send(piece, self._worker)

    def refuse(self) -> None:
        """Say that it is not wanted."""
        self._link.answer(self._worker, Say.REFUSE)


class Server:
    """One block of iterations."""

    def __init__(self, session: Session, block: Block, link: Link) -> None:
        self._session, self._block, self._link = session, block, link
        self._dealer = Dealer(session)
        self._border = Border(session, block, Alone(), {}, self._files)
        self._standing: Standing = self._border.resume()
        self._strangers = set(range(link.workers)) if self._standing.source != Path() else set()
        self._waiting: list[int] = []  # for an answer, in the order in which they came
        self._pushes: deque[Record] = deque()
        self._devices = ["cpu"] * link.workers
        self._look: int | None = None  # the iteration whose model is to be evaluated
        self._looking: dict[int, int] = {}
        self._found: dict[int, dict[str, float | None]] = {}  # by worker: two may evaluate at the same time
        self._saved: set[int] = set()
        self._drains = self._stops = False
        self._said = len(self._standing.states)

    def serve(self) -> None:
        """Serve from where the block stands to its end. Raises Stopped after an interruption, with everything saved."""
        standing = self._standing
        while standing.states[-1].iteration < self._block.last:
            if standing.states[-1].stop:
                standing.states.append(pass_on(standing.states[-1]))
                continue
            if standing.now is None:
                standing.now = standing.states[-1]
            self._answer()
            if self._drains and self._is_quiet():
                self._border.save(standing)
                if self._stops:
                    self._end(interrupted=True)
                self._drains = False
                continue
            self._listen()
            if self._pushes and self._look is None:
                self._take_in(standing, standing.now, self._pushes.popleft())
        while not self._is_quiet():
            self._answer()
            self._listen()
        self._border.write_results(standing)
        self._end(interrupted=False)

    def _end(self, *, interrupted: bool) -> None:
        for worker in range(self._link.workers):
            self._link.answer(worker, Say.END, float(interrupted))
        self._link.close()
        if interrupted:
            at = f"stopped in iteration {self._standing.states[-1].iteration + 1}"
            raise Stopped(f"{at}, all is saved: the same command goes on")

    def _is_quiet(self) -> bool:
        """Say whether all workers wait for an answer, and nothing is left to be done with what they brought."""
        return len(self._waiting) == self._link.workers and not self._looking and self._look is None

    def _listen(self) -> None:
        """Wait until somebody tells something, unless there is a push to take in."""
        turn = 0
        while True:
            told = self._link.arrived()
            for worker, tell, numbers in told:
                self._note(worker, tell, numbers)
            stops, _ = self._block.interrupted(), self._block.resting()
            if stops and not self._stops:
                self._drains = self._stops = True
                return
            if told or (self._pushes and self._look is None):
                return
            nap(turn)
            turn += 1

    def _note(self, worker: int, tell: Tell, numbers: np.ndarray) -> None:
        """Note what a worker tells."""
        if numbers[0] and tell != Tell.JOIN:
            self._drains = self._stops = True
        if tell == Tell.PUSH:
            row = numbers[1 : 1 + len(NUMBERS)].tolist()
            self._pushes.append(Record.from_row(row, self._devices[worker]))
            return
        if tell == Tell.JOIN:
            name = self._link.receive(np.empty(NAME_BYTES, np.float32), worker).astype(np.uint8).tobytes()
            self._devices[worker] = name.decode().strip()
        elif tell == Tell.LOOKED:
            self._looked(worker, float(numbers[1]), numbers[2:])
        elif tell == Tell.SAVED:
            self._saved.add(worker)
        self._waiting.append(worker)

    def _answer(self) -> None:
        """Give each that waits something to do, if there is something."""
        for worker in [one for one in self._waiting if one in self._strangers]:
            self._strangers.discard(worker)
            self._tell_folder(worker, Say.RESTORE, self._standing.source, self._standing.states[-1].iteration)
        if self._look is not None and self._waiting:
            self._send_model(self._waiting.pop(0), self._look, self._standing.before.view("model"), whole_dev=False)
            self._look = None
        while self._look is None and self._waiting and self._may_deal():
            self._deal(self._standing, self._waiting.pop(0))

    def _may_deal(self) -> bool:
        state = self._standing.now
        if state is None or self._drains or not self._dealer.may_deal(state):
            return False
        return dealing_of(state).dealt // self._link.workers <= self._block.last

    def _deal(self, standing: Standing, worker: int) -> None:
        """Deal a slice."""
        state, parallel = standing.now, self._session.run.parallel
        if state is None:
            return
        fresh = worker in state.fresh
        follows = fresh or parallel.combine.kind != "elastic"
        standing.now, out = self._dealer.deal(state, worker)
        standing.events.append(Event("pull", worker, out.iteration, out.slice, out.start))
        resets = fresh or parallel.carry_state == "reset"
        self._link.answer(worker, Say.DEAL, out.iteration, out.slice, out.start, out.rate, follows, resets)
        if follows:
            self._link.send(standing.before.view("model").numpy(), worker)

    def _take_in(self, standing: Standing, state: State, record: Record) -> None:
        """Judge a push, take it in, and see to what the end of an iteration brings."""
        plan, number = self._session.plan, state.iteration + 1
        ends = plan.iterations[number].end_of_epoch or plan.is_last(number)
        state = self._dealer.back(state, record.worker)
        push = RankPush(self._link, record.worker, self._session.layout.size)
        standing.before, after, what = take_in(
            self._session, standing.before, state, record, push, self if ends else None
        )
        standing.events.append(Event(what, record.worker, record.iteration, record.slice, record.start))
        standing.now = after
        if after.iteration == state.iteration:
            return
        if not ends and self._session.run.diagnostics.frames:
            self._look = after.iteration
        elif not ends:
            after = replace(after, diagnostics=dict.fromkeys(SUBSETS))
        standing.states.append(after)
        standing.now = None
        self._border.keep(standing)
        self._tell_of_iterations()
        if after.iteration < self._block.last and self._border.is_due():
            self._drains = True

    def evaluate(self, params: Tensor, *, iteration: int, whole_dev: bool) -> dict[str, float | None]:
        """Let a worker evaluate a model and wait for the result: at the end of an epoch, when nothing is out."""
        while not self._waiting:
            self._listen()
        worker = self._waiting.pop(0)
        self._send_model(worker, iteration, params, whole_dev=whole_dev)
        while worker in self._looking:
            self._listen()
        return self._found[worker]

    def _send_model(self, worker: int, iteration: int, params: Tensor, *, whole_dev: bool) -> None:
        self._looking[worker] = iteration
        self._link.answer(worker, Say.LOOK, iteration, float(whole_dev))
        self._link.send(params.numpy(), worker)

    def _looked(self, worker: int, seconds: float, values: np.ndarray) -> None:
        """Write down what a worker found about a model."""
        number = self._looking.pop(worker)
        told = dict(zip(KEYS, values[: len(KEYS)].tolist(), strict=True))
        found = {key: None if np.isnan(v) else v for key, v in told.items() if not np.isposinf(v)}
        self._found[worker] = found
        states = self._standing.states
        for index, state in enumerate(states):
            if state.iteration == number:
                states[index] = replace(state, diagnostics=found, seconds=state.seconds | {"evaluate": seconds})
        self._tell_of_iterations()

    def _tell_of_iterations(self) -> None:
        """Tell of the iterations whose model was evaluated, in their order."""
        states = self._standing.states
        while self._said < len(states) and states[self._said].diagnostics is not None:
            state = states[self._said]
            logger.info("iteration %d: %s", state.iteration, described(state))
            self._block.after(state)
            self._said += 1

    def _files(self, folder: Path, iteration: int) -> None:
        """Let all workers write what they own; all of them wait."""
        self._saved.clear()
        while self._waiting:
            self._tell_folder(self._waiting[0], Say.SAVE, folder, iteration)
        while len(self._saved) < self._link.workers:
            self._listen()

    def _tell_folder(self, worker: int, say: Say, folder: Path, iteration: int) -> None:
        self._waiting.remove(worker)
        name = np.frombuffer(str(folder).encode(), np.uint8).astype(np.float32)
        self._link.answer(worker, say, iteration, len(name))
        self._link.send(name, worker)
