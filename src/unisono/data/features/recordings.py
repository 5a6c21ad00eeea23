"""Recordings outside any corpus, and their features as a network reads them: for using a model that is trained.

    recordings = read_recordings("mine.tsv")           # or of_files(["a.wav", "b.flac"])
    features = RecordingFeatures(recordings, options, rate=16000)
    features.compute()
    features.get("utt1")                               # float32 [frames, options.dim], after CMVN and deltas

All is computed as in training: base features, CMVN over all recordings of a speaker in the order of their ids, deltas.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from unisono.config.features import FeatureOptions, KaldiFeatures
from unisono.data.corpus.audio import UnusableAudio, inspect, read_audio
from unisono.data.corpus.text import check_id, read_rows, short_list
from unisono.data.features import cmvn
from unisono.data.features.extract import add_deltas, base_features, check_rate
from unisono.errors import UserError

COLUMNS = ("utterance_id", "speaker_id", "path")
_SHOWN = 5
_ABSENT = "no such file"


class Recording(NamedTuple):
    """One audio file, mono, WAV or FLAC, that holds one utterance."""

    utterance_id: str
    speaker_id: str
    path: Path


def of_files(paths: Sequence[str | os.PathLike[str]], one_speaker: bool = False) -> list[Recording]:
    """Return files as recordings in the order given, each a speaker of its own or all of one.

    The id is the file's name without its suffix; where two files share it, the paths as they were given. White space
    becomes `_`. Raises UserError for a file that is given twice.
    """
    ids = [Path(path).stem for path in paths]
    if len(set(ids)) < len(ids):
        ids = [os.fspath(path) for path in paths]
    ids = ["_".join(name.split()) for name in ids]
    for number, name in enumerate(ids):
        if name in ids[:number]:
            raise UserError(f"{paths[number]}: given twice: name each recording once")
    return [Recording(name, "all" if one_speaker else name, Path(path)) for name, path in zip(ids, paths, strict=True)]


def read_recordings(table: str | os.PathLike[str]) -> list[Recording]:
    """Read a TSV with the columns utterance_id, speaker_id and path (relative to its folder); others are ignored.

    A split's table of a corpus (data/test.tsv) is one. Raises UserError naming file and line.
    """
    found: dict[str, Recording] = {}
    for line, values in read_rows(table, COLUMNS):
        where = f"{table}: line {line}"
        name = check_id(values["utterance_id"], "utterance id", where)
        speaker = check_id(values["speaker_id"], "speaker id", where)
        if name in found:
            raise UserError(f"{where}: utterance id {name}: there more than once: rename one of them")
        found[name] = Recording(name, speaker, Path(table).parent / values["path"])
    if not found:
        raise UserError(f"{table}: no recordings: give a line for each below the heading")
    return list(found.values())


class RecordingFeatures:
    """Features of some recordings: the base features are kept in memory, 4 bytes a number."""

    def __init__(
        self,
        recordings: Sequence[Recording],
        options: FeatureOptions,
        rate: int,
        statistics: Mapping[str, np.ndarray] | None = None,
    ) -> None:
        """Check all files by their headers.

        `rate` in Hz is that of the training; `statistics` are those of the training set, for `cmvn: global`.
        Raises UserError naming the file that is unusable or of another rate.
        """
        check_rate(options, rate)
        assert not isinstance(options, KaldiFeatures)  # `check_rate` refuses these
        if options.cmvn == "global" and not statistics:
            raise ValueError("features with cmvn: global need the statistics of the training set")
        self.options = options
        self.spare_ms = options.frame_length_ms - options.frame_shift_ms
        self.seconds = check_files(recordings, rate)
        self._rate, self._statistics = rate, statistics or {}
        self._recordings = sorted(recordings)  # the order in which the statistics of a corpus are summed
        self._speaker = {recording.utterance_id: recording.speaker_id for recording in recordings}
        self._base: dict[str, np.ndarray] = {}
        self._norms: dict[str, tuple[np.ndarray, np.ndarray]] = {}

    @property
    def dim(self) -> int:
        """Return the number of features a frame that a network reads."""
        return self.options.dim

    @property
    def frame_shift_ms(self) -> float:
        """Return the time from one frame to the next."""
        return self.options.frame_shift_ms

    def compute(self, advance: Callable[[], None] = lambda: None) -> None:
        """Read all recordings; `advance` is called after each. Raises UserError naming a file that is damaged."""
        for name, _, path in self._recordings:
            samples, _ = read_audio(path)
            self._base[name] = base_features(samples, self._rate, self.options, name)
            advance()
        statistics = self._statistics
        if self.options.cmvn == "speaker":
            statistics = cmvn.statistics(((self._speaker[name], base) for name, base in self._base.items()), "speaker")
        self._norms = {
            key: cmvn.offset_and_scale(value, self.options.cmvn_variance) for key, value in statistics.items()
        }

    def frames(self, utt: str) -> int:
        """Return the number of frames."""
        return len(self._base[utt])

    def get(self, utt: str) -> np.ndarray:
        """Return features after CMVN and deltas, float32 [t, options.dim]; t may be 0."""
        features = self._base[utt]
        if self.options.cmvn != "none":
            key = self._speaker[utt] if self.options.cmvn == "speaker" else cmvn.GLOBAL
            features = cmvn.apply(features, *self._norms[key])
        return add_deltas(features, self.options.deltas) if self.options.deltas else features


def check_files(recordings: Sequence[Recording], rate: int) -> dict[str, float]:
    """Return the length of each recording in seconds, from its header.

    Raises UserError that names the first few files that are missing, damaged, not mono or not of `rate` Hz.
    """
    seconds, faults = {}, []
    for name, _, path in recordings:
        try:
            info = inspect(path)
        except FileNotFoundError:
            faults.append(f"{path}: {_ABSENT}")
        except (UnusableAudio, OSError) as error:
            faults.append(f"{path}: {getattr(error, 'strerror', None) or error}")
        else:
            seconds[name] = info.frames / info.rate
            if info.channels != 1:
                faults.append(f"{path}: {info.channels} channels, not 1")
            elif info.rate != rate:
                faults.append(f"{path}: {info.rate} Hz, the model was trained on {rate} Hz")
    if faults:
        absent = all(fault.endswith(_ABSENT) for fault in faults)
        remedy = "check the path" if absent else "convert, mend or leave out such recordings"
        raise UserError(f"{short_list(faults, _SHOWN)}: {remedy}")
    return seconds
