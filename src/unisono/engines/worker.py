"""The one inner loop: a worker trains its own parameters on slices of the data. All engines run this object."""

import math
import time
from collections.abc import Callable, Hashable, Mapping
from functools import partial
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from unisono.core.number import Number
from unisono.core.updater import Trainer
from unisono.data.frames.loader import Loader, Slice
from unisono.engines import seeds
from unisono.engines.place import CPU, Place
from unisono.engines.records import Record
from unisono.engines.replay import CudaGraph, Replay
from unisono.nn.batch import Batch, StepStats
from unisono.nn.network import Network
from unisono.rates import Decay


class Task(NamedTuple):
    """One slice of one iteration.

    start: see `Record`. minibatch: in units. rate: per summed gradient, scaled for this iteration already. seen: frames
    that all workers have trained on in the iterations before. workers: of this iteration. decay: how the rate falls
    within the slice.
    """

    iteration: int
    slice: int
    start: int
    part: Slice
    minibatch: int
    rate: float
    max_change_scale: float
    seen: int
    workers: int
    decay: Decay | None = None

    def rate_after(self, minibatches: int) -> float:
        """Return the rate of the step after so many minibatches of the slice."""
        return self.rate if self.decay is None else self.rate * self.decay.share(minibatches)


class Sums(NamedTuple):
    """What adds up over the minibatches of a slice; on a GPU tensors, which nobody waits for."""

    objective: Number
    correct: int | Tensor
    limited: int | Tensor

    def plus(self, step: StepStats) -> "Sums":
        """Return them with one minibatch more."""
        return Sums(self.objective + step.objective_sum, self.correct + step.correct, self.limited + step.limited)


def never() -> bool:
    """Ask for no interruption."""
    return False


class Worker:
    """Owns parameters [P], optimiser state, cursor and generator; the network is lent and may serve many workers.

    A task that was interrupted goes on from the cursor when `run` is called again, also after `restore`; one that is
    complete is not run again. Between calls all that a worker owns can be read on the CPU, wherever it trains.
    """

    def __init__(self, number: int, network: Network, optimiser: Trainer, seed: int, place: Place = CPU) -> None:
        self.number, self.optimiser = number, optimiser
        self.network, self._seed, self._place = network, seed, place
        self.params = place.host_vector(network.layout.size)
        self._trained = place.own_vector(self.params)
        self._rate = torch.zeros((), dtype=torch.float64, device=place.device)
        self._generator = torch.Generator(place.device)
        self._replay = Replay(optimiser.skip, partial(CudaGraph, self._generator) if place.is_gpu else None)
        self.record: Record | None = None

    def run(self, task: Task, loader: Loader, interrupted: Callable[[], bool] = never) -> Record:
        """Train on a slice, from the parameters and the state as they stand.

        `interrupted` is asked before each minibatch; where it says yes the record comes back incomplete and a later
        call with the same task goes on. The loader's threads and the place of an interruption never change the result.
        """
        record = self._record_of(task)
        if record.complete:
            return record
        self.network.bind(self._fetched())
        self.optimiser.begin_task(task.max_change_scale, task.seen + task.workers * record.frames, task.workers)
        rest = task.part._replace(begin=task.part.begin + record.units)
        sums = Sums(record.objective_sum, record.correct, record.limited)
        begun = time.perf_counter()
        ended = interrupted()
        if not ended:
            for batch, frames in loader.minibatches(rest, task.minibatch, self.network.buffers):
                loaded = time.perf_counter()
                rate = task.rate_after(record.minibatches)
                done = self._step(batch, self._rate.fill_(rate) if self._place.deferred else rate)
                record.units += len(batch.ids)
                record.frames += frames
                record.minibatches += 1
                sums = sums.plus(done)
                record.seconds_load += loaded - begun
                begun = time.perf_counter()
                record.seconds_compute += begun - loaded
                if ended := record.units < task.part.end - task.part.begin and interrupted():
                    break
        self._hand_over(record, sums)
        record.seconds_compute += time.perf_counter() - begun
        if not ended:
            record.complete = True
            # The extremes show nan and infinities without a temporary vector; `isfinite` would make two.
            low, high = torch.aminmax(self.params)
            record.finite = all(map(math.isfinite, (float(low), float(high), record.objective_sum)))
        return record

    def _record_of(self, task: Task) -> Record:
        """Return the record of a task that was begun, or that of one that begins."""
        record = self.record
        if record is None or (record.iteration, record.slice) != (task.iteration, task.slice):
            record = self.record = Record(
                iteration=task.iteration, slice=task.slice, worker=self.number, start=task.start,
                learning_rate=task.rate_after(0), device=self._place.name,
            )  # fmt: skip
            self._generator.manual_seed(seeds.seed_for(self._seed, seeds.DROPOUT, task.iteration, task.slice))
        return record

    def _fetched(self) -> Tensor:
        """Return the vector to train, with what `params` holds."""
        return self._trained if self._trained is self.params else self._trained.copy_(self.params, non_blocking=True)

    def _hand_over(self, record: Record, sums: Sums) -> None:
        """Bring parameters and numbers to the CPU, where they are not there already."""
        if self._trained is not self.params:
            self.params.copy_(self._trained)
        record.objective_sum = float(sums.objective)
        record.correct = int(sums.correct) if self.network.classifies else -1
        record.limited = int(sums.limited)

    def _step(self, batch: Batch, rate: Number) -> StepStats:
        """Change the weights by one minibatch."""
        key = self._key(batch)
        if key is None:  # always so on a CPU
            return self.network.step_(batch, self.optimiser, rate, self._generator)
        return self._replay.take(partial(self.network.step_, batch, self.optimiser, rate, self._generator), key)

    def _key(self, batch: Batch) -> Hashable:
        """Return what names a step that can be replayed: its work and where its tensors lie; None where it cannot."""
        optimiser = self.optimiser
        if not self._place.deferred or not optimiser.is_static():
            return None
        return len(batch.ids), batch.x.data_ptr(), batch.ids.data_ptr(), optimiser.version

    def save(self) -> dict[str, Tensor]:
        """Return all that the rest of a task depends on: tensors for a checkpoint.

        `params` [P]; `optimiser.*`; `generator` uint8; `record` float64 [n] where a task has begun.
        """
        tensors = {"params": self.params, "generator": self._generator.get_state()}
        tensors |= self.optimiser_tensors()
        if self.record is not None:
            tensors["record"] = torch.tensor(self.record.to_row(), dtype=torch.float64)
        return tensors

    def vector(self, name: Literal["params", "momentum"]) -> Tensor:
        """Return the worker's own parameters or momentum [P]."""
        return self.params if name == "params" else self.optimiser.state()["momentum"]

    def optimiser_tensors(self) -> dict[str, Tensor]:
        """Return the optimiser's state by its names in a file, `optimiser.*`."""
        return {f"optimiser.{name}": tensor for name, tensor in self.optimiser.state().items()}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over what `save` returned."""
        self.params.copy_(tensors["params"])
        names = [name for name in tensors if name.startswith("optimiser.")]
        self.optimiser.load_state({name.removeprefix("optimiser."): tensors[name] for name in names})
        if tensors["generator"].shape == self._generator.get_state().shape:  # else it is of another kind of device
            self._generator.set_state(tensors["generator"])
        row = tensors.get("record")
        self.record = None if row is None else Record.from_row(row.tolist(), self._place.name)

    def forget(self) -> None:
        """Be as new."""
        self.optimiser.reset()
        self.record = None
