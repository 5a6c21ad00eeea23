"""Reading ARPA files: what is sound is read to the digit, what is malformed is refused by file and line."""

import hypothesis
import hypothesis.strategies as st
import pytest

from unisono.errors import UserError
from unisono.hmm import arpa

GOOD = """free text before the data is allowed
\\data\\
ngram 1=4
ngram 2=2

\\1-grams:
-0.5\t</s>
-99\t<s>\t-0.25
-0.75\tA\t-0.125
-1\tB

\\2-grams:
-0.5\t<s> A
-0.25\tA </s>

\\end\\
"""


def read(tmp_path, text):
    path = tmp_path / "lm.arpa"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return arpa.read_arpa(path)


@pytest.mark.parametrize("change", [lambda t: t, lambda t: "\ufeff" + t, lambda t: t.replace("\n", "\r\n")])
def test_probabilities_and_backing_off(tmp_path, change):
    model = read(tmp_path, change(GOOD))
    assert model.order == 2
    assert model.words() == {"</s>", "A", "B"}
    assert model.log10_probability(["<s>"], "A") == -0.5
    assert model.log10_probability(["<s>"], "B") == -1.25
    assert model.log10_probability(["B", "A"], "B") == -1.125
    assert model.log10_probability(["B"], "A") == -0.75


def test_writing_and_reading_gives_the_same_model_and_bytes(tmp_path):
    model = read(tmp_path, GOOD)
    arpa.write_arpa(tmp_path / "again", model)
    assert arpa.read_arpa(tmp_path / "again") == model
    first = (tmp_path / "again").read_bytes()
    arpa.write_arpa(tmp_path / "again", arpa.read_arpa(tmp_path / "again"))
    assert (tmp_path / "again").read_bytes() == first


MALFORMED = [
    ("\\data\\", "\\date\\", "line 17: expected .*data.*found the end"),
    ("ngram 1=4", "ngram 1=x", "line 3: expected 'ngram N=COUNT'"),
    ("ngram 2=2", "ngram 3=2", "line 4: expected the count of order 2, found order 3"),
    ("ngram 1=4\nngram 2=2", "", "the header promises no unigrams"),
    ("\\1-grams:", "\\1-gram:", "line 6: expected .*1-grams"),
    ("-1\tB\n", "", "promises 4 1-grams, the file has 3"),
    ("-1\tB", "-1\tA", "line 10: the n-gram 'A' occurs twice"),
    ("-1\tB", "-one\tB", "line 10: the log10 probability '-one'"),
    ("-1\tB", "nan\tB", "line 10: the log10 probability 'nan'"),
    ("-1\tB", "0.5\tB", "line 10: the log10 probability 0.5 is above 0"),
    ("-0.125", "1e999", "line 9: the log10 back-off weight '1e999'"),
    ("-1\tB", "-1\tB\t-1\t-1", "line 10: .*4 columns"),
    ("-1\tB", "-1", "line 10: .*1 columns"),
    ("-0.5\t<s> A", "-0.5\t<s> A\t-0.1", "line 13: .*4 columns"),
    ("-0.5\t<s> A", "-0.5\t<s> C", "line 13: the word 'C' of '<s> C' is not among the unigrams"),
    ("-0.5\t<s> A", "-0.5\tC A", "line 13: the history of 'C A' is not among the 1-grams"),
    ("-0.5\t<s> A", "-0.5\tA <s>", "line 13: <s> not at the beginning"),
    ("-0.25\tA </s>", "-0.25\t</s> A", "line 14: .*</s> not at the end"),
    ("-99\t<s>\t-0.25", "-99\tC\t-0.25", "line 13: the history of '<s> A'"),
    ("\\end\\", "", "expected .*end.*found the end of the file"),
    ("-0.5\t</s>", "-0.5\tC", "line 14: the word '</s>'"),
]


@pytest.mark.parametrize(("old", "new", "message"), MALFORMED)
def test_malformed_files_are_refused_by_line(tmp_path, old, new, message):
    assert old in GOOD
    with pytest.raises(UserError, match=message) as caught:
        read(tmp_path, GOOD.replace(old, new, 1))
    assert "lm.arpa: line" in str(caught.value) and "\n" not in str(caught.value)


def test_sentence_symbols_must_be_unigrams(tmp_path):
    with pytest.raises(UserError, match="lack </s>"):
        read(tmp_path, "\\data\\\nngram 1=2\n\\1-grams:\n-1 A\n-99 <s>\n\\end\\\n")


def test_missing_and_foreign_bytes(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        arpa.read_arpa(tmp_path / "none")
    with pytest.raises(UserError, match="line 2: not UTF-8"):
        read(tmp_path, b"\\data\\\n\xff\n")


def test_zero_probability_may_be_minus_infinity(tmp_path):
    assert read(tmp_path, GOOD.replace("-1\tB", "-inf\tB")).log10_probability([], "B") == arpa.LOG_ZERO


def test_restriction_drops_foreign_words_and_counts_them(tmp_path):
    model, dropped = arpa.restrict(read(tmp_path, GOOD), {"B"})
    assert dropped == 3 and model.order == 1 and model.words() == {"</s>", "B"}


TOKENS = [
    "",
    "A",
    "<s>",
    "-1",
    "1e400",
    "nan",
    "-inf",
    "\\end\\",
    "\\1-grams:",
    "ngram 2=1",
    "\x00",
    "\u2028",
    "<eps>",
    "1_0",
]


@pytest.mark.fuzz
@hypothesis.given(
    st.lists(st.tuples(st.sampled_from("dis"), st.integers(0, 15), st.sampled_from(TOKENS)), min_size=1, max_size=4)
)
def test_damage_is_refused_or_harmless(tmp_path_factory, changes):
    """Delete lines, insert some, replace columns: what is read is sound enough to be written and read again."""
    folder = tmp_path_factory.mktemp("damaged")
    lines = GOOD.split("\n")
    for kind, place, token in changes:
        place %= len(lines)
        if kind == "d":
            del lines[place : place + 1]
            lines = lines or [""]
        elif kind == "i":
            lines.insert(place, token)
        else:
            lines[place] = "\t".join([token, *lines[place].split("\t")[1:]])
    try:
        model = read(folder, "\n".join(lines))
    except UserError as error:
        assert "\n" not in str(error)
        return
    arpa.write_arpa(folder / "again", model)
    assert arpa.read_arpa(folder / "again").words() == model.words()
