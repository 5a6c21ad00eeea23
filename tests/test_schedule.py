"""The plan covers each epoch exactly once, and its rates are the published ones."""

import dataclasses
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.settings import section
from unisono.config.parallel import ParallelOptions, Ramp
from unisono.config.schedule import NewbobOptions, ScheduleOptions
from unisono.errors import UserError
from unisono.iterations import last_redealt, static_workers
from unisono.rates import base_rate, newbob_start, newbob_step, scales_with_workers, warm_up
from unisono.schedule import build_plan, cut, deal, read_plan, write_plan


def schedule(**changes):
    return section(ScheduleOptions, **{"kind": "exponential", "epochs": 2, "final_learning_rate": 0.001} | changes)


def parallel(**changes):
    return section(ParallelOptions, **{"period_frames": 1000, "carry_state": "reset"} | changes)


@given(
    lengths=st.lists(st.integers(1, 900), min_size=8, max_size=40),
    workers=st.integers(1, 8),
    period=st.integers(64, 3000),
    minibatch=st.integers(1, 64),
    epochs=st.integers(1, 3),
    dealing=st.sampled_from(["rotating", "fixed"]),
)
def test_every_unit_of_an_epoch_lies_in_exactly_one_slice(lengths, workers, period, minibatch, epochs, dealing):
    try:
        plan = build_plan(
            lengths,
            schedule(epochs=epochs),
            parallel(workers=workers, period_frames=period, dealing=dealing),
            minibatch,
        )
    except UserError:
        assert dealing == "rotating" and -(-sum(lengths) // minibatch) < workers
        return
    for epoch in range(epochs):
        iterations = [it for it in plan.iterations if it.epoch == epoch]
        assert [it.end_of_epoch for it in iterations] == [False] * (len(iterations) - 1) + [True]
        lists = (
            zip(*(it.slices for it in iterations), strict=True)
            if dealing == "fixed"
            else [[piece for it in iterations for piece in it.slices]]
        )
        wanted = plan.worker_units or (sum(lengths),)
        for pieces, end in zip(lists, wanted, strict=True):
            assert pieces[0][0] == 0 and pieces[-1][1] == end
            assert all(a[1] == b[0] for a, b in zip(pieces, pieces[1:], strict=False))
            assert all(begin % minibatch == 0 and begin < stop for begin, stop in pieces)
            sizes = [-(-(stop - begin) // minibatch) for begin, stop in pieces]
            assert max(sizes) - min(sizes) <= 1


@given(
    units=st.integers(3000, 90000),
    initial=st.integers(1, 3),
    more=st.integers(1, 9),
    epochs=st.one_of(st.none(), st.integers(1, 4)),
)
def test_a_ramp_grows_to_the_final_number_and_covers_each_epoch(units, initial, more, epochs):
    final = initial + more
    iterations = None if epochs else 17
    plan = build_plan(
        [units],
        schedule(epochs=epochs, iterations=iterations),
        parallel(workers={"initial": initial, "final": final}, period_frames=200),
        16,
    )
    counts = [it.workers for it in plan.iterations]
    assert counts == sorted(counts) and counts[0] == initial and counts[-1] <= final
    if iterations:
        assert counts == static_workers(iterations, Ramp(initial=initial, final=final))
    for epoch in {it.epoch for it in plan.iterations if it.end_of_epoch}:
        pieces = [piece for it in plan.iterations if it.epoch == epoch for piece in it.slices]
        assert sum(stop - begin for begin, stop in pieces) == units


def test_iterations_per_epoch_follow_the_formula():
    for units, workers, period in [(10_000, 2, 1000), (10_000, 3, 1000), (10_400, 4, 1000), (900, 2, 1000)]:
        plan = build_plan([units], schedule(epochs=1), parallel(workers=workers, period_frames=period), 10)
        assert len(plan.iterations) == max(1, round(units / (workers * period)))


def test_iteration_zero_is_halved_only_where_the_best_worker_is_kept():
    first = build_plan([10_000], schedule(), parallel(), 64).iterations[0]
    assert (first.minibatch, first.best) == (32, True) and first.max_change_scale == pytest.approx(2**-0.5)
    other = build_plan([10_000], schedule(), parallel(first_iteration="combine"), 64).iterations[0]
    assert (other.minibatch, other.best, other.max_change_scale) == (64, False, 1.0)


def test_so_are_iterations_that_begin_with_a_new_layer():
    asked = {"schedule": schedule(), "minibatch": 64, "insertions": (1, 3)}
    plan = build_plan([10_000], parallel=parallel(workers=2), **asked)
    halved = [it.iteration for it in plan.iterations if it.minibatch == 32]
    assert halved == [0, 1, 3] == [it.iteration for it in plan.iterations if it.best and it.max_change_scale < 0.71]
    combined = build_plan([10_000], parallel=parallel(workers=2, first_iteration="combine"), **asked)
    assert not any(it.best or it.minibatch != 64 or it.max_change_scale != 1.0 for it in combined.iterations)


def test_a_fixed_deal_gives_the_longest_first_to_the_least_loaded():
    assert deal([5, 9, 7, 4, 1], 2) == [1, 0, 1, 0, 1]  # loads 9 | 7, 12 | 9 + 4 = 13 | 12 + 1
    with pytest.raises(UserError, match="at least one utterance"):
        deal([3, 4], 3)


def test_cut_is_even():
    assert cut(1000, 100, 3) == [(0, 300), (300, 600), (600, 1000)]
    assert cut(950, 100, 2) == [(0, 500), (500, 950)]


def test_a_plan_survives_its_file(tmp_path):
    plan = build_plan([500, 700, 1200], schedule(), parallel(dealing="fixed", period_frames=300), 64)
    write_plan(tmp_path / "plan.json", plan)
    assert read_plan(tmp_path / "plan.json") == plan
    first = (tmp_path / "plan.json").read_bytes()
    write_plan(tmp_path / "plan.json", plan)
    assert (tmp_path / "plan.json").read_bytes() == first
    (tmp_path / "plan.json").write_text('{"format": "other"}')
    with pytest.raises(UserError, match="not a plan"):
        read_plan(tmp_path / "plan.json")


def rate(options, epoch=0, progress=0.0, is_last=False, newbob_rate=0.0):
    return base_rate(options, 0.01, epoch=epoch, progress=progress, is_last=is_last, newbob_rate=newbob_rate)


def test_rates():
    exponential = schedule()
    assert rate(exponential) == 0.01
    assert rate(exponential, progress=0.5) == pytest.approx(0.01 * 10**-0.5)
    assert rate(exponential, progress=0.9, is_last=True) == 0.001
    by_epoch = schedule(per="epoch", epochs=3)
    assert [rate(by_epoch, epoch=e, progress=e / 3 + 0.1) for e in range(3)] == pytest.approx(
        [0.01, 0.01 * 10**-0.5, 0.001]
    )
    tail = schedule(epochs=4, constant_epochs=1)
    assert rate(tail, progress=0.375) == pytest.approx(0.01 * 10**-0.5) and rate(tail, progress=0.75) == 0.001
    polynomial = schedule(kind="polynomial")
    values = [rate(polynomial, progress=p / 10) for p in range(11)]
    assert values[0] == 0.01 and values[-1] == pytest.approx(0.001) and values == sorted(values, reverse=True)
    slope = (values[5] / 0.01) ** (-1 / 0.75) - 1  # eta0 / (1 + a t)^c is linear in t under the power -1/c
    assert slope == pytest.approx(0.5 * (10 ** (1 / 0.75) - 1))
    fixed = schedule(kind="fixed", learning_rates=[0.3, 0.2])
    assert [rate(fixed, epoch=e) for e in range(3)] == [0.3, 0.2, 0.2]
    assert rate(schedule(kind="fixed"), epoch=5) == 0.01
    assert rate(schedule(kind="newbob"), newbob_rate=0.004) == 0.004


def test_newbob_halves_and_stops():
    options = section(NewbobOptions, start=0.01, stop=0.001, factor=0.5)
    state = newbob_start(0.008)
    seen = []
    for objective in (-3.0, -2.0, -1.99, -2.5, -1.9899):
        state, accepted, stop = newbob_step(options, state, objective)
        seen.append((state["rate"], accepted, stop))
    assert seen == [
        (0.008, True, False),
        (0.008, True, False),  # a gain of a third
        (0.004, True, False),  # 0.5 %: halving begins
        (0.002, False, True),  # worse: the best returns; a gain of 0 while halving ends the run
        (0.001, True, True),
    ]


def test_newbob_may_decide_anew_after_each_epoch():
    options = section(NewbobOptions, start=0.01, stop=0.001, factor=0.5, resume_anneal=True)
    state, rates = newbob_start(0.008), []
    for objective in (-3.0, -2.99, -2.0, -1.99, -1.989):
        state, _, stop = newbob_step(options, state, objective)
        rates.append(state["rate"])
    # Halved by gains of 0.3 %, then of 0.5 %, and not by that of a third between them.
    assert rates == [0.008, 0.004, 0.004, 0.002, 0.001] and stop


@pytest.mark.parametrize(("begin", "end"), [(0, 40), (0, 100), (30, 90), (60, 140), (0, 250), (100, 130), (170, 200)])
def test_warm_up_is_the_mean_of_a_rate_that_rises_from_frame_to_frame(begin, end):
    literal = sum(min(1.0, (frame + 0.5) / 100) for frame in range(begin, end)) / (end - begin)
    assert warm_up(100, begin, end) == pytest.approx(literal, rel=1e-12)


def test_an_iteration_spans_the_frames_of_all_its_workers():
    plan = build_plan([500, 300], schedule(), section(ParallelOptions, workers=2, period_frames=100), 10)
    spans = [plan.span(i) for i in range(len(plan.iterations))]
    assert spans[0][0] == 0 and spans[-1][1] == 800 * (schedule().epochs or 0)
    assert all(before[1] == after[0] for before, after in zip(spans, spans[1:], strict=False))


def test_newbob_never_takes_an_objective_that_is_not_finite_for_the_best():
    state, accepted, stop = newbob_step(
        section(NewbobOptions, start=0.01, stop=0.001, factor=0.5), newbob_start(0.008), -math.inf
    )
    assert (state["best"], accepted, stop) == (None, False, False)
    state, accepted, _ = newbob_step(section(NewbobOptions, start=0.01, stop=0.001, factor=0.5), state, -3.0)
    assert (state["best"], accepted) == (-3.0, True)


def test_scaling_by_workers_follows_the_rule():
    assert [scales_with_workers("auto", k) for k in ("mean", "ring", "bmuf", "bmuf_nesterov")] == [
        True,
        True,
        False,
        False,
    ]
    assert scales_with_workers(True, "bmuf") and not scales_with_workers(False, "mean")


def test_too_many_workers_for_the_data_is_one_line():
    with pytest.raises(UserError, match="only 2 minibatches"):
        build_plan([100], schedule(), parallel(workers=3), 64)


def test_the_plan_is_plain_data():
    plan = build_plan([500], schedule(epochs=1), parallel(period_frames=100), 50)
    assert dataclasses.is_dataclass(plan) and all(isinstance(it.slices[0], tuple) for it in plan.iterations)


def test_a_plan_tells_where_another_number_of_workers_took_over():
    assert last_redealt([2, 2, 3, 3], 3) == 1 and last_redealt([2, 2, 4, 3], 3) == 2
    assert last_redealt([3, 3], 3) == last_redealt([1, 2, 3], Ramp(initial=1, final=3)) == -1
