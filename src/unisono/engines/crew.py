"""The workers of one process in the engines `virtual` (all of them) and `sync` (one per rank), and their models."""

from collections.abc import Callable, Sequence

import numpy as np
import safetensors.torch
from torch import Tensor

from unisono.core import average, gossip
from unisono.data.frames.loader import Loader, Slice
from unisono.engines.comm import Comm
from unisono.engines.place import CPU, Place
from unisono.engines.run import Run, make_optimiser
from unisono.engines.start import begin_, task_of
from unisono.engines.state import Combined, State
from unisono.engines.worker import Stats, Worker
from unisono.nn.dnn import Dnn
from unisono.schedule import Plan, worker_range

_FIELDS = (
    "iteration", "frames", "minibatches", "objective_sum", "correct", "limited", "finite", "complete",
    "seconds_load", "seconds_compute", "seconds_start", "seconds_wait", "seconds_write",
)  # fmt: skip


class Crew:
    """All workers of a run, as one process sees them: `mine` are its own, the others answer through `comm`.

    virtual: one process with every worker. sync: `comm.size` ranks, worker r on rank r; ranks beyond an iteration's
    workers are idle in it and have weight 0.
    """

    def __init__(self, run: Run, plan: Plan, network: Dnn, comm: Comm, place: Place = CPU) -> None:
        self.run, self.plan, self.comm, self.layout = run, plan, comm, network.layout
        total = worker_range(run.parallel.workers)[1]
        numbers = range(total) if comm.size == 1 else [comm.rank]
        self.mine = {n: Worker(n, network, make_optimiser(run, network), run.seed, place) for n in numbers}
        self._device = place.name

    def begin(self, state: State, combined: Combined, own_states: dict[int, dict[str, Tensor]] | None = None) -> None:
        """Set up the own workers for the iteration after `state`; own_states: from files, at the start of a block."""
        for number, worker in self._active(state).items():
            own = None if own_states is None else own_states.get(number, {})
            begin_(self.run, self.plan, state, combined, number, worker.params, worker.optimiser, own)

    def train(self, state: State, loader: Loader, interrupted: Callable[[], bool]) -> None:
        """Let the own workers run the iteration after `state`, one after the other, until done or interrupted."""
        for number, worker in self._active(state).items():
            worker.run(task_of(self.plan, state, number), loader, interrupted)
        self._expect(state.iteration + 2, loader)

    def gather(self, state: State) -> list[Stats]:
        """Return the stats of all workers of the iteration after `state`, the same on every rank."""
        number = state.iteration + 1
        rows = []
        for worker in self.mine.values():
            stats = worker.stats
            if stats is None or stats.iteration != number:
                stats = Stats(worker.number, number, complete=worker.number >= self.plan.iterations[number].workers)
            rows.append([float(getattr(stats, field)) for field in _FIELDS])
        everyone = self.comm.gather_records(np.array(rows).reshape(-1)).reshape(-1, len(_FIELDS))
        taking_part = enumerate(everyone[: self.plan.iterations[number].workers])
        return [_stats(worker, row, self._device) for worker, row in taking_part]

    def _expect(self, number: int, loader: Loader) -> None:
        """Have the first window of a rank's next slice loaded while the ranks combine."""
        if self.comm.size == 1 or number >= len(self.plan.iterations):
            return
        iteration = self.plan.iterations[number]
        if self.comm.rank < iteration.workers:
            owner = self.comm.rank if self.plan.dealing == "fixed" else -1
            loader.expect(Slice(iteration.epoch, owner, *iteration.slices[self.comm.rank]))

    def _active(self, state: State) -> dict[int, Worker]:
        count = self.plan.iterations[state.iteration + 1].workers
        return {number: worker for number, worker in self.mine.items() if number < count}

    # The protocol `combine.Models`:

    def mean(self, weights: Sequence[float]) -> Tensor:
        """Return the weighted mean of all workers' parameters."""
        if self.comm.size > 1:
            return self.comm.mean(self._own().params, self._padded(weights))
        return average.weighted_mean([self.mine[n].params for n in range(len(weights))], weights)

    def one(self, worker: int) -> Tensor:
        """Return a worker's parameters, a copy."""
        if self.comm.size > 1:
            return self.comm.broadcast_(self._own().params.clone(), worker)
        return self.mine[worker].params.clone()

    def optimiser_state(self, worker: int) -> dict[str, Tensor]:
        """Return a worker's optimiser state."""
        data = safetensors.torch.save(self.mine[worker].optimiser.state()) if worker in self.mine else b""
        data = self.comm.broadcast_bytes(data, worker if self.comm.size > 1 else 0)
        return {name: tensor.clone() for name, tensor in safetensors.torch.load(data).items()}

    def mean_momentum(self, weights: Sequence[float]) -> Tensor | None:
        """Return the weighted mean of the workers' momenta, None where the optimiser has none."""
        if self.run.optimiser.momentum == 0.0:
            return None
        if self.comm.size > 1:
            own = self._own()
            active = own.number < len(weights)
            vector = own.optimiser.state()["momentum"] if active else own.params
            return self.comm.mean(vector, self._padded(weights))
        total = average.RunningMean(self.layout.size)
        for worker, weight in enumerate(weights):
            total.add(self.mine[worker].optimiser.state()["momentum"], weight)
        return total.result()

    def meet(self, partners: Sequence[int | None], taking_part: Sequence[bool]) -> dict[int, Tensor]:
        """Take the own workers' parameters half-way to their partners' and return them."""
        if self.comm.size == 1:
            gossip.meet_([self.mine[worker].params for worker in range(len(partners))], partners)
            return {worker: self.mine[worker].params for worker, good in enumerate(taking_part) if good}
        own = self._own()
        sources = [other if taking_part[worker] else None for worker, other in enumerate(partners)]
        source = sources[own.number] if own.number < len(sources) else None
        target = next((worker for worker, other in enumerate(sources) if other == own.number), None)
        received = self.comm.exchange(own.params, source, target)
        if own.number >= len(sources) or not taking_part[own.number]:
            return {}
        if received is not None:
            gossip.meet_([own.params, received], [1, None])
        return {own.number: own.params}

    def _own(self) -> Worker:
        return self.mine[self.comm.rank]

    def _padded(self, weights: Sequence[float]) -> list[float]:
        return [*weights, *[0.0] * (self.comm.size - len(weights))]


def _stats(worker: int, row: np.ndarray, device: str) -> Stats:
    values = dict(zip(_FIELDS, row.tolist(), strict=True))
    for name in ("iteration", "frames", "minibatches", "correct", "limited"):
        values[name] = int(values[name])
    for name in ("finite", "complete"):
        values[name] = bool(values[name])
    return Stats(worker, device=device, **values)  # that of this rank stands for all
