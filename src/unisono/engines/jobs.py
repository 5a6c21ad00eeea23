"""The engine `jobs`: one process per worker and iteration, one for each combination, files between them."""

import os
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from unisono.core import average, gossip
from unisono.core.flat import Layout
from unisono.engines.combined import keep
from unisono.engines.comm import Alone
from unisono.engines.evaluate import Evaluator
from unisono.engines.growth import grown, grows
from unisono.engines.records import Record
from unisono.engines.session import Session
from unisono.engines.start import begin_
from unisono.engines.state import State, read_state, write_state
from unisono.engines.step import advance, pass_on
from unisono.engines.store import COMBINE, MODEL, WORKER, Folder, Formed, PathLike, Stored, Vectors, save, take_group
from unisono.engines.worker import Worker
from unisono.errors import UserError
from unisono.files import read_json, write_json


class WorkerFiles(NamedTuple):
    """Where the results of one slice go: parameters, what the worker goes on with, its record."""

    model: PathLike
    state: PathLike
    record: PathLike


def train_job(
    session: Session, *, iteration: int, slice_: int, combined: PathLike, state: PathLike, own: PathLike | None,
    out: WorkerFiles,
) -> None:  # fmt: skip
    """Train one slice of one iteration, from files to files. own: what the worker left in the iteration before."""
    worker = session.worker(slice_, iteration)
    before, numbers = _before(session, combined, state, iteration)
    if numbers.stop:
        passed = Record(iteration=iteration, slice=slice_, worker=slice_, start=numbers.iteration, complete=True)
        _write(session, out, passed)
        return
    left = None
    if own is not None and not numbers.shared and not grows(session, iteration):
        left = Stored(own, WORKER, session.layout_at(iteration))
    begin_(session.run, numbers, before, worker, left)
    with session.loader() as loader:
        started = seconds_since_start()
        record = worker.run(session.task(numbers, slice_), loader)
    record.seconds_start = started
    _write(session, out, record, worker)


def _write(session: Session, out: WorkerFiles, record: Record, worker: Worker | None = None) -> None:
    """Write a worker's model, optimiser state (empty where it is not carried on) and record."""
    begun = time.perf_counter()
    model, left = {}, {}
    if worker is not None:
        model = {"model": worker.params}
        left = worker.optimiser_tensors() if session.run.parallel.carry_state != "reset" else {}
    layout = session.layout_at(record.iteration)
    save(out.model, model, MODEL, layout, record.iteration)
    save(out.state, left, WORKER, layout, record.iteration)
    record.seconds_write = time.perf_counter() - begun
    write_json(out.record, record.to_json())


class FileModels:
    """The workers' results in files (`step.Models`), read one at a time: memory of one model and one float64 sum."""

    def __init__(self, models: Sequence[PathLike], states: Sequence[PathLike], layout: Layout) -> None:
        self._models = [partial(Stored, path, MODEL, layout) for path in models]
        self._states = [partial(Stored, path, WORKER, layout) for path in states]
        self._layout = layout

    def one(self, index: int) -> Tensor:
        """Return a model [P]."""
        return self._models[index]().take("model")

    def mean(self, weights: Sequence[float], name: Literal["params", "momentum"] = "params") -> Tensor:
        """Return the weighted mean of the models or momenta."""
        files, key = (self._models, "model") if name == "params" else (self._states, "optimiser.momentum")
        total = average.RunningMean(self._layout.size)
        for file, weight in zip(files, weights, strict=True):
            if weight:
                total.add(file().view(key), weight)
        return total.result()

    def optimiser_state(self, index: int) -> dict[str, Tensor]:
        """Return an optimiser state."""
        return take_group(self._states[index](), "optimiser.")

    def average_with_partners(
        self, partners: Sequence[int | None], taking_part: Sequence[bool]
    ) -> dict[int, Tensor | Formed]:
        """Return each model half-way to its partner's, formed from the files when it is written."""

        def form(index: int, other: int | None) -> Tensor:
            return gossip.pair_step(self.one(index), None if other is None else self.one(other))

        like = torch.empty(self._layout.size, device="meta")
        return {i: Formed(like, partial(form, i, other)) for i, other in enumerate(partners) if taking_part[i]}


def combine_job(
    session: Session, *, iteration: int, combined: PathLike, state: PathLike, workers: Sequence[WorkerFiles],
    out: PathLike, out_state: PathLike,
) -> None:  # fmt: skip
    """Combine the slices of one iteration, from files to files."""
    before, numbers = _before(session, combined, state, iteration)
    layout = session.layout_at(iteration)
    if numbers.stop:
        kept = {name: before.view(name) for name in before.names if not name.startswith(("start.", "optimiser."))}
        save(out, kept, COMBINE, layout, iteration)
        write_state(out_state, pass_on(numbers))
        return
    records = [Record.from_json(read_json(files.record), str(files.record)) for files in workers]
    expected = len(session.plan.iterations[iteration].slices)
    if len(records) != expected:
        raise UserError(f"iteration {iteration}: the files of {len(records)} workers, the plan has {expected}")
    for number, (record, files) in enumerate(zip(records, workers, strict=True)):
        if (record.slice, record.iteration) != (number, iteration):
            found = f"of worker {record.slice}, iteration {record.iteration}"
            raise UserError(f"{files.record}: {found}: give {number}'s")
    models = FileModels([files.model for files in workers], [files.state for files in workers], layout)
    evaluator = None if session.run.looks_apart else Evaluator(session, Alone())
    after, numbers = advance(session, before, numbers, records, models, evaluator)
    keep(session, Folder(Path(out).parent), iteration, after.view("model"))
    save(out, after.to_write(), COMBINE, layout, iteration)
    write_state(out_state, numbers)


def _before(session: Session, combined: PathLike, state: PathLike, iteration: int) -> tuple[Vectors, State]:
    """Return what the iteration starts from."""
    numbers = read_state(state, iteration - 1)
    return grown(session, Stored(combined, COMBINE, session.layout_at(iteration - 1), iteration - 1), numbers)


def seconds_since_start() -> float:
    """Return the age of this process in seconds, interpreter and imports included; 0 where /proc does not say."""
    try:
        ticks = int(Path("/proc/self/stat").read_text().rsplit(")", 1)[1].split()[19])
        return float(Path("/proc/uptime").read_text().split()[0]) - ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError):
        return 0.0
