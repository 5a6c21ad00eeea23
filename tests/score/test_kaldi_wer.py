"""Word errors of Kaldi's own hypotheses: the lines that Kaldi 5.5 printed for them, and NIST's sclite."""

import pytest

from tests.support.kaldi_files import cases
from tests.support.sclite import needs_sclite, ours_as_sclite, run_sclite
from unisono.score import wer

HYPOTHESES = cases("kaldi-wer/*.hyp")
# What Kaldi printed for these; others are compared with sclite only.
PUBLISHED = {
    "so762_tri1_test": "%WER 53.25 [ 1910 / 3587, 155 ins, 436 del, 1319 sub ]",
    "so762_tri2b_test": "%WER 50.99 [ 1829 / 3587, 152 ins, 396 del, 1281 sub ]",
    "so762_dnn_test": "%WER 46.45 [ 1666 / 3587, 147 ins, 319 del, 1200 sub ]",
    "so762_tri1_dev": "%WER 53.92 [ 873 / 1619, 52 ins, 233 del, 588 sub ]",
    "so762_tri2b_dev": "%WER 53.55 [ 867 / 1619, 60 ins, 206 del, 601 sub ]",
    "so762_dnn_dev": "%WER 50.09 [ 811 / 1619, 51 ins, 189 del, 571 sub ]",
    "fsdd_mono_test": "%WER 7.40 [ 37 / 500, 5 ins, 9 del, 23 sub ]",
    "fsdd_tri1_test": "%WER 6.20 [ 31 / 500, 0 ins, 22 del, 9 sub ]",
    "fsdd_tri2b_test": "%WER 7.60 [ 38 / 500, 0 ins, 26 del, 12 sub ]",
    "fsdd_dnn_test": "%WER 5.80 [ 29 / 500, 8 ins, 1 del, 20 sub ]",
    "fsdd_mono_dev": "%WER 3.40 [ 17 / 500, 4 ins, 1 del, 12 sub ]",
    "fsdd_dnn_dev": "%WER 5.20 [ 26 / 500, 8 ins, 0 del, 18 sub ]",
}


def texts(path):
    """References and hypotheses of corpus_system_split.hyp; the references are corpus_split.ref."""
    corpus, _, split = path.stem.split("_")
    return [wer.read_text([file]) for file in (path.with_name(f"{corpus}_{split}.ref"), path)]


@needs_sclite
@pytest.mark.parametrize("path", HYPOTHESES)
def test_counts_equal_those_of_sclite(tmp_path, path):
    references, hypotheses = texts(path)
    pairs = [(references[u], hypotheses.get(u, [])) for u in sorted(references)]
    theirs = run_sclite(tmp_path, pairs)
    assert [ours_as_sclite(*pair) for pair in pairs] == theirs
    assert wer.evaluate(references, hypotheses).total.errors == sum(map(sum, theirs))


@pytest.mark.parametrize("path", HYPOTHESES)
def test_lines_are_those_that_kaldi_published(path):
    if path.stem not in PUBLISHED:
        pytest.skip("no published line of these hypotheses")
    assert wer.kaldi_lines(wer.evaluate(*texts(path)).total).splitlines()[0] == PUBLISHED[path.stem]
