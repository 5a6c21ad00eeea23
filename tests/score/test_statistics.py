"""Intervals and paired tests against numbers computed by hand or by scipy."""

import numpy as np
import pytest
import scipy.stats

from unisono.score import statistics
from unisono.score.wer import Counts


def counts_of(errors, words=10):
    return [Counts(words=words, substitutions=e, sentences=1, sentence_errors=int(e > 0)) for e in errors]


def named(counts):
    return {f"u{i:03d}": c for i, c in enumerate(counts)}


def test_limits_are_those_of_the_binomial_distribution():
    # 20 speakers, one utterance of 10 words each, 6 with all words wrong: a draw's WER is Binomial(20, 0.3) / 20.
    counts = named(counts_of([10] * 6 + [0] * 14))
    interval = statistics.bootstrap_wer(counts, {u: f"s{u}" for u in counts}, seed=3)
    expected = scipy.stats.binom(20, 0.3).ppf([0.025, 0.975]) / 20  # 2 / 20 and 10 / 20
    assert (interval.low, interval.high) == pytest.approx(tuple(expected))
    assert interval.method == "percentile bootstrap, 10000 draws of 20 speakers, seed 3"


def test_speakers_are_drawn_whole():
    # Five speakers of 40 utterances, each all right or all wrong: drawing utterances would give a narrow interval.
    counts = named(counts_of([10] * 40 + [0] * 160))
    speakers = {u: f"s{int(u[1:]) // 40}" for u in counts}
    interval = statistics.bootstrap_wer(counts, speakers, seed=1)
    expected = scipy.stats.binom(5, 0.2).ppf([0.025, 0.975]) / 5  # 0 and 3 / 5
    assert (interval.low, interval.high) == pytest.approx(tuple(expected))


@pytest.mark.parametrize(("number", "said"), [(1, "only 1 speaker,"), (4, "only 4 speakers,")])
def test_few_speakers_are_said_and_utterances_drawn(number, said):
    counts = named(counts_of([10] * 40 + [0] * 160))
    interval = statistics.bootstrap_wer(counts, {u: f"s{int(u[1:]) % number}" for u in counts}, seed=1)
    assert said in interval.method
    assert "200 utterances" in interval.method
    assert 0.13 < interval.low < 0.16 < 0.24 < interval.high < 0.27  # Binomial(200, 0.2): 29 and 51 of 200


def test_the_interval_depends_on_the_seed_alone():
    counts = named(counts_of([0, 1, 2, 3, 4, 5, 6, 7, 8, 9] * 3, words=11))
    speakers = {u: u for u in counts}
    first = statistics.bootstrap_wer(counts, speakers, seed=1)
    backwards = dict(reversed(counts.items()))
    assert statistics.bootstrap_wer(backwards, speakers, seed=1) == first
    assert statistics.bootstrap_wer(counts, speakers, seed=2) != first


def test_one_utterance_and_no_spread():
    one = statistics.bootstrap_wer({"u": counts_of([3])[0]}, {"u": "s"}, seed=1)
    assert (one.low, one.high) == (0.3, 0.3)
    same = named(counts_of([2] * 30))
    interval = statistics.bootstrap_wer(same, {u: u for u in same}, seed=1)
    assert (interval.low, interval.high) == pytest.approx((0.2, 0.2))


def test_items_without_words_do_not_break_the_draw():
    counts = {f"u{i}": Counts(words=0, insertions=1, sentences=1) for i in range(5)} | {"v": counts_of([1])[0]}
    interval = statistics.bootstrap_wer(counts, {u: u for u in counts}, seed=1)
    assert np.isfinite([interval.low, interval.high]).all()


def test_matched_pairs_by_hand():
    # d = 1, 1, 0, 2: mean 1, variance 2/3, z = 1 / sqrt((2/3) / 4) = sqrt(6); p = 2 (1 - Phi(2.449490))
    found = statistics.matched_pairs(counts_of([3, 4, 5, 6]), counts_of([2, 3, 5, 4]))
    assert (found.segments, found.errors_a, found.errors_b) == (4, 18, 14)
    assert found.z == pytest.approx(6**0.5)
    assert found.p == pytest.approx(0.014306, abs=1e-6)


def test_matched_pairs_is_scipys_paired_test_with_a_normal():
    a, b = np.random.default_rng(4).integers(0, 9, size=(2, 300))
    found = statistics.matched_pairs(counts_of(a), counts_of(b))
    theirs = scipy.stats.ttest_rel(a, b)
    assert found.z == pytest.approx(theirs.statistic)
    assert found.p == pytest.approx(theirs.pvalue, abs=5e-3)  # Student with 299 degrees of freedom is nearly normal


def test_matched_pairs_changes_sign_with_the_order():
    a, b = counts_of([3, 0, 2, 2]), counts_of([1, 0, 2, 1])
    forth, back = statistics.matched_pairs(a, b), statistics.matched_pairs(b, a)
    assert (forth.z, forth.p) == (-back.z, back.p)
    assert forth.z > 0


def test_matched_pairs_at_its_limits():
    same = statistics.matched_pairs(counts_of([1, 2]), counts_of([1, 2]))
    assert (same.z, same.p) == (0.0, 1.0)
    always = statistics.matched_pairs(counts_of([1, 2]), counts_of([2, 3]))
    assert (always.z, always.p) == (-np.inf, 0.0)
    alone = statistics.matched_pairs(counts_of([3]), counts_of([1]))
    assert (alone.segments, alone.errors_a, alone.errors_b, alone.z, alone.p) == (1, 3, 1, 0.0, 1.0)
    with pytest.raises(ValueError, match="2 and 1 utterances"):
        statistics.matched_pairs(counts_of([1, 2]), counts_of([1]))


def test_the_difference_is_paired():
    # Both systems err everywhere alike but for one word: unpaired intervals would be wide, the paired one is not.
    errors = [0, 10] * 20
    a, b = named(counts_of(errors)), named(counts_of([e - (e > 0) for e in errors]))
    interval = statistics.bootstrap_difference(a, b, {u: u for u in a}, seed=1)
    # d = 0 or 1 word of 10 in half of the 40 utterances: Binomial(40, 0.5) / 400
    expected = scipy.stats.binom(40, 0.5).ppf([0.025, 0.975]) / 400
    assert (interval.low, interval.high) == pytest.approx(tuple(expected))
