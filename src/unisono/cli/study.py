"""Tabulate and draw what a study found, from the folders of its runs.

Writes into --out-dir: results.json, cells.csv, pairs.csv, curves.csv, cost.csv, curves.svg and final.svg; the page of
text beside them is written by hand and left alone.
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from unisono.score.study import Cell

FLOAT_BYTES = 4


def register(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument("--study", required=True, metavar="JSON", help="the config's section `study` with its defaults")
    parser.add_argument("--root", required=True, help="folder of the results, results/<name>")
    parser.add_argument("--out-dir", required=True, help="folder of the study's results")


def run(args: argparse.Namespace) -> None:
    """Read all runs, then write every file."""
    import json

    from unisono import grid
    from unisono.data.corpus.references import read_references
    from unisono.files import read_json, write_json, write_text
    from unisono.score import study, study_plots, study_tables

    section, root, out_dir = json.loads(args.study), Path(args.root), Path(args.out_dir)
    test = study.Test(*read_references(str(root / "data" / "test.tsv")), seed=1)
    cells = study.gather(root, section, test)
    tuned = read_json(root / grid.tuned_on(section) / "tune.json") if section["decode"]["cells"] else None
    found = study.results(section, cells, {cell.name: _sent(root, cell) for cell in cells}, tuned, test)
    courses = {cell.name: study.curve(cell) for cell in cells}

    write_text(out_dir / "cells.csv", study_tables.text(study_tables.cells(found)))
    write_text(out_dir / "pairs.csv", study_tables.text(study_tables.pairs(found)))
    write_text(out_dir / "curves.csv", study_tables.text([row for rows in courses.values() for row in rows]))
    write_text(out_dir / "cost.csv", study_tables.text(study_tables.cost(root / "benchmarks", cells)))
    study_plots.curves(out_dir / "curves.svg", list(section["axes"]), cells, courses)
    study_plots.final(out_dir / "final.svg", found)
    write_json(out_dir / "results.json", found)


def _sent(root: Path, cell: "Cell") -> dict[str, Any]:
    """Return the bytes that each rank sends per combination; the vector that travels has its rows padded."""
    from unisono.engines.rules import vectors_sent
    from unisono.nn.model_file import load_model
    from unisono.schedule import worker_range
    from unisono.sense import parallel_options

    parallel = parallel_options(cell.runs[0].settings["parallel"])
    vector = FLOAT_BYTES * load_model(root / "runs" / cell.runs[0].name / "final.safetensors").layout.size
    rule, looked_at = vectors_sent(parallel.combine, worker_range(parallel.workers)[1])
    return {
        "vector_bytes": vector,
        "bytes_per_combination": round(rule * vector),
        "bytes_for_diagnostics": round(looked_at * vector),
    }
