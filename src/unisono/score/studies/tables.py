"""The CSV files of a study, made from what `findings.results` put together.

cells.csv   a row for each system (cell and candidate): settings, cost, means over seeds with their intervals
pairs.csv   a row for each pair of systems: differences A minus B with their intervals, matched pairs on test
curves.csv  a row for each cell and combination, or for several combinations of a long training
cost.csv    CPU seconds of each run, and what averaging cost; only this and seconds.svg differ when all is made again
"""

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from unisono.config.claims import TIMED
from unisono.schedule import worker_range
from unisono.score.gather import measured, read_job
from unisono.score.studies.cells import Cell
from unisono.score.studies.findings import mean
from unisono.score.studies.timing import averaging

Row = Mapping[str, Any]
# What of a run is measured: the folder of its benchmark files, and the rest of their names.
STEPS = {
    "train": ("train", r"(block\.\d+|\d+\.(\d+|combine|diagnose)|finish)"),
    "tune": ("decode", r"[a-z]+\.tune"),
    "decode": ("decode", r"[a-z]+\.\d+"),
}


def cells(results: Row) -> list[dict[str, Any]]:
    """Return the rows of cells.csv. Objectives in nats per frame; accuracies, error rates and limits are fractions."""
    rows = []
    for name, cell in results["cells"].items():
        facts = {key: cell[key] for key in ("optimiser", "learning_rate", "combine", "workers", "period_frames")}
        cost = {key: cell[key] for key in ("frames", "bytes_per_combination", "bytes_for_diagnostics")}
        cost |= {"worker_rate_first": cell["worker_rate_first"], "worker_rate_mean": fmean(cell["worker_rate_mean"])}
        cost |= {"limited": mean(cell["limited"])}
        cost |= {"iterations": max(cell["iterations"])} | {key: sum(cell[key]) for key in ("rejected", "backoffs")}
        for candidate, numbers in cell["candidates"].items():
            rows.append(
                {"cell": name, "candidate": candidate, "seeds": len(cell["runs"]), **facts, **cost}
                | _columns("objective_dev", numbers["objective_dev"])
                | _columns("frame_accuracy", numbers["frame_accuracy"])
                | _columns("objective_minus_last", numbers.get("objective_minus_last"))
                | _columns("wer", numbers.get("wer"))
                | _limits("wer_speakers", numbers.get("wer", {}).get("ci95_speakers"))
                | _columns("cer", numbers.get("cer"))
                | _limits("cer_speakers", numbers.get("cer", {}).get("ci95_speakers"))
            )
    return rows


def pairs(results: Row) -> list[dict[str, Any]]:
    """Return the rows of pairs.csv."""
    rows = []
    for pair in results["pairs"]:
        wer = pair.get("wer_difference", {})
        rows.append(
            {key: pair[key] for key in ("cell_a", "candidate_a", "cell_b", "candidate_b")}
            | _columns("objective_difference", pair["objective_difference"])
            | _columns("wer_difference", wer)
            | _limits("wer_difference_speakers", wer.get("ci95_speakers"))
            | {key: wer.get(key) for key in ("z", "p")}
            | _columns("cer_difference", pair.get("cer_difference"))
            | _limits("cer_difference_speakers", pair.get("cer_difference", {}).get("ci95_speakers"))
        )
    return rows


def cost(benchmarks: Path, cells: Iterable[Cell]) -> list[dict[str, Any]]:
    """Return the rows of cost.csv from the files that Snakemake wrote beside its jobs; None where there are none.

    A job that was interrupted and went on counts from where it went on.
    """
    rows = []
    for cell in cells:
        for run in cell.runs:
            row: dict[str, Any] = {"cell": cell.name, "seed": run.seed, "run": run.name}
            for step, (stage, pattern) in STEPS.items():
                name = re.compile(rf"{re.escape(run.name)}\.{pattern}\.tsv")
                files = sorted(path for path in (benchmarks / stage).glob("*.tsv") if name.fullmatch(path.name))
                jobs = [job for file in files for job in read_job(benchmarks, file)]
                row[f"{step}_cpu_s"] = round(sum(measured(job, "cpu_time") for job in jobs), 1) if files else None
            parallel = run.settings.parallel
            number = worker_range(parallel.workers)[1]
            row |= averaging(run.combined, run.workers, number, served=parallel.served)
            rows.append(row)
    return rows


def read_cost(path: Path) -> list[dict[str, Any]]:
    """Return the rows of cost.csv, numbers as numbers."""
    with path.open(encoding="utf-8", newline="") as file:
        return [
            {key: value if key in ("cell", "run") else float(value) if value else None for key, value in row.items()}
            for row in csv.DictReader(file)
        ]


def timing(cost: Iterable[Row]) -> dict[str, dict[str, list[float | None]]]:
    """Return the timed metrics of each cell, a value for each seed, from the rows of cost.csv."""
    found: dict[str, dict[str, list[float | None]]] = {}
    for row in cost:
        for metric in TIMED:
            found.setdefault(row["cell"], {}).setdefault(metric, []).append(row[metric])
    return found


def text(rows: Sequence[Row]) -> str:
    """Format rows of the same keys as CSV with a heading; None is an empty cell."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue()


def _columns(name: str, numbers: Row | None) -> dict[str, Any]:
    numbers = numbers or {}
    return {name: numbers.get("mean"), **_limits(name, numbers.get("ci95"))}


def _limits(name: str, interval: Sequence[float] | None) -> dict[str, Any]:
    low, high = interval or (None, None)
    return {f"{name}_low": low, f"{name}_high": high}
