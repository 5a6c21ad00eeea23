"""When each word was spoken: forced alignment of known words by the log-likelihoods of any acoustic model.

The words' graph is the one that training aligns with; the best path through it gives the phone of each frame, and the
lexicon cuts the phones into words (as Kaldi's lattice-align-words-lexicon does), with silence allowed between them.
Where two ways of cutting fit, the earlier pronunciation in the lexicon wins.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from unisono.errors import UserError
from unisono.hmm.align import decodable_of, weigh_
from unisono.hmm.lexicon import Lang
from unisono.hmm.libs import kaldifst, khg
from unisono.hmm.model import HmmModel
from unisono.processes import map_shards

# In nats, far wider than in training: the graph of a few words is small, and the words are known to fit.
BEAM, RETRY_BEAM = 40.0, 400.0
BATCH = 8  # utterances of one task


class WordTime(NamedTuple):
    """A word and the frames [begin, end) in which it was spoken."""

    word: int
    begin: int
    end: int


class Segment(NamedTuple):
    """A phone and the frames [begin, end) of one of its occurrences."""

    phone: int
    begin: int
    end: int


class WordAligner:
    """Aligns words with one HMM's tree, topology and transition probabilities; its Gaussians are not used."""

    def __init__(self, model: HmmModel, lang: Lang) -> None:
        """Prepare what all utterances share; made before a pool forks."""
        self._transitions = model.transition_model
        lexicon = kaldifst.StdVectorFst.read(str(lang.lexicon_fst))
        if lexicon is None:
            raise UserError(f"{lang.lexicon_fst}: not readable: run the stage lang again")
        options = khg.TrainingGraphCompilerOptions(transition_scale=0.0, self_loop_scale=0.0)
        self._compiler = khg.TrainingGraphCompiler(model.transition_model, model.tree, lexicon, [], options)
        self._model, _ = model, model.id2pdf  # cached from now on
        self._silence = frozenset(lang.silence_ids)
        self._pronunciations: dict[int, list[tuple[int, ...]]] = {}
        for entry in lang.pronunciations:
            phones = tuple(lang.phones[phone] for phone in entry.phones)
            self._pronunciations.setdefault(lang.words[entry.word], []).append(phones)

    def __call__(self, utt: str, words: Sequence[int], scores: npt.NDArray[np.float32]) -> list[WordTime] | None:
        """Return each word with its frames; None where the words do not fit the recording.

        `scores`: float32 [frames, pdfs], log-likelihoods times the acoustic scale. Raises UserError for a number that
        is not finite.
        """
        if not words or not len(scores):
            return None if words else []
        if not np.isfinite(scores).all():
            raise UserError(f"utterance {utt}: the log-likelihoods are not finite: is the model sound?")
        graph = self._compiler.compile_graph_from_text(list(words))
        weigh_(graph, self._transitions)
        decodable = decodable_of(scores, self._model)
        config = khg.AlignConfig(beam=BEAM, retry_beam=RETRY_BEAM)
        done, _, _, _, _, ids, _ = khg.align_utterance_wrapper(config, utt, 1.0, graph, decodable, 0, 0, 0, 0.0, 0)
        if not done or len(ids) != len(scores):
            return None
        return cut_words(self.segments(ids), words, self._pronunciations, self._silence)

    def segments(self, ids: Sequence[int]) -> list[Segment]:
        """Cut transition-ids (Kaldi's reordered form: a state's self-loops follow its way out) into phones."""
        found, begin, left = [], 0, False
        for place, number in enumerate(ids):
            if not self._transitions.is_self_loop(number):
                left = bool(self._transitions.is_final(number))
            last = place + 1 == len(ids)
            if last or (left and not self._transitions.is_self_loop(ids[place + 1])):
                found.append(Segment(self._transitions.transition_id_to_phone(number), begin, place + 1))
                begin = place + 1
        return found


def cut_words(
    segments: Sequence[Segment],
    words: Sequence[int],
    pronunciations: Mapping[int, Sequence[tuple[int, ...]]],
    silence: frozenset[int],
) -> list[WordTime] | None:
    """Return the frames of each word, so that the phones are its pronunciations with silence between; None if none fit.

    Not recursive, and quadratic only where pronunciations are ambiguous.
    """
    phones = tuple(segment.phone for segment in segments)
    # For each number of words done, from which place and by which pronunciation a place can be reached.
    reached: list[dict[int, tuple[int, int]]] = [_over_silence({0: (0, 0)}, phones, silence)]
    for word in words:
        new: dict[int, tuple[int, int]] = {}
        for place in sorted(reached[-1]):
            for pronunciation in pronunciations[word]:
                end = place + len(pronunciation)
                if phones[place:end] == pronunciation:
                    new.setdefault(end, (place, end))
        reached.append(_over_silence(new, phones, silence))
    place = len(phones)
    if place not in reached[-1]:
        return None
    found = []
    for number in range(len(words), 0, -1):
        begin, end = reached[number][place]
        found.append(WordTime(words[number - 1], segments[begin].begin, segments[end - 1].end))
        place = begin
    return found[::-1]


def _over_silence(
    places: dict[int, tuple[int, int]], phones: Sequence[int], silence: frozenset[int]
) -> dict[int, tuple[int, int]]:
    """Add the places that can be reached by passing over one silence."""
    reached = dict(places)
    for place, way in places.items():
        if place < len(phones) and phones[place] in silence:
            reached.setdefault(place + 1, way)
    return reached


def word_times(
    aligner: WordAligner,
    scorer: Callable[[str], npt.NDArray[np.float32]],
    found: Mapping[str, Sequence[int]],
    acoustic_scale: float,
    processes: int = 1,
    advance: Callable[[int], None] = lambda steps: None,
) -> dict[str, list[WordTime] | None]:
    """Align the words of each utterance; `scorer(utterance)` returns unscaled log-likelihoods [frames, pdfs].

    The result does not depend on `processes`. `advance(utterances)` is called when a batch is done.
    """
    utts = list(found)
    batches = [utts[begin : begin + BATCH] for begin in range(0, len(utts), BATCH)]
    scale = np.float32(acoustic_scale)

    def task(index: int) -> list[list[WordTime] | None]:
        return [aligner(utt, found[utt], scale * scorer(utt)) for utt in batches[index]]

    def done(index: int) -> None:
        advance(len(batches[index]))

    parts = map_shards(task, len(batches), processes, done)
    return dict(zip(utts, (times for part in parts for times in part), strict=True))
