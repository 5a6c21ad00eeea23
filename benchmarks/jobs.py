"""What an iteration of the engine `jobs` costs beyond its steps, under Snakemake with two workers; wall-clock time."""

import csv
import time
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from benchmarks import ROOT
from benchmarks.processes import python
from benchmarks.setting import Size, settings, write_store
from benchmarks.timing import Results, put, spread
from unisono.files import read_json

WORKERS, DIAGNOSTICS = 2, 10_000
RULES = ("configure", "plan", "init_model", "train_job", "combine", "finish")  # the frames are ours


class Parts(NamedTuple):
    """Seconds of one iteration, from the end of the combination before to the end of its own.

    steps, start, load, write: of the worker that took longest. combine: the whole process, its start included, without
    the look at train and dev subsets (evaluate). snakemake: the rest.
    """

    steps: float
    start: float
    load: float
    write: float
    combine: float
    evaluate: float
    snakemake: float


def measure(folder: Path, size: Size) -> Results:
    """Return iteration_overhead_s (all but the steps) and its parts, and torch_import_s."""
    results: Results = {}
    frames = folder / "jobs" / "results" / "bench" / "frames"
    frames.mkdir(parents=True)
    write_store(frames / "train.h5", WORKERS * size.period * (size.iterations + 2), size.pdfs)
    write_store(frames / "dev.h5", DIAGNOSTICS if size.compiled else size.period, size.pdfs, seed=2)
    _snakemake(folder / "jobs", size)
    iterations = frames.parent / "runs" / "main" / "iterations"
    measurements = frames.parent / "benchmarks" / "train"
    last = max(int(path.name.split(".")[0]) for path in iterations.glob("[0-9]*.state.json"))
    # Not the first, which waits for the initial model, nor the last, which looks at all of dev.
    parts = [_parts(iterations, measurements, number) for number in range(1, last)]
    put(results, "iteration_overhead_s", spread([sum(part) - part.steps for part in parts]))
    for name in Parts._fields:
        put(results, f"iteration_{name}_s", spread([getattr(part, name) for part in parts]))
    put(results, "torch_import_s", spread([_seconds("import torch") - _seconds("pass") for _ in range(size.blocks)]))
    return results


def _snakemake(directory: Path, size: Size) -> None:
    """Train from given frames to the final model, with the evaluation that a config has by default.

    Nothing else is there to be done, so a combination may look at frames with the cores of the workers.
    """
    config: dict[str, Any] = settings(size, diagnostics={"frames": DIAGNOSTICS if size.compiled else size.period})
    config["parallel"]["engine"] = "jobs"
    (directory / "bench.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    python(
        ["-m", "snakemake", "--snakefile", ROOT / "Snakefile", "--directory", directory, "--cores", str(WORKERS),
         "--set-threads", f"combine={WORKERS}", "--configfile", directory / "bench.yaml",
         "--allowed-rules", *RULES, "--", "results/bench/runs/main/final.safetensors"]
    )  # fmt: skip


def _parts(iterations: Path, measurements: Path, number: int) -> Parts:
    ended = [(iterations / f"{n}.state.json").stat().st_mtime for n in (number - 1, number)]
    state = read_json(iterations / f"{number}.state.json")
    longest = max(state["workers"], key=lambda w: sum(w[f"seconds_{n}"] for n in ("start", "load", "compute", "write")))
    start, load, steps, write = (longest[f"seconds_{name}"] for name in ("start", "load", "compute", "write"))
    evaluate = state["seconds"]["evaluate"]
    with open(measurements / f"main.{number}.combine.tsv", encoding="utf-8", newline="") as file:
        combine = float(next(csv.DictReader(file, delimiter="\t"))["s"]) - evaluate
    rest = ended[1] - ended[0] - (steps + start + load + write + combine + evaluate)
    return Parts(steps, start, load, write, combine, evaluate, rest)


def _seconds(code: str) -> float:
    begun = time.perf_counter()
    python(["-c", code])
    return time.perf_counter() - begun
