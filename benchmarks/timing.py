"""CPU time of variants that take turns on one core, and ratios of what lay side by side."""

import contextlib
import os
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

Results = dict[str, float | str]


class Spread(NamedTuple):
    """Median, smallest and largest of some measurements."""

    median: float
    least: float
    most: float


@contextlib.contextmanager
def pinned() -> Iterator[None]:
    """Keep this thread, and those it starts, on one core; the cores are given back at the end."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(cores)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


def paired(variants: Mapping[str, Callable[[], object]], blocks: int) -> dict[str, list[float]]:
    """Return the CPU seconds of each variant in each block; a block runs all of them, each time from another one on.

    CPU time of the whole process, so a thread that loads data is counted.
    """
    names, seconds = list(variants), {name: [] for name in variants}
    for block in range(blocks):
        first = block % len(names)
        for name in names[first:] + names[:first]:
            begun = time.process_time()
            variants[name]()
            seconds[name].append(time.process_time() - begun)
    return seconds


def spread(values: Sequence[float]) -> Spread:
    """Return median, smallest and largest."""
    return Spread(statistics.median(values), min(values), max(values))


def ratio(above: Sequence[float], below: Sequence[float]) -> Spread:
    """Return the spread of the ratios of one block each."""
    return spread([a / b for a, b in zip(above, below, strict=True)])


def put(results: Results, key: str, value: Spread) -> None:
    """Store a spread as `key` (the median), `key`_min and `key`_max."""
    for name, number in ((key, value.median), (f"{key}_min", value.least), (f"{key}_max", value.most)):
        results[name] = float(f"{number:.6g}")
