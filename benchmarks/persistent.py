"""Persistent against spawned workers, over the period K between two combinations.

    python -m benchmarks.persistent --out DIR [--workers 1 2] [--periods 1000 2000 ...] [--iterations 8] [--frames DIR]

For each number of workers and each K the same training four times: `spawned` (engine jobs, a new process per worker and
iteration, under Snakemake), `jobs` (the same with the warm interpreter), `sync` (ranks that live on), and `no_ahead`
(sync, with a loader that reads a window only when it is needed). All end at the same bytes, which is checked.
An iteration lasts from the end of the combination before to the end of its own; the first, the last and those that end
an epoch, which evaluate all of dev, are left out; medians of the rest. r(K) = 1 - seconds / seconds of `spawned`.
Writes persistent.json, persistent.csv and persistent.svg.
"""

import argparse
import csv
import itertools
import json
import shutil
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import safetensors.torch
import yaml

from benchmarks.__main__ import machine
from benchmarks.processes import mpirun, snakemake
from benchmarks.setting import FULL, QUICK, Size, settings, write_store
from unisono.files import read_json
from unisono.schedule import read_plan
from unisono.score.pictures import COLOURS, Picture

RULES = ("configure", "plan", "init_model", "train_job", "combine", "diagnose")  # the frames are ours
WORK = ("start", "load", "compute", "write")  # of a worker
PARTS = (*WORK, "wait", "average", "evaluate", "rest")
PUBLISHED = 0.549  # Rosciszewski and Kaliski 2017, at 600,000 frames
CURVES = ("spawned", "jobs", "sync", "no_ahead")
NAMES = {"jobs": "warm interpreter", "sync": "persistent", "no_ahead": "persistent, no read-ahead"}
PERIODS = [1000, 2000, 5000, 10000, 20000, 40000]
Row = dict[str, Any]


def main() -> None:
    """Measure, write, print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.persistent", description="r(K) of persistent workers.")
    parser.add_argument("--out", type=Path, required=True, help="folder of the results")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--periods", type=int, nargs="+", default=PERIODS, metavar="K")
    parser.add_argument("--iterations", type=int, default=8, help="of each training")
    parser.add_argument("--frames", type=Path, help="folder with train.h5, dev.h5 and frames.json; default: noise")
    parser.add_argument("--cores", type=int, default=2, help="of Snakemake")
    parser.add_argument("--quick", action="store_true", help="a tiny network: shows that it works, not how fast")
    given = parser.parse_args()
    size, rows = (QUICK if given.quick else FULL)._replace(iterations=given.iterations), []
    for workers, period in itertools.product(given.workers, sorted(given.periods)):
        with tempfile.TemporaryDirectory(prefix="unisono-persistent-") as folder:
            training = Training(Path(folder), size._replace(period=period), workers, given.cores, given.frames)
            rows += training.rows()
        print(table(rows[-len(CURVES) :]), file=sys.stderr, flush=True)
    given.out.mkdir(parents=True, exist_ok=True)
    facts = machine() | {"iterations": given.iterations, "cores": given.cores, "frames": str(given.frames or "noise")}
    facts |= {"published_cut": PUBLISHED, "met_at": {str(n): met(rows, n) for n in given.workers}, "quick": given.quick}
    (given.out / "persistent.json").write_text(json.dumps(facts | {"rows": rows}, indent=1) + "\n", encoding="utf-8")
    with open(given.out / "persistent.csv", "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    (given.out / "persistent.svg").write_text(picture(rows), encoding="utf-8")
    print(table(rows))
    for workers in given.workers:
        print(f"{workers} workers: the published cut of {PUBLISHED:.1%} is met at {facts['met_at'][str(workers)]}")


class Training:
    """One training, four times, in one folder."""

    def __init__(self, folder: Path, size: Size, workers: int, cores: int, given: Path | None) -> None:
        """given: frames that are there; None: noise."""
        self._folder, self._size, self._workers, self._cores = folder, size, workers, cores
        self._last = size.iterations - 1
        self._frames = folder / "frames"
        self._frames.mkdir()
        if given:
            for name in ("train.h5", "dev.h5", "frames.json"):
                shutil.copy(given / name, self._frames / name)
        else:
            write_store(self._frames / "train.h5", workers * size.period * (size.iterations + 1), size.pdfs)
            write_store(self._frames / "dev.h5", 2 * size.minibatch, size.pdfs, seed=2)

    def rows(self) -> list[Row]:
        """Return what each curve has at this period."""
        runs = {name: self._snakemake(name) for name in CURVES[:2]} | {name: self._ranks(name) for name in CURVES[2:]}
        path = f"iterations/{self._last}.combine.safetensors"
        models = {safetensors.torch.load_file(run / path)["model"].numpy().tobytes() for run in runs.values()}
        if len(models) != 1:
            raise RuntimeError(f"K = {self._size.period}: the models differ")
        plan = read_plan(str(runs["jobs"] / "plan.json"))
        numbers = [it.iteration for it in plan.iterations[1 : self._last] if not it.end_of_epoch]
        if not numbers:
            raise RuntimeError(f"K = {self._size.period}: no iteration within an epoch: give more frames")
        found = [self._row(name, run, numbers) for name, run in runs.items()]
        return [row | {"cut": 1.0 - row["seconds"] / found[0]["seconds"]} for row in found]

    def _snakemake(self, name: str, last: int | None = None) -> Path:
        """Train under Snakemake, to an iteration; return the run's folder."""
        folder = self._folder / name
        (folder / "results" / "bench").mkdir(parents=True)
        shutil.copytree(self._frames, folder / "results" / "bench" / "frames")
        config: Row = settings(self._size, schedule={"epochs": None, "iterations": self._size.iterations})
        config["parallel"] |= {"engine": "jobs", "workers": self._workers}
        config["resources"] = {"warm_interpreter": name != "spawned"}
        (folder / "bench.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
        target = f"{self._last if last is None else last}.state.json" if last != -1 else "init.state.json"
        snakemake(folder, self._cores, RULES, f"results/bench/runs/main/iterations/{target}", "--notemp")
        return folder / "results" / "bench" / "runs" / "main"

    def _ranks(self, name: str) -> Path:
        """Train by ranks that live on, from the first model; return the run's folder."""
        run = self._snakemake(name, last=-1)
        script = [] if name == "sync" else ["-m", "benchmarks.persistent"]
        train = [
            "train", "--engine", "sync", "--config", f"{run}/config.json", "--plan", f"{run}/plan.json",
            "--frames-train", f"{self._frames}/train.h5", "--frames-dev", f"{self._frames}/dev.h5", "--first", "0",
            "--last", str(self._last), "--iterations-dir", f"{run}/iterations", "--state-dir", f"{run}/state",
        ]  # fmt: skip
        mpirun(self._workers, ["-m", "mpi4py", *(script or ["-m", "unisono"]), *train])
        return run

    def _row(self, name: str, run: Path, numbers: Sequence[int]) -> Row:
        """Return the median seconds of an iteration and of its parts: of the worker that took longest, then of all.

        share: of the time without evaluation that this worker computes; share_best: in the best iteration.
        """
        ends = self._ends(name, run)
        parts: dict[str, list[float]] = {part: [] for part in PARTS}
        lasted, shares = [], []
        for number in numbers:
            state = read_json(run / f"iterations/{number}.state.json")
            longest = max(state["workers"], key=lambda w: sum(w[f"seconds_{part}"] for part in WORK))
            found = {part: longest[f"seconds_{part}"] for part in (*WORK, "wait")}
            found |= {part: state["seconds"].get(part) or 0.0 for part in ("average", "evaluate")}
            lasted.append(ends[number] - ends[number - 1])
            found["rest"] = lasted[-1] - sum(found.values())
            shares.append(found["compute"] / (lasted[-1] - found["evaluate"]))
            for part, seconds in found.items():
                parts[part].append(seconds)
        medians = {part: statistics.median(values) for part, values in parts.items()}
        facts = {"workers": self._workers, "period_frames": self._size.period, "curve": name}
        lasts = {"seconds": statistics.median(lasted), **medians}
        return facts | lasts | {"share": statistics.median(shares), "share_best": max(shares)}

    def _ends(self, name: str, run: Path) -> list[float]:
        """Return when each iteration ended."""
        if name in CURVES[:2]:
            return [(run / f"iterations/{n}.state.json").stat().st_mtime for n in range(self._last + 1)]
        lines = (run / "iterations/progress.jsonl").read_text(encoding="utf-8").splitlines()
        return [json.loads(line)["time"] for line in lines]


def met(rows: Sequence[Row], workers: int) -> str:
    """Say at which K the cut falls to the published one, between two that were measured."""
    curve = [(row["period_frames"], row["cut"]) for row in rows if (row["workers"], row["curve"]) == (workers, "sync")]
    for (low, above), (high, below) in itertools.pairwise(curve):
        if above >= PUBLISHED >= below:
            at = low + (high - low) * (above - PUBLISHED) / (above - below)
            return f"K = {at:.0f} frames per worker"
    return f"no K between {curve[0][0]} and {curve[-1][0]}"


def picture(rows: Sequence[Row]) -> str:
    """Return r(K) as SVG: full lines for the most workers, dotted ones for fewer."""
    drawn, most = Picture(3.4), max(row["workers"] for row in rows)
    for workers in sorted({row["workers"] for row in rows}):
        for name, colour in zip(CURVES[1:], COLOURS, strict=False):
            curve = [row for row in rows if (row["workers"], row["curve"]) == (workers, name)]
            drawn.axes.plot(
                [row["period_frames"] for row in curve], [row["cut"] for row in curve], marker="o", markersize=3.5,
                linestyle="-" if workers == most else ":", color=colour, label=f"{NAMES[name]}, N = {workers}",
            )  # fmt: skip
    drawn.axes.axhline(PUBLISHED, linestyle="--", color="grey", label="published")
    drawn.axes.set_xscale("log")
    drawn.axes.set_xlabel("frames of a worker between two combinations")
    drawn.axes.set_ylabel("part of the time saved")
    drawn.legend_below()
    return drawn.text()


def table(rows: Sequence[Row]) -> str:
    """Return the rows as lines of text."""
    keys = list(rows[0])
    cells = [[f"{row[key]:.3f}" if isinstance(row[key], float) else str(row[key]) for key in keys] for row in rows]
    return "\n".join("  ".join(f"{cell:>13.13}" for cell in line) for line in [keys, *cells])


def without_reading_ahead() -> None:
    """Run `unisono` with a loader that reads a window when it is needed."""
    from unisono.__main__ import main as unisono
    from unisono.data.frames.loader import Loader

    begin = Loader.__init__
    Loader.__init__ = lambda self, *words, **named: begin(self, *words, **{**named, "ahead": 0})  # type: ignore[method-assign]
    Loader.expect = lambda self, part: None  # type: ignore[method-assign]
    sys.exit(unisono(sys.argv[1:]))


if __name__ == "__main__":
    without_reading_ahead() if sys.argv[1:2] == ["train"] else main()
