"""A study's grid: cells from axes, a run for each cell and seed, and what is decoded.

A cell is one value of each axis, in the order of the axes; what its values override is merged one after the other.
Only the standard library: the Snakefile imports this.
"""

import itertools
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from unisono.errors import UserError

Section = Mapping[str, Any]
# Where an override stands in the config, and what it says.
Part = tuple[str, Any]


class Cell(NamedTuple):
    """A cell of the grid: its value of each axis (none for one of `study.cells`) and what they override."""

    values: tuple[str, ...]
    parts: list[Part]


def cells(study: Section) -> dict[str, Cell]:
    """Return the cells by name: first the grid, `sgd-n1` for axis values sgd and n1, then `study.cells`.

    study: the config's section with its defaults. Raises UserError where there is no cell, or two of one name.
    """
    axes = [
        [(str(value), (f"study.axes.{axis}.{value}", override)) for value, override in values.items()]
        for axis, values in study["axes"].items()
    ]
    found: dict[str, Cell] = {}
    grid = [tuple(zip(*chosen, strict=True)) for chosen in itertools.product(*axes)] if axes else []
    named = [("-".join(values), Cell(values, list(parts))) for values, parts in grid]
    further = [(str(name), Cell((), [(f"study.cells.{name}", over)])) for name, over in study["cells"].items()]
    for name, cell in named + further:
        if name in found:
            raise UserError(f"study: two cells have the name {name}: rename a value of an axis, or the cell")
        found[name] = cell
    if not found:
        raise UserError("study: no cell: give study.axes with values, or study.cells")
    return found


def experiments(study: Section) -> dict[str, list[Part]]:
    """Return the parts of each run by its name; the last is its seed. Raises UserError as `cells` does.

    So too where decode or tune_on names a cell that is not there, and where an override sets the seed itself.
    """
    _check_shape(study)
    grid = cells(study)
    for name in study["decode"]["cells"]:
        _require(grid, name, "study.decode.cells")
    if study["tune_on"] is not None:
        _require(grid, study["tune_on"], "study.tune_on")
    elif study["decode"]["cells"]:
        raise UserError("study.tune_on: missing: name the cell that chooses acoustic scale and penalty for all")
    for where, override in (part for cell in grid.values() for part in cell.parts):
        if isinstance(override, Mapping) and "seed" in override:
            raise UserError(f"{where}.seed: a study's seeds are those of study.seeds: take it away")
    return {
        run_name(study, name, seed): [*cell.parts, ("study.seeds", {"seed": seed})]
        for name, cell in grid.items()
        for seed in study["seeds"]
    }


def run_name(study: Section, cell: str, seed: int) -> str:
    """Return the name of a run: that of its study first, as studies may share a config's `name`."""
    return f"{study['name']}.{cell}-s{seed}"


def candidates(run: Mapping[str, Any]) -> list[str]:
    """Return the models that a run ends with: the last, the best where it is kept, and the observers'."""
    best = ["best"] if keeps_best(run["final_model"], run["schedule"]["kind"]) else []
    observed = [name for name in ("ema", "polyak") if run["observers"][name]]
    return ["last", *best, *observed]


def keeps_best(final_model: str, schedule: str) -> bool:
    """Return whether a run with these settings keeps the best model so far (dev objective at the ends of epochs)."""
    return final_model == "best" or schedule == "newbob"


def check(study: Section, runs: Mapping[str, Mapping[str, Any]]) -> None:
    """Raise UserError where runs do not make a model that is to be decoded, or no curves.

    runs: complete settings by name.
    """
    wanted = study["decode"]["candidates"]
    tuned = [(study["tune_on"], wanted[0])] if study["tune_on"] is not None else []
    for cell, candidate in [*itertools.product(study["decode"]["cells"], wanted), *tuned]:
        made = candidates(runs[run_name(study, cell, study["seeds"][0])])
        if candidate not in made:
            raise UserError(
                f"study.decode.candidates: {candidate}: cell {cell} makes only {', '.join(made)}: give it the observer"
            )
    if any(run["diagnostics"]["frames"] == 0 for run in runs.values()):
        raise UserError("diagnostics.frames: 0: a study draws the course of each run: give some thousand frames")


def decoded(study: Section) -> Iterator[str]:
    """Yield the folder of every decoded system of a study."""
    for cell in study["decode"]["cells"]:
        for seed in study["seeds"]:
            for candidate in study["decode"]["candidates"]:
                yield f"runs/{run_name(study, cell, seed)}/decode/{candidate}"


def tuned_on(study: Section) -> str:
    """Return the folder of the system that is tuned: the first seed of the cell, the first candidate."""
    return f"runs/{run_name(study, study['tune_on'], study['seeds'][0])}/decode/{study['decode']['candidates'][0]}"


def _check_shape(study: Section) -> None:
    """Refuse what cannot be expanded; ranges and types of what is within are the schema's."""
    if not isinstance(study, Mapping) or "name" not in study:
        raise UserError("study.name: missing: its results go to docs/results/<name>/")
    decode = study["decode"]
    found = {f"study.{key}": (study[key], Mapping) for key in ("axes", "cells", "decode")}
    if isinstance(decode, Mapping):
        found |= {f"study.decode.{key}": (decode[key], list) for key in ("cells", "candidates")}
    if isinstance(study["axes"], Mapping):
        found |= {f"study.axes.{axis}": (values, Mapping) for axis, values in study["axes"].items()}
    for where, (value, kind) in {**found, "study.seeds": (study["seeds"], list)}.items():
        if not isinstance(value, kind):
            raise UserError(f"{where}: expected a {'list' if kind is list else 'mapping'}, found {value!r}")
    for where, named in [(where, value) for where, (value, kind) in found.items() if kind is Mapping]:
        for name in named:
            if name is None or isinstance(name, bool):
                raise UserError(f"{where}: {name} is no name: put it in quotes (YAML has values on, off, yes, no, ~)")
    for where, value in (("study.seeds", study["seeds"]), ("study.decode.candidates", decode["candidates"])):
        if not value:
            raise UserError(f"{where}: empty: give at least one")


def _require(grid: Mapping[str, Any], name: Any, where: str) -> None:
    if str(name) not in grid:
        raise UserError(f"{where}: {name}: no such cell: known are {', '.join(grid)}")
