"""The section `study` and the grid it stands for: cells from axes, a run for each cell and seed, what is decoded.

A cell is one value of each axis, in the order of the axes; what its values override is merged one after the other.
"""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, NamedTuple

from annotated_types import Ge, MinLen

from unisono.config.markers import NAME, Section, Unique
from unisono.config.run import Candidate, Run
from unisono.errors import UserError

# Where an override stands in the config, and what it says.
Part = tuple[str, Any]
Overrides = dict[Annotated[str, NAME], dict[str, Any] | None]


@dataclass(frozen=True, kw_only=True)
class StudyDecode(Section):
    """What is decoded on test; nothing else is."""

    cells: Annotated[tuple[str, ...], Unique()] = ()
    """Cells whose runs are decoded, all seeds."""
    candidates: Annotated[tuple[Candidate, ...], MinLen(1), Unique()] = ("last",)
    """Which models of these runs; the first is the one that is tuned on."""


@dataclass(frozen=True, kw_only=True)
class Study(Section):
    """A grid of runs in place of `runs`, for `snakemake study`; see docs/studies.md."""

    name: Annotated[str, NAME]
    """Name of the study; its results go to docs/results/<name>/ below the working directory."""
    axes: dict[Annotated[str, NAME], Annotated[Overrides, MinLen(1)]] = field(default_factory=dict)
    """Axis: {value: {settings that differ}}; a cell of the study is one value of each axis, named `value-value`."""
    cells: Overrides = field(default_factory=dict)
    """Further cells outside of the grid: name: {settings that differ}."""
    seeds: Annotated[tuple[Annotated[int, Ge(0)], ...], MinLen(1), Unique()] = (1, 2, 3)
    """Each cell is trained once with each of these seeds."""
    tune_on: str | None = None
    """Cell whose first seed chooses acoustic scale and word-insertion penalty for all that is decoded."""
    decode: StudyDecode = StudyDecode()
    """What is decoded on test; nothing else is."""


class Cell(NamedTuple):
    """A cell of the grid: its value of each axis (none for one of `study.cells`) and what they override."""

    values: tuple[str, ...]
    parts: list[Part]


def cells(study: Study) -> dict[str, Cell]:
    """Return the cells by name: first the grid, `sgd-n1` for axis values sgd and n1, then `study.cells`.

    Raises UserError where there is no cell, or two of one name.
    """
    axes = [
        [(value, (f"study.axes.{axis}.{value}", override)) for value, override in values.items()]
        for axis, values in study.axes.items()
    ]
    found: dict[str, Cell] = {}
    grid = [tuple(zip(*chosen, strict=True)) for chosen in itertools.product(*axes)] if axes else []
    named = [("-".join(values), Cell(values, list(parts))) for values, parts in grid]
    further = [(name, Cell((), [(f"study.cells.{name}", over)])) for name, over in study.cells.items()]
    for name, cell in named + further:
        if name in found:
            raise UserError(f"study: two cells have the name {name}: rename a value of an axis, or the cell")
        found[name] = cell
    if not found:
        raise UserError("study: no cell: give study.axes with values, or study.cells")
    return found


def experiments(study: Study) -> dict[str, list[Part]]:
    """Return the parts of each run by its name; the last is its seed. Raises UserError as `cells` does.

    So too where decode or tune_on names a cell that is not there, and where an override sets the seed itself.
    """
    grid = cells(study)
    for where, names in (("study.decode.cells", study.decode.cells), ("study.tune_on", [study.tune_on])):
        for name in names:
            if name is not None and name not in grid:
                raise UserError(f"{where}: {name}: no such cell: known are {', '.join(grid)}")
    if study.tune_on is None and study.decode.cells:
        raise UserError("study.tune_on: missing: name the cell that chooses acoustic scale and penalty for all")
    for where, override in (part for cell in grid.values() for part in cell.parts):
        if isinstance(override, Mapping) and "seed" in override:
            raise UserError(f"{where}.seed: a study's seeds are those of study.seeds: take it away")
    return {
        run_name(study, name, seed): [*cell.parts, ("study.seeds", {"seed": seed})]
        for name, cell in grid.items()
        for seed in study.seeds
    }


def run_name(study: Study, cell: str, seed: int) -> str:
    """Return the name of a run: that of its study first, as studies may share a config's `name`."""
    return f"{study.name}.{cell}-s{seed}"


def check_study(study: Study, runs: Mapping[str, Run]) -> None:
    """Raise UserError where runs do not make a model that is to be decoded, or no curves."""
    wanted = study.decode.candidates
    tuned = [(study.tune_on, wanted[0])] if study.tune_on is not None else []
    for cell, candidate in [*itertools.product(study.decode.cells, wanted), *tuned]:
        made = runs[run_name(study, cell, study.seeds[0])].candidates
        if candidate not in made:
            raise UserError(
                f"study.decode.candidates: {candidate}: cell {cell} makes only {', '.join(made)}: give it the observer"
            )
    if any(run.diagnostics.frames == 0 for run in runs.values()):
        raise UserError("diagnostics.frames: 0: a study draws the course of each run: give some thousand frames")


def decoded(study: Study) -> Iterator[str]:
    """Yield the folder of every decoded system of a study."""
    for cell, seed in itertools.product(study.decode.cells, study.seeds):
        for candidate in study.decode.candidates:
            yield f"runs/{run_name(study, cell, seed)}/decode/{candidate}"


def tuned_on(study: Study) -> str:
    """Return the folder of the system that is tuned: the first seed of the cell, the first candidate."""
    return f"runs/{run_name(study, study.tune_on or '', study.seeds[0])}/decode/{study.decode.candidates[0]}"
