"""A folder of recordings becomes a table and a config: layouts, case, splits, and what does not fit."""

import collections
import os
from pathlib import Path

import numpy as np
import pytest
import soundfile
import yaml

from unisono.command import main
from unisono.config.build import compact, identity
from unisono.config.check import read_config
from unisono.config.corpus import Table
from unisono.data.corpus.folder.find import find
from unisono.data.corpus.folder.fit import fit
from unisono.data.corpus.folder.make import Wishes, make
from unisono.data.corpus.folder.settings import sizes
from unisono.data.corpus.folder.split import split_speakers, split_utterances
from unisono.data.corpus.folder.textgrid import read_textgrid
from unisono.data.corpus.sources import SourceRow, read_source_table
from unisono.data.corpus.table import read_table
from unisono.errors import UserError

LEXICON = "ONE  W AH N\nTWO  T UW\nDON'T  D OW N T\n"
GRID = """File type = "ooTextFile"
Object class = "TextGrid"

xmin = 0
xmax = 2
tiers? <exists>
size = {size}
item []:
"""
TIER = """    item [{number}]:
        class = "IntervalTier"
        name = "{name}"
        xmin = 0
        xmax = 2
        intervals: size = {size}
"""
INTERVAL = """        intervals [{number}]:
            xmin = {begin}
            xmax = {end}
            text = "{text}"
"""


def sound(path, seconds=0.3, rate=8000, channels=1):
    path.parent.mkdir(parents=True, exist_ok=True)
    wave = np.rint(1000 * np.sin(np.arange(int(seconds * rate)) * 0.3)).astype(np.int16)
    soundfile.write(path, np.stack([wave] * channels, axis=1), rate)


def textgrid(path, tiers):
    """Write {tier: [(begin, end, text), ...]} in Praat's long form."""
    parts = [GRID.format(size=len(tiers))]
    for number, (name, rows) in enumerate(tiers.items(), start=1):
        parts.append(TIER.format(number=number, name=name, size=len(rows)))
        parts += [INTERVAL.format(number=n, begin=b, end=e, text=t) for n, (b, e, t) in enumerate(rows, start=1)]
    path.write_text("".join(parts))


@pytest.fixture
def spoken(tmp_path):
    """Recordings of six speakers, texts in lower case with a full stop, and a lexicon in upper case."""
    for speaker in ("anna", "bob", "carl", "dora", "ed", "fay"):
        for number, text in enumerate(("One two.", "two, don't!")):
            sound(tmp_path / "in" / speaker / f"{speaker} {number}.wav")
            (tmp_path / "in" / speaker / f"{speaker} {number}.txt").write_text(text + "\n")
    (tmp_path / "lexicon.txt").write_text(LEXICON)
    return tmp_path


def wishes(folder, **changes):
    return Wishes(**{"name": "mine", "lexicon": folder / "lexicon.txt", "out_dir": folder, **changes})


def test_table_and_config(spoken):
    made = make(spoken / "in", wishes(spoken))
    rows = read_source_table(made.table)
    assert len(rows) == 12 and made.faults == []
    assert {row.transcript for row in rows} == {"ONE TWO", "TWO DON'T"}
    assert rows[0].utterance_id == "anna_0" and rows[0].path == Path(os.path.abspath(spoken / "in/anna/anna 0.wav"))
    splits = {(row.speaker_id, row.split) for row in rows}
    assert len(splits) == 6 and collections.Counter(s for _, s in splits) == {"train": 4, "dev": 1, "test": 1}
    assert {s: f["words"] for s, f in made.splits.items()} == {"train": 16, "dev": 4, "test": 4}
    assert any("upper case" in note for note in made.notes) and any("punctuation" in note for note in made.notes)
    shared, runs, notes = read_config(yaml.safe_load(made.config.read_text()))
    assert notes == [] and list(runs) == ["main"]
    assert isinstance(shared.corpus, Table)
    assert os.path.join(shared.corpora_dir, shared.corpus.dir, shared.corpus.table) == str(made.table)


def test_the_pipeline_reads_it(spoken):
    assert (
        main(["corpus", "folder", str(spoken / "in"), "--lexicon", str(spoken / "lexicon.txt"), "--out", str(spoken)])
        == 0
    )
    shared = read_config(yaml.safe_load((spoken / "mine.yaml").read_text())).shared
    arguments = ["--options", compact(identity(shared.corpus)), "--corpora-dir", shared.corpora_dir]
    assert main(["corpus", *arguments, "--out-dir", str(spoken / "out")]) == 0
    assert [u.transcript for u in read_table(spoken / "out" / "test.tsv")] == ["ONE TWO", "TWO DON'T"]


def test_nothing_is_overwritten(spoken):
    make(spoken / "in", wishes(spoken))
    with pytest.raises(UserError, match="mine.yaml: is there already: choose another --name"):
        make(spoken / "in", wishes(spoken))


def test_table_and_lists_do_not_go_among_the_recordings(spoken, monkeypatch):
    monkeypatch.chdir(spoken)
    (spoken / "in").rename(spoken / "mine")
    with pytest.raises(UserError, match="--name mine: mine has this name: choose another --name"):
        make(Path("mine"), wishes(spoken, out_dir=Path(".")))
    assert not list((spoken / "mine").glob("*.t*"))


def test_what_does_not_fit_is_listed_at_once(spoken):
    folder = spoken / "in"
    sound(folder / "anna/stereo.wav", channels=2)
    sound(folder / "anna/fast.wav", rate=16000)
    sound(folder / "anna/silent.wav")
    sound(folder / "bob/untold.flac")
    (folder / "bob/empty.wav").write_bytes(b"")
    (folder / "bob/alone.lab").write_text("ONE")
    (folder / "carl/carl 0.txt").write_bytes(b"\xff\xfe\xfa")
    (folder / "dora/dora 0.txt").write_text("one <s>")
    for name in ("anna/stereo", "anna/fast", "bob/empty"):
        (folder / f"{name}.txt").write_text("one")
    (folder / "anna/silent.txt").write_text("\n")
    made = make(folder, wishes(spoken))
    for words in (
        "stereo.wav: 2 channels: convert it to one", "fast.wav: 16000 Hz, most have 8000", "untold.flac: no text",
        "empty.wav: empty (0 bytes)", "alone.lab: no recording of this name", "carl 0.txt: line 1: not UTF-8",
        "silent.wav: transcript empty", "dora 0.txt: word '<s>'",
    ):  # fmt: skip
        assert sum(words in fault for fault in made.faults) == 1, (words, made.faults)
    assert len(made.faults) == 8 and len(read_source_table(made.table)) == 10
    assert (made.table.parent / "left_out.txt").read_text().splitlines() == made.faults


def test_a_folder_too_high(spoken, capsys):
    """Hidden folders are passed by, reasons are counted, and where most does not fit nothing is written."""
    folder = spoken / "in"
    for number in range(3):
        sound(folder / f".venv/scipy/{number}.wav")
        (folder / f".venv/scipy/{number}.txt").write_text("one")
        sound(folder / f"anna/fast {number}.wav", rate=16000)
        (folder / f"anna/fast {number}.txt").write_text("one")
    line = ["corpus", "folder", str(folder), "--lexicon", str(spoken / "lexicon.txt"), "--out", str(spoken)]
    assert main(line) == 0
    out = capsys.readouterr().out
    assert "left out: 3 × 16000 Hz, most have 8000, as " in out and out.count("left out: ") == 1 and ".venv" not in out
    for number in range(12):
        sound(folder / f"bob/stereo {number}.wav", channels=2)
        (folder / f"bob/stereo {number}.txt").write_text("one")
    assert main([*line, "--name", "other"]) == 2
    error = capsys.readouterr().err
    assert "15 of 27 recordings do not fit: 12 × 2 channels, 3 × 16000 Hz, most have 8000; all in " in error
    assert error.count("\n") == 1 and not (spoken / "other.yaml").exists()
    assert main([*line, "--name", "other", "--leave-out"]) == 0


def test_words_that_the_text_never_has(spoken, capsys):
    (spoken / "lexicon.txt").write_text(LEXICON + "".join(f"W{n}  W AH N\n" for n in range(6)))
    for number, speaker in enumerate(("anna", "bob", "carl", "dora", "ed", "fay")):
        (spoken / f"in/{speaker}/{speaker} 0.txt").write_text(f"one w{number}")
    made = make(spoken / "in", wishes(spoken))
    assert made.unseen == {"dev": 0.25, "test": 0.25}, "one of four"
    (spoken / "text.txt").write_text("one two\n" + " ".join(f"w{n}" for n in range(6)))
    made = make(spoken / "in", wishes(spoken, name="more", lm_text=spoken / "text.txt"))
    assert made.unseen == {"dev": 0.25, "test": 0.25}, "DON'T"
    line = ["corpus", "folder", str(spoken / "in"), "--lexicon", str(spoken / "lexicon.txt"), "--out", str(spoken)]
    assert main([*line, "--name", "third"]) == 0
    said = (
        "warning: 25.0 % of the words of dev and 25.0 % of the words of test never occur in the language model's text"
    )
    assert f"{said}: give more text by --lm-text FILE\n" in capsys.readouterr().out


def test_missing_words(spoken, capsys):
    (spoken / "in/bob/bob 0.txt").write_text("one three three")
    line = ["corpus", "folder", str(spoken / "in"), "--lexicon", str(spoken / "lexicon.txt"), "--out", str(spoken)]
    assert main(line) == 2
    error = capsys.readouterr().err
    assert "1 word of 1 utterance not in the lexicon: THREE; all in" in error and error.count("\n") == 1
    assert (spoken / "mine/missing_words.txt").read_text() == "THREE\t2\n" and not (spoken / "mine.yaml").exists()
    assert main([*line, "--leave-out"]) == 0
    assert "left out" in capsys.readouterr().out and len(read_source_table(spoken / "mine/utterances.tsv")) == 11
    (spoken / "lexicon.txt").write_text(LEXICON + "<unk>  SPN\n")
    made = make(spoken / "in", wishes(spoken, name="other"))
    assert yaml.safe_load(made.config.read_text())["corpus"]["unknown_word"] == "<unk>"


def test_text_of_the_language_model_is_fitted_too(spoken):
    (spoken / "text.txt").write_text("One, two.\nthree\n\ntwo\n")
    made = make(spoken / "in", wishes(spoken, lm_text=spoken / "text.txt"))
    assert (spoken / "mine/lm_text.txt").read_text() == "ONE TWO\nTWO\n"
    assert any("1 sentence with other words" in note for note in made.notes)
    assert yaml.safe_load(made.config.read_text())["corpus"]["lm_text"] == "lm_text.txt"
    (spoken / "text.txt").write_text("three\n")
    with pytest.raises(UserError, match="no sentence whose words are all in the lexicon"):
        make(spoken / "in", wishes(spoken, name="other", lm_text=spoken / "text.txt"))


def test_speakers_by_name(tmp_path):
    for name in ("anna1", "anna2", "bert1"):
        sound(tmp_path / f"{name}.wav")
        (tmp_path / f"{name}.txt").write_text("ONE")
    with pytest.raises(UserError, match="anna1.wav: nothing says who speaks: .*--speaker-characters"):
        find(tmp_path)
    assert [row.speaker_id for row in find(tmp_path, 4).rows] == ["anna", "anna", "bert"]


def test_no_folder_and_no_recordings(tmp_path):
    with pytest.raises(UserError, match="nowhere: no such folder"):
        find(tmp_path / "nowhere")
    with pytest.raises(UserError, match="no recordings"):
        find(tmp_path)


def test_librispeech_and_folders_that_are_splits(tmp_path):
    for subset, speaker in (
        ("train-clean-100", "19"),
        ("dev-clean", "20"),
        ("test-clean", "21"),
        ("train-other", "22"),
    ):
        chapter = tmp_path / subset / speaker / "198"
        for number in (0, 1):
            sound(chapter / f"{speaker}-198-000{number}.flac")
        lines = [f"{speaker}-198-000{number} ONE TWO\n" for number in (0, 1)]
        (chapter / f"{speaker}-198.trans.txt").write_text("".join(lines))
    found = find(tmp_path)
    assert found.faults == []
    assert {(row.split, row.speaker_id, row.transcript) for row in found.rows} == {
        ("train", "19", "ONE TWO"), ("dev", "20", "ONE TWO"), ("test", "21", "ONE TWO"), ("train", "22", "ONE TWO")
    }  # fmt: skip
    assert {row.utterance_id for row in find(tmp_path / "dev-clean").rows} == {"20-198-0000", "20-198-0001"}
    (tmp_path / "lexicon.txt").write_text(LEXICON)
    made = make(tmp_path, wishes(tmp_path, out_dir=tmp_path / "out"))
    assert {s: f["utterances"] for s, f in made.splits.items()} == {"train": 4, "dev": 2, "test": 2}
    assert "shared_speakers" not in yaml.safe_load(made.config.read_text())["corpus"]


def test_textgrids_of_before_the_alignment_are_cut(tmp_path):
    sound(tmp_path / "in/talk.wav", seconds=2)
    textgrid(
        tmp_path / "in/talk.TextGrid",
        {"anna": [(0, 0.5, "one"), (0.5, 0.9, ""), (0.9, 1.5, "two")], "bob b": [(1.5, 2, "one two")]},
    )
    for speaker in ("carl", "dora"):
        sound(tmp_path / f"in/{speaker}.wav")
        textgrid(tmp_path / f"in/{speaker}.TextGrid", {speaker: [(0, 0.3, "two")]})
    (tmp_path / "lexicon.txt").write_text(LEXICON)
    made = make(tmp_path / "in", wishes(tmp_path))
    rows = {row.utterance_id: row for row in read_source_table(made.table)}
    assert made.faults == [] and set(rows) == {"talk-0001", "talk-0002", "talk-0003", "carl", "dora"}
    assert rows["talk-0002"].segment == (0.9, 1.5) and rows["talk-0003"].speaker_id == "bob_b"
    assert sum(facts["seconds"] for facts in made.splits.values()) == pytest.approx(0.5 + 0.6 + 0.5 + 0.6)


def test_textgrids_of_after_the_alignment_are_one_utterance(tmp_path):
    words = [(0, 0.5, "one"), (0.5, 1, ""), (1, 2, "two")]
    textgrid(tmp_path / "a.TextGrid", {"anna - words": words, "anna - phones": [(0, 2, "T")]})
    assert read_textgrid(tmp_path / "a.TextGrid") == [("anna", "one two", None)]
    textgrid(tmp_path / "b.TextGrid", {"words": words, "phones": [(0, 2, "T")]})
    assert read_textgrid(tmp_path / "b.TextGrid") == [("", "one two", None)]
    textgrid(tmp_path / "c.TextGrid", {"a - words": words, "b - words": words})
    with pytest.raises(UserError, match="c.TextGrid: the words of 2 speakers"):
        read_textgrid(tmp_path / "c.TextGrid")
    (tmp_path / "d.TextGrid").write_text("nonsense")
    with pytest.raises(UserError, match="d.TextGrid: not readable as a TextGrid"):
        read_textgrid(tmp_path / "d.TextGrid")


def test_ids_are_unique_and_allowed(tmp_path):
    for name in ("anna/1 a", "anna/1_a", "bob/x", "carl/x"):
        sound(tmp_path / f"{name}.wav")
        (tmp_path / f"{name}.txt").write_text("ONE")
    assert [row.utterance_id for row in find(tmp_path).rows] == ["1_a", "1_a-2", "bob-x", "carl-x"]


@pytest.mark.parametrize(
    ("text", "lexicon", "expected"),
    [
        ("Hello, WORLD!", ["hello", "world"], "hello world"),
        ("hello - world", ["HELLO", "WORLD"], "HELLO WORLD"),
        ("Dr. 'tis dogs'", ["dr.", "'tis", "dogs'"], "dr. 'tis dogs'"),
        ("(Straße) ,", ["Straße"], "Straße"),
        ("one other", ["one"], "one other"),
    ],
)
def test_fit(text, lexicon, expected):
    row = SourceRow("u", "s", "", Path("u.wav"), text, "u.txt")
    fitted = fit([row], lexicon)
    assert fitted.rows[0].transcript == expected
    assert list(fitted.missing) == [word for word in expected.split() if word not in lexicon]


@pytest.mark.parametrize("seconds", [[60] * 3, [60] * 4, [5, 5, 90], [60] * 15, list(range(1, 200)), [1000, *[1] * 20]])
def test_splits_are_whole_speakers_of_a_tenth(seconds):
    speech = {f"s{number:03d}": float(value) for number, value in enumerate(seconds)}
    splits = split_speakers(speech, 1)
    size = {s: sum(speech[name] for name in splits if splits[name] == s) for s in ("train", "dev", "test")}
    assert set(splits) == set(speech) and min(size.values()) > 0
    assert splits == split_speakers(dict(reversed(speech.items())), 1), "the order of the speakers does not count"
    assert size["train"] > max(size["dev"], size["test"]) or len(seconds) < 4
    if len(seconds) > 100:
        assert size["test"] + size["dev"] < 0.4 * sum(seconds) and size["test"] > 0.09 * sum(seconds)
    assert len(seconds) < 15 or split_speakers(speech, 2) != splits
    assert seconds[-1] != 90 or splits["s002"] == "train", "who speaks most is learnt from"


def test_few_speakers_share_the_splits(tmp_path):
    for number in range(10):
        sound(tmp_path / f"in/anna/{number}.wav")
        (tmp_path / f"in/anna/{number}.txt").write_text("ONE")
    (tmp_path / "lexicon.txt").write_text(LEXICON)
    made = make(tmp_path / "in", wishes(tmp_path))
    assert {s: f["utterances"] for s, f in made.splits.items()} == {"train": 8, "dev": 1, "test": 1}
    assert yaml.safe_load(made.config.read_text())["corpus"]["shared_speakers"] is True
    assert any("1 speaker: the splits share" in note for note in made.notes)
    assert not any("above" in note for note in made.notes), "all of one speaker's recordings in one folder"
    for number in range(5):
        sound(tmp_path / f"high/in/bob/{number}.wav")
        (tmp_path / f"high/in/bob/{number}.txt").write_text("ONE")
    (tmp_path / "in").rename(tmp_path / "high/in/anna_0")
    (tmp_path / "high/in/anna_0/anna").rename(tmp_path / "high/in/anna")
    made = make(tmp_path / "high", wishes(tmp_path, name="high2"))
    assert any(f"above that of the speakers? then give {tmp_path / 'high/in'}" in note for note in made.notes)
    with pytest.raises(ValueError, match="2 utterances"):
        split_utterances(["a", "b"], 1)
    with pytest.raises(ValueError, match="2 speakers"):
        split_speakers({"a": 1.0, "b": 1.0}, 1)


def test_sizes_grow_with_the_speech():
    small, middle, large = sizes(0.1), sizes(3), sizes(300)
    assert small.gaussians < middle.gaussians < large.gaussians and small.leaves < middle.leaves < large.leaves
    assert len(small.hidden) < len(middle.hidden) < len(large.hidden)
    assert [sizes(hours).epochs for hours in (0.005, 0.1, 0.2, 0.4, 3, 300)] == [40, 5, 5, 3, 4, 4]
    assert middle.gaussians == pytest.approx(11_000, rel=0.1), "as config/speechocean762.yaml"
    for hours in (0.0, 0.01, 0.4, 3, 1000):
        found = sizes(hours)
        assert found.leaves <= found.gaussians and found.period_frames >= found.minibatch


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["folder"], "give the folder of the recordings and the lexicon"),
        (["folder", "x"], "give the folder of the recordings and the lexicon"),
        (["folder", "x", "--lexicon", "l", "--speaker-characters", "0"], "--speaker-characters: 0"),
        (["folder", "x", "--lexicon", "l", "--name", "../x"], "--name: name '../x'"),
        (["folder", ".", "--lexicon", "l"], "--lexicon: l: no such file: check --lexicon"),
        (["fsdd", "x"], "did you mean --from x?"),
    ],
)
def test_mistakes_are_one_line(capsys, monkeypatch, tmp_path, arguments, said):
    monkeypatch.chdir(tmp_path)
    assert main(["corpus", *arguments]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1 and os.listdir(tmp_path) == []
