"""Ids, paths and tables of strangers: nothing of them is run, and nothing is written outside the given folder."""

import dataclasses
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unisono.data.corpus.lexicon import read_lexicon
from unisono.data.corpus.table import Utterance, write_table
from unisono.data.corpus.text import check_id, read_lines, read_rows, words_of
from unisono.errors import UserError

HOSTILE_IDS = [
    "../x",
    "/etc/passwd",
    "..",
    ".hidden",
    "-rf",
    "a b",
    "a/b",
    "$(rm)",
    "`id`",
    "a;b",
    "a\nb",
    "",
    "é",
    "a\0",
]


@pytest.mark.parametrize("name", HOSTILE_IDS)
def test_hostile_ids_are_refused(name: str) -> None:
    with pytest.raises(UserError) as caught:
        check_id(name, "utterance id", "table.tsv: line 2")
    assert str(caught.value).startswith("table.tsv: line 2: utterance id") and "\n" not in str(caught.value)
    assert "rename it" in str(caught.value)


@pytest.mark.parametrize("name", ["a", "so0001_000010011", "A.b-c_d", "0", "_x"])
def test_usual_ids_are_fine(name: str) -> None:
    assert check_id(name, "utterance id", "t") == name


@pytest.mark.parametrize("path", ["/a\tb.wav", "/a\nb.wav", "/a\rb.wav"])
def test_paths_that_would_break_the_table_are_refused(tmp_path: Path, path: str) -> None:
    row = Utterance("a", "s", path, 1.0, "A", "A", 0)
    with pytest.raises(UserError, match="may hold no tab or line end"):
        write_table(tmp_path / "t.tsv", [row])
    assert not list(tmp_path.iterdir())
    write_table(tmp_path / "t.tsv", [dataclasses.replace(row, path='/it\'s "x" $(y)/ü.wav')])


@pytest.mark.fuzz
@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused_in_one_line(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.mktemp("fuzz") / "f"
    path.write_bytes(data)
    for read in (read_lines, read_lexicon, lambda p: read_rows(p, ("a", "b"))):
        try:
            read(path)
        except UserError as error:
            assert "\n" not in str(error) and str(path) in str(error)


@pytest.mark.fuzz
@given(st.text(max_size=60))
def test_words_can_be_seen_or_are_refused_in_one_line(text: str) -> None:
    try:
        words = words_of(text, "here")
    except UserError as error:
        assert "\n" not in str(error) and "\r" not in str(error)
    else:
        seen = "".join(words).translate(dict.fromkeys(map(ord, "\u200c\u200d\u180e")))
        assert all(word.strip("\u200c\u200d\u180e") for word in words)
        assert not any(unicodedata.category(c) in ("Cc", "Cf", "Cs") or c.isspace() for c in seen)
