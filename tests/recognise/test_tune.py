"""Stages, neighbours and ties of tuning, on invented error counts."""

import pytest

from unisono.errors import UserError
from unisono.recognise.decode import Setting
from unisono.recognise.tune import draw, tune

SCALES, PENALTIES = (0.05, 0.07, 0.1, 0.14, 0.2), (0.5, 1.0, 2.0, 4.0)


class Counter:
    """Error counts from a function of the setting; keeps the batches that were asked for."""

    def __init__(self, function):
        self.function, self.batches = function, []

    def __call__(self, settings):
        self.batches.append(list(settings))
        return [self.function(*setting) for setting in settings]


def test_stages_and_neighbours():
    # Best without penalty at 0.1, with penalty 1 there; the true best is a diagonal neighbour.
    errors = Counter(
        lambda s, p: 0 if (s, p) == (0.14, 2.0) else round(1000 * abs(s - 0.1)) + round(10 * abs(p - 1)) + 5
    )
    best, tried = tune(SCALES, PENALTIES, errors, neighbours=True)
    assert errors.batches == [
        [Setting(s, 0.0) for s in SCALES],
        [Setting(0.1, p) for p in PENALTIES],
        [Setting(s, p) for s in (0.07, 0.14) for p in (0.5, 1.0, 2.0)],
    ]
    assert best == Setting(0.14, 2.0)
    assert list(tried) == [setting for batch in errors.batches for setting in batch]


def test_gmm_systems_take_two_stages():
    errors = Counter(lambda s, p: round(1000 * abs(s - 0.1)) + round(10 * abs(p - 1)))
    best, tried = tune(SCALES, PENALTIES, errors, neighbours=False)
    assert best == Setting(0.1, 1.0) and len(tried) == 9


def test_neighbours_end_at_the_edge_of_the_grid():
    errors = Counter(lambda s, p: round(1000 * s) + round(10 * p))
    best, _ = tune(SCALES, PENALTIES, errors, neighbours=True)
    assert best == Setting(0.05, 0.0)
    assert errors.batches[2] == [Setting(0.07, 0.5)]


def test_ties_go_to_the_least_penalty_then_the_largest_scale():
    best, tried = tune(SCALES, PENALTIES, Counter(lambda s, p: 7), neighbours=True)
    assert best == Setting(0.2, 0.0)
    assert list(tried)[5:9] == [Setting(0.2, p) for p in PENALTIES]


def test_nothing_is_decoded_twice():
    errors = Counter(lambda s, p: 0)
    tune((0.1, 0.1), (0.0,), errors, neighbours=True)
    assert errors.batches == [[Setting(0.1, 0.0)]]


@pytest.mark.parametrize("scales", [(), (0.0, 0.1), (-0.1,)])
def test_senseless_scales_are_refused(scales):
    with pytest.raises(UserError, match="acoustic scales must be positive"):
        tune(scales, PENALTIES, Counter(lambda s, p: 0), neighbours=True)


def test_draw_is_seeded_and_sorted():
    names = [f"u{i}" for i in range(50)]
    part = draw(reversed(names), 10, 3)
    assert part == sorted(part) and len(part) == 10 and part == draw(names, 10, 3) != draw(names, 10, 4)
    assert draw(names, None, 3) == draw(names, 50, 3) == sorted(names)
    with pytest.raises(UserError, match="tune_utterances"):
        draw(names, 0, 3)
