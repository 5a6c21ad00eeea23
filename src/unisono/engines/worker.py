"""The one inner loop: a worker trains its own parameters on slices of the data. All engines run this object."""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from unisono.core import flat
from unisono.core.optimiser import Optimiser
from unisono.data.loader import Loader, Slice
from unisono.engines.run import generator_for
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
    was interrupted before the end of the slice.
    """

    worker: int
    iteration: int
    frames: int = 0
    minibatches: int = 0
    objective_sum: float = 0.0
    correct: int = 0
    finite: bool = True
    complete: bool = False
    seconds_load: float = 0.0
    seconds_compute: float = 0.0
    seconds_start: float = 0.0
    seconds_wait: float = 0.0
    seconds_write: float = 0.0

    @property
    def objective(self) -> float:
        """Mean log-probability per frame; nan where there were none."""
        return self.objective_sum / self.frames if self.frames else math.nan

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
    complete is not run again.
    """

    def __init__(self, number: int, network: Dnn, optimiser: Optimiser, seed: int) -> None:
        self.number, self.optimiser = number, optimiser
        self._network, self._seed = network, seed
        self.params = flat.zeros(network.layout.size)
        self._stats: Stats | None = None
        self._generator = torch.Generator()

    @property
    def is_under_way(self) -> bool:
        """Whether a task was begun and is not complete."""
        return self._stats is not None and not self._stats.complete

    def run(self, task: Task, loader: Loader, interrupted: Callable[[], bool] = never) -> Stats:
        """Train on a slice, from the parameters and the state as they stand.

        `interrupted` is asked before each minibatch; where it says yes the stats come back incomplete and a later call
        with the same task goes on. The loader's threads and the place of an interruption never change the result.
        """
        stats = self._stats
        if stats is not None and stats.complete and stats.iteration == task.iteration:
            return stats
        if stats is None or stats.iteration != task.iteration:
            stats = self._stats = Stats(self.number, task.iteration)
            self._generator = generator_for(self._seed, _DROPOUT, task.iteration, self.number)
        self._network.bind(self.params)
        self.optimiser.max_change_scale = task.max_change_scale
        rest = task.part._replace(begin=task.part.begin + stats.frames)
        ids = torch.empty(task.minibatch, dtype=torch.int64)
        begun = time.perf_counter()
        if not interrupted():
            batches = loader.minibatches(rest, task.minibatch, lambda n: (self._network.input_buffer(n), ids[:n]))
            for x, labels in batches:
                loaded = time.perf_counter()
                self._step(x, labels, task.rate, stats)
                stats.seconds_load += loaded - begun
                begun = time.perf_counter()
                stats.seconds_compute += begun - loaded
                if stats.frames < task.part.end - task.part.begin and interrupted():
                    return stats
            stats.complete = True
            # The extremes show nan and infinities without a temporary vector; `isfinite` would make two.
            low, high = torch.aminmax(self.params)
            stats.finite = all(map(math.isfinite, (float(low), float(high), stats.objective_sum)))
        return stats

    def _step(self, x: Tensor, ids: Tensor, rate: float, stats: Stats) -> None:
        batch = Batch(x.unsqueeze(1), ids.unsqueeze(1), None)
        done = self._network.step_(batch, self.optimiser, rate, self._generator)
        stats.frames += done.frames
        stats.minibatches += 1
        stats.objective_sum += done.objective_sum
        stats.correct += done.correct

    def save(self) -> dict[str, Tensor]:
        """Return all that the rest of the task, and what follows, depends on: tensors for a checkpoint.

        `params` [P]; `optimiser.*`; `generator` uint8; `cursor` int64 [4]: iteration (-1 before the first), frames
        and minibatches done, frames classified correctly; `sums` float64 [3]: objective, seconds of loading and of
        computing; `flags` int64 [2]: complete, finite.
        """
        stats = self._stats or Stats(self.number, -1, complete=True)
        tensors = {f"optimiser.{name}": tensor for name, tensor in self.optimiser.state().items()}
        counters = [stats.iteration, stats.frames, stats.minibatches, stats.correct]
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
        self._generator.set_state(tensors["generator"])
        iteration, frames, minibatches, correct = tensors["cursor"].tolist()
        objective, load, compute = tensors["sums"].tolist()
        complete, finite = map(bool, tensors["flags"].tolist())
        self._stats = Stats(
            self.number, iteration, frames, minibatches, objective, correct, finite, complete, load, compute
        )

    @property
    def stats(self) -> Stats | None:
        """What is known of the last task."""
        return self._stats

    def forget(self) -> None:
        """Be as new."""
        self.optimiser.reset()
        self._stats = None
