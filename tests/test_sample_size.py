"""How many words a test set needs."""

import pytest

from unisono.sample_size import FEW_SPEAKERS, FEW_WORDS, half_width, too_small


def test_half_width():
    assert half_width(400, 0.2) == pytest.approx(2 * 1.96 * 0.02)
    assert half_width(1600) == pytest.approx(half_width(400) / 2)


def test_what_is_too_small():
    assert "only 40 words" in too_small(40, 10) and "25 points" in too_small(40, 10)
    assert "only 1 word:" in too_small(1, 1) and too_small(0, 0)
    assert "only 1 speaker:" in too_small(FEW_WORDS, 1)
    assert too_small(FEW_WORDS, FEW_SPEAKERS) == ""
