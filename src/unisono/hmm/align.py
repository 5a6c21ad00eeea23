"""Training graphs, flat start, and Viterbi alignment of one utterance, with a reason for each failure."""

import math
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from unisono.errors import UserError
from unisono.hmm.lexicon import Lang, Pronunciation
from unisono.hmm.libs import kaldifst, khg
from unisono.hmm.model import HmmModel, check_dimension, hmm_topology
from unisono.hmm.topology import SELF_LOOP_SCALE, TRANSITION_SCALE

EQUAL_ALIGN_TRIES = 10


class Shard(NamedTuple):
    """A fixed part of a corpus in memory: U utterances, N frames."""

    utts: list[str]
    words: list[list[int]]  # transcripts as word ids
    frames: NDArray[np.float32]  # [N, D] after CMVN and deltas
    offsets: NDArray[np.int64]  # [U + 1]


class Aligned(NamedTuple):
    """Transition-ids of the frames, or why there are none."""

    ids: NDArray[np.int32] | None  # [T]
    reason: str
    log_likelihood: float  # of acoustics and transitions along the path
    retried: bool


def transcript_ids(lang: Lang, transcripts: Mapping[str, Sequence[str]]) -> dict[str, list[int]]:
    """Return word ids by utterance. Raises UserError listing all words that are not in the lexicon."""
    special = {0, lang.word_disambig_id, lang.words.get("<s>"), lang.words.get("</s>")}
    known = {word: number for word, number in lang.words.items() if number not in special}
    missing = sorted({word for words in transcripts.values() for word in words if word not in known})
    if missing:
        shown = " ".join(missing[:20]) + (" ..." if len(missing) > 20 else "")
        raise UserError(f"{len(missing)} words of the transcripts are not in the lexicon: {shown}: add them to it")
    return {utt: [known[word] for word in words] for utt, words in transcripts.items()}


class MinimumFrames:
    """How many frames a transcript needs at least: each state of its shortest pronunciations one."""

    def __init__(self, lang: Lang) -> None:
        """Find the shortest pronunciation of each word."""
        topology = hmm_topology(lang.topology)
        lengths = {name: topology.min_length(number) for name, number in lang.phones.items() if number in _phones(lang)}
        self._frames: dict[int, int] = {}
        for entry in lang.pronunciations:
            word, frames = lang.words[entry.word], _pronunciation_frames(entry, lengths)
            self._frames[word] = min(frames, self._frames.get(word, frames))

    def __call__(self, words: Sequence[int]) -> int:
        """Return the number for a sequence of word ids."""
        return sum(self._frames[word] for word in words)


def _phones(lang: Lang) -> set[int]:
    return set(lang.phones.values()) - set(lang.phone_disambig_ids) - {0}


def _pronunciation_frames(entry: Pronunciation, lengths: Mapping[str, int]) -> int:
    unknown = [phone for phone in entry.phones if phone not in lengths]
    if unknown:
        raise UserError(f"lexicon: {entry.word}: phone {unknown[0]} is not in the phone set: run the stage lang again")
    return sum(lengths[phone] for phone in entry.phones)


def compile_graphs(model: HmmModel, lang: Lang, transcripts: Sequence[Sequence[int]]) -> list[Any]:
    """Compile the HCLG of each transcript (word ids), without transition probabilities, as kaldifst.StdVectorFst."""
    lexicon = kaldifst.StdVectorFst.read(str(lang.lexicon_fst))
    if lexicon is None:
        raise UserError(f"{lang.lexicon_fst}: not readable: run the stage lang again")
    options = khg.TrainingGraphCompilerOptions(transition_scale=0.0, self_loop_scale=0.0)
    compiler = khg.TrainingGraphCompiler(model.transition_model, model.tree, lexicon, [], options)
    return [compiler.compile_graph_from_text(list(words)) for words in transcripts]


def equal_align(graph: Any, utt: str, frames: int, seed: int) -> NDArray[np.int32] | None:
    """Return a random path of `frames` transition-ids with states of about equal length, for the flat start.

    The seed of an utterance comes from `seed` and its name, so that the path does not depend on the others.
    """
    number = zlib.crc32(f"{seed} {utt}".encode()) & 0x7FFFFFFF
    done, path = kaldifst.equal_align(graph.copy(), frames, number, EQUAL_ALIGN_TRIES)
    if not done:
        return None
    _, ids, _, _ = kaldifst.get_linear_symbol_sequence(path)
    return np.array(ids, np.int32) if len(ids) == frames else None


# From an utterance to its log-likelihoods by another acoustic model, float32 [T, PDFs], up to a constant a frame.
Scorer = Callable[[str], NDArray[np.float32]]


def weigh_(graph: Any, transition_model: Any) -> None:
    """Add the transition probabilities of a model to a training graph, in place."""
    khg.add_transition_probs(
        trans_model=transition_model,
        disambig_syms=[],
        transition_scale=TRANSITION_SCALE,
        self_loop_scale=SELF_LOOP_SCALE,
        fst=graph,
    )


def decodable_of(scores: NDArray[np.float32], model: HmmModel) -> Any:
    """Return scaled log-likelihoods [T, pdfs] in the form that searches take."""
    # DecodableCtc takes a column for each transition-id, the first of which is 1, and checks no bounds.
    return khg.DecodableCtc(np.ascontiguousarray(scores[:, model.id2pdf[1:]], np.float32))


class Aligner:
    """Viterbi alignment with one model: beam first, then the wider retry beam."""

    def __init__(
        self, model: HmmModel, beam: float, retry_beam: float, acoustic_scale: float, scorer: Scorer | None = None
    ) -> None:
        """`beam` and `retry_beam` in nats at the scale of the acoustics times `acoustic_scale`, as in Kaldi.

        With a `scorer` its log-likelihoods take the place of the mixtures'; tree and transitions are the model's.
        """
        if retry_beam <= beam:
            raise UserError(f"hmm.retry_beam: {retry_beam:g} is not above hmm.beam, {beam:g}: make it wider")
        self._model, self._scale, self._scorer = model, acoustic_scale, scorer
        self._config = khg.AlignConfig(beam=beam, retry_beam=retry_beam)
        self._failure = f"no path within the beam {beam:g} nor {retry_beam:g}: check transcript and audio"

    def __call__(self, graph: Any, utt: str, frames: NDArray[np.float32]) -> Aligned:
        """Align frames [T, D] to a graph of `compile_graphs`, which stays as it is."""
        weighted = graph.copy()
        weigh_(weighted, self._model.transition_model)
        decodable = self._decodable(utt, frames)
        done, _, retried, total, _, ids, _ = khg.align_utterance_wrapper(
            self._config, utt, self._scale, weighted, decodable, 0, 0, 0, 0.0, 0
        )
        if not done or len(ids) != len(frames):
            return Aligned(None, self._failure, 0.0, bool(retried))
        return Aligned(np.array(ids, np.int32), "", float(total), bool(retried))

    def _decodable(self, utt: str, frames: NDArray[np.float32]) -> Any:
        model = self._model
        if self._scorer is None:
            seen = model.transformed(frames)
            return khg.DecodableAmDiagGmmScaled(model.am_gmm, model.transition_model, seen, self._scale)
        scores = np.float32(self._scale) * self._scorer(utt)
        if scores.shape != (len(frames), model.num_pdfs) or not np.isfinite(scores).all():
            raise UserError(f"utterance {utt}: its log-likelihoods are not finite or too few: is the network sound?")
        return decodable_of(scores, model)


def obstacle(model: HmmModel | None, minimum: MinimumFrames, words: Sequence[int], frames: NDArray[np.float32]) -> str:
    """Return why an utterance cannot be aligned at all, or an empty string; `model` None where it does not see them."""
    if model is not None:
        check_dimension(model, frames, "the features")
    if not words:
        return "its transcript is empty"
    if len(frames) < minimum(words):
        return f"too short: {len(frames)} frames, its transcript needs at least {minimum(words)}"
    if not math.isfinite(float(frames.sum(dtype=np.float64))):
        return "its features are not finite"
    return ""
