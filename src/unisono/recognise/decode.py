"""Search: the best word sequence of each utterance, given the log-likelihoods of its frames.

The decoder is Kaldi's FasterDecoder (1-best, beam search): among the paths of HCLG it looks for the least

    cost = sum over frames of (graph cost - acoustic_scale * log p(frame | pdf)) + penalty * number of words

All results are those of one utterance alone: every utterance has a decoder of its own, since a decoder that was used
before may order its hypotheses differently, and prune others.
"""

import logging
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from unisono.errors import UserError
from unisono.files import read_json
from unisono.hmm.arcs import Arcs
from unisono.hmm.graph import with_word_penalty
from unisono.hmm.libs import kaldifst, kd
from unisono.processes import map_shards

log = logging.getLogger("unisono.decode")

# Utterances that one task decodes: fixed, so that no result depends on the number of processes; few, so that progress
# is seen, as tuning searches each of them at several settings.
BATCH = 2


class Beam(NamedTuple):
    """How much the search keeps: costs within `width` of the best, at most and at least so many states a frame."""

    width: float
    max_active: int
    min_active: int


class Setting(NamedTuple):
    """What is tuned on dev: scale of the log-likelihoods, and cost of each word (nats, positive: fewer words)."""

    acoustic_scale: float
    word_insertion_penalty: float


def read_setting(path: str | os.PathLike[str]) -> Setting:
    """Read the setting that was chosen on dev from tune.json. Raises UserError for any other file."""
    tuned = read_json(path)
    try:
        return Setting(float(tuned["acoustic_scale"]), float(tuned["word_insertion_penalty"]))
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path}: not a tune.json ({error!r}): run the tuning again") from None


class Hypothesis(NamedTuple):
    """One decoded utterance.

    `reached_final` is False for a partial path: no complete sentence survived the beam, and the best path so far is
    taken, as Kaldi does. `cost` is the path's total cost; NaN where nothing survived and `words` is empty.
    """

    words: tuple[int, ...]
    reached_final: bool
    cost: float


class Searcher:
    """Graphs with their word-insertion penalties, checked against the model, ready to search."""

    def __init__(self, graph: Any, pdf_of_transition: npt.NDArray[np.int32], penalties: Iterable[float]) -> None:
        """Prepare one graph for each penalty.

        `graph` is HCLG (StdVectorFst); `pdf_of_transition` int32 [transitions + 1] gives the pdf of each
        transition-id, its first entry unused. Raises UserError where the graph knows transition-ids that the model
        does not: the decoder itself would read beyond its matrix without a word.
        """
        arcs = Arcs(graph)
        highest = int(arcs.input_label.max(initial=0))
        if highest >= len(pdf_of_transition):
            raise UserError(
                f"graph: it has transition-id {highest}, the model's highest is {len(pdf_of_transition) - 1}: "
                "build the graph anew from this model"
            )
        self._columns = np.ascontiguousarray(pdf_of_transition[1:])
        # A ConstFst is searched about a tenth faster than a VectorFst.
        self._graphs = {
            penalty: kaldifst.StdConstFst(with_word_penalty(arcs, penalty) if penalty else graph)
            for penalty in sorted(set(penalties))
        }

    def search(self, log_likelihoods: npt.NDArray[np.float32], setting: Setting, beam: Beam) -> Hypothesis:
        """Decode one utterance.

        `log_likelihoods`: float32 [frames, pdfs], natural logarithm, up to a constant a frame. No frames give no
        words. Raises UserError for numbers that are not finite and KeyError for a penalty that was not prepared.
        """
        graph = self._graphs[setting.word_insertion_penalty]
        if not len(log_likelihoods):
            return Hypothesis((), False, float("nan"))
        if not np.isfinite(log_likelihoods).all():
            raise UserError("decode: the log-likelihoods are not finite: is the model sound?")
        scaled = np.float32(setting.acoustic_scale) * log_likelihoods.astype(np.float32, copy=False)
        decodable = kd.DecodableCtc(np.ascontiguousarray(scaled[:, self._columns]))
        least = min(beam.min_active, beam.max_active - 1)  # the decoder wants it below max_active
        options = kd.FasterDecoderOptions(beam=beam.width, max_active=beam.max_active, min_active=least)
        decoder = kd.FasterDecoder(graph, options)
        decoder.decode(decodable)
        final = bool(decoder.reached_final())
        found, path = decoder.get_best_path()
        if not found:
            return Hypothesis((), False, float("nan"))
        _, _, words, weight = kaldifst.get_linear_symbol_sequence(path)
        return Hypothesis(tuple(words), final, float(weight.value1 + weight.value2))


Scorer = Callable[[str], npt.NDArray[np.float32]]


def decode(
    searcher: Searcher,
    scorer: Scorer,
    utterances: Sequence[str],
    settings: Sequence[Setting],
    beam: Beam,
    processes: int = 1,
    advance: Callable[[int], None] = lambda utterances: None,
) -> dict[Setting, dict[str, Hypothesis]]:
    """Decode utterances at each of some settings; the log-likelihoods are computed once for all of them.

    `scorer(utterance)` returns float32 [frames, pdfs]; it runs in a forked process. The result does not depend on
    `processes`. `advance(utterances)` is called when so many more are done.
    """
    batches = [utterances[begin : begin + BATCH] for begin in range(0, len(utterances), BATCH)]

    def task(index: int) -> list[list[Hypothesis]]:
        found = []
        for utterance in batches[index]:
            scores = scorer(utterance)
            try:
                found.append([searcher.search(scores, setting, beam) for setting in settings])
            except UserError as error:
                raise UserError(f"utterance {utterance}: {error}") from None
        return found

    def done(index: int) -> None:
        advance(len(batches[index]))

    results: dict[Setting, dict[str, Hypothesis]] = {setting: {} for setting in settings}
    for batch, found in zip(batches, map_shards(task, len(batches), processes, done), strict=True):
        for utterance, hypotheses in zip(batch, found, strict=True):
            for setting, hypothesis in zip(settings, hypotheses, strict=True):
                results[setting][utterance] = hypothesis
    return results


def to_words(hypotheses: Mapping[str, Hypothesis], words: Sequence[str]) -> dict[str, list[str]]:
    """Return the words of each utterance; `words[n]` is the word of number n."""
    return {utterance: [words[number] for number in found.words] for utterance, found in hypotheses.items()}


def log_partial(hypotheses: Mapping[str, Hypothesis]) -> None:
    """Warn of each utterance of which only the best part was found."""
    for utterance, found in hypotheses.items():
        if not found.reached_final:
            log.warning("%s: no complete sentence, best part taken", utterance)


def summarise(hypotheses: Mapping[str, Hypothesis]) -> dict[str, int]:
    """Count utterances, those with a partial path only, and those without a word."""
    return {
        "utterances": len(hypotheses),
        "partial": sum(not found.reached_final for found in hypotheses.values()),
        "empty": sum(not found.words for found in hypotheses.values()),
    }
