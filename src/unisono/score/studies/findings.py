"""What a study found: each cell over its seeds, and pairs of cells by the same seeds and the same utterances.

A *system* is one candidate model (last, ema, ...) of a cell. The interval over seeds says what another seed would
give (Student's t over the runs); the interval over speakers what other speakers would (bootstrap of the errors of all
seeds together). A pair is compared seed by seed, as both runs of a seed start from the same weights and read the same
order, and on test by the matched-pairs test over utterances, the errors of an utterance added up over the seeds.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from statistics import fmean
from typing import Any

from unisono.config import study as grid
from unisono.config.build import complete
from unisono.config.study import Study
from unisono.score import statistics
from unisono.score.gather import Rows
from unisono.score.studies import errors
from unisono.score.studies.cells import Cell, Numbers, System, Test, backoffs

MOST_POINTS = 1000  # of a cell's course


def results(study: Study, cells: Sequence[Cell], sent: Mapping[str, Numbers], tuned: Any, test: Test) -> Numbers:
    """Put together results.json. sent: of each cell, what a rank sends; tuned: tune.json of the study or None.

    Objectives are nats per frame of the whole dev set, accuracies and error rates fractions; `ci95` is over seeds,
    `ci95_speakers` over speakers. Differences are A minus B.
    """
    first = cells[0].runs[0].final
    return {
        "study": study.name,
        "seeds": list(study.seeds),
        "cpu": sorted({run.final["cpu"] for cell in cells for run in cell.runs}),
        "version": first["version"],
        "libraries": first["libraries"],
        "tuned": tuned
        and {"on": grid.tuned_on(study)}
        | {key: tuned[key] for key in ("acoustic_scale", "word_insertion_penalty", "dev_wer")},
        "cells": {cell.name: _cell(cell, sent[cell.name], test) for cell in cells},
        "pairs": [_pair(a, b, test) for a, b in _pairs(cells)],
    }


def curve(cell: Cell) -> Rows:
    """Return a cell's course: frames seen by all workers together, objectives over its seeds on the fixed subsets.

    Each row: iteration, its frames (the mean: where units are chunks seeds differ by some), and mean, min and max of
    objective_dev, means of objective_train and of the part of minibatches that max-change limited; None where a seed
    has none. Iterations that not all seeds have are left out. Of more than `MOST_POINTS` several make one row: their
    mean, at the last of them.
    """
    rows = []
    iterations = list(zip(*(run.combined for run in cell.runs), strict=False))
    several = max(1, -(-len(iterations) // MOST_POINTS))
    for end in range(several, len(iterations) + several, several):
        some = iterations[end - several : end]
        by_seed = list(zip(*some, strict=True))
        dev, train, limited = (
            [mean([row.get(key) for row in seed]) for seed in by_seed]
            for key in ("objective_dev", "objective_train", "limited")
        )
        known = [value for value in dev if value is not None]
        rows.append(
            {
                "cell": cell.name,
                "iteration": some[-1][0]["iteration"],
                "frames": round(fmean(row["frames_seen"] for row in some[-1])),
                "objective_dev": mean(dev),
                "objective_dev_min": min(known) if len(known) == len(dev) else None,
                "objective_dev_max": max(known) if len(known) == len(dev) else None,
                "objective_train": mean(train),
                "limited": mean(limited),
            }
        )
    return rows


def epochs(cell: Cell, field: str) -> list[Numbers]:
    """Return a metric of the last model on the whole dev set after each epoch, and at the end of a run, over seeds.

    None where a seed has no value.
    """
    ends = [{row["epoch"]: row.get(field) for row in run.combined} for run in cell.runs]
    return [
        over_seeds([run.get(number) for run in ends])
        for number in range(max((number for run in ends for number in run), default=-1) + 1)
    ]


def over_seeds(values: Sequence[float | None]) -> Numbers:
    """Return values, mean and ci95 (Student's t); both None where a value is, ci95 also for one seed."""
    average = mean(values)
    interval = None if average is None else statistics.mean_interval([v for v in values if v is not None])
    return {"values": list(values), "mean": average, "ci95": None if interval is None else list(interval)}


def _cell(cell: Cell, sent: Numbers, test: Test) -> Numbers:
    parallel, optimiser = cell.runs[0].settings.parallel, cell.runs[0].settings.optimiser
    return {
        "values": list(cell.values),
        "runs": [run.name for run in cell.runs],
        "optimiser": optimiser.kind,
        "learning_rate": optimiser.learning_rate,
        "workers": complete(parallel)["workers"],
        "period_frames": parallel.period_frames,
        "combine": parallel.combine.kind,
        "frames": cell.runs[0].combined[-1]["frames_seen"],
        "iterations": [run.final["iterations"] for run in cell.runs],
        "worker_rate_first": cell.runs[0].combined[0]["learning_rate"],
        "worker_rate_mean": [_over_frames(run.combined, "learning_rate") for run in cell.runs],
        "limited": [_over_frames(run.combined, "limited") for run in cell.runs],
        "rejected": [len(run.final["rejected"]) for run in cell.runs],
        "backoffs": [backoffs(run) for run in cell.runs],
        "parameters": cell.runs[0].final["parameters"],
        **sent,
        "epochs": {key: epochs(cell, f"{key}_full") for key in ("objective_dev", "frame_accuracy")},
        "candidates": {system.candidate: _numbers(system, cell.systems[0], test) for system in cell.systems},
    }


def _over_frames(combined: Rows, field: str) -> float | None:
    """Return the mean over frames: with few combinations a falling rate falls in few steps, so the rate's is higher."""
    if any(row.get(field) is None for row in combined):
        return None
    return sum(row["frames"] * row[field] for row in combined) / combined[-1]["frames_seen"]


def _numbers(system: System, last: System, test: Test) -> Numbers:
    numbers: Numbers = {
        "objective_dev": over_seeds(system.objectives),
        "frame_accuracy": over_seeds(system.accuracies),
    }
    if system is not last:
        numbers["objective_minus_last"] = _difference(system.objectives, last.objectives)
    if system.counts:
        for name, counts, unit in (("wer", system.counts, "words"), ("cer", system.characters, "characters")):
            own = errors.over_speakers(counts, test.speakers, unit, test.seed)
            numbers[name] = {**over_seeds(errors.rates(counts)), **own}
    return numbers


def _pairs(cells: Sequence[Cell]) -> Iterator[tuple[System, System]]:
    """Yield what is compared: the last models of all cells, the models of each cell, all that was decoded."""
    systems = [system for cell in cells for system in cell.systems]
    for a, b in combinations(systems, 2):
        if a.cell == b.cell or a.candidate == b.candidate == "last" or (a.counts and b.counts):
            yield a, b


def _pair(a: System, b: System, test: Test) -> Numbers:
    numbers: Numbers = {
        **{"cell_a": a.cell, "candidate_a": a.candidate, "cell_b": b.cell, "candidate_b": b.candidate},
        "objective_difference": _difference(a.objectives, b.objectives),
    }
    if a.counts and b.counts:
        found = statistics.matched_pairs(list(a.pooled.values()), list(b.pooled.values()))
        interval = statistics.bootstrap_difference(a.pooled, b.pooled, test.speakers, seed=test.seed)
        numbers["wer_difference"] = {
            **_difference(a.wers, b.wers),
            "ci95_speakers": [interval.low, interval.high],
            "z": found.z if abs(found.z) != float("inf") else None,
            "p": found.p,
        }
        a_characters, b_characters = errors.pooled(a.characters), errors.pooled(b.characters)
        interval = statistics.bootstrap_difference(a_characters, b_characters, test.speakers, seed=test.seed)
        numbers["cer_difference"] = {
            **_difference(errors.rates(a.characters), errors.rates(b.characters)),
            "ci95_speakers": [interval.low, interval.high],
        }
    return numbers


def _difference(a: Sequence[float | None], b: Sequence[float | None]) -> Numbers:
    pairs = zip(a, b, strict=True)
    return over_seeds([None if one is None or other is None else one - other for one, other in pairs])


def mean(values: Sequence[float | None]) -> float | None:
    """Return the mean; None where one of the values is, or there are none."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known and len(known) == len(values) else None
