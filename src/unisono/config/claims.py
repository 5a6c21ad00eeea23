"""The claims of a paper, in a file of their own beside its config: what is said, and which cells of the study test it.

`config/papers/x.yaml` is a study, `config/papers/x.claims.yaml` has its claims: `claims: {name: {...}}`, each with the
keys of `Claim`. A *system* is a cell of the study, `cell`, another model of it, `cell/candidate`, or its model after so
many epochs, `cell@2`: where the schedule needs no end, that is what a training of two epochs ends with.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Gt, MinLen

from unisono.config.markers import NAME, Pattern, Section, Unique
from unisono.config.run import Run
from unisono.config.study import Study, cells, run_name
from unisono.errors import UserError

Certainty = Literal["A", "C", "D", "S", "M", "I"]
# What a certainty says of where a claim comes from, for the table.
SOURCES: Mapping[str, str] = {
    "A": "abstract",
    "C": "authors' code",
    "D": "documentation",
    "S": "stand-in",
    "M": "from memory",
    "I": "inferred",
}
Metric = Literal["objective_dev", "frame_accuracy", "wer", "cer", "averaging_share", "modelled_speedup", "frames_per_s"]
# Metrics of a run, not of one of its models; they come from the clock.
TIMED = ("averaging_share", "modelled_speedup", "frames_per_s")
System = Annotated[str, Pattern(rf"{NAME.regex}(/{NAME.regex})?(@[0-9]+)?")]


@dataclass(frozen=True, kw_only=True)
class Claim(Section):
    """One claim; it has one of `measured` (and `expected`), `shown`, `cannot`."""

    claim: str
    """The claim, a sentence."""
    stands: str
    """Where it stands in the paper or its code."""
    certainty: Certainty
    """A: read in the abstract; C: in the authors' code; D: in public documentation; S: of a stand-in; M: from memory, unchecked; I: inferred."""  # noqa: E501
    published: str | None = None
    """The published value, in words; null: none is known."""
    published_value: float | None = None
    """The same as a number in the unit of `metric`, where it may be set against what is measured."""
    measured: Annotated[dict[System, float], MinLen(1)] | None = None
    """Weight of each system in the sum that is measured, seed by seed: {b: 1, a: -1} is b minus a."""
    shown: Annotated[tuple[System, ...], MinLen(1), Unique()] | None = None
    """Systems whose values are shown, without a verdict."""
    cannot: str | None = None
    """Why the claim cannot be tested here."""
    metric: Metric = "objective_dev"
    """What is measured: objective_dev (nats per frame), frame_accuracy, wer, cer (fractions, decoded systems only), averaging_share (of an iteration's time), modelled_speedup (over one worker), frames_per_s (of all workers; on MPI ranks)."""  # noqa: E501
    expected: Literal["above", "below", "equal"] | None = None
    """Where the claim puts the sum: above, below or equal to `value`."""
    value: float = 0.0
    """What the sum is compared with."""
    margin: Annotated[float, Gt(0)] = 0.03
    """Largest distance from `value` that still counts as equal."""


@dataclass(frozen=True, kw_only=True)
class Claims(Section):
    """A paper and its claims."""

    paper: str
    """Authors, title, where it appeared."""
    claims: Annotated[dict[Annotated[str, NAME], Claim], MinLen(1)]
    """The claims by name, in the order of the table."""


def check_claims(claims: Claims, study: Study, runs: Mapping[str, Run]) -> None:
    """Refuse claims that the study cannot test. Raises UserError, one line, for the first."""
    for name, claim in claims.claims.items():
        where = f"claims.{name}"
        given = [key for key in ("measured", "shown", "cannot") if getattr(claim, key) is not None]
        if len(given) != 1:
            raise UserError(f"{where}: has {' and '.join(given) or 'none'} of measured, shown, cannot: give one")
        if (claim.measured is None) != (claim.expected is None):
            raise UserError(f"{where}.expected: goes with measured, and that needs it: give both or neither")
        for system in [*(claim.measured or ()), *(claim.shown or ())]:
            _check_system(f"{where}.{given[0]}: {system}", system, claim.metric, study, runs)


def _check_system(where: str, system: str, metric: Metric, study: Study, runs: Mapping[str, Run]) -> None:
    cell, candidate, epochs = split_system(system)
    grid = cells(study)
    if cell not in grid:
        raise UserError(f"{where}: no such cell: known are {', '.join(grid)}")
    run = runs[run_name(study, cell, study.seeds[0])]
    if candidate not in run.candidates:
        raise UserError(f"{where}: cell {cell} makes only {', '.join(run.candidates)}: give it the observer")
    if metric in TIMED and system != cell:
        raise UserError(f"{where}: {metric} is of a run, not of one of its models: say {cell}")
    if epochs is not None and candidate != "last":
        raise UserError(f"{where}: after an epoch only the last model is evaluated: say {cell}@{epochs}")
    if epochs is not None and run.schedule.kind == "newbob":
        raise UserError(f"{where}: newbob decides after how many epochs a run ends: say {cell}")
    if epochs is not None and not 1 <= epochs <= (run.schedule.epochs or 0):
        raise UserError(f"{where}: cell {cell} trains for {run.schedule.epochs or 'no whole number of'} epochs")
    decoded = cell in study.decode.cells and candidate in study.decode.candidates and epochs is None
    if metric in ("wer", "cer") and not decoded:
        raise UserError(f"{where}: not decoded: name it in study.decode, or choose another metric")


def split_system(system: str) -> tuple[str, str, int | None]:
    """Return cell, candidate and epochs of a system; a bare cell means its last model at its end (None)."""
    named, _, epochs = system.partition("@")
    cell, _, candidate = named.partition("/")
    return cell, candidate or "last", int(epochs) if epochs else None
