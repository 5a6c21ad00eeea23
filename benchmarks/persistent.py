"""Persistent against spawned workers over the period K between two combinations .

    python -m benchmarks.persistent --out DIR [--frames DIR] [--workers 2] [--periods 1000 2000 ...] [--iterations 12]

For each K the same training three times: `jobs` (a process per worker and iteration, under Snakemake), `sync` (ranks
that live on), and `sync` with the loader's reading ahead switched off. All end at the same bytes, which is checked.
An iteration lasts from the end of the combination before to the end of its own; the first, the last and those that end
an epoch, which evaluate all of dev, are left out; what counts is the median. r(K) = 1 - sync / jobs. Writes
persistent.json, persistent.csv and persistent.svg.
"""

import argparse
import csv
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

from benchmarks import ROOT
from benchmarks.__main__ import machine
from benchmarks.processes import mpirun, python
from benchmarks.setting import FULL, QUICK, Size, settings, write_store
from unisono.files import read_json
from unisono.schedule import read_plan
from unisono.score.pictures import Picture

RULES = ("configure", "plan", "init_model", "train_job", "combine", "diagnose")
PARTS = ("start", "load", "compute", "write", "wait", "average", "evaluate", "rest")
PUBLISHED = 0.549  # Rosciszewski and Kaliski 2017, at 600,000 frames
CURVES = ("jobs", "sync", "sync_no_read_ahead")


def main() -> None:
    """Measure, write, print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.persistent", description="r(K) of persistent workers.")
    parser.add_argument("--out", type=Path, required=True, help="folder of the results")
    parser.add_argument("--frames", type=Path, help="folder with train.h5, dev.h5 and frames.json; default: noise")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--periods", type=int, nargs="+", default=[1000, 2000, 5000, 10000, 20000, 40000])
    parser.add_argument("--iterations", type=int, default=8, help="of each training")
    parser.add_argument("--cores", type=int, default=2, help="of Snakemake")
    parser.add_argument("--quick", action="store_true", help="a tiny network: shows that it works, not how fast")
    given = parser.parse_args()
    size, rows = (QUICK if given.quick else FULL), []
    for period in given.periods:
        with tempfile.TemporaryDirectory(prefix="unisono-persistent-") as folder:
            rows += measure(Path(folder), size._replace(period=period, iterations=given.iterations), given)
        print(json.dumps(rows[-3:]), file=sys.stderr, flush=True)
    given.out.mkdir(parents=True, exist_ok=True)
    facts = machine() | {"workers": given.workers, "iterations": given.iterations, "published_cut": PUBLISHED}
    facts |= {"frames": str(given.frames or "noise"), "cores": given.cores, "met_at": met(rows)}
    (given.out / "persistent.json").write_text(json.dumps(facts | {"rows": rows}, indent=1) + "\n", encoding="utf-8")
    with open(given.out / "persistent.csv", "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    (given.out / "persistent.svg").write_text(picture(rows), encoding="utf-8")
    print(table(rows))
    print(f"the published cut of {PUBLISHED:.1%} is met at {facts['met_at']}")


def measure(folder: Path, size: Size, given: argparse.Namespace) -> list[dict[str, Any]]:
    """Return the rows of one period: seconds of an iteration and their parts, for each curve."""
    frames = folder / "results" / "bench" / "frames"
    frames.mkdir(parents=True)
    if given.frames:
        for name in ("train.h5", "dev.h5", "frames.json"):
            shutil.copy(given.frames / name, frames / name)
    else:
        write_store(frames / "train.h5", given.workers * size.period * (size.iterations + 1), size.pdfs)
        write_store(frames / "dev.h5", 2 * size.minibatch, size.pdfs, seed=2)
    config = settings(size, schedule={"epochs": None, "iterations": size.iterations})
    config["parallel"] |= {"engine": "jobs", "workers": given.workers}
    (folder / "bench.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    run, last = frames.parent / "runs" / "main", size.iterations - 1
    snakemake(folder, given.cores, "results/bench/runs/main/iterations/init.state.json")
    for name in CURVES[1:]:
        shutil.copytree(run, folder / name)
    snakemake(folder, given.cores, f"results/bench/runs/main/iterations/{last}.state.json")
    for name in CURVES[1:]:
        script = (
            ["-m", "mpi4py", "-m", "unisono"] if name == "sync" else ["-m", "mpi4py", "-m", "benchmarks.persistent"]
        )
        mpirun(given.workers, [*script, *train_sync(folder / name, frames, last)])
    models = [model(path / "iterations", last) for path in (run, *(folder / name for name in CURVES[1:]))]
    if len(set(models)) != 1:
        raise RuntimeError(f"K = {size.period}: the models differ")
    plan = read_plan(str(run / "plan.json"))
    numbers = [it.iteration for it in plan.iterations[1:last] if not it.end_of_epoch]
    ends = {"jobs": [(run / f"iterations/{n}.state.json").stat().st_mtime for n in range(last + 1)]}
    for name in CURVES[1:]:
        lines = (folder / name / "iterations/progress.jsonl").read_text(encoding="utf-8").splitlines()
        ends[name] = [json.loads(line)["time"] for line in lines]
    rows = [row(run if name == "jobs" else folder / name, name, size.period, numbers, ends[name]) for name in CURVES]
    return [one | {"cut": 1.0 - one["seconds"] / rows[0]["seconds"]} for one in rows]


def snakemake(folder: Path, cores: int, target: str) -> None:
    """Make a file of the run under Snakemake."""
    python(
        ["-m", "snakemake", "--snakefile", ROOT / "Snakefile", "--directory", folder, "--cores", str(cores),
         "--configfile", folder / "bench.yaml", "--notemp", "--allowed-rules", *RULES, "--", target]
    )  # fmt: skip


def train_sync(folder: Path, frames: Path, last: int) -> list[str]:
    """Return the arguments of the command that trains all iterations."""
    return [
        "train", "--engine", "sync", "--config", f"{folder}/config.json", "--plan", f"{folder}/plan.json",
        "--frames-train", f"{frames}/train.h5", "--frames-dev", f"{frames}/dev.h5", "--first", "0", "--last", str(last),
        "--iterations-dir", f"{folder}/iterations", "--state-dir", f"{folder}/state",
    ]  # fmt: skip


def model(iterations: Path, last: int) -> bytes:
    """Return the bytes of the last model."""
    return safetensors.torch.load_file(iterations / f"{last}.combine.safetensors")["model"].numpy().tobytes()


def row(run: Path, name: str, period: int, numbers: Sequence[int], ends: Sequence[float]) -> dict[str, Any]:
    """Return the median seconds of an iteration, and its parts: of the worker that took longest, then of all."""
    parts: dict[str, list[float]] = {part: [] for part in PARTS}
    for number in numbers:
        state = read_json(run / f"iterations/{number}.state.json")
        own = ("start", "load", "compute", "write", "wait")
        longest = max(state["workers"], key=lambda w: sum(w[f"seconds_{part}"] for part in own[:4]))
        found = {part: longest[f"seconds_{part}"] for part in own}
        found |= {part: state["seconds"].get(part) or 0.0 for part in ("average", "evaluate")}
        found["rest"] = ends[number] - ends[number - 1] - sum(found.values())
        for part, seconds in found.items():
            parts[part].append(seconds)
    seconds = statistics.median(ends[number] - ends[number - 1] for number in numbers)
    medians = {part: statistics.median(values) for part, values in parts.items()}
    return {
        "period_frames": period,
        "curve": name,
        "seconds": seconds,
        **medians,
        "share": medians["compute"] / seconds,
    }


def met(rows: Sequence[dict[str, Any]]) -> str:
    """Say at which K the cut falls to the published one, between two that were measured."""
    curve = [(one["period_frames"], one["cut"]) for one in rows if one["curve"] == "sync"]
    for (low, above), (high, below) in zip(curve, curve[1:], strict=False):
        if above >= PUBLISHED >= below:
            at = low + (high - low) * (above - PUBLISHED) / (above - below)
            return f"K = {at:.0f} frames per worker"
    return f"no K between {curve[0][0]} and {curve[-1][0]}"


def picture(rows: Sequence[dict[str, Any]]) -> str:
    """Return r(K) as SVG."""
    drawn = Picture(3.0)
    for name, label in zip(CURVES[1:], ("persistent", "persistent, no read-ahead"), strict=True):
        curve = [one for one in rows if one["curve"] == name]
        drawn.axes.plot([o["period_frames"] for o in curve], [o["cut"] for o in curve], marker="o", label=label)
    drawn.axes.axhline(PUBLISHED, linestyle=":", color="grey", label="published")
    drawn.axes.set_xscale("log")
    drawn.axes.set_xlabel("frames of a worker between two combinations")
    drawn.axes.set_ylabel("part of the time saved")
    drawn.legend_below()
    return drawn.text()


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Return the rows as lines of text."""
    keys = list(rows[0])
    cells = [[f"{one[key]:.3f}" if isinstance(one[key], float) else str(one[key]) for key in keys] for one in rows]
    return "\n".join("  ".join(f"{cell:>14.14}" for cell in line) for line in [keys, *cells])


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
