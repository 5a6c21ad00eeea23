"""Kaldi data directories: what they become, what is refused, and that nothing in them is executed."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from unisono.data.corpus.audio import read_audio
from unisono.data.corpus.build import build
from unisono.data.corpus.kaldi_dir import read_kaldi
from unisono.data.corpus.table import read_table
from unisono.errors import UserError


class KaldiCorpus:
    """Three data directories, train with segments."""

    def __init__(self, corpus: Any) -> None:
        self.corpus, self.folder, self.out = corpus, corpus.folder, corpus.out
        for split in ("train", "dev", "test"):
            (self.folder / split).mkdir()
        self.long = corpus.sound("audio/long.wav", 2.0)
        self.write("train/wav.scp", f"rec1 {self.long}", f"rec2 {self.folder}/audio/u3.wav")
        self.write("train/segments", "anna-2 rec1 0.25 1.5", "anna-1 rec1 1.5 2.0", "bob-1 rec2 0 -1")
        self.write("train/text", "anna-1 ONE", "anna-2 TWO\tONE", "bob-1 TWO")
        self.write("train/utt2spk", "bob-1 bob", "anna-1 anna", "anna-2 anna")
        shutil.copy(self.folder / "audio/d1.flac", self.folder / "dev/d1.flac")
        self.write("dev/wav.scp", "carl-1   d1.flac")
        self.write("dev/text", "carl-1 ONE ONE")
        self.write("dev/utt2spk", "carl-1 carl")
        self.write("test/wav.scp", f"dora-1 {self.folder}/audio/t1.wav")
        self.write("test/text", "dora-1 TWO")
        self.write("test/utt2spk", "dora-1 dora")
        self.write("test/spk2gender", "dora f")

    def write(self, name: str, *lines: str) -> None:
        (self.folder / name).write_text("".join(line + "\n" for line in lines))

    def build(self, **changes: Any) -> dict[str, Any]:
        return self.corpus.build(kind="kaldi", **changes)

    def refused(self, *parts: str) -> None:
        with pytest.raises(UserError) as caught:
            self.build()
        line = str(caught.value)
        assert "\n" not in line and not (self.out / "train.tsv").exists()
        for part in parts:
            assert part in line, line


@pytest.fixture
def kaldi(corpus) -> KaldiCorpus:
    return KaldiCorpus(corpus)


def test_segments_become_files(kaldi: KaldiCorpus) -> None:
    facts = kaldi.build()
    assert {split: n["utterances"] for split, n in facts["splits"].items()} == {"train": 3, "dev": 1, "test": 1}
    assert facts["quarantined"] == [] and facts["speaker_classes"] == {"dora": "f"}
    train = {u.utterance_id: u for u in read_table(kaldi.out / "train.tsv")}
    assert {name: (u.speaker_id, u.transcript, u.duration_s) for name, u in train.items()} == {
        "anna-1": ("anna", "ONE", 0.5),
        "anna-2": ("anna", "TWO ONE", 1.25),
        "bob-1": ("bob", "TWO", 0.3),
    }
    whole, _ = soundfile.read(kaldi.long, dtype="int16")
    for name, begin, end in [("anna-2", 2000, 12000), ("anna-1", 12000, 16000)]:
        samples, rate = read_audio(train[name].path)
        assert rate == 8000 and Path(train[name].path).parent == kaldi.out / "audio"
        np.testing.assert_array_equal(samples, whole[begin:end])
    # Without segments the recordings are used where they lie; a path that exists beside wav.scp is taken from there.
    (dev,) = read_table(kaldi.out / "dev.tsv")
    assert dev.path == str(kaldi.folder / "dev/d1.flac")


def test_processes_and_order_do_not_matter(kaldi: KaldiCorpus) -> None:
    def contents() -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in sorted(kaldi.out.rglob("*")) if path.is_file()}

    kaldi.build()
    first = contents()
    for name in ("text", "segments", "utt2spk", "wav.scp"):
        path = kaldi.folder / "train" / name
        path.write_text("\n".join(reversed(path.read_text().splitlines())) + "\n")
    options = kaldi.corpus.options(kind="kaldi")
    build(options, kaldi.corpus.root, kaldi.out, processes=3)
    assert contents() == first and "anna-1.flac" in first


def test_relative_paths_go_from_the_working_directory(kaldi: KaldiCorpus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(kaldi.folder)
    kaldi.write("test/wav.scp", "dora-1 audio/t1.wav")
    kaldi.build()
    assert read_table(kaldi.out / "test.tsv")[0].path == str(kaldi.folder / "audio/t1.wav")
    monkeypatch.chdir("/")
    shutil.rmtree(kaldi.out)
    kaldi.refused("test/wav.scp: line 1: recording 'dora-1': audio/t1.wav: no such audio file: check corpus.dir")


@pytest.mark.parametrize(
    "value",
    ["touch CANARY; cat u1.wav |", "| touch CANARY", "-", "data/raw.ark:1234", "sph2pipe -f wav a.sph|"],
)
def test_commands_and_archives_are_refused_by_name(kaldi: KaldiCorpus, value: str, tmp_path: Path) -> None:
    value = value.replace("CANARY", str(tmp_path / "canary"))
    kaldi.write("train/wav.scp", f"rec1 {kaldi.long}", f"rec2 {value}")
    reason = "is a command, and data is never executed here" if "|" in value else "is no plain file"
    kaldi.refused(f"train/wav.scp: line 2: recording 'rec2': {value!r} {reason}")
    assert not (tmp_path / "canary").exists()


@pytest.mark.parametrize(
    ("name", "lines", "message"),
    [
        ("utt2spk", ["anna-1 anna", "anna-2 anna"], "train/utt2spk: utterance 'bob-1' of"),
        ("text", ["anna-1 ONE"], "train/text: utterance 'bob-1' (and 1 more) of"),
        ("segments", ["anna-1 rec1 0 1", "bob-1 rec2 0 1"], "train/segments: utterance 'anna-2' of"),
        ("text", ["anna-1 A", "anna-2 A", "bob-1 A", "eva-1 A"], "train/utt2spk: utterance 'eva-1' of"),
        ("wav.scp", ["rec1 x.wav"], "segments: line 3: utterance 'bob-1': recording 'rec2' is not in"),
        ("wav.scp", ["rec1 x.wav", "rec1 y.wav"], "wav.scp: line 2: 'rec1' is there already (line 1)"),
        ("wav.scp", ["rec1 x.wav", "rec2"], "wav.scp: line 2: 'rec2' has nothing after it"),
        ("text", [], "train/text: empty"),
        ("segments", ["anna-1 rec1 0 1", "anna-2 rec1 x 1", "bob-1 rec2 0 1"], "line 2: utterance 'anna-2': give rec"),
        ("segments", ["anna-1 rec1 0", "anna-2 rec1 0 1", "bob-1 rec2 0 1"], "line 1: utterance 'anna-1': give rec"),
        ("segments", ["anna-1 rec1 1 1", "anna-2 rec1 0 1", "bob-1 rec2 0 1"], "'anna-1': from 1 to 1 s: start must"),
        ("segments", ["anna-1 rec1 nan 1", "anna-2 rec1 0 1", "bob-1 rec2 0 1"], "'anna-1': from nan to 1 s"),
        ("segments", ["anna-1 rec1 0 1 1", "anna-2 rec1 0 1", "bob-1 rec2 0 1"], "'anna-1': channel '1'"),
        ("spk2gender", ["anna f"], "spk2gender: speaker 'bob' of utterance 'bob-1'"),
        ("spk2gender", ["anna f", "bob x"], "spk2gender: line 2: speaker 'bob' has 'x': write m or f"),
    ],
)
def test_files_that_do_not_fit_are_named(kaldi: KaldiCorpus, name: str, lines: list[str], message: str) -> None:
    kaldi.write(f"train/{name}", *lines)
    kaldi.refused(message)


def test_missing_files_and_recordings_are_named(kaldi: KaldiCorpus) -> None:
    kaldi.write("train/wav.scp", "rec1 nowhere.wav", f"rec2 {kaldi.long}")
    kaldi.refused("train/wav.scp: line 1: recording 'rec1': nowhere.wav: no such audio file: check")
    kaldi.write("test/wav.scp", "", "dora-1 absent.wav")
    kaldi.refused("'rec1': nowhere.wav: no such audio file, ", "test/wav.scp: line 2: recording 'dora-1': absent.wav: ")
    assert not (kaldi.out / "audio").exists()
    (kaldi.folder / "train/utt2spk").unlink()
    kaldi.refused("train/utt2spk: no such file")


def test_a_recording_of_another_sampling_rate_is_the_one_of_wav_scp(kaldi: KaldiCorpus) -> None:
    kaldi.corpus.sound("audio/u3.wav", 0.3, rate=16000)
    path = kaldi.folder / "audio/u3.wav"
    kaldi.refused(f"train/wav.scp: line 2: recording 'rec2': {path}: 16000 Hz: the rest has 8000 Hz, convert")
    assert not (kaldi.out / "audio").exists()


def test_segments_beyond_the_recording(kaldi: KaldiCorpus) -> None:
    kaldi.write("train/segments", "anna-2 rec1 1.0 2.4", "anna-1 rec1 1.5 2.6", "bob-1 rec2 0 -1")
    facts = kaldi.build()
    assert [q["utterance_id"] for q in facts["quarantined"]] == ["anna-1"]
    assert facts["quarantined"][0]["reason"] == "its segment ends at 2.6 s, its recording at 2 s"
    assert read_table(kaldi.out / "train.tsv")[0].duration_s == 1.0  # up to half a second is cut back, as in Kaldi
    kaldi.write("train/segments", "anna-2 rec1 1.0 2.4", "anna-1 rec1 1.5 1.50001", "bob-1 rec2 0 -1")
    assert kaldi.build()["quarantined"][0]["reason"] == "empty (no samples)"


def test_bad_recordings_and_empty_transcripts_are_set_aside(kaldi: KaldiCorpus) -> None:
    (kaldi.folder / "audio/u3.wav").write_bytes(b"no audio")
    kaldi.write("train/text", "anna-1", "anna-2 TWO ONE", "bob-1 TWO")
    facts = kaldi.build()
    reasons = {q["utterance_id"]: q["reason"] for q in facts["quarantined"]}
    assert reasons["anna-1"] == "transcript empty" and reasons["bob-1"].startswith("u3.wav: not readable")
    kaldi.corpus.sound("audio/u3.wav", 0.3, channels=2)
    shutil.rmtree(kaldi.out)
    kaldi.refused("train/wav.scp: line 2: recording 'rec2'", "u3.wav: 2 channels: convert to one channel")


def test_recordings_of_other_sample_formats(corpus, tmp_path: Path) -> None:
    """Floating point, 24 bits and 8 bits keep their loudness."""
    kaldi = KaldiCorpus(corpus)
    wave = np.sin(np.arange(8000) * 0.1) * 0.5
    kaldi.write("train/segments", "anna-2 rec1 0 0.5", "anna-1 rec1 0.5 1", "bob-1 rec2 0 -1")
    for subtype in ("FLOAT", "PCM_24", "PCM_U8"):
        soundfile.write(kaldi.long, wave, 8000, subtype=subtype)
        kaldi.build()
        samples, _ = read_audio(read_table(kaldi.out / "train.tsv")[0].path)
        np.testing.assert_allclose(samples, wave[4000:] * 32768, atol=300 if subtype == "PCM_U8" else 1)


def test_samples_that_are_no_numbers_are_set_aside(kaldi: KaldiCorpus) -> None:
    wave = np.zeros(16000, np.float32)
    wave[9000] = np.nan
    soundfile.write(kaldi.long, wave, 8000, subtype="FLOAT")
    (entry,) = kaldi.build()["quarantined"]
    assert (entry["utterance_id"], entry["reason"]) == (
        "anna-2",
        "not readable (long.wav: samples are NaN or infinite)",
    )


def test_byte_order_mark_and_crlf(kaldi: KaldiCorpus) -> None:
    want = read_kaldi(kaldi.folder / "train", "train")
    for path in (kaldi.folder / "train").iterdir():
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    assert read_kaldi(kaldi.folder / "train", "train") == want
