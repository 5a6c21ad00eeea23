"""Features that Kaldi computed, with its CMVN statistics: the input of a network in place of audio.

given = KaldiFeatures("feats.scp", "utt2spk", deltas=2)         # or an archive, or several by a pattern
given.normalise(read_statistics("cmvn.scp", given.base_dim), variance=False, where="cmvn.scp")
given.get("utt1")                                               # float32 [t, given.dim]
"""

import os
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from unisono.data.features import cmvn
from unisono.data.features.extract import add_deltas
from unisono.data.kaldi.archive import Script, parts, read_all
from unisono.data.kaldi.source import read_lines
from unisono.errors import UserError


class KaldiFeatures:
    """Features of the utterances of a `feats.scp`, normalised and with deltas where asked for.

    Those of archives are kept in memory, those of a script are read when asked for. `seconds` and `frames` are there
    after `compute`; a time is a number of frames times `frame_shift_ms`.
    """

    spare_ms = 0.0  # how much longer a frame's window is than its step: not known of these

    def __init__(
        self,
        feats: str | os.PathLike[str],
        utt2spk: str | os.PathLike[str] | None = None,
        *,
        deltas: int = 0,
        frame_shift_ms: float = 10.0,
    ) -> None:
        """`utt2spk`: without it each utterance has a speaker of its own. Raises UserError where one has none."""
        self.path = Path(feats)
        self._script = Script(feats, "matrix") if self.path.suffix == ".scp" else None
        self._values: Mapping[str, NDArray] = self._script or dict(read_all(parts(feats), "matrix"))
        self.utts = list(self._values)
        if not self.utts:
            raise UserError(f"{feats}: no utterances: is it the right file?")
        self.frame_shift_ms, self._deltas = frame_shift_ms, deltas
        self.base_dim = self._values[self.utts[0]].shape[1]
        self._speaker = {utt: utt for utt in self.utts} if utt2spk is None else read_utt2spk(utt2spk)
        for utt in self.utts:
            if utt not in self._speaker:
                raise UserError(f"{utt2spk}: utterance {utt!r} has no speaker: give files of one data folder")
        self._norms: dict[str, tuple[NDArray, NDArray]] = {}
        self._frames: dict[str, int] = {}
        self.seconds: dict[str, float] = {}

    @property
    def dim(self) -> int:
        """Return the number of features a frame."""
        return self.base_dim * (self._deltas + 1)

    def speaker(self, utt: str) -> str:
        """Return the speaker of an utterance."""
        return self._speaker[utt]

    def normalise(self, statistics: Mapping[str, NDArray], variance: bool, where: str | os.PathLike[str]) -> None:
        """Normalise by statistics of each speaker, or by those named `global`; float64 [2, base_dim + 1].

        Raises UserError, naming `where` they are from, for a speaker without.
        """
        norms = {key: cmvn.offset_and_scale(value, variance) for key, value in statistics.items()}
        if cmvn.GLOBAL in norms:
            norms = dict.fromkeys(self._speaker.values(), norms[cmvn.GLOBAL])
        for utt in self.utts:
            if self._speaker[utt] not in norms:
                raise UserError(f"{where}: {self._speaker[utt]!r} of {utt!r} is missing: give files of one data folder")
        self._norms = norms

    def statistics(self) -> dict[str, NDArray[np.float64]]:
        """Return statistics of each speaker over the utterances that are here, in the order of their ids."""
        return cmvn.statistics(((self._speaker[utt], self.base(utt)) for utt in sorted(self.utts)), "speaker")

    def compute(self, advance: Callable[[], None] = lambda: None) -> None:
        """Count the frames of all utterances; `advance` is called after each. Raises UserError for what is damaged."""
        for utt in self.utts:
            self._frames[utt] = len(self.base(utt))
            self.seconds[utt] = self._frames[utt] * self.frame_shift_ms / 1000
            advance()
        if self._script is not None:
            self._script.close()  # processes that fork from here must not share a place in a file

    def frames(self, utt: str) -> int:
        """Return the number of frames."""
        return self._frames[utt]

    def base(self, utt: str) -> NDArray[np.float32]:
        """Return the features as they are in the archive, float32 [t, base_dim]."""
        value = np.asarray(self._values[utt], np.float32)
        if value.shape[1] != self.base_dim:
            raise UserError(
                f"{self.path}: {utt!r}: {value.shape[1]} features a frame, {self.utts[0]!r} has {self.base_dim}"
                ": give features of one kind"
            )
        return value

    def get(self, utt: str) -> NDArray[np.float32]:
        """Return features after CMVN and deltas, float32 [t, dim]."""
        value = self.base(utt)
        if self._norms:
            value = cmvn.apply(value, *self._norms[self._speaker[utt]])
        return add_deltas(value, self._deltas) if self._deltas else value


def read_statistics(path: str | os.PathLike[str], dim: int) -> dict[str, NDArray[np.float64]]:
    """Read CMVN statistics for `dim` features, {speaker: float64 [2, dim + 1]}, from a script or an archive."""
    found = {}
    for speaker, value in read_all(parts(path), "matrix"):
        if value.shape != (2, dim + 1):
            shape = " x ".join(map(str, value.shape))
            raise UserError(
                f"{path}: {speaker!r}: {shape} numbers, features of {dim} need 2 x {dim + 1}: recompute them"
            )
        if value[0, -1] <= 0:
            raise UserError(f"{path}: {speaker!r}: statistics of no frames: recompute them")
        found[speaker] = np.asarray(value, np.float64)
    return found


def read_utt2spk(path: str | os.PathLike[str]) -> dict[str, str]:
    """Read `utterance speaker` lines."""
    found = {}
    for number, line in enumerate(read_lines(Path(path)), 1):
        fields = line.split()
        if fields and (len(fields) != 2 or fields[0] in found):
            raise UserError(f"{path}: line {number}: not an utterance of its own and its speaker: correct the line")
        if fields:
            found[fields[0]] = fields[1]
    return found
