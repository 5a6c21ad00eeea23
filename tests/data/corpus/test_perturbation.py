"""Speed perturbation: pitch and length of what is heard, the rows, and what reads them."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.support.settings import section
from unisono.__main__ import main
from unisono.config.features import FeatureOptions
from unisono.data.corpus.audio import change_speed
from unisono.data.corpus.perturbation import perturbed
from unisono.data.corpus.table import Utterance, read_table, write_table
from unisono.data.features.write import write_features
from unisono.data.sequences import Sequences
from unisono.errors import UserError
from unisono.files import read_json

RATE = 8000
FBANK = section(FeatureOptions, 
    kind="fbank", num_mel_bins=23, num_ceps=13, low_freq=20, high_freq=0, frame_length_ms=25, frame_shift_ms=10,
    use_energy=False, dither=0.0, deltas=0, cmvn="speaker", cmvn_variance=True,
)  # fmt: skip


def _sine(hertz: float, samples: int = RATE) -> np.ndarray:
    return (1000 * np.sin(2 * np.pi * hertz * np.arange(samples) / RATE)).astype(np.float32)


def _row(utt: str, speaker: str, shard: int, path: str = "/a.wav") -> Utterance:
    return Utterance(utt, speaker, path, 1.0, "A B", "A <unk>", shard)


@pytest.mark.parametrize("speed", [0.9, 1.1, 0.5, 2.0, 1.25])
def test_faster_is_shorter_and_higher(speed: float) -> None:
    heard = change_speed(_sine(1000), speed)
    assert heard.dtype == np.float32 and len(heard) == int(np.ceil(round(RATE / speed, 6)))
    spectrum = np.abs(np.fft.rfft(heard * np.hanning(len(heard))))
    assert np.argmax(spectrum) * RATE / len(heard) == pytest.approx(1000 * speed, abs=2)
    middle = slice(100, -100)
    expected = _sine(1000 * speed, len(heard))
    np.testing.assert_allclose(heard[middle], expected[middle], atol=5)
    assert change_speed(_sine(1000), speed).tobytes() == heard.tobytes()


def test_what_would_fold_over_is_filtered_away() -> None:
    """3800 Hz at twice the speed would be 7600 Hz, beyond half the sampling rate."""
    assert np.abs(change_speed(_sine(3800), 2.0)[100:-100]).max() < 5


def test_each_speed_has_speakers_and_utterances_of_its_own() -> None:
    rows = [_row("a", "s", 0), _row("b", "t", 1)]
    made = perturbed(rows, [1.1, 0.9])
    assert [(u.utterance_id, u.speaker_id, u.shard, u.speed) for u in made] == [
        ("sp0.9-a", "sp0.9-s", 0, 0.9), ("sp0.9-b", "sp0.9-t", 1, 0.9),
        ("sp1.1-a", "sp1.1-s", 0, 1.1), ("sp1.1-b", "sp1.1-t", 1, 1.1),
    ]  # fmt: skip
    assert made[0].duration_s == 1 / 0.9 and (made[0].transcript, made[0].lexical) == ("A B", "A <unk>")
    with pytest.raises(UserError, match="utterance sp0.9-a is there already"):
        perturbed([*rows, _row("sp0.9-a", "u", 1)], [0.9])


def test_features_of_the_perturbed_table(tmp_path: Path) -> None:
    """The commands: a table beside the training set, and frames as many as the tempo makes them."""
    soundfile.write(tmp_path / "a.wav", _sine(1000, 9 * RATE).astype(np.int16), RATE)
    rows = [dataclasses.replace(_row(utt, utt, 0, str(tmp_path / "a.wav")), duration_s=9.0) for utt in "ab"]
    write_table(tmp_path / "train.tsv", rows)
    assert "speed" not in (tmp_path / "train.tsv").read_text()
    files = {name: str(tmp_path / name) for name in ("train.tsv", "perturbed.tsv", "info.json")}
    flags = ["--table", files["train.tsv"], "--out", files["perturbed.tsv"], "--report", files["info.json"]]
    assert main(["perturb", *flags, "--speeds", "0.9", "1.1"]) == 0
    assert read_json(files["info.json"]) == {"utterances": 4, "speakers": 4, "words": 8, "seconds": 36.364}
    assert [u.speed for u in read_table(files["perturbed.tsv"], 0)] == [0.9, 0.9, 1.1, 1.1]
    for name in ("train", "perturbed"):
        write_features(files[f"{name}.tsv"], 0, FBANK, tmp_path / f"{name}.h5")
    with Sequences(tmp_path / "train.h5") as plain, Sequences(tmp_path / "perturbed.h5") as store:
        assert (plain.rows + store.rows) / plain.rows == pytest.approx(1 / 0.9 + 1 + 1 / 1.1, abs=0.005)
        # The tone sits in a lower band when it is heard more slowly.
        bands = [store.get(utt).mean(0).argmax() for utt in ("sp0.9-a", "sp1.1-a")]
        assert bands[0] < plain.get("a").mean(0).argmax() < bands[1]
