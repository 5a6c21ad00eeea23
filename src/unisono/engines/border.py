"""Where a block of iterations comes from and what it leaves: the files at its borders, and its checkpoints.

Both are the files of `store.Folder`: vectors after an iteration, and what each worker goes on with. A checkpoint may
also lie within an iteration; then the workers' files hold all that they own, and there is nothing to begin.
"""

import logging
import time
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
from torch import Tensor

from unisono.engines import constants, redeal
from unisono.engines.arrivals import NAME as LOG
from unisono.engines.arrivals import Event, read_log, write_log
from unisono.engines.checkpoint import Checkpoints, digest_of
from unisono.engines.combined import keep
from unisono.engines.comm import Comm
from unisono.engines.dealing import dealing_of
from unisono.engines.ending import next_rate
from unisono.engines.growth import fit_
from unisono.engines.session import Session
from unisono.engines.state import State, from_json, read_state, to_json, write_state
from unisono.engines.store import COMBINE, WORKER, Folder, Formed, Held, Stored, save
from unisono.engines.worker import Worker
from unisono.errors import UserError
from unisono.files import read_json, write_json
from unisono.schedule import write_plan

logger = logging.getLogger("unisono.train")
HISTORY = "history.json"


@dataclass(slots=True)
class Block:
    """What a block is asked to do. first..last: its iterations, both included.

    checkpoint_s: seconds between checkpoints, 0 = after each iteration. interrupted: asked before each minibatch.
    after: called after each iteration with its numbers. resting: called whenever the steps of an iteration are done.
    """

    first: int
    last: int
    iterations_dir: Path
    state_dir: Path
    checkpoint_s: float
    interrupted: Callable[[], bool]
    after: Callable[[State], None] = field(default=lambda state: None)
    resting: Callable[[], None] = field(default=lambda: None)


@dataclass(slots=True)
class Standing:
    """Where a block stands: after the last of `states`, the first of which is of the iteration before the block.

    owned: what workers go on with, where it is still in their files. under_way: the workers are within the next
    iteration and hold all that they need. With a server: now, the state within that iteration; starts, the model that
    a worker fetched, where it is within a slice; events, the log of arrivals; source, the folder that all came from.
    """

    before: Held | Stored
    states: list[State]
    owned: Mapping[int, Stored] = field(default_factory=dict)
    under_way: bool = False
    now: State | None = None
    starts: dict[int, Tensor] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    source: Path = Path()

    @property
    def state(self) -> State:
        """The numbers as they stand."""
        return self.states[-1] if self.now is None else self.now


class Border:
    """The files of one block. Collective: every rank calls the same methods, and writes its own workers' files."""

    def __init__(
        self, session: Session, block: Block, comm: Comm, workers: MutableMapping[int, Worker],
        ask: Callable[[Path, int], None] | None = None,
    ) -> None:  # fmt: skip
        """Take the lease of the run's checkpoints. Raises UserError for a block that the plan does not have.

        ask: lets workers that are not called here write their files into a folder, as of an iteration.
        """
        last = len(session.plan.iterations) - 1
        if not 0 <= block.first <= block.last <= last:
            raise UserError(f"--first, --last: {block.first} to {block.last}: the plan has 0 to {last}")
        self._session, self._block, self._comm, self._workers = session, block, comm, workers
        self._files, self._ask, self._served = Folder(block.iterations_dir), ask, session.run.parallel.served
        self._saved = time.monotonic()
        self._checkpoints, self.identity = None, {}
        if comm.rank == 0:
            dev, plan = session.dev_frames(), session.plan
            self.identity = identity = {
                "config": session.config, "plan": digest_of(asdict(plan)),
                "initial": read_state(self._files.state(block.first - 1)).initial,
                "frames": {"train": session.train.digest, "dev": dev.digest},
                **({"constants": digest} if (digest := constants.digest_of(session.constants)) else {}),
            }  # fmt: skip
            redealt = redeal.last_done(plan, session.run.parallel.workers) >= 0
            self._checkpoints = Checkpoints(block.state_dir, identity, other_workers=redealt)
            write_plan(str(self._checkpoints.folder / redeal.PLAN), plan)

    def resume(self) -> Standing:
        """Return what the newest checkpoint of this block holds, or that of another number of workers, or its files."""
        found = b""
        if self._checkpoints is not None and (latest := self._checkpoints.latest_sound()) is not None:
            path, manifest = latest
            if (
                manifest["first"] <= self._block.first
                and self._block.first - 1 <= manifest["iteration"] <= self._block.last
            ):
                found = str(path).encode()
        name = self._comm.broadcast_bytes(found, 0).decode()
        if not name:
            return self._redealt() or self._from_files()
        standing = self._from_checkpoint(Path(name))
        logger.info("going on from %s, after iteration %d", name, standing.states[-1].iteration)
        return standing

    def _from_files(self) -> Standing:
        """Return what the iteration before the block left in files."""
        number = self._block.first - 1
        layout = self._session.layout_at(number)
        state = read_state(self._files.state(number), number)
        before = Stored(self._files.combined(number), COMBINE, layout, number)
        if self._served and number >= 0:
            return self._served_standing(self._files, Standing(before, [state]))
        return Standing(before, [state], self._files.owned(number, self._took_part(state), layout))

    def _served_standing(self, folder: Folder, standing: Standing) -> Standing:
        """Return where a block with a server stands, with what its workers hold, and the log of arrivals so far."""
        number = standing.states[-1].iteration
        for worker, own in self._workers.items():
            file = Stored(folder.worker(number, worker), WORKER, self._session.layout, number)
            own.restore({name: file.take(name) for name in file.names if name != "start"})
            standing.starts |= {worker: file.take("start")} if "start" in file.names else {}
        standing.events = read_log(folder.path / LOG)[1][: dealing_of(standing.state).events]
        standing.source, standing.under_way = folder.path, True
        return standing

    def _from_checkpoint(self, path: Path) -> Standing:
        """Return what a checkpoint holds, without the iterations of earlier blocks."""
        session, folder, saved = self._session, Folder(path), read_json(path / HISTORY)
        states = [from_json(value, str(path / HISTORY)) for value in saved["states"]]
        number = states[-1].iteration
        standing = Standing(Stored(folder.combined(number), COMBINE, session.layout_at(number), number), states)
        standing.under_way = bool(saved["under_way"])
        if self._served:
            standing.now = from_json(saved["now"], str(path / HISTORY)) if "now" in saved else None
            self._served_standing(folder, standing)
        elif standing.under_way:
            fit_(session, self._workers, number + 1)
            for worker, file in folder.owned(number, self._workers, session.layout_at(number + 1)).items():
                self._workers[worker].restore({name: file.take(name) for name in file.names})
        else:
            standing.owned = folder.owned(number, self._took_part(states[-1]), session.layout_at(number))
        del states[: max(0, self._block.first - 1 - states[0].iteration)]
        return standing

    def _redealt(self) -> Standing | None:
        """Return what the checkpoint of a run by another number of workers holds; None where the plan does not say so.

        All start from the combined model. Workers who had a state at its end keep it; an iteration that was under way
        is forgotten, and with it all optimiser states.
        """
        run, plan = self._session.run, self._session.plan
        workers = run.parallel.workers
        last = redeal.last_done(plan, workers)
        if not self._block.first <= last <= self._block.last:
            return None
        path = redeal.source(self._block.state_dir, plan, workers)
        standing = self._from_checkpoint(path)
        state, earlier = standing.states[-1], standing.states[0].iteration
        standing.states[:0] = [
            read_state(self._files.state(number)) for number in range(self._block.first - 1, earlier)
        ]
        for file in standing.owned.values():
            file.names = tuple(name for name in file.names if name != "start")
        if standing.under_way:
            for worker in self._workers.values():
                worker.forget()
            everyone = tuple(range(plan.iterations[last + 1].workers))
            state, standing.under_way = replace(state, fresh=everyone, shared=False), False
        rate = next_rate(run, plan, last, state.rate_scale, state.newbob)
        standing.states[-1] = replace(state, learning_rate=rate)
        logger.warning("going on from %s, after iteration %d, with %s workers", path, last, workers)
        return standing

    def is_due(self) -> bool:
        """Say whether rank 0 finds it is time for a checkpoint."""
        return self._comm.gather_records(np.array([time.monotonic() - self._saved]))[0, 0] >= self._block.checkpoint_s

    def keep(self, standing: Standing) -> None:
        """Keep the model after an iteration where the run's end wants it."""
        if self._checkpoints is not None:
            keep(self._session, self._files, standing.states[-1].iteration, standing.before.view("model"))

    def save_if_due(self, standing: Standing) -> None:
        """Save after an iteration, if rank 0 finds it is time; the model in any case where the run's end wants it."""
        self.keep(standing)
        if self.is_due() and standing.states[-1].iteration < self._block.last:
            self.save(standing)

    def save(self, standing: Standing) -> None:
        """Publish a checkpoint."""
        prepared = str(self._checkpoints.prepare()) if self._checkpoints is not None else ""
        folder = Folder(self._comm.broadcast_bytes(prepared.encode(), 0).decode())
        states, number = standing.states, standing.states[-1].iteration
        self._write(folder, standing)
        if self._checkpoints is not None:
            history = {"states": [to_json(state) for state in states], "under_way": standing.under_way}
            if standing.now is not None:
                history["now"] = to_json(standing.now)
            write_json(folder.path / HISTORY, history)
        self._comm.barrier()
        if self._checkpoints is not None:
            iterations = len(self._session.plan.iterations)
            facts = {"iteration": number, "first": states[0].iteration + 1, "iterations": iterations}
            path = self._checkpoints.publish(folder.path, facts)
            logger.info("saved %s after iteration %d", path, number)
        self._comm.barrier()  # nobody may leave before it is published: mpirun would end the others
        self._saved = time.monotonic()

    def write_results(self, standing: Standing) -> None:
        """Write a checkpoint that outlives the files, then the block's files, the numbers of each iteration last."""
        self.save(standing)
        self._write(self._files, standing)
        if self._comm.rank == 0:
            for state in standing.states[1:]:
                write_state(self._files.state(state.iteration), state)
        self._comm.barrier()

    def _write(self, folder: Folder, standing: Standing) -> None:
        """Write the workers' files and the vectors, which need not name where single workers start."""
        state, session = standing.states[-1], self._session
        layout = session.layout_at(state.iteration + standing.under_way)
        for number in self._workers if standing.under_way else self._took_part(state):
            tensors = self._goes_on_with(number, standing)
            save(folder.worker(state.iteration, number), tensors, WORKER, layout, state.iteration)
        if self._ask is not None:
            self._ask(folder.path, state.iteration)
        if self._served:
            write_log(folder.path / LOG, self.identity, standing.events)
        if self._comm.rank == 0:
            vectors = standing.before.to_write()
            kept = {name: vector for name, vector in vectors.items() if not name.startswith("start.")}
            save(folder.combined(state.iteration), kept, COMBINE, session.layout_at(state.iteration), state.iteration)

    def _goes_on_with(self, number: int, standing: Standing) -> Mapping[str, Tensor | Formed]:
        """Return what is written of a worker."""
        worker, own = self._workers[number], standing.owned.get(number)
        if standing.under_way:
            started = standing.starts.get(number)
            return worker.save() | ({} if started is None else {"start": started})
        if own is not None:
            return own.to_write()
        tensors = worker.optimiser_tensors() if self._session.run.parallel.carry_state != "reset" else {}
        start = f"start.{number}"
        return tensors | ({"start": standing.before.view(start)} if start in standing.before.names else {})

    def _took_part(self, state: State) -> list[int]:
        """Return the own workers that did something in the last iteration."""
        return sorted({outcome.worker for outcome in state.workers} & set(self._workers))
