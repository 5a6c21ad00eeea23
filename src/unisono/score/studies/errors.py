"""Errors of words or characters over the seeds of a cell: rates, and what other speakers would give."""

from collections.abc import Mapping, Sequence
from typing import Any

from unisono.score import statistics
from unisono.score.wer import Counts, add_up

BySeed = Sequence[Mapping[str, Counts]]  # counts by utterance of each seed


def rates(counts: BySeed) -> list[float]:
    """Return the error rate of each seed, a fraction."""
    return [add_up(own.values()).wer for own in counts]


def pooled(counts: BySeed) -> dict[str, Counts]:
    """Return the counts of each utterance added up over the seeds."""
    return {utterance: add_up(own[utterance] for own in counts) for utterance in counts[0]}


def over_speakers(counts: BySeed, speakers: Mapping[str, str], unit: str, seed: int) -> dict[str, Any]:
    """Return the interval over speakers, the errors of each seed, and how many there are of `unit`."""
    interval = statistics.bootstrap_wer(pooled(counts), speakers, seed=seed)
    totals = [add_up(own.values()) for own in counts]
    return {
        "ci95_speakers": [interval.low, interval.high],
        "ci_method": interval.method,
        "errors": [total.errors for total in totals],
        unit: totals[0].words,
    }
