"""The sections `features` and `hmm.features`: filterbanks or cepstra, their deltas and their normalisation."""

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le

from unisono.config.markers import Kinds, Section, Unit

Ms = Annotated[float, Gt(0), Le(1000), Unit("ms")]


@dataclass(frozen=True, kw_only=True)
class Features(Section):
    """What both kinds have."""

    num_mel_bins: Annotated[int, Ge(3), Le(512), Unit("bins")] = 40
    """Mel filters."""
    low_freq: Annotated[float, Ge(0), Unit("Hz")] = 20.0
    """Lower edge of the lowest mel filter."""
    high_freq: Annotated[float, Unit("Hz")] = 0.0
    """Upper edge of the highest mel filter; 0 or below: so much under half the sampling rate."""
    frame_length_ms: Ms = 25.0
    """Length of the window of a frame."""
    frame_shift_ms: Ms = 10.0
    """From one frame to the next."""
    use_energy: bool = False
    """Add the frame's log energy (fbank) or put it in place of the zeroth cepstrum (mfcc)."""
    dither: Annotated[float, Ge(0), Unit("16-bit steps")] = 0.0
    """Standard deviation of seeded noise added to the samples; 0 for none."""
    deltas: Annotated[int, Ge(0), Le(2)] = 0
    """Order of time derivatives appended to each frame (2: deltas and accelerations)."""
    cmvn: Literal["speaker", "global", "none"] = "speaker"
    """Mean (and variance) normalisation: by statistics of each speaker, of the training set, or none."""
    cmvn_variance: bool = True
    """Normalise the variance as well as the mean."""

    @property
    def base_dim(self) -> int:
        """Number of features before deltas."""
        return self.num_mel_bins + int(self.use_energy)

    @property
    def dim(self) -> int:
        """Number of features after deltas."""
        return self.base_dim * (self.deltas + 1)


@dataclass(frozen=True, kw_only=True)
class Fbank(Features):
    """Log mel filterbank energies."""

    kind: Literal["fbank"]
    """Log mel filterbank energies."""


@dataclass(frozen=True, kw_only=True)
class Mfcc(Features):
    """Cepstra of log mel filterbank energies."""

    kind: Literal["mfcc"]
    """Cepstra of log mel filterbank energies."""
    num_ceps: Annotated[int, Ge(1), Le(512)] = 13
    """Cepstra with the zeroth, at most num_mel_bins."""

    @property
    def base_dim(self) -> int:
        """Number of features before deltas."""
        return self.num_ceps


@dataclass(frozen=True, kw_only=True)
class KaldiFeatures(Section):
    """Features of Kaldi: feats.scp of each data directory, its cmvn.scp if it is there; corpus.kind must be kaldi."""

    kind: Literal["kaldi"]
    """Features of Kaldi: feats.scp of each data directory, its cmvn.scp if it is there; corpus.kind must be kaldi."""
    numbers: Annotated[int, Ge(1), Le(4096)] = 13
    """Numbers of a frame in feats.scp, before deltas."""
    frame_shift_ms: Ms = 10.0
    """From one frame to the next."""
    deltas: Annotated[int, Ge(0), Le(2)] = 0
    """Order of time derivatives appended to each frame (2: deltas and accelerations)."""
    cmvn: Literal["speaker", "global", "none"] = "speaker"
    """Mean (and variance) normalisation: by statistics of each speaker, of the training set, or none."""
    cmvn_variance: bool = True
    """Normalise the variance as well as the mean."""

    @property
    def base_dim(self) -> int:
        """Number of features before deltas."""
        return self.numbers

    @property
    def dim(self) -> int:
        """Number of features after deltas."""
        return self.base_dim * (self.deltas + 1)


@dataclass(frozen=True, kw_only=True)
class GmmFbank(Fbank):
    """Filterbank energies with the defaults of GMMs."""

    num_mel_bins: Annotated[int, Ge(3), Le(512), Unit("bins")] = 23
    """Mel filters."""
    deltas: Annotated[int, Ge(0), Le(2)] = 2
    """Order of time derivatives appended to each frame (2: deltas and accelerations)."""
    cmvn_variance: bool = False
    """Normalise the variance as well as the mean."""


@dataclass(frozen=True, kw_only=True)
class GmmKaldiFeatures(KaldiFeatures):
    """Features of Kaldi with the defaults of GMMs."""

    deltas: Annotated[int, Ge(0), Le(2)] = 2
    """Order of time derivatives appended to each frame (2: deltas and accelerations)."""
    cmvn_variance: bool = False
    """Normalise the variance as well as the mean."""


@dataclass(frozen=True, kw_only=True)
class GmmMfcc(Mfcc):
    """Cepstra with the defaults of GMMs."""

    num_mel_bins: Annotated[int, Ge(3), Le(512), Unit("bins")] = 23
    """Mel filters."""
    deltas: Annotated[int, Ge(0), Le(2)] = 2
    """Order of time derivatives appended to each frame (2: deltas and accelerations)."""
    cmvn_variance: bool = False
    """Normalise the variance as well as the mean."""


FeatureOptions = Annotated[Fbank | Mfcc | KaldiFeatures, Kinds("fbank")]
GmmFeatureOptions = Annotated[GmmFbank | GmmMfcc | GmmKaldiFeatures, Kinds("mfcc")]
