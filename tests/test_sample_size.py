"""How many words a test set needs."""

import pytest

from unisono.sample_size import (
    FEW_SPEAKERS,
    FEW_WORDS,
    few_speakers,
    few_words,
    half_width,
    measured_half_width,
    too_small,
    unseen,
)


def test_half_width():
    assert half_width(400, 0.2) == pytest.approx(2 * 1.96 * 0.02)
    assert half_width(1600) == pytest.approx(half_width(400) / 2)


def test_what_is_too_small():
    assert "only 40 words" in too_small(40, 10) and "25 points" in too_small(40, 10)
    assert "only 1 word:" in too_small(1, 1) and too_small(0, 0)
    assert "only 1 speaker:" in too_small(FEW_WORDS, 1)
    assert too_small(FEW_WORDS, FEW_SPEAKERS) == ""
    assert "column split of the table" in too_small(40, 10), "where more words come from"


def test_what_was_measured_replaces_what_is_expected():
    told = few_words(40, ("main, last", 1.14, measured_half_width(40, [1.04, 1.24])))
    assert "40 words: the 114.00 % of main, last could be off by 10 points: record 500" in told
    assert measured_half_width(30, [0.0, 0.0]) == pytest.approx(0.1), "no error in 30 words: rule of three"
    assert few_words(FEW_WORDS, ("main, last", 1.14, 0.5)) == "" == few_speakers(FEW_SPEAKERS)


def test_unseen_words():
    assert unseen(["A B A", "", "C"], {"A"}) == 2
