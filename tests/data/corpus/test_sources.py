"""Strings joined from recordings, and the spoken corpus: right samples, same bytes each time, nothing shared."""

import dataclasses
import itertools
import sys
import threading
import zlib
from pathlib import Path

import numpy as np
import pytest
import soundfile

from unisono.config.build import complete
from unisono.data.corpus import spoken
from unisono.data.corpus.audio import read_audio
from unisono.data.corpus.build import build
from unisono.data.corpus.lexicon import read_lexicon
from unisono.data.corpus.sources import SourceRow, join_strings
from unisono.data.corpus.spoken_english import ENGLISH
from unisono.data.corpus.table import read_table
from unisono.errors import UserError

_HEADING = "string_id\tspeaker_id\tsplit\tn_words\tutterance_ids\tgaps_ms\ttranscript"


def _strings(corpus, *rows: str) -> list[SourceRow]:
    corpus.table.write_text("\n".join([corpus.heading, *corpus.rows]) + "\n")
    path = corpus.folder / "strings.tsv"
    path.write_text("\n".join([_HEADING, *rows]) + "\n")
    return join_strings(path, corpus.table, corpus.out / "audio")


def test_strings_are_gaps_of_noise_and_recordings(corpus) -> None:
    (row,) = _strings(corpus, "s1\tanna\ttrain\t2\tu1 u2\t30 45 12\tONE TWO TWO")
    rng = np.random.default_rng(zlib.crc32(b"s1"))
    gaps = [np.rint(rng.normal(0, 4, n)) for n in (240, 360, 96)]
    parts = [soundfile.read(corpus.folder / f"audio/{n}", dtype="int16")[0] for n in ("u1.wav", "u2.flac")]
    want = np.concatenate([gaps[0], parts[0], gaps[1], parts[1], gaps[2]])
    samples, rate = read_audio(row.path)
    assert rate == 8000
    np.testing.assert_array_equal(samples, want)
    assert (row.utterance_id, row.speaker_id, row.split, row.transcript) == ("s1", "anna", "train", "ONE TWO TWO")


def test_made_again_no_recording_is_gone_for_a_moment_and_old_ones_are(corpus) -> None:
    """A command that was left behind makes its files again while a newer workflow reads the same ones."""
    rows = [f"s{n}\tanna\ttrain\t2\tu1 u2\t30 45 12\tONE TWO TWO" for n in range(40)]
    first = [row.path for row in _strings(corpus, *rows)]
    gone: set[Path] = set()
    ended = threading.Event()

    def watch() -> None:
        while not ended.is_set():
            gone.update(path for path in first[:-1] if not path.exists())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        _strings(corpus, *rows)
    finally:
        ended.set()
        watcher.join()
    assert not gone
    _strings(corpus, *rows[:-1])
    assert not first[-1].exists() and all(path.exists() for path in first[:-1])


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("s1\tanna\ttrain\t2\tu1 u9\t1 2 3\tONE", "line 2: recording 'u9' is not in the table"),
        ("s1\tanna\ttrain\t2\tu1 u2\t1 2\tONE", "line 2: 2 recordings and 2 gaps"),
        ("s1\tanna\ttrain\t2\tu1\t1 -2\tONE", "line 2: 1 recordings"),
        ("s1\tanna\ttrain\t2\tu1\t1 x\tONE", "line 2: gaps_ms '1 x'"),
        ("../s1\tanna\ttrain\t2\tu1\t1 2\tONE", r"line 2: string id '../s1': rename it"),
    ],
)
def test_bad_strings_are_named(corpus, row: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        _strings(corpus, row)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_strings_of_bad_recordings(corpus) -> None:
    (corpus.folder / "audio/u2.flac").write_bytes(b"")
    rows = _strings(corpus, "s1\tanna\ttrain\t1\tu2\t9 9\tTWO", "s2\tanna\ttrain\t1\tu1\t9 9\tONE TWO")
    assert [row.fault for row in rows] == ["u2.flac: empty (0 bytes)", ""]
    corpus.sound("audio/u2.flac", 0.2, rate=16000)
    with pytest.raises(UserError, match="sampling rates"):
        _strings(corpus, "s3\tanna\ttrain\t2\tu1 u2\t9 9 9\tONE")
    (corpus.folder / "audio/u3.wav").unlink()
    with pytest.raises(UserError, match="line 2: .*u3.wav: no such audio file"):
        _strings(corpus, "s4\tbob\ttrain\t1\tu3\t9 9\tONE")


def test_fsdd_strings_have_the_published_lengths(corpora_dir: Path, tmp_path: Path, corpus) -> None:
    options = corpus.options(kind="strings", dir="fsdd", strings="tiny.tsv", shared_speakers=True)
    splits = build(options, corpora_dir, tmp_path)["splits"]
    minutes = {split: round(numbers["seconds"] / 60, 1) for split, numbers in splits.items()}
    assert {split: numbers["utterances"] for split, numbers in splits.items()} == {"train": 120, "dev": 24, "test": 24}
    assert minutes == {"train": 5.3, "dev": 0.9, "test": 1.0}


ARPABET = "AA AE AH AO AW AY B CH D DH EH ER EY F G HH IH IY JH K L M N NG OW OY P R S SH T TH UH UW V W Y Z ZH"
INITIALS = "b p m f d t n l g k h j q x zh ch sh r z c s"
FINALS = "a o e er ai ei ao ou an en ang eng ong i ia ie iao iu ian in iang ing"
ROUNDED = "u ua uo uai uei uan uen uang v ve van vn ii iii"


@pytest.mark.parametrize("name", spoken.LANGUAGES)
def test_grammar_words_are_in_the_lexicon_and_there_are_at_least_fifty(name: str) -> None:
    language = spoken.LANGUAGES[name]
    words = {word for sentence in language.sentences(1, 2000) for word in sentence.split()}
    pronounced = {word for word, _ in language.pronunciations()}
    assert words == pronounced and len(words) >= 50
    assert all(4 <= len(sentence.split()) <= 9 for sentence in language.sentences(2, 500))
    phones = {phone for _, phones in language.pronunciations() for phone in phones}
    tonal = {final + tone for final in f"{FINALS} {ROUNDED}".split() for tone in "12345"}
    known = {"english": set(ARPABET.split()), "mandarin": set(INITIALS.split()) | tonal}
    assert phones <= known[name]


def test_voices_and_sentences_are_dealt_without_overlap(corpus) -> None:
    options = dataclasses.replace(
        corpus.spoken, train_sentences=300, dev_sentences=60, test_sentences=90, lm_sentences=400, test_voices=6
    )
    tasks, text = spoken.plan(options, seed=1)
    said = {
        split: [s for part, _, texts in tasks if part == split for s in texts] for split in ("train", "dev", "test")
    }
    assert {split: len(texts) for split, texts in said.items()} == {"train": 300, "dev": 60, "test": 90}
    for one, two in itertools.combinations(said.values(), 2):
        assert not set(one) & set(two)
    assert len(text) == len(set(text)) == 700 and set(said["train"]) <= set(text)
    assert not set(text) & set(said["dev"] + said["test"])
    speakers = {split: {voice.name for part, voice, _ in tasks if part == split} for split in said}
    assert [len(names) for names in speakers.values()] == [3, 1, 6]
    names = [voice.name for voices in spoken.VOICES.values() for voice in voices]
    ids = [voice.speaker_id for voices in spoken.VOICES.values() for voice in voices]
    assert len(set(names)) == len(names) == len(set(ids))
    assert spoken.plan(options, seed=1) == (tasks, text) != spoken.plan(options, seed=2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"test_voices": 99}, "test_voices: 99"),
        ({"dev_sentences": 0}, "dev_sentences: 0"),
    ],
)
def test_spoken_options_out_of_range(corpus, change: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        spoken.plan(dataclasses.replace(corpus.spoken, **change), seed=1)


def test_a_grammar_runs_dry() -> None:
    language = dataclasses.replace(ENGLISH, forms=("<size> <animal>",))
    assert len(language.sentences(1, 12)) == 12
    with pytest.raises(UserError, match="13 sentences in all are more than the grammar gives"):
        language.sentences(1, 13)


@pytest.mark.parametrize("rate", [8000, 16000])
def test_speaking_twice_gives_the_same_bytes(corpus, tmp_path: Path, rate: int) -> None:
    pytest.importorskip("espeakng_loader")
    options = corpus.options(kind="spoken", spoken=complete(corpus.spoken) | {"sampling_rate": rate})
    contents = []
    for processes in (1, 3):
        facts = build(options, tmp_path, tmp_path / "data", processes)
        contents.append({path: path.read_bytes() for path in sorted((tmp_path / "data").rglob("*")) if path.is_file()})
    assert contents[0] == contents[1]
    assert facts["sampling_rate"] == rate and facts["quarantined"] == []
    assert {s: n["utterances"] for s, n in facts["splits"].items()} == {"train": 6, "dev": 2, "test": 4}
    train = read_table(tmp_path / "data/train.tsv")
    assert {u.speaker_id for u in train} == {"m1", "f1", "m4"} and all(1 < u.duration_s < 6 for u in train)
    samples, _ = read_audio(train[0].path)
    assert 1000 < abs(samples).max() <= 32767 and (samples[:200] != 0).any()  # loud, and no digital silence
    assert set(" ".join(u.transcript for u in train).split()) <= set(read_lexicon(tmp_path / "data/lexicon.txt"))


def test_voices_seeded_from_the_clock_repeat(tmp_path: Path) -> None:
    pytest.importorskip("espeakng_loader")
    library, data = spoken._espeak()
    voice = spoken.Voice("f2", "en-us+f2", 160, 50, 50)
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        spoken._speak_voice(library, data, voice, "test", ["ONE TWO", "THREE FOUR"], tmp_path / name, 16000)
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()


def test_a_voice_that_espeak_lacks_ends_with_its_name(tmp_path: Path) -> None:
    pytest.importorskip("espeakng_loader")
    library, data = spoken._espeak()
    voice = spoken.Voice("x", "xx-nowhere", 160, 50, 50)
    with pytest.raises(UserError, match=r"voice xx-nowhere: espeak_SetVoiceByName\(xx-nowhere\) returned"):
        spoken._speak_voice(library, data, voice, "test", ["ONE"], tmp_path, 16000)


def test_without_espeak_the_remedy_is_said(corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    with pytest.raises(UserError, match=r"espeakng-loader is not installed: pip install 'unisono\[demo\]'"):
        spoken.speak(corpus.spoken, 1, tmp_path, 1)
