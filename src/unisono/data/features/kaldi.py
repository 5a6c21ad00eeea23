"""Features that Kaldi computed, with its CMVN statistics: the input of a network in place of audio."""

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from unisono.data.features import cmvn
from unisono.data.features.extract import add_deltas
from unisono.data.kaldi.archive import Script, parts, read_all
from unisono.data.kaldi.source import read_lines
from unisono.errors import UserError


class KaldiFeatures:
    """Features of the utterances of a `feats.scp`, normalised and with deltas where asked for."""

    def __init__(
        self,
        feats: str | os.PathLike[str],
        statistics: str | os.PathLike[str] | None = None,
        utt2spk: str | os.PathLike[str] | None = None,
        *,
        variance: bool = False,
        deltas: int = 0,
    ) -> None:
        """`statistics`: cmvn.scp or an archive of matrices [2, D + 1], by speaker, or by utterance without `utt2spk`.

        Raises UserError where an utterance has no speaker or no statistics, and where dimensions differ.
        """
        self._script = Script(feats, "matrix")
        self.utts = list(self._script)
        if not self.utts:
            raise UserError(f"{feats}: no utterances: is it the right file?")
        self._deltas = deltas
        self._norms: dict[str, tuple[NDArray, NDArray]] = {}
        self._speaker: Mapping[str, str] = {}
        self.base_dim = self._script[self.utts[0]].shape[1]
        if statistics is not None:
            self._speaker = {utt: utt for utt in self.utts} if utt2spk is None else read_utt2spk(utt2spk)
            read = read_statistics(statistics, self.base_dim)
            self._norms = {key: cmvn.offset_and_scale(value, variance) for key, value in read.items()}
            for utt in self.utts:
                if self._speaker.get(utt) not in self._norms:
                    who = self._speaker.get(utt)
                    missing = f"utterance {utt!r} has no speaker" if who is None else f"{who!r} of {utt!r} is missing"
                    raise UserError(
                        f"{utt2spk if who is None else statistics}: {missing}: give files of one data folder"
                    )

    @property
    def dim(self) -> int:
        """Return the number of features a frame."""
        return self.base_dim * (self._deltas + 1)

    def base(self, utt: str) -> NDArray[np.float32]:
        """Return the features as they are in the archive, float32 [t, base_dim]."""
        value = np.asarray(self._script[utt], np.float32)
        if value.shape[1] != self.base_dim:
            raise UserError(
                f"{self._script.path}: {utt!r}: {value.shape[1]} features a frame, {self.utts[0]!r} has {self.base_dim}"
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
