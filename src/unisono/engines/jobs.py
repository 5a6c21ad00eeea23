"""The engine `jobs`: one process per worker and iteration, one for each combination, files between them."""

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from unisono.core import average, gossip
from unisono.core.flat import Layout
from unisono.data.frames.store import FramesStore
from unisono.engines.combine import advance, observer_names, pass_on
from unisono.engines.comm import Alone
from unisono.engines.evaluate import Evaluator
from unisono.engines.place import CPU, Place
from unisono.engines.run import Run, make_loader, make_network, make_optimiser
from unisono.engines.start import begin_, task_of
from unisono.engines.state import Lazy, State, load_combined, read_state, save_combined, write_state
from unisono.engines.tensor_file import TensorFile, save_tensors
from unisono.engines.worker import Stats, Worker
from unisono.errors import UserError
from unisono.files import read_json, write_json
from unisono.schedule import Plan

PathLike = str | os.PathLike[str]
MODEL, OPTIMISER = "model", "optimiser"


class WorkerFiles(NamedTuple):
    """Where a worker's results of one iteration go."""

    model: PathLike
    state: PathLike
    stats: PathLike


def train_job(
    run: Run,
    plan: Plan,
    store: FramesStore,
    *,
    iteration: int,
    worker: int,
    combined_path: PathLike,
    state_path: PathLike,
    own_state: PathLike | None,
    out: WorkerFiles,
    place: Place = CPU,
) -> None:
    """Train one worker for one iteration, from files to files."""
    network = make_network(run, store)
    state = _state_before(state_path, iteration)
    subject = Worker(worker, network, make_optimiser(run, network), run.seed, place)
    if state.stop:
        _save_worker(out, Stats(worker, iteration, complete=True), {}, {}, network.layout)
        return
    combined = load_combined(combined_path, state, (), network.layout, worker=worker)
    own = None if own_state is None or state.shared else load_optimiser(own_state, network.layout)
    begin_(run, plan, state, combined, worker, subject.params, subject.optimiser, own or {})
    del combined, own
    with make_loader(run, store, plan, place=place) as loader:
        started = seconds_since_start()
        stats = subject.run(task_of(plan, state, worker), loader)
    stats.seconds_start = started
    save_worker(out, subject, stats, run, network.layout)


def save_worker(out: WorkerFiles, worker: Worker, stats: Stats, run: Run, layout: Layout) -> None:
    """Write a worker's model, optimiser state (empty where it is not carried on) and stats."""
    carried = worker.optimiser.state() if run.parallel.carry_state != "reset" else {}
    _save_worker(out, stats, {"model": worker.params}, carried, layout)


def save_optimiser(path: PathLike, state: Mapping[str, Tensor], iteration: int, layout: Layout) -> None:
    """Write an optimiser's state."""
    save_tensors(path, state, kind=OPTIMISER, iteration=iteration, layout=layout)


def load_optimiser(path: PathLike, layout: Layout) -> dict[str, Tensor]:
    """Read an optimiser's state."""
    return TensorFile(path, kind=OPTIMISER, layout=layout).all()


def _save_worker(
    out: WorkerFiles, stats: Stats, model: Mapping[str, Tensor], state: Mapping[str, Tensor], layout: Layout
) -> None:
    begun = time.perf_counter()
    save_tensors(out.model, model, kind=MODEL, iteration=stats.iteration, layout=layout)
    save_optimiser(out.state, state, stats.iteration, layout)
    stats.seconds_write = time.perf_counter() - begun
    write_json(out.stats, stats.to_json())


class FileModels:
    """The workers' models in files, read one at a time: memory of one model and one float64 sum."""

    def __init__(self, models: Sequence[PathLike], states: Sequence[PathLike], layout: Layout) -> None:
        self._models, self._states, self._layout = models, states, layout

    def one(self, worker: int) -> Tensor:
        """Return a worker's model [P]."""
        return TensorFile(self._models[worker], kind=MODEL, layout=self._layout).get("model")

    def mean(self, weights: Sequence[float]) -> Tensor:
        """Return the weighted mean of the models."""
        total = average.RunningMean(self._layout.size)
        for worker, weight in enumerate(weights):
            if weight:
                total.add(TensorFile(self._models[worker], kind=MODEL, layout=self._layout).look("model"), weight)
        return total.result()

    def optimiser_state(self, worker: int) -> dict[str, Tensor]:
        """Return a worker's optimiser state."""
        return load_optimiser(self._states[worker], self._layout)

    def mean_momentum(self, weights: Sequence[float]) -> Tensor | None:
        """Return the weighted mean of the momenta."""
        total = average.RunningMean(self._layout.size)
        for worker, weight in enumerate(weights):
            file = TensorFile(self._states[worker], kind=OPTIMISER, layout=self._layout)
            if "momentum" not in file.names:
                return None
            if weight:
                total.add(file.look("momentum"), weight)
        return total.result()

    def meet(self, partners: Sequence[int | None], taking_part: Sequence[bool]) -> Lazy[int]:
        """Return each worker's model half-way to its partner's, formed from the files when it is asked for."""

        def form(worker: int, other: int | None) -> Tensor:
            return gossip.pair_step(self.one(worker), None if other is None else self.one(other))

        pairs = enumerate(partners)
        return Lazy({worker: partial(form, worker, other) for worker, other in pairs if taking_part[worker]})


def combine_job(
    run: Run,
    plan: Plan,
    train: FramesStore,
    dev: FramesStore,
    *,
    iteration: int,
    combined_path: PathLike,
    state_path: PathLike,
    workers: Sequence[WorkerFiles],
    out: PathLike,
    out_state: PathLike,
    place: Place = CPU,
    diagnose: bool = True,
) -> None:
    """Combine the workers of one iteration, from files to files. diagnose: see `advance`."""
    network = make_network(run, train)
    layout = network.layout
    state = _state_before(state_path, iteration)
    previous = load_combined(combined_path, state, observer_names(run), layout)
    if state.stop:
        after = pass_on(state) if diagnose else replace(pass_on(state), diagnostics=None)
        save_combined(out, previous, iteration, layout)
        write_state(out_state, after)
        return
    expected = plan.iterations[iteration].workers
    if len(workers) != expected:
        raise UserError(f"iteration {iteration}: the files of {len(workers)} workers, the plan has {expected}")
    stats = [Stats.from_json(read_json(files.stats), str(files.stats)) for files in workers]
    for number, (item, files) in enumerate(zip(stats, workers, strict=True)):
        if (item.worker, item.iteration) != (number, iteration):
            raise UserError(f"{files.stats}: of worker {item.worker}, iteration {item.iteration}: give {number}'s")
    models = FileModels([files.model for files in workers], [files.state for files in workers], layout)
    evaluator = Evaluator(run, network, train, dev, Alone(), place.device)
    combined, after = advance(run, plan, previous, state, stats, models, evaluator, diagnose=diagnose)
    save_combined(out, combined, iteration, layout)
    write_state(out_state, after)


def seconds_since_start() -> float:
    """Return the age of this process in seconds, interpreter and imports included; 0 where /proc does not say."""
    try:
        ticks = int(Path("/proc/self/stat").read_text().rsplit(")", 1)[1].split()[19])
        return float(Path("/proc/uptime").read_text().split()[0]) - ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError):
        return 0.0


def _state_before(path: PathLike, iteration: int) -> State:
    state = read_state(path)
    if state.iteration != iteration - 1:
        raise UserError(f"{Path(path)}: of iteration {state.iteration}, expected {iteration - 1}: give the one before")
    return state
