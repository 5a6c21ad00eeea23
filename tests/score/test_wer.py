"""Word errors against tables, jiwer and NIST's sclite."""

import random

import jiwer
import pytest

from tests.support.sclite import needs_sclite, ours_as_sclite, run_sclite
from unisono.errors import UserError
from unisono.score import wer

# reference, hypothesis, (insertions, deletions, substitutions) by Kaldi's rule
TABLE = [
    ("a b c", "a b c", (0, 0, 0)),
    ("a b c", "", (0, 3, 0)),
    ("", "a b", (2, 0, 0)),
    ("", "", (0, 0, 0)),
    ("a b c", "a x c", (0, 0, 1)),
    ("a b c", "a c", (0, 1, 0)),
    ("a c", "a b c", (1, 0, 0)),
    ("a b", "b c", (1, 1, 0)),  # a tie with two substitutions: Kaldi takes the insertion
    ("a b c d", "b c d e", (1, 1, 0)),
    ("a", "b", (0, 0, 1)),
    ("a a a", "b b b b b", (2, 0, 3)),
    ("ä ß", "ä ss", (0, 0, 1)),
]


@pytest.mark.parametrize(("reference", "hypothesis", "expected"), TABLE)
def test_table(reference, hypothesis, expected):
    counts = wer.count(wer.align(reference.split(), hypothesis.split()))
    assert (counts.insertions, counts.deletions, counts.substitutions) == expected
    assert counts.words == len(reference.split())
    assert counts.sentence_errors == int(any(expected))


@pytest.mark.parametrize("rule", [wer.KALDI, wer.SCLITE])
def test_an_alignment_holds_both_texts_in_order(rule):
    for reference, hypothesis in random_pairs(200, vocabulary=4, noise=0.6, seed=5):
        pairs = wer.align(reference, hypothesis, rule)
        assert [r for r, _ in pairs if r is not None] == reference
        assert [h for _, h in pairs if h is not None] == hypothesis
        assert (None, None) not in pairs


@pytest.mark.parametrize("vocabulary", [2, 5, 100])
def test_errors_equal_those_of_jiwer(vocabulary):
    for reference, hypothesis in random_pairs(300, vocabulary=vocabulary, noise=0.7, seed=vocabulary):
        theirs = jiwer.process_words(" ".join(reference), " ".join(hypothesis))
        ours = wer.count(wer.align(reference, hypothesis))
        assert ours.errors == theirs.insertions + theirs.deletions + theirs.substitutions


@needs_sclite
@pytest.mark.parametrize(("vocabulary", "noise"), [(2, 0.6), (3, 0.9), (20, 0.6), (200, 0.3)])
def test_counts_equal_those_of_sclite_on_random_texts(tmp_path, vocabulary, noise):
    pairs = random_pairs(400, vocabulary=vocabulary, noise=noise, seed=11)
    assert [ours_as_sclite(*pair) for pair in pairs] == run_sclite(tmp_path, pairs)


def test_lines_of_kaldi_to_the_byte():
    total = wer.Counts(words=10000, insertions=56, deletions=78, substitutions=1100, sentences=730, sentence_errors=9)
    assert wer.kaldi_lines(total) == "%WER 12.34 [ 1234 / 10000, 56 ins, 78 del, 1100 sub ]\n%SER 1.23 [ 9 / 730 ]\n"


def test_a_missing_hypothesis_is_all_deletions():
    references = {"u1": ["a", "b"], "u2": ["c"]}
    score = wer.evaluate(references, {"u2": ["c"]})
    assert score.missing == ("u1",)
    assert score.total == wer.Counts(words=3, deletions=2, sentences=2, sentence_errors=1)
    assert score.counts == wer.evaluate(references, {"u1": [], "u2": ["c"]}).counts


def test_a_hypothesis_without_reference_is_named():
    with pytest.raises(UserError, match="utterance u8 has no reference"):
        wer.evaluate({"u1": ["a"]}, {"u1": ["a"], "u9": ["b"], "u8": ["b"]})


def test_references_without_a_word_are_refused():
    with pytest.raises(UserError, match="not one word"):
        wer.evaluate({"u1": []}, {"u1": ["a"]})


def test_an_empty_reference_counts_its_insertions():
    total = wer.evaluate({"u1": [], "u2": ["a"]}, {"u1": ["x", "y"], "u2": ["a"]}).total
    assert (total.wer, total.insertions, total.sentence_errors) == (2.0, 2, 1)


def test_words_with_odd_characters_are_still_one_word():
    # A no-break space is part of a word for Kaldi; jiwer, which checks the sum, must not split there.
    score = wer.evaluate({"u": ["a\u00a0b", "\u3000"]}, {"u": ["a\u00a0b"]})
    assert (score.total.words, score.total.deletions, score.total.errors) == (2, 1, 1)


def test_counts_of_speakers_add_up():
    score = wer.evaluate({"u1": ["a"], "u2": ["a", "b"], "u3": ["c"]}, {"u1": ["b"], "u2": ["a"], "u3": ["c"]})
    speakers = wer.by_speaker(score, {"u1": "tom", "u2": "ann", "u3": "tom"})
    assert list(speakers) == ["ann", "tom"]
    assert speakers["tom"] == wer.Counts(words=2, substitutions=1, sentences=2, sentence_errors=1)
    assert wer.add_up(speakers.values()) == score.total


def test_text_is_merged_sorted_and_read_back(tmp_path):
    (tmp_path / "0.hyp").write_bytes("u2 b\u00a0c d \nu3\n".encode())
    (tmp_path / "1.hyp").write_bytes(b"\nu1\tx  y\r\n")
    texts = wer.read_text([tmp_path / "0.hyp", tmp_path / "1.hyp"])
    assert texts == {"u1": ["x", "y"], "u2": ["b\u00a0c", "d"], "u3": []}
    assert wer.format_text(texts) == "u1 x y\nu2 b\u00a0c d\nu3\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"u1 a\nu1 b\n", ":2: utterance u1 stands twice"), (b"u1 \xff\n", "not UTF-8"), (None, "cannot be read")],
)
def test_bad_text_files_are_named(tmp_path, content, message):
    path = tmp_path / "x.hyp"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=f"x.hyp.*{message}"):
        wer.read_text([path])


def random_pairs(number, *, vocabulary, noise, seed):
    """Make references of 1 to 24 words and hypotheses with errors of all kinds."""
    chance = random.Random(seed)
    pairs = []
    for _ in range(number):
        reference = [f"w{chance.randrange(vocabulary)}" for _ in range(chance.randrange(1, 25))]
        hypothesis = []
        for word in reference:
            x = chance.random()
            if x < 0.3 * noise:
                continue
            hypothesis.append(f"w{chance.randrange(vocabulary)}" if x < 0.7 * noise else word)
            if x > 1 - 0.3 * noise:
                hypothesis.append(f"w{chance.randrange(vocabulary)}")
        pairs.append((reference, hypothesis))
    return pairs
