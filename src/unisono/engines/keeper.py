"""What a block of iterations begins with and leaves behind: the files at its borders, and its checkpoints."""

import logging
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from unisono.core.flat import Layout
from unisono.data.frames.store import FramesStore
from unisono.engines import checkpoint, redeal
from unisono.engines.combine import next_rate, observer_names
from unisono.engines.crew import Crew
from unisono.engines.jobs import load_optimiser, save_optimiser
from unisono.engines.run import Run
from unisono.engines.state import (
    KIND,
    STATE_FORMAT,
    Combined,
    Lazy,
    State,
    combined_from,
    combined_tensors,
    load_combined,
    read_state,
    save_combined,
    state_from,
    write_state,
)
from unisono.engines.tensor_file import TensorFile, save_tensors
from unisono.errors import UserError
from unisono.files import read_json, write_json
from unisono.schedule import Plan, write_plan

logger = logging.getLogger("unisono.train")

WORKER = "worker"


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

    def combined(self, number: int) -> Path:
        """Return the path of an iteration's vectors (-1: before the first)."""
        return self.iterations_dir / f"{'init' if number < 0 else number}.combine.safetensors"

    def state(self, number: int) -> Path:
        """Return the path of an iteration's numbers."""
        return self.iterations_dir / f"{'init' if number < 0 else number}.state.json"

    def worker(self, number: int, worker: int) -> Path:
        """Return the path of a worker's optimiser state."""
        return self.iterations_dir / f"{number}.{worker}.state.safetensors"


class Keeper:
    """Where a block comes from and where it goes: the files at its borders, and its checkpoints."""

    def __init__(
        self, run: Run, config: dict[str, Any], plan: Plan, train: FramesStore, dev: FramesStore, crew: Crew,
        block: Block, layout: Layout,
    ) -> None:  # fmt: skip
        self._run, self._plan, self._crew, self._block, self._layout = run, plan, crew, block, layout
        self._comm = crew.comm
        self._observers = observer_names(run)
        self._own_states: dict[int, dict[str, Tensor]] | None = None
        self._saved = time.monotonic()
        self._store = None
        if self._comm.rank == 0:
            identity = {
                "config": config, "plan": checkpoint.digest_of(asdict(plan)), "initial": _initial(block),
                "frames": {"train": train.digest, "dev": dev.digest},
            }  # fmt: skip
            redealt = redeal.last_done(plan, run.parallel.workers) >= 0
            self._store = checkpoint.Store(block.state_dir, identity, other_workers=redealt)
            write_plan(str(self._store.folder / redeal.PLAN), plan)

    def from_files(self) -> tuple[Combined, list[State], bool]:
        """Return what the iteration before the block left in files."""
        block, before = self._block, self._block.first - 1
        state = read_state(block.state(before))
        if state.iteration != before:
            raise UserError(f"{block.state(before)}: of iteration {state.iteration}: delete it and train again")
        path = block.combined(before)
        combined = load_combined(path, state, self._observers, self._layout, everything=True)
        self._own_states = {}
        if before >= 0 and self._run.parallel.carry_state != "reset" and not state.stop:
            for number in self._crew.mine:
                if number < self._plan.iterations[before].workers:
                    self._own_states[number] = load_optimiser(block.worker(before, number), self._layout)
        return combined, [state], False

    def take_own_states(self) -> dict[int, dict[str, Tensor]] | None:
        """Return the optimiser states read from files, once; None after that: the optimisers hold their own."""
        states, self._own_states = self._own_states, None
        return states

    def resume(self) -> tuple[Combined, list[State], bool] | None:
        """Return what the newest sound checkpoint of this block holds; None where there is none."""
        found = b""
        if self._store is not None and (latest := self._store.latest_sound()) is not None:
            path, manifest = latest
            if (
                manifest["first"] <= self._block.first
                and self._block.first - 1 <= manifest["iteration"] <= self._block.last
            ):
                found = str(path).encode()
        name = self._comm.broadcast_bytes(found, 0).decode()
        if not name:
            return self._redealt()
        path = Path(name)
        combined, states, under_way, before = self._load(path)
        logger.info("going on from %s, after iteration %d", path, states[-1].iteration)
        return combined, states[max(0, self._block.first - 1 - before) :], under_way

    def _redealt(self) -> tuple[Combined, list[State], bool] | None:
        """Return what the checkpoint of a run by another number of workers holds; None where the plan does not say so.

        All start from the combined model. Workers who had a state at its end keep it; an iteration that was under way
        is forgotten, and with it all optimiser states.
        """
        workers, block = self._run.parallel.workers, self._block
        last = redeal.last_done(self._plan, workers)
        if not block.first <= last <= block.last:
            return None
        path = redeal.source(block.state_dir, self._plan, workers)
        assert path is not None
        combined, states, under_way, before = self._load(path)
        earlier = [read_state(block.state(number)) for number in range(block.first - 1, before)]
        states = earlier + states[max(0, block.first - 1 - before) :]
        combined.starts = {}
        for number, worker in self._crew.mine.items():
            if under_way or number >= self._plan.iterations[last].workers:
                worker.forget()
        state = states[-1]
        scale, newbob = state.rate_scale, state.newbob
        fresh = tuple(range(self._plan.iterations[last + 1].workers)) if under_way else state.fresh
        rate = next_rate(self._run, self._plan, last, scale, newbob)
        states[-1] = replace(state, learning_rate=rate, fresh=fresh, shared=state.shared and not under_way)
        logger.warning("going on from %s, after iteration %d, with %s workers", path, last, workers)
        return combined, states, False

    def _load(self, path: Path) -> tuple[Combined, list[State], bool, int]:
        """Return vectors, numbers, whether an iteration is under way, and the iteration before the first number."""
        saved = read_json(path / "states.json")
        states = [state_from(value, str(path)) for value in saved["states"]]
        tensors = TensorFile(path / "combine.safetensors", kind=KIND, layout=self._layout).all()
        combined = combined_from(tensors, self._observers, states[-1].best is not None)
        for number, worker in self._crew.mine.items():
            if not (path / f"worker.{number}.safetensors").exists():
                continue
            own = TensorFile(path / f"worker.{number}.safetensors", kind=WORKER, layout=self._layout).all()
            start = own.pop("start", None)
            worker.restore(own)
            if start is not None and not saved["under_way"]:
                combined.starts[number] = worker.params.copy_(start)
        return combined, states, bool(saved["under_way"]), int(saved["before"])

    def save_if_due(self, combined: Combined, states: list[State]) -> None:
        """Save after an iteration, if rank 0 finds it is time."""
        due = self._comm.gather_records(np.array([time.monotonic() - self._saved]))[0, 0] >= self._block.checkpoint_s
        if due and states[-1].iteration < self._block.last:
            self.save(combined, states, under_way=False)

    def save(self, combined: Combined, states: list[State], *, under_way: bool) -> None:
        """Publish a checkpoint; every rank writes its own workers."""
        prepared = str(self._store.prepare()) if self._store is not None else ""
        folder = Path(self._comm.broadcast_bytes(prepared.encode(), 0).decode())
        iteration = states[-1].iteration
        for number, worker in self._crew.mine.items():
            tensors = worker.save()
            if not under_way:
                del tensors["params"]  # the next iteration begins from the combined vectors
                if number in combined.starts:
                    tensors["start"] = combined.starts[number]
            path = folder / f"worker.{number}.safetensors"
            save_tensors(path, tensors, kind=WORKER, iteration=iteration, layout=self._layout)
        if self._store is not None:
            vectors = combined_tensors(combined)
            save_tensors(folder / "combine.safetensors", vectors, kind=KIND, iteration=iteration, layout=self._layout)
            rows = [{"format": STATE_FORMAT} | asdict(state) for state in states]
            before = states[0].iteration
            write_json(folder / "states.json", {"states": rows, "before": before, "under_way": under_way})
        self._comm.barrier()
        if self._store is not None:
            facts = {"iteration": iteration, "first": states[0].iteration + 1, "iterations": len(self._plan.iterations)}
            path = self._store.publish(folder, facts)
            logger.info("saved %s after iteration %d", path, iteration)
        self._comm.barrier()  # nobody may leave before it is published: mpirun would end the others
        self._saved = time.monotonic()

    def write_results(self, combined: Combined, states: list[State]) -> None:
        """Write the block's files, the numbers of each iteration last, and a checkpoint that outlives them."""
        block, last = self._block, states[-1].iteration
        self.save(combined, states, under_way=False)
        for number, worker in self._crew.mine.items():
            if number < self._plan.iterations[last].workers:
                carried = worker.optimiser.state() if self._run.parallel.carry_state != "reset" else {}
                save_optimiser(block.worker(last, number), carried, last, self._layout)
        self._gather_starts(combined, states[-1])
        if self._comm.rank == 0:
            save_combined(block.combined(last), combined, last, self._layout)
            for state in states[1:]:
                write_state(block.state(state.iteration), state)
        self._comm.barrier()

    def _gather_starts(self, combined: Combined, state: State) -> None:
        """Bring the single workers' start vectors to rank 0, which receives each when it writes it."""
        mine, size = self._comm.rank, self._comm.size
        if size == 1:
            return
        held = self._comm.gather_records(np.array([float(mine in combined.starts)]))[:, 0]
        if mine > 0:
            if held[mine]:
                self._comm.exchange(combined.starts[mine], None, 0)
            return

        def receive(rank: int) -> Tensor:
            received = self._comm.exchange(combined.model, rank, None)
            assert received is not None
            return received

        own = {0: combined.starts[0]} if held[0] else {}
        combined.starts = Lazy({rank: partial(receive, rank) for rank in range(1, size) if held[rank]})
        combined.starts.update(own)


def _initial(block: Block) -> str:
    """Return what the run's initial model is known by: the digest in its first state."""
    before = block.first - 1
    return str(read_state(block.state(before)).initial)
