"""The layout of LibriSpeech: a generated miniature tree, and what is wrong with a spoilt one."""

from pathlib import Path
from typing import Any

import pytest

from unisono.data.corpus.table import read_table
from unisono.errors import UserError

CHAPTERS = {"train-a/11/100": 2, "train-a/11/101": 1, "train-b/22/200": 1, "dev/33/300": 1, "test/44/400": 2}


@pytest.fixture
def libri(corpus) -> Any:
    for chapter, count in CHAPTERS.items():
        subset, speaker, number = chapter.split("/")
        prefix = f"{speaker}-{number}"
        (corpus.folder / chapter).mkdir(parents=True)
        lines = []
        for i in range(count):
            corpus.sound(f"{chapter}/{prefix}-{i:04d}.flac", 0.2 + 0.1 * i)
            lines.append(f"{prefix}-{i:04d} ONE TWO\n")
        (corpus.folder / chapter / f"{prefix}.trans.txt").write_text("".join(lines))
    (corpus.folder / "SPEAKERS.TXT").write_text("; ID | SEX | SUBSET\n11  | F | train-a | 1 | A B\n44 | M | test | 1\n")
    (corpus.folder / "README.TXT").write_text("LibriSpeech")
    return corpus


def _refused(corpus: Any, message: str, **changes: Any) -> None:
    with pytest.raises(UserError) as caught:
        corpus.build(kind="librispeech", **changes)
    assert message in str(caught.value) and "\n" not in str(caught.value), caught.value


def test_a_miniature(libri) -> None:
    facts = libri.build(kind="librispeech")
    assert {s: (n["utterances"], n["speakers"]) for s, n in facts["splits"].items()} == {
        "train": (4, 2),
        "dev": (1, 1),
        "test": (2, 1),
    }
    assert facts["speaker_classes"] == {"11": "f", "44": "m"} and facts["quarantined"] == []
    train = read_table(libri.out / "train.tsv")
    assert [u.utterance_id for u in train] == ["11-100-0000", "11-100-0001", "11-101-0000", "22-200-0000"]
    assert train[1].path == str(libri.folder / "train-a/11/100/11-100-0001.flac") and train[1].duration_s == 0.3
    assert (train[0].speaker_id, train[0].transcript) == ("11", "ONE TWO")


def test_missing_parts_are_named(libri) -> None:
    chapter: Path = libri.folder / "train-a/11/100"
    text = chapter / "11-100.trans.txt"
    good = text.read_text()
    text.write_text(good.splitlines()[0] + "\n")
    _refused(libri, "11-100.trans.txt: no line for the recording 11-100-0001.flac")
    text.write_text(good + "11-100-0007 ONE\n")
    _refused(libri, "11-100.trans.txt: line 3: ")
    text.write_text(good + "12-100-0000 ONE\n")
    _refused(libri, "line 3: utterance '12-100-0000' does not begin with 11-100-")
    text.unlink()
    _refused(libri, "11-100.trans.txt: no such file")


def test_missing_subsets_are_named(libri) -> None:
    (libri.folder / "dev/33").rename(libri.folder / "elsewhere")
    _refused(libri, "dev: no chapters in it")
    (libri.folder / "dev").rmdir()
    _refused(libri, "dev: no such folder: check corpora_dir, corpus.dir and corpus.librispeech.dev")


def test_a_recording_that_is_damaged_or_untold(libri) -> None:
    path = libri.folder / "test/44/400/44-400-0001.flac"
    path.write_bytes(path.read_bytes()[:200])
    (libri.folder / "train-b/22/200/22-200.trans.txt").write_text("22-200-0000\n")
    reasons = {q["utterance_id"]: q["reason"] for q in libri.build(kind="librispeech")["quarantined"]}
    assert reasons["22-200-0000"] == "transcript empty" and set(reasons) == {"22-200-0000", "44-400-0001"}
