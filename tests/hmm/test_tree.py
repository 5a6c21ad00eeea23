"""Decision trees: Kaldi's form, agreement with the wheel, and growing."""

import itertools

import numpy as np
import pytest

from unisono.errors import UserError
from unisono.hmm import tree_building as tb
from unisono.hmm.model import context_dependency
from unisono.hmm.tree import CLASS, Leaf, Split, Table, evaluate, from_kaldi, leaves, monophone_tree, to_kaldi

SIL = 1
STATES = {SIL: 5, 2: 3, 3: 3, 4: 3, 5: 3}


def frames_of(left, phone, right, state, count, rng):
    # State 0 depends on whether the left phone is 2 or 3, state 2 on whether the right one is 4; phones are alike in
    # pairs (2, 3) and (4, 5), so that clustering puts these pairs together.
    kind = -9.0 if phone == SIL else 3.0 * (phone in (2, 3))
    mean = np.array([4.0 * state, kind + 0.1 * phone, 0.0])
    if phone != SIL and state == 0 and left in (2, 3):
        mean[2] = 5.0
    if phone != SIL and state == 2 and right == 4:
        mean[2] = -5.0
    return rng.normal(mean, 1.0, (count, 3))


def synthetic_stats(seed=0, count=40):
    rng = np.random.default_rng(seed)
    events, frames = [], []
    for left, phone, right in itertools.product([0, 1, 2, 3, 4, 5], [2, 3, 4, 5], [0, 1, 2, 3, 4, 5]):
        for state in range(3):
            events += [(left, phone, right, state)] * count
            frames.append(frames_of(left, phone, right, state, count, rng))
    for state in range(5):
        events += [(0, SIL, 0, state)] * 100
        frames.append(frames_of(0, SIL, 0, state, 100, rng))
    return np.array(events, np.int32), np.concatenate(frames).astype(np.float32)


@pytest.fixture(scope="module")
def stats():
    return tb.collect(*synthetic_stats())


@pytest.fixture(scope="module")
def grown(stats):
    return tb.build(stats, STATES, [SIL], 60)


def contexts():
    return itertools.product(range(6), STATES, range(6))


def test_round_trip(grown):
    blob = to_kaldi(grown[0], 3, 1)
    assert from_kaldi(blob) == (grown[0], 3, 1)
    assert to_kaldi(*from_kaldi(blob)) == blob


def test_monophone_tree_is_that_of_the_wheel():
    from unisono.hmm.libs import khg

    classes = [-1, 5, 3, 3, 3, 3]
    wheel = khg.monophone_context_dependency([1, 2, 3, 4, 5], classes).__getstate__()[0]
    assert bytes(value % 256 for value in wheel) == to_kaldi(monophone_tree(STATES), 1, 0)


def test_the_wheel_agrees_on_every_triphone(grown):
    wheel = context_dependency(to_kaldi(grown[0], 3, 1))
    assert wheel.context_width == 3 and wheel.central_position == 1
    assert wheel.num_pdfs == len(grown[1]) == len(set(leaves(grown[0])))
    for context in contexts():
        for state in range(STATES[context[1]]):
            assert wheel.compute(list(context), state) == (True, evaluate(grown[0], context, state))


def test_silence_has_its_states_whatever_the_context(grown):
    for left, right in itertools.product(range(6), range(6)):
        assert [evaluate(grown[0], (left, SIL, right), s) for s in range(5)] == leaves(grown[0].children[SIL])
    assert len(set(leaves(grown[0].children[SIL]))) == 5


def test_the_tree_finds_what_the_data_depend_on(grown):
    for phone in (2, 3, 4, 5):
        by_left = {left: evaluate(grown[0], (left, phone, 3), 0) for left in range(6)}
        assert by_left[2] == by_left[3] and by_left[4] == by_left[5] != by_left[2]
        by_right = {right: evaluate(grown[0], (2, phone, right), 2) for right in range(6)}
        assert by_right[4] not in {by_right[right] for right in (0, 1, 2, 3, 5)}
        middle = {evaluate(grown[0], (left, phone, right), 1) for left in range(6) for right in range(6)}
        assert len(middle) == 1


def test_statistics_of_the_leaves_are_those_of_their_events(stats, grown):
    root, sums = grown
    expected = np.zeros_like(sums)
    for event, row in zip(stats.events.tolist(), stats.sums, strict=True):
        expected[evaluate(root, event[:3], event[3])] += row
    np.testing.assert_allclose(sums, expected, rtol=1e-9)
    assert tb.likelihood(sums).sum() > tb.likelihood(stats.sums.sum(axis=0)) + 10 * tb.MIN_GAIN


@pytest.mark.parametrize("limit", [1, 12, 15])
def test_leaves_are_limited(stats, limit):
    root, sums = tb.build(stats, STATES, [SIL], limit)
    # Five states of silence and one root for each of the four phones are the least.
    assert len(sums) <= max(limit, 9) and sorted(set(leaves(root))) == list(range(len(sums)))


def test_alike_leaves_are_merged():
    row = np.array([1000.0, 0.0, 1000.0])
    far = np.array([1000.0, 10000.0, 101000.0])
    groups, sums = tb._merge_leaves([row, far, row.copy()], 300.0)
    assert groups == [0, 1, 0] and sums[0][0] == 2000.0


def test_questions_put_alike_phones_together(stats):
    asked = tb.make_questions(stats, 3)
    assert (2, 3) in asked.phones and (4, 5) in asked.phones and asked.states == [(0,), (0, 1)]
    assert all((phone,) in asked.phones for phone in STATES)


def test_a_phone_without_frames_gets_its_states(stats):
    root, sums = tb.build(stats, STATES | {7: 3}, [SIL], 60)
    assert len({evaluate(root, (2, 7, 3), s) for s in range(3)}) == 3
    assert (sums[leaves(root.children[7])][:, 0] == 0).all()
    assert root.children[6] is None


def test_likelihood_by_hand():
    # Two frames at -1 and 1: mean 0, variance 1, two times the log density of each.
    sums = np.array([2.0, 0.0, 2.0])
    assert tb.likelihood(sums) == pytest.approx(2 * (-0.5 * np.log(2 * np.pi) - 0.5))
    assert tb.likelihood(np.zeros(3)) == 0.0
    assert np.isfinite(tb.likelihood(np.array([3.0, 3.0, 3.0])))  # no variance at all: floored


def test_merged_parts_equal_the_whole(stats):
    events, frames = synthetic_stats()
    half = len(events) // 2
    merged = tb.merge([tb.collect(events[:half], frames[:half]), tb.collect(events[half:], frames[half:])])
    np.testing.assert_array_equal(merged.events, stats.events)
    np.testing.assert_allclose(merged.sums, stats.sums, rtol=1e-9)
    assert stats.sums[:, 0].sum() == len(frames)


def test_two_growings_are_equal(stats, grown):
    assert tb.build(stats, STATES, [SIL], 60)[0] == grown[0]


def test_evaluation_by_hand():
    root = Table(1, (None, Split(0, (1, 3), Leaf(0), Table(CLASS, (Leaf(1), Leaf(2))))))
    assert evaluate(root, (3, 1, 0), 1) == 0 and evaluate(root, (2, 1, 0), 1) == 2
    assert leaves(root) == [0, 1, 2]
    for context, state in (((2, 0, 0), 0), ((2, 9, 0), 0), ((2, 1, 0), 5)):
        with pytest.raises(UserError, match="knows no phone"):
            evaluate(root, context, state)


def test_damaged_trees_are_refused(grown):
    blob = to_kaldi(grown[0], 3, 1)
    for cut in range(0, len(blob) - 1, 7):
        with pytest.raises(UserError, match="the tree is"):
            from_kaldi(blob[:cut])
    with pytest.raises(UserError, match="the tree is damaged"):
        from_kaldi(blob.replace(b"CE ", b"XE "))
