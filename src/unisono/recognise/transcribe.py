"""Recordings to words with a recogniser that is trained; what `transcribe` does."""

import logging
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from unisono import console
from unisono.config.build import build
from unisono.config.features import FeatureOptions
from unisono.data.features import cmvn
from unisono.data.features.recordings import Recording, RecordingFeatures
from unisono.hmm.arcs import read_fst
from unisono.hmm.lexicon import load_lang
from unisono.hmm.model import load_model
from unisono.recognise import acoustics
from unisono.recognise.decode import Beam, Hypothesis, Searcher, Setting, decode, log_partial
from unisono.recognise.system import System
from unisono.recognise.word_times import WordAligner, WordTime, word_times

if TYPE_CHECKING:
    from unisono.hmm.lexicon import Lang

log = logging.getLogger("unisono.transcribe")


class Transcript(NamedTuple):
    """What was recognised in one recording.

    `complete`: a whole sentence of the language model survived the search, else the best part of one is given.
    `times`: (word, start in s, duration in s) of each word; None where they were not asked for, or (`timed`) where
    the words could not be aligned.
    """

    recording: Recording
    seconds: float
    words: list[str]
    complete: bool
    timed: bool
    times: list[tuple[str, float, float]] | None


def transcribe(
    system: System, recordings: Sequence[Recording], timed: bool, threads: int = 1, processes: int = 1
) -> list[Transcript]:
    """Recognise recordings, in the order given: the words that the pipeline's decoding would find.

    Raises UserError for a recording that cannot be used, before anything is computed.
    """
    facts, count = system.facts, len(recordings)
    features = features_of(system, recordings)
    lang, hmm = load_lang(system.lang), load_model(system.hmm)
    setting = Setting(float(facts["acoustic_scale"]), float(facts["word_insertion_penalty"]))
    searcher = Searcher(read_fst(system.graph), hmm.id2pdf, (setting.word_insertion_penalty,))
    scorer = acoustics.network_scorer(system.network, threads, features, hmm.num_pdfs)
    aligner = WordAligner(hmm, lang) if timed else None
    begin = time.monotonic()
    with console.progress("Features", count) as advance:
        features.compute(advance)
    names = [recording.utterance_id for recording in recordings]
    with console.progress("Words", count) as advance:
        found = decode(searcher, scorer, names, [setting], _beam(facts), processes, advance)[setting]
    times: dict[str, list[WordTime] | None] = {}
    if aligner:
        words = {name: hypothesis.words for name, hypothesis in found.items()}
        with console.progress("Times", count) as advance:
            times = word_times(aligner, scorer, words, setting.acoustic_scale, processes, advance)
    seconds = features.seconds
    _tell(found, times, sum(seconds.values()), time.monotonic() - begin, processes)
    shift_s = features.options.frame_shift_ms / 1000
    return [_transcript(recording, seconds, found, times, lang, shift_s) for recording in recordings]


def features_of(system: System, recordings: Sequence[Recording]) -> RecordingFeatures:
    """Return the features of recordings as the system's network reads them, not yet computed."""
    options = build(FeatureOptions, system.facts["settings"]["features"], "recogniser.json: settings.features")
    statistics = cmvn.read_statistics(system.cmvn, options.base_dim) if system.cmvn else None
    return RecordingFeatures(recordings, options, int(system.facts["sampling_rate"]), statistics)


def _beam(facts: Mapping) -> Beam:
    section = facts["settings"]["decode"]
    return Beam(float(section["beam"]), int(section["max_active"]), int(section["min_active"]))


def _transcript(
    recording: Recording,
    seconds: Mapping[str, float],
    found: Mapping[str, Hypothesis],
    times: Mapping[str, list[WordTime] | None],
    lang: "Lang",
    shift_s: float,
) -> Transcript:
    name, words = recording.utterance_id, lang.word_list
    spoken = times.get(name)
    if spoken is not None:
        spoken = [
            (words[time.word], round(time.begin * shift_s, 4), round((time.end - time.begin) * shift_s, 4))
            for time in spoken
        ]
    hypothesis = found[name]
    text = [words[number] for number in hypothesis.words]
    return Transcript(recording, seconds[name], text, hypothesis.reached_final, name in times, spoken)


def _tell(
    found: Mapping[str, Hypothesis],
    times: Mapping[str, list[WordTime] | None],
    seconds: float,
    wall: float,
    processes: int,
) -> None:
    log_partial(found)
    for name, spoken in times.items():
        if spoken is None:
            log.warning("%s: its words could not be aligned, so they have no times", name)
    log.info(
        "%d recordings, %.1f s of audio in %.1f s by %d process(es): real-time factor %.3f",
        len(found), seconds, wall, processes, wall / seconds,
    )  # fmt: skip
