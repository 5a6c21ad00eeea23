"""Filterbank and cepstral features by kaldi-native-fbank, and Kaldi's delta features.

*Base features* are what the files under `features/` hold: before CMVN (`unisono.data.features.cmvn`) and before deltas.
The order is Kaldi's: base, CMVN, deltas.
"""

import zlib

import kaldi_native_fbank as knf
import numpy as np

from unisono.config.features import Fbank, FeatureOptions, KaldiFeatures, Mfcc
from unisono.errors import UserError


def check_rate(options: FeatureOptions, rate: int) -> None:
    """Raise UserError where features do not fit a sampling rate in Hz, or each other, or are none of recordings."""
    if isinstance(options, KaldiFeatures):
        raise UserError("features: kind kaldi cannot be computed from recordings: give unisono loglikes --feats")
    high = options.high_freq if options.high_freq > 0 else rate / 2 + options.high_freq
    if not options.low_freq < high <= rate / 2:
        raise UserError(
            f"features: low_freq {options.low_freq:g} and high_freq {options.high_freq:g} do not fit a sampling rate "
            f"of {rate} Hz: choose 0 <= low_freq < high_freq <= {rate / 2:g} (high_freq 0 means the latter)"
        )
    if options.frame_shift_ms * rate < 1000 or options.frame_length_ms * rate < 2000:
        raise UserError("features: frame_length_ms and frame_shift_ms must be at least two and one samples long")


def base_features(samples: np.ndarray, rate: int, options: FeatureOptions, utt: str) -> np.ndarray:
    """Compute base features of one utterance.

    samples: float32 [n] in 16-bit units (-32768 to 32767); rate in Hz; utt seeds the dither. Returns float32
    [t, options.base_dim]; t = 1 + floor((n - length) / shift), 0 where the audio is shorter than one frame.
    Povey window, pre-emphasis 0.97, energies floored at float32's epsilon before the logarithm, as in Kaldi.
    Raises UserError where a feature is not finite.
    """
    assert not isinstance(options, KaldiFeatures)  # `check_rate` refuses these
    if options.dither > 0:
        noise = np.random.default_rng(zlib.crc32(utt.encode())).standard_normal(len(samples), dtype=np.float32)
        samples = samples + np.float32(options.dither) * noise
    extractor = _extractor(rate, options)
    extractor.accept_waveform(rate, np.ascontiguousarray(samples, dtype=np.float32))  # type: ignore[arg-type]
    extractor.input_finished()
    features = np.empty((extractor.num_frames_ready, options.base_dim), np.float32)
    for t in range(len(features)):
        features[t] = extractor.get_frame(t)
    if not np.isfinite(features).all():
        raise UserError(
            f"utterance {utt}: features are not finite: its samples hold NaN or infinity: remove it from the table"
        )
    return features


def _extractor(rate: int, options: Fbank | Mfcc) -> "knf.OnlineFbank | knf.OnlineMfcc":
    made: knf.MfccOptions | knf.FbankOptions = knf.MfccOptions() if isinstance(options, Mfcc) else knf.FbankOptions()
    made.frame_opts.samp_freq = rate
    made.frame_opts.dither = 0.0
    made.frame_opts.frame_length_ms = options.frame_length_ms
    made.frame_opts.frame_shift_ms = options.frame_shift_ms
    made.mel_opts.num_bins = options.num_mel_bins
    made.mel_opts.low_freq = options.low_freq
    made.mel_opts.high_freq = options.high_freq
    made.use_energy = options.use_energy
    if isinstance(options, Mfcc) and isinstance(made, knf.MfccOptions):
        made.num_ceps = options.num_ceps
        return knf.OnlineMfcc(made)
    assert isinstance(made, knf.FbankOptions)
    return knf.OnlineFbank(made)


def add_deltas(features: np.ndarray, order: int, window: int = 2) -> np.ndarray:
    """Append differences of order 1 to `order`, as Kaldi's add-deltas.

    features: float [t, d]; returns float32 [t, d (order + 1)]. Order 1 is sum_j j x[t + j] / sum_j j^2 over
    |j| <= window (HTK Book, equation 5.16); order 2 applies the same filter twice as one filter on the features;
    rows beyond either end repeat the end row.
    """
    scales: list[np.ndarray] = [np.ones(1)]
    ramp = np.arange(-window, window + 1, dtype=np.float64)
    for _ in range(order):
        scales.append(np.convolve(scales[-1], ramp / float((ramp**2).sum())))
    t = len(features)
    blocks = []
    for scale in scales:
        half = len(scale) // 2
        block = np.zeros(features.shape, np.float64)
        for j in range(-half, half + 1):
            if scale[j + half] and t:
                block += scale[j + half] * features[np.clip(np.arange(t) + j, 0, t - 1)]
        blocks.append(block.astype(np.float32))
    return np.concatenate(blocks, axis=1)
