"""Word errors against tables, Kaldi's published lines, jiwer and NIST's sclite."""

import random
import re
import shutil
import subprocess

import jiwer
import pytest

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
SCLITE = next((p for p in (shutil.which("sclite"), "/usr/lib/sctk/bin/sclite") if p and shutil.which(p)), None)
needs_sclite = pytest.mark.skipif(SCLITE is None, reason="no sclite (Debian package sctk)")

# reference/kaldi-wer.md: what Kaldi 5.5 printed for these hypotheses
PUBLISHED = {
    ("so762_test", "so762_tri1_test"): "%WER 53.25 [ 1910 / 3587, 155 ins, 436 del, 1319 sub ]",
    ("so762_test", "so762_tri2b_test"): "%WER 50.99 [ 1829 / 3587, 152 ins, 396 del, 1281 sub ]",
    ("so762_test", "so762_dnn_test"): "%WER 46.45 [ 1666 / 3587, 147 ins, 319 del, 1200 sub ]",
    ("so762_dev", "so762_tri1_dev"): "%WER 53.92 [ 873 / 1619, 52 ins, 233 del, 588 sub ]",
    ("so762_dev", "so762_tri2b_dev"): "%WER 53.55 [ 867 / 1619, 60 ins, 206 del, 601 sub ]",
    ("so762_dev", "so762_dnn_dev"): "%WER 50.09 [ 811 / 1619, 51 ins, 189 del, 571 sub ]",
    ("fsdd_test", "fsdd_mono_test"): "%WER 7.40 [ 37 / 500, 5 ins, 9 del, 23 sub ]",
    ("fsdd_test", "fsdd_tri1_test"): "%WER 6.20 [ 31 / 500, 0 ins, 22 del, 9 sub ]",
    ("fsdd_test", "fsdd_tri2b_test"): "%WER 7.60 [ 38 / 500, 0 ins, 26 del, 12 sub ]",
    ("fsdd_test", "fsdd_dnn_test"): "%WER 5.80 [ 29 / 500, 8 ins, 1 del, 20 sub ]",
    ("fsdd_dev", "fsdd_mono_dev"): "%WER 3.40 [ 17 / 500, 4 ins, 1 del, 12 sub ]",
    ("fsdd_dev", "fsdd_dnn_dev"): "%WER 5.20 [ 26 / 500, 8 ins, 0 del, 18 sub ]",
}


@pytest.fixture
def kaldi_dir(corpora_dir):
    """Kaldi's hypotheses, which lie beside the corpora."""
    path = corpora_dir.parent / "reference" / "kaldi-wer"
    if not path.is_dir():
        pytest.skip("no hypotheses of Kaldi beside the corpora")
    return path


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


@needs_sclite
@pytest.mark.parametrize(("reference_name", "name"), sorted(PUBLISHED))
def test_counts_equal_those_of_sclite_on_real_texts(tmp_path, kaldi_dir, reference_name, name):
    references = wer.read_text([kaldi_dir / f"{reference_name}.ref"])
    hypotheses = wer.read_text([kaldi_dir / f"{name}.hyp"])
    pairs = [(references[u], hypotheses.get(u, [])) for u in sorted(references)]
    theirs = run_sclite(tmp_path, pairs)
    assert [ours_as_sclite(*pair) for pair in pairs] == theirs
    assert wer.evaluate(references, hypotheses).total.errors == sum(map(sum, theirs))


@pytest.mark.parametrize(("reference_name", "name"), sorted(PUBLISHED))
def test_published_lines_of_kaldi(kaldi_dir, reference_name, name):
    references = wer.read_text([kaldi_dir / f"{reference_name}.ref"])
    score = wer.evaluate(references, wer.read_text([kaldi_dir / f"{name}.hyp"]))
    assert wer.kaldi_lines(score.total).splitlines()[0] == PUBLISHED[reference_name, name]


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


def ours_as_sclite(reference, hypothesis):
    counts = wer.count(wer.align(reference, hypothesis, wer.SCLITE))
    return (counts.insertions, counts.deletions, counts.substitutions)


def run_sclite(folder, pairs):
    """Let sclite count; returns (insertions, deletions, substitutions) of each pair."""
    for name, side in (("ref", 0), ("hyp", 1)):
        lines = [f"{' '.join(pair[side])} (spk_{i:05d})\n" for i, pair in enumerate(pairs)]
        (folder / f"{name}.trn").write_text("".join(lines))
    command = [SCLITE, "-r", "ref.trn", "trn", "-h", "hyp.trn", "trn", "-i", "spu_id", "-s", "-o", "pra"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    pattern = r"id: \(spk_(\d+)\)\nScores: \(#C #S #D #I\) \d+ (\d+) (\d+) (\d+)"
    found = re.findall(pattern, (folder / "hyp.trn.pra").read_text())
    assert len(found) == len(pairs)
    return [(int(i), int(d), int(s)) for _, s, d, i in sorted(found)]
