"""One run as a process works on it: settings, plan, data, place, and the objects that every engine builds from them."""

import itertools
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unisono.config.network import NetworkOptions
from unisono.config.run import Run
from unisono.config.schedule import Decaying
from unisono.core.flat import Layout
from unisono.data.frames.loader import Loader, Slice
from unisono.data.frames.store import FramesStore
from unisono.engines.constants import load
from unisono.engines.place import CPU, Device, Place, place_for
from unisono.engines.rules import CombineRule, rule_for
from unisono.engines.run import make_run
from unisono.engines.state import State
from unisono.engines.worker import Task, Worker
from unisono.errors import UserError
from unisono.files import read_json
from unisono.nn.network import Network, make
from unisono.rates import Decay
from unisono.schedule import Plan, deal, read_plan, worker_range


@dataclass
class Session:
    """One run. config: its settings as plain values. dev: None where a command does not read it.

    constants: what its network holds fixed, by name.
    """

    run: Run
    config: dict[str, Any]
    plan: Plan
    train: FramesStore
    dev: FramesStore | None = None
    place: Place = field(default=CPU)
    constants: Mapping[str, Tensor] = field(default_factory=dict)
    _networks: dict[NetworkOptions, Network] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        planned = self.plan.frames + sum(self.plan.dropped)
        if planned != self.train.frames:
            found = f"{self.train.frames} frames, the plan says {planned}"
            raise UserError(f"{self.train.path}: {found}: run the plan stage anew")

    @property
    def network(self) -> Network:
        """The network that the run ends with."""
        return self.network_at(len(self.plan.iterations) - 1)

    def network_at(self, iteration: int) -> Network:
        """Return the network that an iteration trains, -1 for the initial one: where it grows, another than before.

        It is for the features and pdfs of the data, and serves all workers of the process.
        """
        options = self.run.network_at(iteration)
        if options not in self._networks:
            sizes = self.train.dim, self.train.num_pdfs
            self._networks[options] = make(options, *sizes, self.run.precision, self.constants)
        return self._networks[options]

    def utterances(self) -> Iterable[Tensor]:
        """Yield the frames [T, D] of each training utterance, float32."""
        for begin, end in itertools.pairwise(self.train.offsets.tolist()):
            yield torch.from_numpy(self.train.read(begin, end)).float()

    @property
    def layout(self) -> Layout:
        """How the parameters that the run ends with are cut."""
        return self.network.layout

    def layout_at(self, iteration: int) -> Layout:
        """Return how the parameters that an iteration trains are cut, -1 for the initial ones."""
        return self.network_at(iteration).layout

    @property
    def most_workers(self) -> int:
        """The number of workers at the end of the run, which is the largest."""
        return worker_range(self.run.parallel.workers)[1]

    @property
    def observers(self) -> tuple[str, ...]:
        """The observers that the config turns on."""
        return tuple(self.run.observers)

    def dev_frames(self) -> FramesStore:
        """Return the dev data of a command that reads it."""
        if self.dev is None:
            raise ValueError("this session has no dev data")
        return self.dev

    def rule(self, workers: int) -> CombineRule:
        """Return the combine rule for so many workers."""
        return rule_for(self.run.parallel.combine, workers)

    def worker(self, number: int, iteration: int = 0) -> Worker:
        """Return a worker as new, for the network of an iteration."""
        network = self.network_at(iteration)
        return Worker(number, network, network.updater(self.run.optimiser), self.run.seed, self.place)

    def task(self, state: State, slice_: int) -> Task:
        """Return the task that is one slice of the iteration after `state`."""
        if state.learning_rate is None:
            raise ValueError("the run is at its end")
        return self.task_of(state.iteration + 1, slice_, state.iteration, state.learning_rate)

    def task_of(self, number: int, slice_: int, start: int, rate: float) -> Task:
        """Return the task that is one slice of iteration `number`; start: see `Record`."""
        iteration, schedule, decay = self.plan.iterations[number], self.run.schedule, None
        if isinstance(schedule, Decaying):
            decay = Decay(self._minibatches_before[number][slice_], schedule.decay, schedule.power)
        return Task(
            number, slice_, start, self.part(number, slice_), iteration.minibatch, rate, iteration.max_change_scale,
            self._seen[number], iteration.workers, decay,
        )  # fmt: skip

    @cached_property
    def _seen(self) -> list[int]:
        """Frames that all workers train on before each iteration; where units have several, of the mean unit."""
        units = [sum(end - begin for begin, end in iteration.slices) for iteration in self.plan.iterations]
        before = itertools.accumulate(units, initial=0)
        return [count * self.plan.frames // self.plan.units for count in before]

    @cached_property
    def _minibatches_before(self) -> list[list[int]]:
        """Minibatches of the plan before each slice of each iteration."""
        found, total = [], 0
        for iteration in self.plan.iterations:
            found.append([])
            for begin, end in iteration.slices:
                found[-1].append(total)
                total += -(-(end - begin) // iteration.minibatch)
        return found

    def part(self, iteration: int, slice_: int) -> Slice:
        """Return where a slice of the plan lies. With `dealing: fixed` slice k is of the frames that k owns."""
        planned = self.plan.iterations[iteration]
        owner = slice_ if self.plan.dealing == "fixed" else -1
        return Slice(planned.epoch, owner, *planned.slices[slice_])

    def loader(self, ahead: int = 1, *, keep: bool = False) -> Loader:
        """Return a loader for the plan's slices; with `keep` the store stays on a GPU that has room for it."""
        owners = None
        if self.plan.dealing == "fixed":
            owners = np.array(deal(self.train.lengths.tolist(), self.run.parallel.shares))
        unit = self.network.unit
        window = max(1, self.run.data.shuffle_window // unit.width)
        resident = self.place.resident(self.train, unit) if keep else None
        return Loader(
            self.train, unit, seed=self.run.seed, window=window, owners=owners, ahead=ahead, resident=resident,
            pin=self.place.is_gpu,
        )  # fmt: skip


@contextmanager
def open_session(
    config: str | os.PathLike[str],
    plan: str | os.PathLike[str],
    train: str | os.PathLike[str],
    dev: str | os.PathLike[str] | None = None,
    *,
    constants: Sequence[str | os.PathLike[str]] = (),
    device: Device = "cpu",
    index: int = 0,
) -> Iterator[Session]:
    """Yield the session of a run's files. index: which worker or local rank this is, of those that share the GPUs."""
    settings = read_json(config)
    run = make_run(settings)
    with ExitStack() as stack:
        stores = [stack.enter_context(FramesStore(path)) for path in (train, dev) if path is not None]
        place = place_for(device, index, run.precision)
        dev_store = stores[1] if len(stores) > 1 else None
        yield Session(run, settings, read_plan(str(plan)), stores[0], dev_store, place, load(constants))
