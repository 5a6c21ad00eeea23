"""A block of iterations in one command: the engines `virtual` and `sync`, with checkpoints and exact resume.

A block reads and writes the same files as `jobs` does at its borders, so blocks and engines may follow each other.
"""

import logging
import time
from typing import Any

from unisono.data.frames.store import FramesStore
from unisono.engines.combine import advance, pass_on
from unisono.engines.comm import Comm
from unisono.engines.crew import Crew
from unisono.engines.diagnose import described
from unisono.engines.evaluate import Evaluator
from unisono.engines.keeper import Block, Keeper
from unisono.engines.place import CPU, Place
from unisono.engines.run import Run, make_loader, make_network
from unisono.engines.state import State
from unisono.errors import UserError
from unisono.schedule import Plan, worker_range

logger = logging.getLogger("unisono.train")


class Stopped(Exception):
    """The block was interrupted and its state is saved."""


def train_block(
    run: Run,
    config: dict[str, Any],
    plan: Plan,
    train: FramesStore,
    dev: FramesStore,
    comm: Comm,
    block: Block,
    place: Place = CPU,
) -> None:
    """Train iterations first to last. Raises Stopped after an interruption, with everything saved.

    Collective: every rank calls it. Rank 0 writes the results.
    """
    if not 0 <= block.first <= block.last < len(plan.iterations):
        raise UserError(f"--first, --last: {block.first} to {block.last}: the plan has 0 to {len(plan.iterations) - 1}")
    network = make_network(run, train)
    crew = Crew(run, plan, network, comm, place)
    evaluator = Evaluator(run, network, train, dev, comm, place.device)
    keeper = Keeper(run, config, plan, train, dev, crew, block, network.layout)
    combined, states, under_way = keeper.resume() or keeper.from_files()
    with make_loader(run, train, plan, place=place, keep=True) as loader:
        while states[-1].iteration < block.last:
            state = states[-1]
            if state.stop:
                states.append(pass_on(state))
                continue
            if not under_way:
                crew.begin(state, combined, keeper.take_own_states())
            under_way = False
            begun = time.perf_counter()
            crew.train(state, loader, block.interrupted)
            block.resting()
            waiting = time.perf_counter()
            crew.comm.barrier()  # so that the time spent waiting is known before the stats travel
            _note_waiting(crew, time.perf_counter() - waiting)
            stats = crew.gather(state)
            if not all(item.complete for item in stats):
                keeper.save(combined, states, under_way=True)
                raise Stopped(f"stopped in iteration {state.iteration + 1}, all is saved: the same command goes on")
            combined, after = advance(run, plan, combined, state, stats, crew, evaluator)
            states.append(after)
            logger.info("%s", _line(after, time.perf_counter() - begun))
            keeper.save_if_due(combined, states)
            block.after(after)
    keeper.write_results(combined, states)


def _note_waiting(crew: Crew, seconds: float) -> None:
    for worker in crew.mine.values():
        if worker.stats is not None:
            worker.stats.seconds_wait = seconds


def _line(state: State, seconds: float) -> str:
    return f"iteration {state.iteration}: {described(state.diagnostics or {})}, {seconds:.1f} s"


def ranks_of(run: Run) -> int:
    """Return the number of MPI ranks that a run wants: its final number of workers."""
    return worker_range(run.parallel.workers)[1]
