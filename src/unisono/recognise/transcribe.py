"""Recordings to words with a recogniser that is trained; what `transcribe` does."""

import logging
import os
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from unisono import console
from unisono.config.build import build
from unisono.config.features import FeatureOptions
from unisono.config.features import KaldiFeatures as KaldiOptions
from unisono.data.features import cmvn
from unisono.data.features.kaldi import KaldiFeatures, read_statistics
from unisono.data.features.kaldi_conf import read_conf
from unisono.data.features.recordings import Recording, RecordingFeatures
from unisono.errors import UserError
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
    system: System,
    recordings: Sequence[Recording],
    features: RecordingFeatures | KaldiFeatures,
    timed: bool,
    threads: int = 1,
    processes: int = 1,
    device: acoustics.Device = acoustics.cpu,
) -> list[Transcript]:
    """Recognise recordings, in the order given: the words that the pipeline's decoding would find.

    `features` are theirs, not yet computed; device: see `acoustics.network_scorer`. Raises UserError where the features
    are none of this system.
    """
    facts, count = system.facts, len(recordings)
    lang, hmm = load_lang(system.lang), load_model(system.hmm)
    setting = Setting(float(facts["acoustic_scale"]), float(facts["word_insertion_penalty"]))
    searcher = Searcher(read_fst(system.graph), hmm.id2pdf, (setting.word_insertion_penalty,))
    scorer = acoustics.network_scorer(system.network, threads, features, hmm.num_pdfs, device=device)
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
    steps = features.frame_shift_ms, features.spare_ms
    borders = {name: Borders(features.frames(name), seconds[name], *steps) for name in names}
    return [_transcript(recording, seconds, found, times, lang, borders) for recording in recordings]


class Borders(NamedTuple):
    """Where the borders between the frames of a recording lie.

    A frame's window is longer than the step from one to the next by `spare_ms`, and stands for its middle. So the
    border before frame f lies at f x shift + spare / 2; the first is the recording's begin, the last its end.
    """

    frames: int
    seconds: float
    shift_ms: float
    spare_ms: float

    def at(self, frame: int) -> float:
        """Return the time in seconds of the border before a frame, 0 to `frames`."""
        if frame <= 0:
            return 0.0
        if frame >= self.frames:
            return self.seconds
        return min(self.seconds, (frame * self.shift_ms + self.spare_ms / 2) / 1000)


def features_of(
    system: System, recordings: Sequence[Recording], conf: str | os.PathLike[str] | None = None
) -> RecordingFeatures:
    """Return the features of recordings as the system's network reads them, not yet computed.

    conf: for a system of Kaldi's features, the config file of the program that computed them. Raises UserError for
    recordings that cannot be used, and where the system's features are not known or need no `conf`.
    """
    options, rate = _options(system), int(system.facts["sampling_rate"])
    if isinstance(options, KaldiOptions):
        if conf is None:
            raise UserError(
                f"{system.folder}: trained on features of Kaldi: give them by --feats, or with recordings --conf,"
                " the mfcc.conf or fbank.conf that they were computed by"
            )
        normalisation = {key: getattr(options, key) for key in ("deltas", "cmvn", "cmvn_variance")}
        theirs, rate = read_conf(conf, normalisation)
        if theirs.base_dim != options.base_dim:
            raise UserError(f"{conf}: {theirs.base_dim} features a frame, {system.folder} reads {options.base_dim}")
        options = theirs
    elif conf is not None:
        raise UserError(f"--conf: {system.folder} knows how its features are computed: leave it out")
    statistics = cmvn.read_statistics(system.cmvn, options.base_dim) if system.cmvn else None
    return RecordingFeatures(recordings, options, rate, statistics)


def given_features(
    system: System,
    feats: str | os.PathLike[str],
    statistics: str | os.PathLike[str] | None = None,
    utt2spk: str | os.PathLike[str] | None = None,
) -> KaldiFeatures:
    """Return features that are given, before CMVN and deltas, as the system's network reads them.

    feats: a script, an archive or a pattern of archives. Where the system normalises by speaker, `statistics` names
    CMVN statistics; without it they are summed over the utterances given. Raises UserError for what does not fit.
    """
    options = _options(system)
    if statistics is not None and options.cmvn != "speaker":
        raise UserError(f"--cmvn: {system.folder} normalises its features by {options.cmvn}: leave it out")
    found = KaldiFeatures(feats, utt2spk, deltas=options.deltas, frame_shift_ms=options.frame_shift_ms)
    if found.base_dim != options.base_dim:
        raise UserError(f"{feats}: {found.base_dim} features a frame, {system.folder} reads {options.base_dim}")
    if statistics is not None:
        found.normalise(read_statistics(statistics, options.base_dim), options.cmvn_variance, statistics)
    elif options.cmvn == "global":
        assert system.cmvn is not None  # a system is described with it
        found.normalise(cmvn.read_statistics(system.cmvn, options.base_dim), options.cmvn_variance, system.cmvn)
    elif options.cmvn == "speaker":
        found.normalise(found.statistics(), options.cmvn_variance, feats)
    return found


def recordings_of(features: KaldiFeatures) -> list[Recording]:
    """Return what stands for the recordings of features that are given: id, speaker and the file of the features."""
    return [Recording(utt, features.speaker(utt), features.path) for utt in features.utts]


def _options(system: System) -> FeatureOptions:
    return build(FeatureOptions, system.facts["settings"]["features"], "recogniser.json: settings.features")


def _beam(facts: Mapping) -> Beam:
    section = facts["settings"]["decode"]
    return Beam(float(section["beam"]), int(section["max_active"]), int(section["min_active"]))


def _transcript(
    recording: Recording,
    seconds: Mapping[str, float],
    found: Mapping[str, Hypothesis],
    times: Mapping[str, list[WordTime] | None],
    lang: "Lang",
    borders: Mapping[str, Borders],
) -> Transcript:
    name, words = recording.utterance_id, lang.word_list
    spoken = times.get(name)
    if spoken is not None:
        spans = [(time.word, borders[name].at(time.begin), borders[name].at(time.end)) for time in spoken]
        spoken = [(words[word], round(begin, 4), round(end - begin, 4)) for word, begin, end in spans]
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
