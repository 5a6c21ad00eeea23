"""Features against a literal numpy twin and hand numbers: filterbank, cepstra, deltas, CMVN."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.support.settings import section
from unisono.config.features import FeatureOptions
from unisono.data.corpus.table import Utterance, write_table
from unisono.data.features import cmvn
from unisono.data.features.extract import add_deltas, base_features, check_rate
from unisono.data.features.reader import KIND, FeatureReader
from unisono.data.features.write import write_features
from unisono.data.sequences import Sequences, write_sequences
from unisono.errors import UserError

FBANK = section(FeatureOptions, kind="fbank")
MFCC = section(FeatureOptions, kind="mfcc", num_mel_bins=23)


def _signal(rate: int, seconds: float = 0.31) -> np.ndarray:
    t = np.arange(int(rate * seconds)) / rate
    noise = np.random.default_rng(3).normal(0, 300, len(t))
    return np.rint(4000 * np.sin(2 * np.pi * (300 + 900 * t) * t) + noise).astype(np.float32)


def _twin(samples: np.ndarray, rate: int, options: FeatureOptions) -> np.ndarray:
    """Kaldi's recipe word for word in float64: DC, pre-emphasis, Povey window, power, mel triangles, log, DCT."""
    length, shift = int(rate * options.frame_length_ms / 1000), int(rate * options.frame_shift_ms / 1000)
    size = 1 << (length - 1).bit_length()
    window = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(length) / (length - 1))) ** 0.85

    def mel(hertz: float) -> float:
        return 1127.0 * np.log(1.0 + hertz / 700.0)

    high = options.high_freq if options.high_freq > 0 else rate / 2 + options.high_freq
    edges = np.linspace(mel(options.low_freq), mel(high), options.num_mel_bins + 2)
    bank = np.zeros((options.num_mel_bins, size // 2))
    for m in range(options.num_mel_bins):
        left, centre, right = edges[m : m + 3]
        for k in range(size // 2):
            at = mel(k * rate / size)
            if left < at < right:
                bank[m, k] = (at - left) / (centre - left) if at <= centre else (right - at) / (right - centre)
    rows = []
    for begin in range(0, len(samples) - length + 1, shift):
        frame = samples[begin : begin + length].astype(np.float64)
        frame -= frame.mean()
        energy = np.log(max((frame**2).sum(), np.finfo(np.float32).eps))
        frame = np.concatenate([[frame[0] * (1 - 0.97)], frame[1:] - 0.97 * frame[:-1]]) * window
        power = np.abs(np.fft.rfft(frame, size)[: size // 2]) ** 2
        row = np.log(np.maximum(bank @ power, np.finfo(np.float32).eps))
        if options.kind == "mfcc":
            n = options.num_mel_bins
            row = np.array(
                [
                    np.sqrt((1 if i == 0 else 2) / n) * (row * np.cos(np.pi * i * (np.arange(n) + 0.5) / n)).sum()
                    for i in range(options.num_ceps)
                ]
            )
            row *= 1 + 11 * np.sin(np.pi * np.arange(options.num_ceps) / 22)
            if options.use_energy:
                row[0] = energy
        elif options.use_energy:
            row = np.concatenate([[energy], row])
        rows.append(row)
    return np.array(rows)


@pytest.mark.parametrize("rate", [8000, 11025, 16000])
@pytest.mark.parametrize("options", [FBANK, MFCC, dataclasses.replace(FBANK, high_freq=-400, low_freq=60)])
@pytest.mark.parametrize("use_energy", [False, True])
def test_equal_to_the_literal_twin(rate: int, options: FeatureOptions, use_energy: bool) -> None:
    options = dataclasses.replace(options, use_energy=use_energy)
    got = base_features(_signal(rate), rate, options, "u")
    want = _twin(_signal(rate), rate, options)
    assert got.dtype == np.float32 and got.shape == (want.shape[0], options.base_dim)
    np.testing.assert_allclose(got, want, atol=3e-3)


def test_digital_silence_is_finite_and_too_short_has_no_frames() -> None:
    silent = base_features(np.zeros(8000, np.float32), 16000, FBANK, "u")
    np.testing.assert_allclose(silent, np.log(np.finfo(np.float32).eps), rtol=1e-5)
    assert base_features(np.zeros(399, np.float32), 16000, FBANK, "u").shape == (0, 40)
    assert base_features(np.zeros(0, np.float32), 16000, FBANK, "u").shape == (0, 40)
    assert base_features(np.zeros(400, np.float32), 16000, FBANK, "u").shape == (1, 40)


def test_not_finite_samples_are_named() -> None:
    samples = _signal(16000)
    samples[500] = np.nan
    with pytest.raises(UserError, match="utterance bad-1"):
        base_features(samples, 16000, FBANK, "bad-1")


def test_dither_repeats_by_utterance() -> None:
    options = dataclasses.replace(FBANK, dither=1.0)
    one, two, other = (base_features(_signal(8000), 8000, options, utt) for utt in ("a", "a", "b"))
    assert one.tobytes() == two.tobytes() and one.tobytes() != other.tobytes()
    assert np.abs(one - base_features(_signal(8000), 8000, FBANK, "a")).max() > 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"high_freq": 8000.0}, "high_freq 8000"),
        ({"low_freq": 5000.0}, "low_freq 5000"),
        ({"frame_shift_ms": 0.01}, "frame_shift_ms"),
    ],
)
def test_options_that_do_not_fit(change: dict, message: str) -> None:
    check_rate(FBANK, 8000)
    with pytest.raises(UserError, match=message):
        check_rate(dataclasses.replace(FBANK, **change), 8000)


def test_deltas_by_hand() -> None:
    x = np.array([[0.0], [1.0], [4.0], [9.0], [16.0]], np.float32)
    # order 1: (-2 x[t-2] - x[t-1] + x[t+1] + 2 x[t+2]) / 10, ends repeated
    first = [0.9, 2.2, 4.0, 4.2, 3.1]
    # order 2, one filter (4, 4, 1, -4, -10, -4, 1, 4, 4) / 100 on the features themselves
    padded = np.pad(x[:, 0], 4, mode="edge")
    second = [np.dot(padded[t : t + 9], [4, 4, 1, -4, -10, -4, 1, 4, 4]) / 100 for t in range(5)]
    got = add_deltas(x, 2)
    assert got.shape == (5, 3) and got.dtype == np.float32
    np.testing.assert_allclose(got, np.stack([x[:, 0], first, second], axis=1), atol=1e-6)
    np.testing.assert_array_equal(add_deltas(x, 1), got[:, :2])
    assert add_deltas(np.zeros((0, 3), np.float32), 2).shape == (0, 9)
    np.testing.assert_array_equal(add_deltas(x[:1], 2), [[0, 0, 0]])


def test_cmvn_by_hand_and_constant_dimension(tmp_path: Path) -> None:
    a = np.array([[1.0, 5.0], [3.0, 5.0]], np.float32)
    b = np.array([[5.0, 5.0]], np.float32)
    stats = cmvn.statistics([("s", a), ("t", b), ("s", b)], "speaker")
    np.testing.assert_array_equal(stats["s"], [[9, 15, 3], [35, 75, 0]])
    cmvn.write_statistics(tmp_path / "c.h5", stats, 2)
    again = cmvn.read_statistics(tmp_path / "c.h5", 2)
    assert sorted(again) == ["s", "t"] and (again["s"] == stats["s"]).all()
    with pytest.raises(UserError, match="speaker s"):
        cmvn.read_statistics(tmp_path / "c.h5", 3)
    mean, scale = cmvn.offset_and_scale(stats["s"], variance=True)
    np.testing.assert_allclose(mean, [3, 5])
    np.testing.assert_allclose(scale, [1 / np.sqrt(8 / 3), 1.0])  # the second never varies: centred, not divided by 0
    out = cmvn.apply(np.concatenate([a, b]), mean, scale)
    np.testing.assert_allclose(out[:, 0].std(), 1, rtol=1e-6)
    np.testing.assert_array_equal(out[:, 1], 0)
    assert (cmvn.offset_and_scale(stats["s"], variance=False)[1] == 1).all()
    whole = cmvn.statistics([("s", a), ("t", b)], "global")
    assert list(whole) == ["global"] and whole["global"][0, -1] == 3
    assert cmvn.statistics([("s", a)], "none") == {}


def _row(utt: str, speaker: str, shard: int) -> Utterance:
    return Utterance(utt, speaker, f"/audio/{utt}.wav", 1.0, "A", "A", shard)


def _files(folder: Path) -> tuple[Path, list[Path]]:
    rng = np.random.default_rng(0)
    write_table(folder / "t.tsv", [_row("a", "s", 0), _row("b", "t", 1), _row("c", "s", 1)])
    for shard, utts in enumerate(["a", "bc"]):
        items = ((u, {"frames": rng.normal(3, 2, (20, 40)).astype("f4")}) for u in utts)
        write_sequences(folder / f"{shard}.h5", items, kind=KIND, attrs={"dim": 40})
    return folder / "t.tsv", [folder / "0.h5", folder / "1.h5"]


def test_reader_normalises_then_adds_deltas(tmp_path: Path) -> None:
    table, files = _files(tmp_path)
    options = dataclasses.replace(FBANK, deltas=1)
    frames = {u: Sequences(f).get(u) for f, u in zip([files[0], files[1], files[1]], "abc", strict=True)}
    stats = cmvn.statistics([("s", frames["a"]), ("t", frames["b"]), ("s", frames["c"])], "speaker")
    cmvn.write_statistics(tmp_path / "c.h5", stats, 40)
    reader = FeatureReader(table, files, tmp_path / "c.h5", options)
    assert [u.utterance_id for u, _ in reader] == ["a", "b", "c"] and reader.shards == [["a"], ["b", "c"]]
    assert reader.num_frames("b") == 20 and reader.frame_shift_s == 0.01
    pooled = np.concatenate([frames["a"], frames["c"]]).astype(np.float64)
    want = add_deltas(((frames["c"] - pooled.mean(0)) / pooled.std(0)).astype("f4"), 1)
    np.testing.assert_allclose(reader.get("c"), want, atol=1e-5)
    plain = FeatureReader(table, files, "unused", dataclasses.replace(FBANK, cmvn="none"))
    np.testing.assert_array_equal(plain.get("c"), frames["c"])


def test_reader_names_what_does_not_fit(tmp_path: Path) -> None:
    table, files = _files(tmp_path)
    cmvn.write_statistics(tmp_path / "c.h5", {"s": np.ones((2, 41))}, 40)
    with pytest.raises(UserError, match="speaker t: no statistics"):
        FeatureReader(table, files, tmp_path / "c.h5", FBANK)
    with pytest.raises(UserError, match="utterance b: in no feature file"):
        FeatureReader(table, files[:1], tmp_path / "c.h5", FBANK)
    with pytest.raises(UserError, match="40 features a frame, the config says 13"):
        FeatureReader(table, files, tmp_path / "c.h5", MFCC)


def test_features_repeat_and_a_mixture_of_rates_is_refused(tmp_path: Path) -> None:
    for name, rate in [("a", 8000), ("b", 8000), ("c", 16000)]:
        soundfile.write(tmp_path / f"{name}.flac", _signal(rate).astype("i2"), rate)
    rows = [dataclasses.replace(_row(u, "s", 0), path=str(tmp_path / f"{u}.flac")) for u in "abc"]

    def run(out: str) -> None:
        write_features(tmp_path / "t.tsv", 0, FBANK, tmp_path / out)

    write_table(tmp_path / "t.tsv", rows[:2])
    run("one.h5")
    run("two.h5")
    assert (tmp_path / "one.h5").read_bytes() == (tmp_path / "two.h5").read_bytes()
    with Sequences(tmp_path / "one.h5", kind=KIND) as store:
        assert store.attrs["sampling_rate"] == 8000 and store.attrs["dim"] == 40
        np.testing.assert_array_equal(store.get("a"), base_features(_signal(8000), 8000, FBANK, "a"))
    write_table(tmp_path / "t.tsv", rows)
    with pytest.raises(UserError, match="c.flac: 16000 Hz, the rest has 8000 Hz"):
        run("three.h5")
