"""How sure a word error rate is: bootstrap intervals and paired tests.

Words of one speaker share his voice, so errors come in clumps; the bootstrap therefore draws whole speakers (Bisani &
Ney 2004 draw utterances; the clustered form follows Field & Welsh 2007).  With fewer than `MIN_SPEAKERS` speakers there
is nothing to draw from, utterances are drawn instead, and the interval says nothing about other speakers.

The matched-pairs test is that of Gillick & Cox 1989 with one utterance as a segment: with d_i the difference of the
errors of two systems in utterance i,  z = mean(d) / sqrt(var(d) / n), compared with a normal distribution.

Two systems differ by more than chance where test and bootstrap agree on it (`verdict`): the normal distribution of the
test holds for many utterances, the interval for few, too, and over speakers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import scipy.stats

from unisono.score.wer import Counts, add_up

MIN_SPEAKERS = 5
SIGNIFICANT = 0.05
Verdict = Literal["differ", "at the edge", "chance"]
DRAWS = 10_000
_BATCH_ITEMS = 2_000_000  # drawn items held at once: bounds the memory to some 50 MB


@dataclass(frozen=True, slots=True)
class Interval:
    """A percentile interval of 95 % and the sentence that says how it was made."""

    low: float
    high: float
    method: str


@dataclass(frozen=True, slots=True)
class MatchedPairs:
    """Outcome of `matched_pairs`: errors of both systems, z (positive where A errs more) and the two-sided p."""

    segments: int
    errors_a: int
    errors_b: int
    z: float
    p: float


def bootstrap_wer(counts: Mapping[str, Counts], speakers: Mapping[str, str], *, seed: int) -> Interval:
    """Give the 95 % percentile interval of the WER (fractions), drawing speakers, or utterances where these are few.

    counts: of each utterance.  speakers: utterance -> speaker.  The same seed gives the same interval.
    """
    groups, unit = _groups(list(counts), speakers)
    totals = [add_up(counts[u] for u in group) for group in groups]
    errors = np.array([total.errors for total in totals], dtype=np.float64)
    words = np.array([total.words for total in totals], dtype=np.float64)
    low, high = _bootstrap((errors, words), seed)
    return Interval(low, high, f"percentile bootstrap, {DRAWS} draws of {unit}, seed {seed}")


def bootstrap_difference(
    counts_a: Mapping[str, Counts], counts_b: Mapping[str, Counts], speakers: Mapping[str, str], *, seed: int
) -> Interval:
    """Give the 95 % interval of WER(A) - WER(B), the same draw for both systems (paired), as `bootstrap_wer` draws."""
    groups, unit = _groups(list(counts_a), speakers)
    errors = [sum(counts_a[u].errors - counts_b[u].errors for u in group) for group in groups]
    words = [sum(counts_a[u].words for u in group) for group in groups]
    low, high = _bootstrap((np.array(errors, dtype=np.float64), np.array(words, dtype=np.float64)), seed)
    return Interval(low, high, f"paired percentile bootstrap, {DRAWS} draws of {unit}, seed {seed}")


def matched_pairs(counts_a: Sequence[Counts], counts_b: Sequence[Counts]) -> MatchedPairs:
    """Test whether two systems differ on the same utterances, given in the same order (see the module).

    Without any difference z = 0 and p = 1.  With a constant difference other than 0 the variance is 0: z is
    infinite, p is 0.  One utterance alone says nothing: z = 0 and p = 1.
    Raises ValueError where the lengths differ or there is no utterance.
    """
    if len(counts_a) != len(counts_b) or not counts_a:
        raise ValueError(f"{len(counts_a)} and {len(counts_b)} utterances: need the same number, at least 1")
    a = np.array([counts.errors for counts in counts_a], dtype=np.float64)
    b = np.array([counts.errors for counts in counts_b], dtype=np.float64)
    if len(a) == 1:
        return MatchedPairs(1, int(a[0]), int(b[0]), 0.0, 1.0)
    difference = a - b
    mean, deviation = float(difference.mean()), float(difference.std(ddof=1) / np.sqrt(len(a)))
    z = 0.0 if mean == 0 else float(np.divide(mean, deviation)) if deviation else float(np.copysign(np.inf, mean))
    p = float(2 * scipy.stats.norm.sf(abs(z)))
    return MatchedPairs(len(a), int(a.sum()), int(b.sum()), z, p)


def verdict(p: float, ci95: Sequence[float]) -> Verdict:
    """Judge a difference: by p under `SIGNIFICANT` and an interval without 0; at the edge where only one says so."""
    said = int(p < SIGNIFICANT) + int(not ci95[0] <= 0 <= ci95[1])
    return ("chance", "at the edge", "differ")[said]


def mean_interval(values: Sequence[float]) -> tuple[float, float] | None:
    """Give the 95 % interval of the mean of independent values, mean +- t(0.975, n - 1) s / sqrt(n); None for one."""
    if len(values) < 2:
        return None
    data = np.array(values, dtype=np.float64)
    reach = float(scipy.stats.t.ppf(0.975, len(data) - 1) * data.std(ddof=1) / np.sqrt(len(data)))
    return float(data.mean()) - reach, float(data.mean()) + reach


def _groups(utterances: list[str], speakers: Mapping[str, str]) -> tuple[list[list[str]], str]:
    by_speaker: dict[str, list[str]] = {}
    for utterance in sorted(utterances):
        by_speaker.setdefault(speakers[utterance], []).append(utterance)
    if len(by_speaker) >= MIN_SPEAKERS:
        return [by_speaker[speaker] for speaker in sorted(by_speaker)], f"{len(by_speaker)} speakers"
    reason = f"only {len(by_speaker)} speakers, fewer than {MIN_SPEAKERS}: nothing is said about other speakers"
    reason = reason.replace("only 1 speakers", "only 1 speaker")
    return [[u] for u in sorted(utterances)], f"{len(utterances)} utterances ({reason})"


def _bootstrap(data: tuple[np.ndarray, np.ndarray], seed: int) -> tuple[float, float]:
    if len(data[0]) < 2:  # one item: every draw is the same
        ratio = _ratio_of_sums(*data)
        return float(ratio), float(ratio)
    result: Any = scipy.stats.bootstrap(
        data,
        _ratio_of_sums,
        paired=True,
        vectorized=True,
        n_resamples=DRAWS,
        batch=max(1, _BATCH_ITEMS // len(data[0])),
        confidence_level=0.95,
        method="percentile",
        rng=np.random.default_rng(seed),
    )
    return float(result.confidence_interval.low), float(result.confidence_interval.high)


def _ratio_of_sums(errors: np.ndarray, words: np.ndarray, axis: int = -1) -> np.ndarray:
    # A draw may hold only items without reference words; 1 keeps it finite.
    return errors.sum(axis=axis) / np.maximum(words.sum(axis=axis), 1.0)
