"""What an iteration of the engine `jobs` costs beyond its steps, under Snakemake with two cores; wall-clock time."""

import csv
import time
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from benchmarks.processes import python, snakemake
from benchmarks.setting import Size, settings, write_store
from benchmarks.timing import Results, Spread, put, spread
from unisono.files import read_json

CORES, DIAGNOSTICS = 2, 10_000
RULES = ("configure", "plan", "init_model", "train_job", "combine", "diagnose", "metrics")  # the frames are ours


class Parts(NamedTuple):
    """Seconds of one iteration, from the end of the combination before to the end of its own.

    steps, start, load, write: of the worker that took longest. combine: the whole process, its start included.
    snakemake: the rest. The look at train and dev frames runs beside them and is no part of it.
    """

    steps: float
    start: float
    load: float
    write: float
    combine: float
    snakemake: float


def measure(folder: Path, size: Size) -> Results:
    """Return iteration_overhead_s (all but the steps) and its parts, the same with a core to spare, torch_import_s.

    iteration_overhead_cold_s: without a warm interpreter; both in turns, half of the iterations each time.
    """
    results: Results = {}
    half = size._replace(iterations=size.iterations // 2)
    parts, looks, cold = [], [], []
    for turn in range(2):
        cold += _train(folder / f"cold{turn}", half, workers=CORES, warm=False)[0]
        served = _train(folder / f"warm{turn}", half, workers=CORES)
        parts, looks = parts + served[0], looks + served[1]
    put(results, "iteration_overhead_s", _overhead(parts))
    put(results, "iteration_overhead_cold_s", _overhead(cold))
    for name in Parts._fields:
        put(results, f"iteration_{name}_s", spread([getattr(part, name) for part in parts]))
    put(results, "iteration_diagnose_s", spread(looks))
    put(results, "iteration_overhead_spare_s", _overhead(_train(folder / "spare", size, workers=CORES - 1)[0]))
    put(results, "torch_import_s", spread([_seconds("import torch") - _seconds("pass") for _ in range(size.blocks)]))
    return results


def _overhead(parts: list[Parts]) -> Spread:
    return spread([sum(part) - part.steps for part in parts])


def _train(directory: Path, size: Size, workers: int, warm: bool = True) -> tuple[list[Parts], list[float]]:
    """Train under Snakemake; return the parts of each iteration, and the seconds of the jobs that look at its model."""
    frames = directory / "results" / "bench" / "frames"
    frames.mkdir(parents=True)
    write_store(frames / "train.h5", workers * size.period * (size.iterations + 2), size.pdfs)
    write_store(frames / "dev.h5", DIAGNOSTICS if size.compiled else size.period, size.pdfs, seed=2)
    _snakemake(directory, size, workers, warm)
    iterations = frames.parent / "runs" / "main" / "iterations"
    measurements = frames.parent / "benchmarks" / "train"
    last = max(int(path.name.split(".")[0]) for path in iterations.glob("[0-9]*.state.json"))
    # Not the first, which waits for the initial model, nor the last, of which all of dev is looked at.
    numbers = range(1, last)
    looks = [_whole(measurements / f"main.{number}.diagnose.tsv") for number in numbers]
    return [_parts(iterations, measurements, number) for number in numbers], looks


def _snakemake(directory: Path, size: Size, workers: int, warm: bool) -> None:
    """Train from given frames to the metrics, with the diagnostics that a config has by default."""
    config: dict[str, Any] = settings(size, diagnostics={"frames": DIAGNOSTICS if size.compiled else size.period})
    config["parallel"] |= {"engine": "jobs", "workers": workers}
    config["resources"] = {"warm_interpreter": warm}
    (directory / "bench.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    snakemake(directory, CORES, RULES, "results/bench/runs/main/metrics.jsonl")


def _parts(iterations: Path, measurements: Path, number: int) -> Parts:
    ended = [(iterations / f"{n}.state.json").stat().st_mtime for n in (number - 1, number)]
    state = read_json(iterations / f"{number}.state.json")
    longest = max(state["workers"], key=lambda w: sum(w[f"seconds_{n}"] for n in ("start", "load", "compute", "write")))
    start, load, steps, write = (longest[f"seconds_{name}"] for name in ("start", "load", "compute", "write"))
    combine = _whole(measurements / f"main.{number}.combine.tsv")
    rest = ended[1] - ended[0] - (steps + start + load + write + combine)
    return Parts(steps, start, load, write, combine, rest)


def _whole(measurement: Path) -> float:
    """Return the seconds of a job as Snakemake wrote them down."""
    with open(measurement, encoding="utf-8", newline="") as file:
        return float(next(csv.DictReader(file, delimiter="\t"))["s"])


def _seconds(code: str) -> float:
    begun = time.perf_counter()
    python(["-c", code])
    return time.perf_counter() - begun
