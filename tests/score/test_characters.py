"""Character errors on Chinese and accented text, against a count written down by hand and a literal edit distance."""

import json
import subprocess
import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.edit_distance import distance
from unisono.score.characters import evaluate_characters
from unisono.score.wer import Counts, add_up

REFERENCES = {
    "a-1": ["今天", "天气", "很", "好"],
    "a-2": ["北京", "大学"],
    "b-1": ["我们", "去", "学校"],
    "b-2": [],
}
HYPOTHESES = {
    "a-1": ["今天天气", "好"],  # a character less, and other words
    "a-2": ["背景", "大学", "生"],  # two others, one more
    "b-2": ["啊"],  # an insertion where nothing was said
}


def test_chinese_text_counted_by_hand():
    found = evaluate_characters(REFERENCES, HYPOTHESES)
    assert found == {
        "a-1": Counts(6, 0, 1, 0, 1, 1),
        "a-2": Counts(4, 1, 0, 2, 1, 1),
        "b-1": Counts(5, 0, 5, 0, 1, 1),  # no hypothesis
        "b-2": Counts(0, 1, 0, 0, 1, 1),
    }
    assert add_up(found.values()).wer == 10 / 15


def test_how_words_are_cut_and_letters_composed_does_not_matter():
    written = {"u": ["école", "été"]}
    for other in (["éc", "oleété"], [unicodedata.normalize("NFD", word) for word in written["u"]], ["école\u3000été"]):
        assert evaluate_characters(written, {"u": other})["u"] == Counts(8, 0, 0, 0, 1, 0)
    assert evaluate_characters(written, {"u": ["ecole", "été"]})["u"].errors == 1


WORDS = st.lists(st.text("今天气好很 ab", max_size=4), max_size=4)


@given(st.lists(st.tuples(WORDS, WORDS), min_size=1, max_size=5))
def test_errors_are_the_edit_distance(pairs):
    references, hypotheses = ({str(k): pair[side] for k, pair in enumerate(pairs)} for side in (0, 1))
    for key, counts in evaluate_characters(references, hypotheses).items():
        a, b = ("".join(texts[key]).replace(" ", "") for texts in (references, hypotheses))
        assert (counts.words, counts.errors, counts.sentence_errors) == (len(a), distance(a, b), int(a != b))


@pytest.fixture
def folder(tmp_path):
    """A table and two systems' hypotheses in Chinese."""
    rows = [f"{u}\t{u[0]}\t/{u}.wav\t1.0000\t{' '.join(words)}\t0" for u, words in REFERENCES.items()]
    head = "utterance_id\tspeaker_id\tpath\tduration_s\ttranscript\tshard"
    (tmp_path / "test.tsv").write_text("\n".join([head, *rows]) + "\n", encoding="utf-8")
    for name, texts in (("one", HYPOTHESES | {"b-1": []}), ("two", REFERENCES)):
        lines = "".join(" ".join([u, *words]) + "\n" for u, words in texts.items())
        (tmp_path / f"{name}.hyp").write_text(lines, encoding="utf-8")
    return tmp_path


def unisono(folder, *arguments):
    command = [sys.executable, "-m", "unisono", *map(str, arguments)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=True)


def test_score_and_compare_tell_of_characters(folder):
    for name in ("one", "two"):
        unisono(
            folder, "score", "--table", "test.tsv", "--hyp", f"{name}.hyp", "--system", name, "--seed", 1, "--out-dir",
            name,
        )  # fmt: skip
    numbers = json.loads((folder / "one/wer.json").read_text())
    assert (numbers["cer"], numbers["characters"], numbers["character_errors"]) == (10 / 15, 15, 10)
    assert numbers["wer"] > numbers["cer"] and numbers["cer_ci95"][0] < 10 / 15 < numbers["cer_ci95"][1]
    out = unisono(folder, "compare", "--table", "test.tsv", "one", "two", "--out", "compared.json").stdout
    assert "Characters: A 66.67 %, B 0.00 %, A - B +66.67 %" in out
    compared = json.loads((folder / "compared.json").read_text())
    assert compared["cer_difference"] == 10 / 15 and compared["cer_difference_ci95"][0] > 0.0
