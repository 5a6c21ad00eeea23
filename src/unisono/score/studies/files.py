"""The files of a study: its results as JSON, tables and pictures, in one folder."""

from collections.abc import Sequence
from pathlib import Path

from unisono.config.study import Study
from unisono.files import write_json, write_text
from unisono.score.studies import findings, plots, tables
from unisono.score.studies.cells import Cell, Numbers


def write_study(out_dir: Path, section: Study, cells: Sequence[Cell], found: Numbers, benchmarks: Path) -> None:
    """Write results.json, four tables and the pictures curves.svg, seconds.svg and final.svg into `out_dir`.

    section: the config's section `study`; found: what `findings.results` put together; benchmarks: folder of the
    files that Snakemake writes beside the jobs.
    """
    courses = {cell.name: findings.curve(cell) for cell in cells}
    write_text(out_dir / "cells.csv", tables.text(tables.cells(found)))
    write_text(out_dir / "pairs.csv", tables.text(tables.pairs(found)))
    write_text(out_dir / "curves.csv", tables.text([row for rows in courses.values() for row in rows]))
    cost = tables.cost(benchmarks, cells)
    write_text(out_dir / "cost.csv", tables.text(cost))
    plots.curves(out_dir / "curves.svg", list(section.axes), cells, courses)
    paces = {cell: findings.mean(metrics["frames_per_s"]) for cell, metrics in tables.timing(cost).items()}
    plots.curves(out_dir / "seconds.svg", list(section.axes), cells, courses, paces)
    plots.final(out_dir / "final.svg", found)
    write_json(out_dir / "results.json", found)
