"""A worker of the engine `async`: it asks the server for a slice, trains it, pushes what came of it, and asks again."""

import time
from pathlib import Path

import numpy as np
import torch

from unisono.engines.block import Block, Stopped
from unisono.engines.comm import Alone
from unisono.engines.evaluate import KEYS, Evaluator
from unisono.engines.link import Link, Say, Tell, pieces
from unisono.engines.session import Session
from unisono.engines.store import WORKER, Folder, Stored, save

NAME_BYTES = 64  # of the name of a device


def work(session: Session, block: Block, link: Link) -> None:
    """Do what the server says until it says no more. Raises Stopped where the run was interrupted."""
    OneWorker(session, block, link).work()


class OneWorker:
    """One rank's worker."""

    def __init__(self, session: Session, block: Block, link: Link) -> None:
        self._session, self._block, self._link = session, block, link
        self._worker = session.worker(link.rank - 1)
        self._start = torch.zeros_like(self._worker.params)  # what it fetched, or looks at, or has learned
        self._evaluator: Evaluator | None = None
        self._interrupted, self._waited = False, 0.0

    def work(self) -> None:
        """Do what the server says."""
        link = self._link
        name = self._session.place.name.encode()[:NAME_BYTES]
        link.tell(Tell.JOIN)
        link.send(np.frombuffer(name.ljust(NAME_BYTES), np.uint8).astype(np.float32))
        with self._session.loader(keep=True) as self._loader:
            said, numbers = link.answered()
            while said != Say.END:
                if said == Say.DEAL:
                    said, numbers = self._deal(numbers)
                elif said == Say.LOOK:
                    said, numbers = self._look(int(numbers[0]), bool(numbers[1]))
                else:
                    said, numbers = self._file(said, numbers)
        if numbers[0]:
            raise Stopped("stopped")

    def _ask(self, tell: Tell, *numbers: float) -> tuple[Say, np.ndarray]:
        """Tell the server something, and whether this process was asked to stop; return the answer."""
        self._block.resting()
        begun = time.perf_counter()
        answer = self._link.ask(tell, float(self._interrupted), *numbers)
        self._waited += time.perf_counter() - begun
        return answer

    def _goes_on(self) -> bool:
        """Note a wish to stop, and go on: a slice is finished and pushed before the server saves."""
        self._interrupted |= self._block.interrupted()
        return False

    def _deal(self, numbers: np.ndarray) -> tuple[Say, np.ndarray]:
        """Train a slice and push it."""
        iteration, slice_, start = (int(number) for number in numbers[:3])
        rate, follows, fresh = float(numbers[3]), bool(numbers[4]), bool(numbers[5])
        link, worker = self._link, self._worker
        begun = time.perf_counter()
        if follows:
            link.receive(self._start.numpy())
            worker.params.copy_(self._start)
        if fresh:
            worker.optimiser.reset()
        self._waited += time.perf_counter() - begun
        record = worker.run(self._session.task_of(iteration, slice_, start, rate), self._loader, self._goes_on)
        record.seconds_wait, self._waited = self._waited, 0.0
        said, _ = self._ask(Tell.PUSH, *record.to_row())
        begun = time.perf_counter()
        if said == Say.ADOPT:
            link.send(worker.params.numpy())
        elif said == Say.ADD:
            link.send(torch.sub(worker.params, self._start, out=self._start).numpy())
        elif said == Say.EXCHANGE:
            own = worker.params.numpy()
            for part in pieces(len(own)):
                link.send(own[part])
                link.receive(own[part])
        self._waited += time.perf_counter() - begun
        return self._ask(Tell.READY)

    def _look(self, iteration: int, whole_dev: bool) -> tuple[Say, np.ndarray]:
        """Evaluate a model and tell what was found."""
        self._link.receive(self._start.numpy())
        begun = time.perf_counter()
        self._evaluator = self._evaluator or Evaluator(self._session, Alone())
        found = self._evaluator.evaluate(self._start, iteration=iteration, whole_dev=whole_dev)
        # Not finite: nan; not looked for: infinity.
        values = [np.nan if (value := found.get(key, np.inf)) is None else value for key in KEYS]
        return self._ask(Tell.LOOKED, time.perf_counter() - begun, *values)

    def _file(self, said: Say, numbers: np.ndarray) -> tuple[Say, np.ndarray]:
        """Write all that the worker owns into a folder, or read it from there."""
        iteration, length = (int(number) for number in numbers[:2])
        name = self._link.receive(np.empty(length, np.float32)).astype(np.uint8).tobytes()
        path = Folder(Path(name.decode())).worker(iteration, self._worker.number)
        layout = self._session.layout
        if said == Say.SAVE:
            save(path, self._worker.save(), WORKER, layout, iteration)
            return self._ask(Tell.SAVED)
        file = Stored(path, WORKER, layout, iteration)
        self._worker.restore({name: file.take(name) for name in file.names})
        return self._ask(Tell.READY)
