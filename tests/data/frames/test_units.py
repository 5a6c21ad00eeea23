"""Training units of several frames: every frame counts once, whatever the lengths, and what lies around it is read."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.settings import section
from tests.support.stores import DIM, empty, literal_order, make_store
from unisono.config.parallel import ParallelOptions
from unisono.config.schedule import ScheduleOptions
from unisono.data.frames.loader import Loader, Slice
from unisono.data.frames.store import FramesStore
from unisono.errors import UserError
from unisono.schedule import build_plan
from unisono.units import TrainingUnit


def literal_units(lengths, width):
    """Of each utterance its units in order: first labelled frame, and the labels of it that count."""
    found = []
    for utterance, length in enumerate(lengths):
        for own in range(0, length, width):
            begin = max(0, min(own, length - width))
            found.append((utterance, begin, [own <= begin + j < length for j in range(width)]))
    return found


@settings(max_examples=40)
@given(
    lengths=st.lists(st.integers(0, 40), min_size=1, max_size=12).filter(any),
    width=st.integers(2, 15),
    left=st.integers(0, 9),
    right=st.integers(0, 4),
    window=st.integers(1, 30),
    minibatch=st.integers(1, 7),
)
def test_units_are_gathered_as_by_the_literal_twin(tmp_path_factory, lengths, width, left, right, window, minibatch):
    path, unit = tmp_path_factory.mktemp("store") / "train.h5", TrainingUnit(width, left, right)
    frames, ids = make_store(path, lengths)
    wanted = {(u, begin): (u, begin, mask) for u, begin, mask in literal_units(lengths, width)}
    total, seen = sum(unit.count(lengths)), []
    with FramesStore(path) as store, Loader(store, unit, seed=3, window=window) as loader:
        counted = 0
        for batch, count in loader.minibatches(
            Slice(0, -1, 0, total), minibatch, lambda n: empty(n, unit.frames * DIM, width)
        ):
            counted += count
            assert count == int(batch.mask.sum())
            for x, labels, mask, before in zip(*map(torch.clone, batch), strict=True):
                seen.append((x.view(unit.frames, DIM).numpy(), labels.tolist(), mask.bool().tolist(), int(before)))
        assert counted == sum(lengths) and len(seen) == total
        listed = literal_order(loader.order(0, -1))
    assert sorted(listed) == [(u, k) for u, n in enumerate(unit.count(lengths)) for k in range(n)]
    for (u, k), (x, labels, mask, before) in zip(listed, seen, strict=True):
        begin = max(0, min(k * width, lengths[u] - width))
        assert (before, mask) == (max(0, left - begin), wanted[u, begin][2])
        for j in range(unit.frames):
            np.testing.assert_array_equal(x[j], frames[u][min(max(begin - left + j, 0), lengths[u] - 1)])
        assert [label for label, kept in zip(labels, mask, strict=True) if kept] == [
            ids[u][begin + j] for j in range(width) if mask[j]
        ]


def plan(lengths, period, workers, minibatch, width):
    schedule = section(ScheduleOptions, kind="exponential", epochs=1, final_learning_rate=0.001)
    parallel = section(ParallelOptions, workers=workers, period_frames=period)
    return build_plan(lengths, schedule, parallel, minibatch, unit=TrainingUnit(width))


def test_a_plan_counts_units_and_its_periods_frames():
    lengths = [95, 7, 400, 131, 20]
    found = plan(lengths, 100, 2, 3, 20)
    assert (found.frames, found.units) == (653, 5 + 1 + 20 + 7 + 1)
    assert len(found.iterations) == round(653 / 200)
    ends = [edge for iteration in found.iterations for part in iteration.slices for edge in part]
    assert ends[0] == 0 and ends[-1] == 34 and all(edge % 3 == 0 for edge in ends[:-1])
    assert ends[1:-1:2] == ends[2::2]


def test_a_chunk_longer_than_every_utterance_is_refused():
    with pytest.raises(UserError, match=r"network\.chunk: 21 frames are more than every .*longest has 20\)"):
        plan([20, 11], 100, 1, 3, 21)
    assert plan([20, 11], 100, 1, 1, 20).units == 2
    with pytest.raises(UserError, match="an epoch has only 2 minibatches of 3 chunks of 20 frames"):
        plan([60, 40], 100, 3, 3, 20)
