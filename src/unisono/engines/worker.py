"""The one inner loop: a worker trains its own parameters on slices of the data. All engines run this object."""

import math
import time
from collections.abc import Callable, Hashable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from unisono.core.number import Number
from unisono.core.optimiser import Optimiser
from unisono.data.frames.loader import Loader, Slice
from unisono.engines.place import CPU, Place
from unisono.engines.replay import CudaGraph, Replay
from unisono.engines.run import seed_for
from unisono.errors import UserError
from unisono.nn.batch import Batch
from unisono.nn.dnn import Dnn

_DROPOUT = 1  # purpose in the generator's key


class Task(NamedTuple):
    """One worker's part of one iteration. rate: per summed gradient, scaled for this iteration already."""

    iteration: int
    part: Slice
    minibatch: int
    rate: float
    max_change_scale: float


@dataclass(slots=True)
class Stats:
    """What a worker says about a task. Everything but the seconds is a pure function of the task and the start.

    objective_sum: summed log-probability of the frames as it trained, float64, in order. complete: False if the run
    was interrupted before the end of the slice. limited: minibatches whose step max-change has shortened. device: where
    it computed, the model of a GPU or `cpu`. On a GPU the sums are tensors until `Worker.run` returns.
    """

    worker: int
    iteration: int
    frames: int = 0
    minibatches: int = 0
    objective_sum: Number = 0.0
    correct: int | Tensor = 0
    limited: int | Tensor = 0
    finite: bool = True
    complete: bool = False
    seconds_load: float = 0.0
    seconds_compute: float = 0.0
    seconds_start: float = 0.0
    seconds_wait: float = 0.0
    seconds_write: float = 0.0
    device: str = "cpu"

    @property
    def objective(self) -> float:
        """Mean log-probability per frame; nan where there were none."""
        return float(self.objective_sum) / self.frames if self.frames else math.nan

    def to_json(self) -> dict[str, Any]:
        """Return plain values; an objective that is not finite becomes null."""
        values = asdict(self)
        if not math.isfinite(self.objective_sum):
            values["objective_sum"] = None
        return values

    @classmethod
    def from_json(cls, values: Mapping[str, Any], where: str) -> "Stats":
        """Return what `to_json` gave. Raises UserError naming the file for anything else."""
        try:
            stats = cls(**values)
        except TypeError:
            raise UserError(f"{where}: not the record of a worker: delete it and run the stage that makes it") from None
        if stats.objective_sum is None:
            stats.objective_sum = math.nan
        return stats


def never() -> bool:
    """Ask for no interruption."""
    return False


class Worker:
    """Owns parameters [P], optimiser state, cursor and generator; the network is lent and may serve many workers.

    A task that was interrupted goes on from the cursor when `run` is called again, also after `restore`; one that is
    complete is not run again. Between calls all that a worker owns can be read on the CPU, wherever it trains.
    """

    def __init__(self, number: int, network: Dnn, optimiser: Optimiser, seed: int, place: Place = CPU) -> None:
        self.number, self.optimiser = number, optimiser
        self._network, self._seed, self._place = network, seed, place
        self.params = place.host_vector(network.layout.size)
        self._trained = place.own_vector(self.params)
        self._rate = torch.zeros((), dtype=torch.float64, device=place.device)
        self._generator = torch.Generator(place.device)
        capture = partial(CudaGraph, self._generator) if place.is_gpu else None
        self._replay = Replay(optimiser.skip, capture)
        self._stats: Stats | None = None

    def run(self, task: Task, loader: Loader, interrupted: Callable[[], bool] = never) -> Stats:
        """Train on a slice, from the parameters and the state as they stand.

        `interrupted` is asked before each minibatch; where it says yes the stats come back incomplete and a later call
        with the same task goes on. The loader's threads and the place of an interruption never change the result.
        """
        stats = self._stats
        if stats is not None and stats.complete and stats.iteration == task.iteration:
            return stats
        if stats is None or stats.iteration != task.iteration:
            stats = self._stats = Stats(self.number, task.iteration, device=self._place.name)
            self._generator.manual_seed(seed_for(self._seed, _DROPOUT, task.iteration, self.number))
        self._network.bind(self._fetched())
        self.optimiser.max_change_scale = task.max_change_scale
        rest = task.part._replace(begin=task.part.begin + stats.frames)
        rate = self._rate.fill_(task.rate) if self._place.deferred else task.rate
        begun = time.perf_counter()
        ended = interrupted()
        if not ended:
            batches = loader.minibatches(rest, task.minibatch, self._network.buffers)
            for x, labels in batches:
                loaded = time.perf_counter()
                self._step(x, labels, rate, stats)
                stats.seconds_load += loaded - begun
                begun = time.perf_counter()
                stats.seconds_compute += begun - loaded
                if ended := stats.frames < task.part.end - task.part.begin and interrupted():
                    break
        self._hand_over(stats)
        stats.seconds_compute += time.perf_counter() - begun
        if not ended:
            stats.complete = True
            # The extremes show nan and infinities without a temporary vector; `isfinite` would make two.
            low, high = torch.aminmax(self.params)
            stats.finite = all(map(math.isfinite, (float(low), float(high), stats.objective_sum)))
        return stats

    def _fetched(self) -> Tensor:
        """Return the vector to train, with what `params` holds."""
        return self._trained if self._trained is self.params else self._trained.copy_(self.params, non_blocking=True)

    def _hand_over(self, stats: Stats) -> None:
        """Bring parameters and numbers to the CPU, where they are not there already."""
        if self._trained is not self.params:
            self.params.copy_(self._trained)
        stats.objective_sum = float(stats.objective_sum)
        stats.correct, stats.limited = int(stats.correct), int(stats.limited)

    def _step(self, x: Tensor, ids: Tensor, rate: Number, stats: Stats) -> None:
        batch = Batch(x.unsqueeze(1), ids.unsqueeze(1), None)
        step = partial(self._network.step_, batch, self.optimiser, rate, self._generator)
        done = self._replay.take(step, self._key(batch))
        stats.frames += done.frames
        stats.minibatches += 1
        stats.objective_sum += done.objective_sum
        stats.correct += done.correct
        stats.limited += done.limited

    def _key(self, batch: Batch) -> Hashable:
        """Return what names a step that can be replayed: its work and where its tensors lie; None where it cannot."""
        optimiser = self.optimiser
        if not self._place.deferred or not optimiser.is_static():
            return None
        return len(batch.ids), batch.x.data_ptr(), batch.ids.data_ptr(), optimiser.version, optimiser.max_change_scale

    def save(self) -> dict[str, Tensor]:
        """Return all that the rest of the task, and what follows, depends on: tensors for a checkpoint.

        `params` [P]; `optimiser.*`; `generator` uint8; `cursor` int64 [5]: iteration (-1 before the first), frames
        and minibatches done, frames classified correctly, steps limited; `sums` float64 [3]: objective, seconds of
        loading and of computing; `flags` int64 [2]: complete, finite.
        """
        stats = self._stats or Stats(self.number, -1, complete=True)
        tensors = {f"optimiser.{name}": tensor for name, tensor in self.optimiser.state().items()}
        counters = [stats.iteration, stats.frames, stats.minibatches, stats.correct, stats.limited]
        sums = [stats.objective_sum, stats.seconds_load, stats.seconds_compute]
        return tensors | {
            "params": self.params,
            "generator": self._generator.get_state(),
            "cursor": torch.tensor(counters, dtype=torch.int64),
            "sums": torch.tensor(sums, dtype=torch.float64),
            "flags": torch.tensor([stats.complete, stats.finite], dtype=torch.int64),
        }

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over what `save` returned."""
        if "params" in tensors:
            self.params.copy_(tensors["params"])
        names = [name for name in tensors if name.startswith("optimiser.")]
        self.optimiser.load_state({name.removeprefix("optimiser."): tensors[name] for name in names})
        if tensors["generator"].shape == self._generator.get_state().shape:  # else it is of another kind of device
            self._generator.set_state(tensors["generator"])
        # The checkpoint of an older version has counted no limited steps.
        iteration, frames, minibatches, correct, limited = [*tensors["cursor"].tolist(), 0][:5]
        objective, load, compute = tensors["sums"].tolist()
        complete, finite = map(bool, tensors["flags"].tolist())
        self._stats = Stats(
            self.number, iteration, frames, minibatches, objective, correct, limited, finite, complete, load, compute,
            device=self._place.name,
        )  # fmt: skip

    @property
    def stats(self) -> Stats | None:
        """What is known of the last task."""
        return self._stats

    def forget(self) -> None:
        """Be as new."""
        self.optimiser.reset()
        self._stats = None
