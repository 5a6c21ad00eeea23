"""What a workflow asks of plans: the workers of each iteration, blocks of iterations, and runs that are dealt afresh.

`redeal.json`, written by `unisono redeal` beside an unfinished run:

| key | meaning |
|---|---|
| format | `unisono.redeal/1` |
| workers | from now on; the config must say the same |
| done | the iterations that stay, as in plan.json |
"""

import functools
from collections.abc import Sequence
from typing import Any

from unisono.config.build import build
from unisono.config.parallel import ParallelOptions, Ramp
from unisono.config.schedule import ScheduleOptions
from unisono.errors import UserError
from unisono.files import read_json
from unisono.schedule import Iteration, build_plan, workers_at
from unisono.units import TrainingUnit

REDEAL_FORMAT = "unisono.redeal/1"


def static_workers(iterations: int, workers: int | Ramp) -> list[int]:
    """Return the workers of each iteration of `schedule: {iterations: n}`, known before any frame is counted."""
    return [workers_at(workers, i / iterations) for i in range(iterations)]


@functools.cache
def counted_workers(
    frames: str,
    changed: int,
    schedule: ScheduleOptions,
    parallel: ParallelOptions,
    minibatch: int,
    unit: TrainingUnit,
    redeal: str,
) -> list[int]:
    """Return the workers of each iteration of a run over the frames that frames.json counts.

    changed: when that file was last changed. redeal: redeal.json of the run, or empty. Raises UserError where there is
    too little data for the workers.
    """
    done = done_of(redeal, parallel.workers) if redeal else ()
    plan = build_plan(read_json(frames)["train"]["lengths"], schedule, parallel, minibatch, done, unit)
    return [iteration.workers for iteration in plan.iterations]


def block_begin(counts: Sequence[int], workers: int | Ramp, length: int, end: int) -> int:
    """Return the first iteration of the block of at most `length` that ends with `end`. Raises UserError for no block.

    Where another number of workers takes over, all that was done before belongs to the block that goes on from it.
    """
    begin = end // length * length
    if end != min(begin + length, len(counts)) - 1:
        raise UserError(f"no block of iterations ends with {end}")
    return 0 if begin <= last_redealt(counts, workers) + 1 <= end else begin


def last_redealt(counts: Sequence[int], workers: int | Ramp) -> int:
    """Return the last iteration of a plan with another number of workers than the config's; -1 for none, or a ramp."""
    others = [i for i, count in enumerate(counts) if count != workers] if isinstance(workers, int) else []
    return others[-1] if others else -1


def read_redeal(path: str) -> dict[str, Any]:
    """Read redeal.json: `workers` from now on, `done` iterations. Raises UserError where the file is none."""
    value = read_json(path)
    if not isinstance(value, dict) or value.get("format") != REDEAL_FORMAT:
        raise UserError(f"{path}: not of format {REDEAL_FORMAT}: delete it to start anew")
    return value | {"done": tuple(build(Iteration, item, path) for item in value["done"])}


def done_of(path: str, workers: int | Ramp) -> tuple[Iteration, ...]:
    """Return the iterations that stay, of redeal.json. Raises UserError unless the config says the same number.

    workers: the config's `parallel.workers`.
    """
    value = read_redeal(path)
    if value["workers"] != workers:
        raise UserError(
            f"parallel.workers: {workers}, but {path} deals the rest of this run to {value['workers']}: set it to"
            f" {value['workers']}, run `unisono redeal` again, or delete that file to start anew"
        )
    return value["done"]
