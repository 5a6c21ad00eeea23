"""The plan of a run: which worker reads which part of the data in which iteration (docs/architecture.md).

A Snakefile may import this module: it needs the standard library only. All engines read the same plan.
Slices count training units (`unisono.units`), which are frames for a feed-forward network. `plan.json`:

| key | meaning |
|---|---|
| format | `unisono.plan/1` |
| frames, units | training frames and units of one epoch |
| dropped | frames of further shares of the corpus, which nobody trains on |
| minibatch | units of a whole minibatch |
| dealing | `rotating`: slices cut one order of the whole epoch; `fixed`: each worker's own order |
| worker_units | `fixed`: units that each worker owns; `rotating`: null |
| phases | list of {name, iterations}; today one, `training` |
| iterations[] | iteration (from 0), epoch, workers, minibatch, max_change_scale, |
| | best (keep the best worker instead of combining), end_of_epoch, |
| | progress (fraction of all units before it), slices (one [begin, end) for each worker) |
"""

import heapq
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

from unisono.config.build import build
from unisono.config.parallel import ParallelOptions, Ramp
from unisono.config.schedule import ScheduleOptions
from unisono.errors import UserError
from unisono.files import read_json, write_json
from unisono.units import FRAME, TrainingUnit

FORMAT = "unisono.plan/1"


@dataclass(frozen=True, slots=True)
class Iteration:
    """What happens between two combinations; fields as in the table above."""

    iteration: int
    epoch: int
    workers: int
    minibatch: int
    max_change_scale: float
    best: bool
    end_of_epoch: bool
    progress: float
    slices: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """A run's plan; see the table above."""

    frames: int
    units: int
    minibatch: int
    dealing: str
    worker_units: tuple[int, ...] | None
    iterations: tuple[Iteration, ...]
    dropped: tuple[int, ...] = ()

    def is_last(self, iteration: int) -> bool:
        """Say whether nothing follows this iteration."""
        return iteration == len(self.iterations) - 1

    def span(self, iteration: int) -> tuple[int, int]:
        """Return which frames of the run an iteration reads, those of all workers together: [begin, end).

        Where units have several frames, those of the mean unit.
        """
        sizes = [sum(end - begin for begin, end in it.slices) for it in self.iterations[: iteration + 1]]
        return sum(sizes[:-1]) * self.frames // self.units, sum(sizes) * self.frames // self.units


def worker_range(workers: int | Ramp) -> tuple[int, int]:
    """Return the first and the last number of workers."""
    return (workers, workers) if isinstance(workers, int) else (workers.initial, workers.final)


def workers_at(workers: int | Ramp, progress: float) -> int:
    """Return floor(0.5 + initial + (final - initial) progress), Kaldi's ramp (docs/mathematics.md 2.4).

    progress: in [0, 1].
    """
    initial, final = worker_range(workers)
    return int(0.5 + initial + (final - initial) * min(progress, 1.0))


def deal(lengths: Sequence[int], workers: int) -> list[int]:
    """Deal utterances once, longest first, each to the worker with the fewest frames so far (docs/mathematics.md 1.4).

    Ties go to the earlier utterance and the lower worker. Returns the worker of each utterance.
    """
    if len(lengths) < workers:
        raise UserError(
            f"parallel.dealing: fixed gives each of {workers} workers at least one utterance, there are only"
            f" {len(lengths)}: lower parallel.workers or deal rotating"
        )
    load = [(0, worker) for worker in range(workers)]
    owner = [0] * len(lengths)
    for utterance in sorted(range(len(lengths)), key=lambda u: (-lengths[u], u)):
        frames, worker = heapq.heappop(load)
        owner[utterance] = worker
        heapq.heappush(load, (frames + lengths[utterance], worker))
    return owner


def cut(units: int, minibatch: int, parts: int) -> list[tuple[int, int]]:
    """Cut [0, units) evenly into slices with borders on whole minibatches; parts <= ceil(units / minibatch)."""
    minibatches = -(-units // minibatch)
    borders = [part * minibatches // parts * minibatch for part in range(parts)] + [units]
    return list(zip(borders, borders[1:], strict=False))


def build_plan(
    lengths: Sequence[int],
    schedule: ScheduleOptions,
    parallel: ParallelOptions,
    minibatch: int,
    done: Sequence[Iteration] = (),
    unit: TrainingUnit = FRAME,
    insertions: Sequence[int] = (),
) -> Plan:
    """Plan a run over utterances of the given lengths (frames); see docs/architecture.md.

    minibatch: in units; `parallel.period_frames` is divided by the mean frames of one. done: iterations that stay as
    they are, by another number of workers; what is left of the epoch is dealt anew. insertions: iterations that begin
    with a new layer, and keep the best worker as iteration 0 does.
    Raises UserError where there is too little data for the workers.
    """
    counted, fixed = unit.count(lengths), parallel.dealing == "fixed"
    frames, units = sum(lengths), sum(counted)
    _check(lengths, unit)
    worker_units, dropped = None, ()
    if fixed:
        worker_units, dropped = _owned(lengths, counted, parallel)
        units, frames = sum(worker_units), frames - sum(dropped)
    kept = (0, *insertions) if parallel.keeps_best_worker else ()
    iterations = list(done)
    wanted = schedule.iterations
    begin = done[-1].slices[-1][1] if done and not done[-1].end_of_epoch else 0
    for epoch in range(done[-1].epoch + done[-1].end_of_epoch if done else 0, schedule.epochs or 10**9):
        if wanted is not None and len(iterations) >= wanted:
            break
        number, left = len(iterations), units - begin
        period = parallel.period_frames * units / frames
        counts = _workers_of_epoch(
            left, epoch, number, schedule, parallel, worker_units or (left,), minibatch, period, unit
        )
        slices = _slices(left, worker_units, counts, minibatch)
        for index, (count, parts) in enumerate(zip(counts, slices, strict=True)):
            parts = tuple((begin + first, begin + end) for first, end in parts)
            ends = index == len(counts) - 1
            iterations.append(_iteration(number + index, epoch, count, minibatch, ends, number + index in kept, parts))
        begin = 0
    ready = _with_progress(iterations[: wanted or None])
    return Plan(frames, units, minibatch, parallel.dealing, worker_units, ready, dropped)


def _owned(
    lengths: Sequence[int], counted: Sequence[int], parallel: ParallelOptions
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the units that each worker owns, and the frames of the shares that no worker has."""
    owner, workers = deal(lengths, parallel.shares), worker_range(parallel.workers)[0]
    units, frames = [0] * parallel.shares, [0] * parallel.shares
    for length, count, share in zip(lengths, counted, owner, strict=True):
        units[share] += count
        frames[share] += length
    return tuple(units[:workers]), tuple(frames[workers:])


def _check(lengths: Sequence[int], unit: TrainingUnit) -> None:
    if not sum(lengths):
        raise UserError("frames: the training store is empty: see which utterances were left out, and why")
    if unit.width > max(lengths):
        raise UserError(
            f"network.chunk: {unit.width} frames are more than every training utterance has (the longest has"
            f" {max(lengths)}): lower it"
        )


def _workers_of_epoch(
    units: int,
    epoch: int,
    done: int,
    schedule: ScheduleOptions,
    parallel: ParallelOptions,
    owned: Sequence[int],
    minibatch: int,
    period: float,
    unit: TrainingUnit,
) -> list[int]:
    """Return the number of workers of each iteration of one epoch; period: units that each shall read in one."""
    initial, final = worker_range(parallel.workers)
    fewest = min(-(-own // minibatch) for own in owned)  # minibatches that bound the number of slices
    if len(owned) == 1 and fewest < (initial if initial == final else final):
        has = "what is left of the epoch has" if done else "an epoch has"  # whole epochs are all alike
        raise UserError(
            f"parallel.workers: {final} workers, but {has} only {fewest} minibatches of {minibatch} {unit.name}:"
            " lower parallel.workers or optimiser.minibatch"
        )
    if initial == final:
        count = max(1, round(units / (initial * period)))
        return [initial] * min(count, fewest if len(owned) > 1 else fewest // initial)
    counts: list[int] = []
    taken = 0
    while True:
        progress = (
            (epoch + taken / units) / schedule.epochs
            if schedule.epochs is not None
            else (done + len(counts)) / (schedule.iterations or 1)
        )
        count = workers_at(parallel.workers, progress)
        too_many = sum(counts) + count > fewest
        if counts and (units - taken < count * period / 2 or too_many):
            return counts
        counts.append(count)
        taken += count * period


def _slices(
    units: int, worker_units: Sequence[int] | None, counts: Sequence[int], minibatch: int
) -> list[tuple[tuple[int, int], ...]]:
    if worker_units is not None:
        own = [cut(n, minibatch, len(counts)) for n in worker_units]
        return [tuple(parts) for parts in zip(*own, strict=True)]
    parts = iter(cut(units, minibatch, sum(counts)))
    return [tuple(next(parts) for _ in range(count)) for count in counts]


def _iteration(
    number: int, epoch: int, workers: int, minibatch: int, ends: bool, best: bool, slices: tuple
) -> Iteration:
    """Make one; where the best worker is kept it has half the minibatch and 1/sqrt(2) of the max-change."""
    size, scale = (max(1, minibatch // 2), 0.5**0.5) if best else (minibatch, 1.0)
    return Iteration(number, epoch, workers, size, scale, best, ends, 0.0, slices)


def _with_progress(iterations: list[Iteration]) -> tuple[Iteration, ...]:
    sizes = [sum(end - begin for begin, end in it.slices) for it in iterations]
    total, before, ready = sum(sizes), 0, []
    for iteration, size in zip(iterations, sizes, strict=True):
        ready.append(replace(iteration, progress=before / total))
        before += size
    return tuple(ready)


def write_plan(path: str, plan: Plan) -> None:
    """Write plan.json atomically."""
    value = asdict(plan)
    iterations = value.pop("iterations")
    write_json(path, {"format": FORMAT, **value, "phases": [{"name": "training", "iterations": iterations}]})


def read_plan(path: str) -> Plan:
    """Read plan.json. Raises UserError naming the file where it is not one."""
    value = read_json(path)
    if not isinstance(value, dict) or value.get("format") != FORMAT:
        raise UserError(f"{path}: not a plan of format {FORMAT}: delete it and run the plan stage")
    iterations = tuple(build(Iteration, item, str(path)) for item in value["phases"][-1]["iterations"])
    owned = value["worker_units"]
    return Plan(
        value["frames"],
        value["units"],
        value["minibatch"],
        value["dealing"],
        None if owned is None else tuple(owned),
        iterations,
        tuple(value.get("dropped", ())),
    )
