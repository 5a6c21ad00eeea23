"""The cells of a study as they lie on disk: runs by seed, and each candidate model of a cell over its seeds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from unisono.config import study as grid
from unisono.config.build import build
from unisono.config.run import Run as Settings
from unisono.config.study import Study
from unisono.errors import UserError
from unisono.files import read_json
from unisono.score.characters import evaluate_characters
from unisono.score.gather import Rows, read_training
from unisono.score.results import read_hypotheses
from unisono.score.studies import errors
from unisono.score.wer import Counts, Words, evaluate

Numbers = dict[str, Any]


@dataclass(frozen=True)
class Run:
    """One run of a cell: its settings, final.json, the rows of combined model and workers with `frames_seen`."""

    name: str
    seed: int
    settings: Settings
    final: Numbers
    combined: Rows
    workers: Rows


@dataclass(frozen=True)
class System:
    """A candidate of a cell: whole-dev objective and frame accuracy of each seed (None: not finite); test errors.

    counts: of each seed by utterance, empty where test was not decoded; characters: the same of characters.
    """

    cell: str
    candidate: str
    objectives: list[float | None]
    accuracies: list[float | None]
    counts: list[dict[str, Counts]]
    characters: list[dict[str, Counts]]

    @property
    def wers(self) -> list[float]:
        """Test WER of each seed, a fraction."""
        return errors.rates(self.counts)

    @cached_property
    def pooled(self) -> dict[str, Counts]:
        """Counts of each utterance added up over the seeds."""
        return errors.pooled(self.counts)


@dataclass(frozen=True)
class Cell:
    """A cell: its value of each axis (none: outside of the grid), its runs by seed, its systems."""

    name: str
    values: tuple[str, ...]
    runs: list[Run]
    systems: list[System]


@dataclass(frozen=True)
class Test:
    """The test set: words and speaker of each utterance; seed of the bootstrap."""

    references: Mapping[str, Words]
    speakers: Mapping[str, str]
    seed: int


def gather(root: Path, study: Study, test: Test) -> list[Cell]:
    """Read all runs of a study below `root`. study: the config's section."""
    decoded = set(grid.decoded(study))
    cells = []
    for name, cell in grid.cells(study).items():
        runs = [_run(root / "runs" / grid.run_name(study, name, seed), seed) for seed in study.seeds]
        made = runs[0].settings.candidates
        cells.append(Cell(name, cell.values, runs, [_system(root, name, c, runs, decoded, test) for c in made]))
    return cells


def backoffs(run: Run) -> int:
    """Return how often all workers were rejected; each time the rate of the rest of the run was halved."""
    return sum(row["rejected"] for row in run.combined)


def _run(folder: Path, seed: int) -> Run:
    settings = build(Settings, read_json(folder / "config.json"), str(folder / "config.json"))
    final = read_json(folder / "final.json")
    training = read_training(folder)
    return Run(folder.name, seed, settings, final, training.combined, training.workers)


def _system(root: Path, cell: str, candidate: str, runs: Sequence[Run], decoded: set[str], test: Test) -> System:
    counts, characters = [], []
    for run in runs:
        folder = f"runs/{run.name}/decode/{candidate}"
        if folder in decoded:
            hypotheses = read_hypotheses(root / folder)
            counts.append(evaluate(test.references, hypotheses).counts)
            characters.append(evaluate_characters(test.references, hypotheses))
    found = [run.final["candidates"].get(candidate) for run in runs]
    if None in found:
        raise UserError(f"cell {cell}: not every seed has a model {candidate}: train it again")
    objectives, accuracies = ([one[key] for one in found] for key in ("objective_dev", "frame_accuracy"))
    return System(cell, candidate, objectives, accuracies, counts, characters)
