"""Choose acoustic scale and word-insertion penalty on dev, in stages (each setting costs one decoding of dev).

1. every acoustic scale without penalty; 2. every penalty at the best scale; 3. (not for GMM systems) the neighbours of
the best pair in the grid of scales and penalties, diagonals included. Search with a wide beam: at a narrow one a
penalty can look good only because the search fails.

Of equally good settings the one with the least penalty wins, of these the one with the largest acoustic scale: the
order of Kaldi's best_wer.sh (least penalty, then least LM weight).
"""

import itertools
import logging
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from unisono import console
from unisono.config.language import DecodeOptions
from unisono.errors import UserError
from unisono.recognise.acoustics import LogLikelihoods
from unisono.recognise.decode import Beam, Hypothesis, Searcher, Setting, decode, summarise, to_words
from unisono.score import wer

log = logging.getLogger("unisono.tune")

# Returns the number of word errors on dev of each setting.
Errors = Callable[[Sequence[Setting]], Sequence[int]]


def tune(
    scales: Sequence[float], penalties: Sequence[float], errors: Errors, *, neighbours: bool
) -> tuple[Setting, dict[Setting, int]]:
    """Return the best setting and every setting tried with its errors, in the order of trial.

    `penalties` are tried beside 0. Raises UserError for no scale or one that is not positive.
    """
    if not scales or min(scales) <= 0.0:
        raise UserError(f"decode: acoustic scales must be positive and at least one, found {list(scales)}")
    rows, columns = sorted(set(scales)), sorted({0.0, *penalties})
    tried: dict[Setting, int] = {}

    def attempt(settings: Iterable[Setting]) -> Setting:
        new = [setting for setting in settings if setting not in tried]
        if new:
            tried.update(zip(new, errors(new), strict=True))
        return min(tried, key=lambda s: (tried[s], s.word_insertion_penalty, -s.acoustic_scale))

    best = attempt(Setting(scale, 0.0) for scale in rows)
    best = attempt(Setting(best.acoustic_scale, penalty) for penalty in columns)
    if neighbours:
        row, column = rows.index(best.acoustic_scale), columns.index(best.word_insertion_penalty)
        around = [(row + i, column + j) for i in (-1, 0, 1) for j in (-1, 0, 1)]
        best = attempt(Setting(rows[r], columns[c]) for r, c in around if 0 <= r < len(rows) and 0 <= c < len(columns))
    return best, tried


def draw(utterances: Iterable[str], count: int | None, seed: int) -> list[str]:
    """Return a seeded part of the utterances, sorted: `count` of them, or all for None or where there are no more."""
    everything = sorted(utterances)
    if count is None or count >= len(everything):
        return everything
    if count < 1:
        raise UserError(f"decode.tune_utterances: {count} leaves nothing to tune on: give at least 1 or null")
    return sorted(random.Random(seed).sample(everything, count))


def tune_system(
    system: Literal["gmm", "dnn"],
    graph: Any,
    pdf_of_transition: npt.NDArray[np.int32],
    scorer: LogLikelihoods,
    references: Mapping[str, Sequence[str]],
    words: Sequence[str],
    options: DecodeOptions,
    processes: int = 1,
) -> tuple[dict[str, Any], dict[str, list[str]]]:
    """Tune one system on dev; return the content of tune.json and the hypotheses at the best setting.

    `graph` and `pdf_of_transition` as `Searcher` takes them; `references`: the words of each utterance of dev, of
    which `options.tune_utterances` are drawn; `words[n]` is the word of number n.
    """
    utterances = draw(references, options.tune_utterances, options.seed)
    part = {utterance: references[utterance] for utterance in utterances}
    searcher = Searcher(graph, pdf_of_transition, (0.0, *options.word_insertion_penalties))
    beam = Beam(options.tuning_beam, options.max_active, options.min_active)
    found: dict[Setting, dict[str, Hypothesis]] = {}
    passes, last = itertools.count(1), 3 if system == "dnn" else 2

    def errors(settings: Sequence[Setting]) -> list[int]:
        with console.progress(f"pass {next(passes)} of {last}, utterances", len(utterances)) as advance:
            new = decode(searcher, scorer, utterances, settings, beam, processes, advance)
        found.update(new)
        counts = [wer.evaluate(part, to_words(new[setting], words)).total for setting in settings]
        for setting, total in zip(settings, counts, strict=True):
            log.info("%s: %s", setting, wer.kaldi_lines(total).splitlines()[0])
        return [total.errors for total in counts]

    scales = options.gmm_acoustic_scales if system == "gmm" else options.acoustic_scales
    best, tried = tune(scales, options.word_insertion_penalties, errors, neighbours=system == "dnn")
    total = sum(map(len, part.values()))
    facts = {
        "system": system,
        **best._asdict(),
        "lm_weight": 1.0 / best.acoustic_scale,
        "dev_wer": tried[best] / total,
        "words": total,
        **summarise(found[best]),
        "tried": [{**s._asdict(), "errors": count, "wer": count / total} for s, count in tried.items()],
    }
    return facts, to_words(found[best], words)
