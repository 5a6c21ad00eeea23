"""The table corpus: what comes out of a sound one, and one line for each fault of an unsound one."""

import os
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from unisono.data.corpus.audio import UnusableAudio, inspect, read_audio
from unisono.data.corpus.lexicon import read_lexicon
from unisono.data.corpus.table import Utterance, read_table, with_shards
from unisono.errors import UserError
from unisono.files import read_json


def _refused(corpus, *parts: str, **changes) -> str:
    """Build; demand one UserError line that holds all `parts`, and no tables."""
    with pytest.raises(UserError) as caught:
        corpus.build(**changes)
    line = str(caught.value)
    assert "\n" not in line
    for part in parts:
        assert part in line, line
    assert not (corpus.out / "train.tsv").exists()
    return line


def test_a_sound_corpus(corpus) -> None:
    facts = corpus.build()
    assert facts == read_json(corpus.out / "corpus.json")
    assert facts["sampling_rate"] == 8000 and facts["quarantined"] == []
    assert facts["splits"]["train"] == {"utterances": 3, "speakers": 2, "words": 6, "seconds": 0.6}
    train = read_table(corpus.out / "train.tsv")
    assert [u.utterance_id for u in train] == ["u1", "u2", "u3"]
    assert train[2] == Utterance(
        "u3", "bob", str(corpus.folder / "audio/u3.wav"), 0.3, "TWO ONE ONE", "TWO ONE ONE", shard=1
    )
    assert train[2].words == ["TWO", "ONE", "ONE"]
    assert read_table(corpus.out / "train.tsv", shard=1) == [u for u in train if u.shard == 1]
    assert (corpus.out / "lexicon.txt").read_text() == "ONE  W AH N\nTWO  T UW\n"
    assert (corpus.out / "lm_text.txt").read_text() == "ONE TWO\nTWO\nTWO ONE ONE\n"


def test_rows_in_any_order_give_the_same_bytes(corpus) -> None:
    def contents() -> list[bytes]:
        return [path.read_bytes() for path in sorted(corpus.out.iterdir())]

    corpus.build()
    first = contents()
    corpus.table.unlink()
    corpus.rows.reverse()
    corpus.build()
    assert contents() == first


def test_more_columns_and_other_orders_are_fine(corpus) -> None:
    lines = [row.split("\t") for row in [corpus.heading, *corpus.rows]]
    corpus.table.write_text("\n".join("\t".join([*reversed(fields), "more"]) for fields in lines) + "\n")
    assert corpus.build()["splits"]["train"]["utterances"] == 3


def test_shards_are_neighbours_of_equal_duration() -> None:
    rows = [Utterance(f"u{i:03d}", "s", "/x", 1.0 + i % 3, "A", "A", 0) for i in range(90)]
    cut = with_shards(reversed(rows), 4)
    assert [u.utterance_id for u in cut] == [u.utterance_id for u in rows]
    assert [u.shard for u in cut] == sorted(u.shard for u in cut)
    seconds = [sum(u.duration_s for u in cut if u.shard == shard) for shard in range(4)]
    assert sum(seconds) == 180 and max(abs(s - 45) for s in seconds) <= 3
    few = with_shards(rows[:2], 8)
    assert all(0 <= u.shard < 8 for u in few)


@pytest.mark.parametrize("column", ["utterance_id", "speaker_id", "path", "transcript", "split"])
def test_missing_column(corpus, column: str) -> None:
    corpus.heading = corpus.heading.replace(column, "other")
    _refused(corpus, "utterances.tsv: line 1", f"column '{column}' is missing", "the heading needs")


def test_wrong_number_of_fields(corpus) -> None:
    corpus.rows[2] += "\tx"
    _refused(corpus, "utterances.tsv: line 4: 6 fields, the heading has 5")


def test_blanks_around_fields_do_not_count(corpus) -> None:
    """As spreadsheets and editors leave them, in the heading and in the rows."""
    corpus.build()
    plain = (corpus.out / "train.tsv").read_bytes()
    corpus.table.write_text("\n".join(f" {row} ".replace("\t", " \t\u00a0") for row in [corpus.heading, *corpus.rows]))
    corpus.build()
    assert (corpus.out / "train.tsv").read_bytes() == plain


def test_duplicate_id(corpus) -> None:
    corpus.rows[4] = corpus.rows[4].replace("t1\t", "u2\t")
    _refused(corpus, "utterances.tsv: line 6", "'u2' is there already", "line 3", "unique")


def test_speaker_in_two_splits(corpus) -> None:
    corpus.rows[4] = corpus.rows[4].replace("dora", "anna")
    _refused(corpus, "line 6: speaker 'anna' is in test and in train", "line 2", "shared_speakers: true")
    assert corpus.build(shared_speakers=True)["splits"]["test"]["utterances"] == 1


def test_unknown_split(corpus) -> None:
    corpus.rows[3] = corpus.rows[3].replace("\tdev", "\tvalid")
    _refused(corpus, "line 5: split 'valid': must be train, dev or test")


@pytest.mark.parametrize("split", ["train", "dev", "test"])
def test_empty_split(corpus, split: str) -> None:
    corpus.rows = [row for row in corpus.rows if not row.endswith(split)]
    _refused(corpus, f"utterances.tsv: split {split} is empty: no row names it")


def test_split_that_is_empty_after_quarantine(corpus) -> None:
    (corpus.folder / "audio/d1.flac").write_bytes(b"")
    _refused(corpus, "utterances.tsv: split dev is empty", "d1 (empty (0 bytes))")


def test_missing_audio(corpus) -> None:
    (corpus.folder / "audio/u3.wav").unlink()
    _refused(corpus, "utterances.tsv: line 4", "u3.wav: no such audio file", "corpus.dir")


def test_the_first_unusable_recordings_are_named_and_the_others_counted(corpus) -> None:
    for number in range(6):
        corpus.rows.append(f"x{number}\tanna\taudio/x{number}.wav\tONE\ttrain")
    line = _refused(corpus, "line 7: ", "x0.wav: no such", "line 9: ", "x2.wav: no such audio file and 3 more: check")
    assert "x3.wav" not in line
    for number in range(6):
        corpus.sound(f"audio/x{number}.wav", 0.1, channels=2 + number % 2)
    _refused(corpus, "line 7: ", "x0.wav: 2 channels, ", "x1.wav: 3 channels, ", "x2.wav: 2 channels and 3 more: conv")
    for number in range(5):
        corpus.sound(f"audio/x{number}.wav", 0.1, rate=11025)
    corpus.sound("audio/x5.wav", 0.1)
    _refused(corpus, "line 7: ", "x2.wav: 11025 Hz and 2 more: the rest has 8000 Hz, convert")


def test_a_pipe_in_place_of_a_path_is_only_a_missing_file(corpus) -> None:
    canary = corpus.root / "canary"
    corpus.rows[0] = corpus.rows[0].replace("audio/u1.wav", f"touch '{canary}'; cat audio/u1.wav |")
    _refused(corpus, "line 2", "no such audio file")
    assert not canary.exists()


def test_wrong_channels(corpus) -> None:
    corpus.sound("audio/u3.wav", 0.3, channels=2)
    _refused(corpus, "line 4", "u3.wav: 2 channels", "convert to one channel")


@pytest.mark.parametrize("name", ["audio/u2.flac", "audio/u3.wav"])
def test_other_sampling_rate(corpus, name: str) -> None:
    corpus.sound(name, 0.2, rate=16000)
    _refused(corpus, name, "16000 Hz: the rest has 8000 Hz, convert")


def _aside(corpus, utt: str, reason: str) -> None:
    facts = corpus.build()
    assert [q["utterance_id"] for q in facts["quarantined"]] == [utt]
    assert reason in facts["quarantined"][0]["reason"] and facts["quarantined"][0]["split"] == "train"
    assert facts["splits"]["train"]["utterances"] == 2
    assert utt not in [u.utterance_id for u in read_table(corpus.out / "train.tsv")]


@pytest.mark.parametrize("name", ["audio/u2.flac", "audio/u3.wav"])
@pytest.mark.parametrize(
    ("keep", "reason"),
    [(0.0, "empty (0 bytes)"), (0.5, "truncated"), (0.99, "truncated"), (None, "not readable")],
)
def test_bad_audio_is_set_aside(corpus, name: str, keep: float | None, reason: str) -> None:
    path = corpus.folder / name
    data = path.read_bytes()
    path.write_bytes(b"this is no audio at all" if keep is None else data[: int(keep * len(data))])
    _aside(corpus, Path(name).stem, reason)


@pytest.mark.parametrize("place", [0.2, 0.5, 0.8])
def test_flac_damaged_in_the_middle_is_set_aside(corpus, place: float) -> None:
    """One wrong byte somewhere: the header and the last sample are whole."""
    corpus.sound("audio/u2.flac", 3.0)
    path = corpus.folder / "audio/u2.flac"
    data = bytearray(path.read_bytes())
    data[int(place * len(data))] ^= 0x55
    path.write_bytes(data)
    _aside(corpus, "u2", "not readable (")


def test_a_recording_under_several_names_is_looked_at_once(corpus, monkeypatch) -> None:
    (corpus.folder / "audio/u3.wav").unlink()
    os.link(corpus.folder / "audio/u1.wav", corpus.folder / "audio/u3.wav")
    (corpus.folder / "audio/d1.flac").write_bytes(b"no audio")
    (corpus.folder / "audio/t1.wav").unlink()
    (corpus.folder / "audio/t1.wav").symlink_to("d1.flac")
    corpus.rows.append("t2\tdora\taudio/u2.flac\tTWO\ttest")
    corpus.rows.append("d2\tcarl\taudio/u2.flac\tTWO\tdev")
    looked = []
    watched = "unisono.data.corpus.audio_checks.inspect"
    monkeypatch.setattr(watched, lambda path, parts: looked.append(path.name) or inspect(path, parts))
    facts = corpus.build()
    assert len(looked) == 3 and len(set(looked)) == 3
    assert [q["utterance_id"] for q in facts["quarantined"]] == ["d1", "t1"]
    assert [u.duration_s for u in read_table(corpus.out / "train.tsv")] == [0.1, 0.2, 0.1]


def test_audio_without_samples_is_set_aside(corpus) -> None:
    corpus.sound("audio/u3.wav", 0.0)
    _aside(corpus, "u3", "empty (no samples)")


def test_other_audio_formats_and_folders_are_set_aside(corpus) -> None:
    corpus.sound("audio/u3.ogg", 0.3).replace(corpus.folder / "audio/u3.wav")
    _aside(corpus, "u3", "OGG is neither WAV nor FLAC")
    (corpus.folder / "audio/u3.wav").unlink()
    (corpus.folder / "audio/u3.wav").mkdir()
    _aside(corpus, "u3", "not a plain file")


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every file")
def test_forbidden_audio_is_set_aside(corpus) -> None:
    (corpus.folder / "audio/u3.wav").chmod(0)
    _aside(corpus, "u3", "permission denied")


def test_empty_transcript_is_set_aside(corpus) -> None:
    corpus.rows[2] = corpus.rows[2].replace("TWO ONE ONE", " ")
    _aside(corpus, "u3", "transcript empty")


def test_words_out_of_the_lexicon_are_listed_all_at_once(corpus) -> None:
    corpus.rows[2] = corpus.rows[2].replace("TWO ONE ONE", "SEVEN NINE ONE")
    corpus.rows[4] = corpus.rows[4].replace("TWO TWO", "TWO SIX")
    _refused(corpus, "3 words are not in the lexicon: NINE (u3), SEVEN (u3), SIX (t1)", "corpus.unknown_word")
    _refused(corpus, "corpus.unknown_word: '<unk>' is not in the lexicon", "SPN", unknown_word="<unk>")
    corpus.lexicon.write_text("ONE  W AH N\nTWO  T UW\n<unk>  SPN\n")
    corpus.build(unknown_word="<unk>")
    mapped = {u.utterance_id: u for name in ("train", "test") for u in read_table(corpus.out / f"{name}.tsv")}
    assert (mapped["u3"].lexical, mapped["u3"].transcript) == ("<unk> <unk> ONE", "SEVEN NINE ONE")
    assert (mapped["t1"].lexical, mapped["t1"].transcript) == ("TWO <unk>", "TWO SIX")


def test_the_whole_list_of_missing_words_is_a_file(corpus) -> None:
    corpus.rows[2] = corpus.rows[2].replace("TWO ONE ONE", " ".join(f"W{i:02d}" for i in range(60)))
    corpus.rows[4] = corpus.rows[4].replace("TWO TWO", "W59 TWO W59")
    listing = corpus.out / "missing_words.txt"
    line = _refused(corpus, "lexicon.txt: 60 words are not", "W49 (u3) and 10 more; all in ", str(listing))
    assert "W50" not in line
    want = "W59\t3\n" + "".join(f"W{i:02d}\t1\n" for i in range(59))
    assert listing.read_text() == want
    listing.unlink()
    lexicon = corpus.lexicon.read_text()
    corpus.lexicon.write_text(lexicon + "<unk>  SPN\n")
    assert corpus.build(unknown_word="<unk>")["unknown_words"] == {"train": 60, "dev": 0, "test": 2}
    assert listing.read_text() == want
    corpus.lexicon.write_text(lexicon + "".join(f"W{i:02d}  W\n" for i in range(60)))
    assert corpus.build()["unknown_words"] == {"train": 0, "dev": 0, "test": 0} and not listing.exists()


def test_words_that_only_look_like_those_of_the_lexicon(corpus, caplog: pytest.LogCaptureFixture) -> None:
    """An accent as a character of its own and as part of the letter."""
    corpus.rows[2] = corpus.rows[2].replace("ONE ONE", "e\u0301te\u0301 SIX")
    corpus.lexicon.write_text("ONE  W AH N\nTWO  T UW\n\u00e9t\u00e9  e t e\n<unk>  SPN\n")
    told = (
        r"1 of them are there in another Unicode form, such as 'e\u0301te\u0301' as '\xe9t\xe9': convert text and lex"
    )
    _refused(corpus, "2 words are not in the lexicon: SIX (u3), ", told)
    corpus.build(unknown_word="<unk>")
    assert any(told in r.getMessage() for r in caplog.records if r.levelname == "WARNING")
    corpus.lexicon.write_text("ONE  W AH N\nTWO  T UW\n<unk>  SPN\n")
    (corpus.out / "train.tsv").unlink()
    assert "Unicode" not in _refused(corpus, "2 words are not in the lexicon")


def test_words_in_another_case_are_said_to_be(corpus) -> None:
    corpus.lexicon.write_text("one  W AH N\ntwo  T UW\n")
    _refused(
        corpus, "2 words are not in the lexicon", "2 of them are there in lower case: write the text in lower case"
    )


def test_a_table_may_name_parts_of_recordings(corpus) -> None:
    corpus.heading += "\tbegin_s\tend_s"
    corpus.sound("audio/u3.wav", 1.0)
    parts = {"u3": "\t0.25\t0.75", "u2": "\t\t", "u1": "\t0.05\t"}
    corpus.rows = [row + parts.get(row.split("\t")[0], "\t\t") for row in corpus.rows]
    corpus.build()
    found = {u.utterance_id: u for u in read_table(corpus.out / "train.tsv")}
    assert [found[name].duration_s for name in ("u1", "u2", "u3")] == [0.05, 0.2, 0.5]
    for part, said in (("\t0.5\t0.4", "from 0.5 to 0.4 s"), ("\tx\t1", "begin_s 'x'"), ("\t-1\t", "from -1 to")):
        corpus.table.unlink()
        (corpus.out / "train.tsv").unlink(missing_ok=True)
        corpus.rows[2] = corpus.rows[2].rsplit("\t", 2)[0] + part
        _refused(corpus, said, "utterances.tsv: line 4")


def test_lm_text_is_checked_against_the_lexicon(corpus) -> None:
    text = corpus.folder / "text.txt"
    text.write_text("ONE ONE\n\nTWO THREE\n")
    _refused(corpus, "lexicon.txt: 1 word is not in the lexicon: THREE (text.txt: line 3)", lm_text="text.txt")
    corpus.table.write_text(corpus.table.read_text().replace("TWO TWO", "SIX"))
    _refused(corpus, "2 words are not in the lexicon: SIX (t1), THREE (text.txt: line 3)", lm_text="text.txt")
    corpus.table.unlink()
    text.write_text("\n")
    _refused(corpus, "text.txt: no sentences", lm_text="text.txt")
    _refused(corpus, "absent.txt: no such file", lm_text="absent.txt")
    text.write_text("ONE ONE\n\nTWO\tONE\n")
    corpus.build(lm_text="text.txt")
    assert (corpus.out / "lm_text.txt").read_text() == "ONE ONE\nTWO ONE\n"


def test_lexicon_without_phones_or_with_a_strange_phone(corpus) -> None:
    corpus.lexicon.write_text("ONE  W AH N\nTWO\n")
    _refused(corpus, "lexicon.txt: line 2: word 'TWO' has no phones")
    corpus.lexicon.write_text("ONE  W AH N\nTWO  T OO\n")
    (corpus.folder / "phones.txt").write_text("W\nAH\nN\nT\nUW\n")
    _refused(corpus, "lexicon.txt: line 2: word 'TWO': phone 'OO' is not in the phone set", phones="phones.txt")
    corpus.lexicon.write_text("\n")
    _refused(corpus, "lexicon.txt: no words")


def test_lexicon_merges_doubled_lines_and_keeps_variants(tmp_path: Path) -> None:
    path = tmp_path / "lexicon.txt"
    path.write_text("B\tb1 b2\nA  a1\nB b3\nB b1  b2\n\n")
    assert read_lexicon(path) == {"A": [("a1",)], "B": [("b1", "b2"), ("b3",)]}


def test_numbered_words_are_variants(tmp_path: Path) -> None:
    """As in the CMU dictionary, whatever their order; a number that belongs to the word stays."""
    path = tmp_path / "lexicon.txt"
    path.write_text("TWO(2)  T AX\nTWO  T UW\nTWO(3)  T UW\nF(2)  EH F\n")
    assert read_lexicon(path) == {"F(2)": [("EH", "F")], "TWO": [("T", "AX"), ("T", "UW")]}


def test_a_lexicon_with_weights_is_refused(corpus) -> None:
    corpus.lexicon.write_text("ONE 0.5 W AH N\nTWO 1 T UW\nTWO 1e-05 T AX\n")
    _refused(corpus, "lexicon.txt: a number follows each word (ONE 0.5 W ...)", "lexiconp.txt", "take that column out")
    for sound in ("ONE 0.5 W AH N\nTWO T UW\n", "ONE 1 2 3\nTWO 4 5 6\n", "ONE 0.5\nTWO 0.7\n"):
        corpus.lexicon.write_text(sound)
        corpus.build()


@pytest.mark.parametrize("word", ["<eps>", "#0", "<s>", "</s>"])
def test_reserved_words(corpus, word: str) -> None:
    corpus.lexicon.write_text(f"ONE  W AH N\nTWO  T UW\n{word}  T\n")
    _refused(corpus, "lexicon.txt: line 3", "reserved")


@pytest.mark.parametrize("word", ["A\x07B", "\u202eONE", "ONE\u200b", "O\u00adNE", "\u200fONE", "\U000e0041"])
def test_words_with_invisible_characters(corpus, word: str) -> None:
    """Controls, changes of the text's direction, a blank of no width, a soft hyphen, a tag."""
    corpus.rows[2] = corpus.rows[2].replace("ONE ONE", f"ONE {word}")
    _refused(corpus, "utterances.tsv: line 4: word", "take out U+", "which cannot be seen")


def test_bom_and_crlf_are_read_and_said(corpus, caplog: pytest.LogCaptureFixture) -> None:
    corpus.build()
    plain = (corpus.out / "train.tsv").read_bytes()
    caplog.set_level("INFO")
    text = "\n".join([corpus.heading, *corpus.rows]) + "\n"
    corpus.table.write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    corpus.lexicon.write_bytes(b"\xef\xbb\xbfONE  W AH N\r\nTWO  T UW\r\n")
    corpus.build()
    assert (corpus.out / "train.tsv").read_bytes() == plain
    for name in ("utterances.tsv", "lexicon.txt"):
        assert any(name in m and "byte order mark" in m for m in caplog.messages)
        assert any(name in m and "CRLF" in m for m in caplog.messages)


def test_other_blanks_separate_words_too(corpus) -> None:
    """A no-break space from a word processor, an ideographic one, doubled ones."""
    corpus.rows[2] = corpus.rows[2].replace("TWO ONE ONE", " TWO\u00a0ONE \u3000 ONE ")
    corpus.build()
    assert read_table(corpus.out / "train.tsv")[2].transcript == "TWO ONE ONE"


@pytest.mark.parametrize("name", ["-rf.wav", "naïve ☃ $(x).wav", "a;b'c.flac"])
def test_awkward_file_names(corpus, name: str) -> None:
    corpus.sound(f"audio/{name}", 0.3)
    corpus.rows[2] = corpus.rows[2].replace("u3.wav", name)
    corpus.build()
    path = read_table(corpus.out / "train.tsv")[2].path
    assert Path(path).name == name and len(read_audio(path)[0]) == 2400


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW"])
def test_sample_formats_of_wav(corpus, subtype: str) -> None:
    wave = np.sin(np.arange(2400) * 0.1) * 0.5
    path = corpus.folder / "audio/u3.wav"
    soundfile.write(path, wave, 8000, subtype=subtype)
    assert corpus.build()["quarantined"] == [] and inspect(path) == (8000, 1, 2400)
    coarse = subtype in ("PCM_U8", "ULAW", "ALAW")
    np.testing.assert_allclose(read_audio(path)[0], wave * 32768, atol=600 if coarse else 0.01)
    path.write_bytes(path.read_bytes()[:1000])
    assert "truncated" in corpus.build()["quarantined"][0]["reason"]


@pytest.mark.parametrize("subtype", ["FLOAT", "DOUBLE"])
@pytest.mark.parametrize("form", ["WAV", "WAVEX", "RF64"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, -1e20])
def test_samples_that_are_no_numbers_are_set_aside(corpus, subtype: str, form: str, value: float) -> None:
    """The headers are sound, and so are all samples but one of the second block that is decoded."""
    wave = np.zeros(20_000)
    wave[17_000] = value
    soundfile.write(corpus.folder / "audio/u3.wav", wave, 8000, subtype=subtype, format=form)
    _aside(corpus, "u3", "not readable (samples are NaN, infinite or enormous after 2.0 s)")
    wave[17_000] = 1.5
    soundfile.write(corpus.folder / "audio/u3.wav", wave, 8000, subtype=subtype, format=form)
    corpus.out.joinpath("train.tsv").unlink()
    assert corpus.build()["quarantined"] == []


def test_headers_of_whole_numbers_are_enough(corpus, monkeypatch) -> None:
    """A hundred thousand recordings are checked in a minute, as only those in floating point are decoded."""
    path = corpus.folder / "audio/u3.wav"
    for form in ("WAV", "WAVEX"):
        for subtype in ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "ULAW", "ALAW"):
            soundfile.write(path, np.zeros(2400), 8000, subtype=subtype, format=form)
            with monkeypatch.context() as closed:
                closed.setattr(soundfile, "SoundFile", lambda *_: pytest.fail("a recording was decoded"))
                assert inspect(path) == (8000, 1, 2400)


def test_classes_of_speakers(corpus) -> None:
    corpus.heading += "\tspeaker_class"
    corpus.rows = [f"{row}\t{'' if 'bob' in row else 'child'}" for row in corpus.rows]
    assert corpus.build()["speaker_classes"] == {"anna": "child", "carl": "child", "dora": "child"}
    corpus.table.unlink()
    (corpus.out / "train.tsv").unlink()
    corpus.rows[1] = corpus.rows[1].replace("child", "adult")
    _refused(corpus, "line 3: speaker 'anna' has class 'adult' here and 'child' before")


def test_not_utf8(corpus) -> None:
    corpus.rows[2] = corpus.rows[2].replace("TWO", "FÜNF")
    corpus.table.write_bytes("\n".join([corpus.heading, *corpus.rows]).encode("latin-1"))
    _refused(corpus, "utterances.tsv: line 4: not UTF-8", "iconv")


def test_other_scripts_are_fine(corpus) -> None:
    corpus.rows = [row.replace("ONE", "één").replace("TWO", "二") for row in corpus.rows]
    corpus.lexicon.write_text("één  e: n\n二  er4\n")
    corpus.build()
    assert read_table(corpus.out / "train.tsv")[2].words == ["二", "één", "één"]


@pytest.mark.parametrize("word", ["می\u200cخواهم", "क\u094d\u200dष", "ᠬᠠᠷ\u180eᠠ", "\U0001e5d0"])
def test_joiners_are_part_of_a_word(corpus, word: str) -> None:
    """Persian, Hindi and Mongolian as they are written, and a letter that Python's tables may not know yet."""
    corpus.rows = [row.replace("ONE", word) for row in corpus.rows]
    corpus.lexicon.write_text(f"{word}  e: n\nTWO  T UW\n")
    corpus.build()
    assert read_table(corpus.out / "train.tsv")[2].words == ["TWO", word, word]


def test_missing_files(corpus) -> None:
    _refused(corpus, "other.tsv: no such file", table="other.tsv")
    _refused(corpus, "other.txt: no such file", lexicon="other.txt")


def test_a_damaged_table_of_ours_is_named(corpus) -> None:
    corpus.build()
    path = corpus.out / "train.tsv"
    good = path.read_text()
    for old, new, message in [
        ("u2\t", "u0\t", "line 3: not sorted"),
        ("\t0.3000\t", "\tlong\t", "line 4: shard, duration_s or speed"),
        ("utterance_id", "id", "line 1: column 'utterance_id' is missing"),
    ]:
        path.write_text(good.replace(old, new))
        with pytest.raises(UserError, match=message):
            read_table(path)


def test_wav_headers_by_hand(corpus) -> None:
    path = corpus.folder / "audio/u1.wav"
    data = path.read_bytes()
    assert inspect(path) == (8000, 1, 800)
    at = data.index(b"data") + 4
    path.write_bytes(data[:at] + struct.pack("<I", 0xFFFFFFFF) + data[at + 4 :])  # a streamed WAV of unknown length
    assert inspect(path) == (8000, 1, 800)
    extra = b"LIST" + struct.pack("<I", 3) + b"abc\0"  # a chunk of odd length is padded
    path.write_bytes(data[:12] + extra + data[12:])
    assert inspect(path) == (8000, 1, 800)
    path.write_bytes(data[:at])
    with pytest.raises(UnusableAudio, match="truncated"):
        inspect(path)
    samples, rate = read_audio(corpus.folder / "audio/u3.wav")
    assert rate == 8000 and samples.dtype == "float32" and abs(samples).max() == 1000


def test_read_audio_names_the_file(corpus) -> None:
    path = corpus.folder / "audio/u2.flac"
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(UserError, match="u2.flac"):
        read_audio(path)
    with pytest.raises(UserError, match="absent.wav"):
        read_audio(corpus.folder / "absent.wav")
    with pytest.raises(UserError, match="2 channels"):
        read_audio(corpus.sound("audio/two.wav", 0.1, channels=2))


def test_comments_of_the_cmu_dictionary(tmp_path) -> None:
    path = tmp_path / "cmudict.dict"
    path.write_text("aalborg AO1 L B AO0 R G # place, danish\naalborg(2) AA1 L\n")
    assert read_lexicon(path) == {"aalborg": [("AA1", "L"), ("AO1", "L", "B", "AO0", "R", "G")]}
