"""What combining costs: in a real run of two MPI ranks, and the elementwise work of BMUF, EMA and Polyak alone."""

import statistics
from functools import partial
from pathlib import Path

import torch

from benchmarks.ours import SGD, Ours, frames_needed
from benchmarks.processes import mpirun
from benchmarks.setting import Folder, Size, settings, write_store
from benchmarks.timing import Results, paired, pinned, put, spread
from tests.support.settings import section
from unisono.config.parallel import CombineOptions
from unisono.core import observers
from unisono.engines.rules import rule_for
from unisono.files import read_json

WORKERS = 2


def measure(folder: Path, size: Size) -> Results:
    """Return average_share (wall-clock time) and observer_share (CPU time)."""
    return _average(folder / "sync", size) | _observers(folder, size)


def _average(path: Path, size: Size) -> Results:
    """Run the engine `sync`; the first iteration and the last, which looks at dev as well, are left out."""
    results: Results = {}
    frames = WORKERS * size.period * (size.iterations + 2)
    prepared = Folder(path, settings(size), frames, size.pdfs)
    mpirun(WORKERS, ["-m", "mpi4py", "-m", "unisono", *prepared.train_sync()])
    shares, waits, averages = [], [], []
    for number in range(1, len(prepared.plan.iterations) - 1):
        state = read_json(prepared.iterations / f"{number}.state.json")
        workers, average = state["workers"], state["seconds"]["average"]
        steps = [worker["seconds_load"] + worker["seconds_compute"] for worker in workers]
        whole = max(steps) + average
        shares.append(average / whole)
        waits.append((max(steps) - statistics.mean(steps)) / whole)  # for the slower of the two
        averages.append(average)
    put(results, "average_share", spread(shares))
    put(results, "average_wait_share", spread(waits))
    put(results, "average_s", spread(averages))
    return results


def _observers(folder: Path, size: Size) -> Results:
    """Time the block-momentum filter and both observers against the plain steps between two combinations."""
    torch.set_num_threads(1)
    results: Results = {}
    store = folder / "observers.h5"
    write_store(store, frames_needed(size), size.pdfs)
    with pinned():
        training = Ours(store, size, SGD)
        training.train(size.warm_up)
        options = section(CombineOptions, kind="bmuf", weights="frames", block_momentum="auto", block_learning_rate=1.0)
        rule = rule_for(options, 8)
        model = training.worker.params.clone()
        mean, ema, polyak = model + 1e-4, model - 1e-4, model + 2e-4
        state, step = rule.init(model), rule.step
        assert step is not None

        def combine() -> None:
            _, filtered, _ = step(state, model, mean)
            observers.move(ema, filtered, 0.1)
            observers.move(polyak, filtered, 1 / 7)

        combine()
        seconds = paired({"combine": combine, "training": partial(training.train, size.steps)}, size.blocks)
    periods = size.period / (size.steps * size.minibatch)
    both = zip(seconds["combine"], seconds["training"], strict=True)
    put(results, "observer_share", spread([c / (c + t * periods) for c, t in both]))
    put(results, "observer_s", spread(seconds["combine"]))
    return results
