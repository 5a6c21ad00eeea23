"""Claims against results: sums and intervals by hand, each verdict, the table, what averaging costs."""

import math

import pytest

from tests.support.settings import section
from unisono.config.claims import Claims
from unisono.score.studies import claims, tables
from unisono.score.studies.timing import averaging

T_TWO = 4.302652730  # 97.5 % of Student's t with two degrees of freedom
# Dev objectives over three seeds; words wrong of those decoded.
OBJECTIVES = {
    "a": {"last": (-2.0, -2.2, -2.1), "ema": (-1.9, -2.1, -2.05)},
    "b": {"last": (-1.5, -1.8, -1.65)},
    "c": {"last": (-1.5, None, -1.65)},
}
ERRORS = {"a": (0.3, 0.31, 0.33), "b": (0.28, 0.30, 0.32)}
TIMING = {
    name: {"averaging_share": [0.1, 0.2, 0.3], "modelled_speedup": [2.0, 2.5, 3.0], "frames_per_s": [7.0, 8.0, 9.0]}
    for name in OBJECTIVES
}


def results():
    cells = {}
    for name, models in OBJECTIVES.items():
        made = {c: {"objective_dev": {"values": v}, "frame_accuracy": {"values": v}} for c, v in models.items()}
        if name in ERRORS:
            made["last"]["wer"] = {"values": ERRORS[name]}
            made["last"]["cer"] = {"values": [error / 2 for error in ERRORS[name]]}
        first, second = ({"values": [v - step for v in (1.0, 2.0, 4.0)]} for step in (0.5, 0.0))
        cells[name] = {"candidates": made, "epochs": {"objective_dev": [first, second]}}
    pair = {"cell_a": "a", "candidate_a": "last", "cell_b": "b", "candidate_b": "last", "wer_difference": {"p": 0.0123}}
    return {"study": "s", "seeds": [1, 2, 3], "cpu": ["a cpu"], "cells": cells, "pairs": [pair]}


def judged(**values):
    claim = {"claim": "B | is better.", "stands": "section 3", "certainty": "A", **values}
    made = section(Claims, paper="Somebody 2014", claims={"one": claim})
    return claims.evaluate(made, results(), TIMING)


def row(**values):
    (found,) = judged(**values)["claims"]
    return found


def test_a_difference_is_formed_seed_by_seed():
    found = row(measured={"b": 1, "a": -1}, expected="above", published_value=0.4)
    differences = [0.5, 0.4, 0.45]
    assert found["measured"]["values"] == pytest.approx(differences)
    reach = T_TWO * 0.05 / math.sqrt(3)
    assert found["measured"]["ci95"] == pytest.approx([0.45 - reach, 0.45 + reach])
    assert found["difference"] == pytest.approx(0.05) and found["verdict"] == "shown"
    # Both are decoded, so their error rates stand beside it, and decide nothing.
    assert found["wer"]["values"] == pytest.approx([-0.02, -0.01, -0.01])
    assert (
        found["matched_pairs_p"] == row(measured={"b": 1, "a": -1}, expected="below", metric="wer")["matched_pairs_p"]
    )
    page = claims.table(judged(measured={"b": 1, "a": -1}, expected="above"), "a command", [])
    assert "; matched pairs over all seeds: p = 0.012 |" in page
    assert row(measured={"b": 2, "a": -1}, expected="above")["matched_pairs_p"] is None


def test_an_interaction_is_a_sum_of_four():
    found = row(measured={"a/ema": 1, "a": -1, "b": 0.5, "a/last": -0.5}, expected="above")
    by_hand = [(-1.9 + 2.0) + 0.5 * 0.5, 0.1 + 0.5 * 0.4, 0.05 + 0.5 * 0.45]
    assert found["measured"]["values"] == pytest.approx(by_hand) and "wer" not in found


def test_the_table_says_what_a_sum_is_held_against():
    page = claims.table(judged(measured={"b": 1, "a": -1}, expected="below", value=0.6), "a command", [])
    assert "| shown (below 0.600 nats) |" in page
    page = claims.table(judged(measured={"b": 1, "a": -1}, expected="equal", value=0.45, margin=0.2), "a command", [])
    assert "| shown (equal within 0.200 nats to 0.450 nats) |" in page
    page = claims.table(judged(measured={"b": 1, "a": -1}, expected="above"), "a command", [])
    assert "| shown |" in page


def test_characters():
    found = row(measured={"b": 1, "a": -1}, expected="below", metric="cer")
    assert found["measured"]["values"] == pytest.approx([-0.01, -0.005, -0.005]) and "wer" not in found
    page = claims.table(judged(shown=["a"], metric="cer"), "a command", [])
    assert "a 15.67 [" in page and "% CER" in page


def test_a_model_after_so_many_epochs():
    found = row(measured={"b@1": 1, "a": -1}, expected="above")
    assert found["measured"]["values"] == pytest.approx([0.5 + 2.0, 1.5 + 2.2, 3.5 + 2.1]) and "wer" not in found
    (shown,) = judged(shown=["b@2"])["claims"]
    assert shown["shown"]["b@2"]["values"] == pytest.approx([1.0, 2.0, 4.0])


@pytest.mark.parametrize(
    ("expected", "value", "margin", "verdict"),
    [
        ("above", 0.0, 0.03, "shown"), ("below", 0.0, 0.03, "contradicted"), ("above", 0.45, 0.03, "not shown"),
        ("below", 0.45, 0.03, "not shown"), ("above", 0.6, 0.03, "contradicted"), ("below", 0.6, 0.03, "shown"),
        ("equal", 0.45, 0.13, "shown"), ("equal", 0.45, 0.12, "not shown"), ("equal", 0.0, 0.3, "contradicted"),
        ("equal", 0.0, 0.35, "not shown"), ("equal", 0.0, 0.6, "shown"),
    ],
)  # fmt: skip
def test_verdicts(expected, value, margin, verdict):
    """The interval of b - a is 0.45 +- 0.124."""
    measured = {"b": 1, "a": -1}
    assert row(measured=measured, expected=expected, value=value, margin=margin)["verdict"] == verdict


def test_a_run_that_failed_shows_nothing():
    found = row(measured={"c": 1, "a": -1}, expected="above")
    assert found["measured"]["values"][1] is None and found["measured"]["mean"] is None
    assert found["verdict"] == "not shown"


def test_one_seed_shows_nothing():
    claim = {"claim": "B.", "stands": "x", "certainty": "I", "measured": {"b": 1}, "expected": "below"}
    one = {"study": "s", "seeds": [1], "cpu": [],
           "cells": {"b": {"candidates": {"last": {"objective_dev": {"values": [-1.0]}}}}}}  # fmt: skip
    found = claims.evaluate(section(Claims, paper="p", claims={"x": claim}), one, {})
    assert found["claims"][0]["verdict"] == "not shown"


def test_the_table():
    cost = [{"train_cpu_s": 1800.0, "tune_cpu_s": None, "decode_cpu_s": 360.0}] * 2
    found = judged(measured={"b": 1, "a": -2}, expected="equal", published="9 | 10 times")
    lines = claims.table(found, "snakemake paper", cost).splitlines()
    assert lines[0] == "# Somebody 2014: claims"
    assert "`snakemake paper`" in lines[2] and "train 1.00, tune 0.00, decode 0.20" in lines[2]
    assert lines[-1] == (
        "| B / is better. (section 3; A) | 9 / 10 times | b − 2 a = +2.550 [+2.426, +2.674] nats; WER −32.67"
        " [−35.54, −29.80] % WER | – | contradicted (equal within 0.030 nats) |"
    )
    shown = claims.table(judged(shown=["b", "a/ema"], metric="frame_accuracy"), "x", cost).splitlines()[-1]
    assert "b −165.00 [−202.26, −127.74] % of frames; a/ema" in shown and shown.endswith("| – | no verdict |")
    cannot = claims.table(judged(cannot="no Switchboard"), "x", cost).splitlines()[-1]
    assert cannot.endswith("| not known | – | – | cannot be tested here: no Switchboard |")
    timed = row(shown=["b"], metric="modelled_speedup")
    assert timed["shown"]["b"]["values"] == [2.0, 2.5, 3.0] and timed["verdict"] is None
    assert row(shown=["b"], metric="frames_per_s")["shown"]["b"]["values"] == [7.0, 8.0, 9.0]


def test_what_averaging_costs():
    """Two iterations of two workers: 4 s of training each, 1 s of waiting on average, 1 s of combining."""
    slices = ((0.0, 90), (2.0, 110), (2.0, 120), (0.0, 80))
    workers = [{"seconds_load": 1.0, "seconds_compute": 3.0, "seconds_wait": w, "frames": n} for w, n in slices]
    combined = [{"seconds_average": 0.5}, {"seconds_average": 1.5}]
    found = averaging(combined, workers, 2)
    # T(1) = F/v = 16 s for four slices; T(2) = 8 s and two combinations.
    # 400 frames in two iterations of 6 s.
    assert found == {
        "averaging_share": pytest.approx(1 / 6), "modelled_speedup": pytest.approx(16 / (8 + 2)),
        "frames_per_s": pytest.approx(400 / 12),
    }  # fmt: skip
    assert set(averaging([{"seconds_average": None}], workers, 2).values()) == {None}
    # A server takes in one push after the other, a second each; the wait for it holds that second.
    served = averaging(combined, workers, 2, served=True)
    assert served["modelled_speedup"] == found["modelled_speedup"] and served["frames_per_s"] == pytest.approx(400 / 10)
    busy = averaging(combined, workers, 8, served=True)
    assert busy["modelled_speedup"] == pytest.approx(4.0) and busy["frames_per_s"] == pytest.approx(100.0)
    alone = [row | {"seconds_wait": 0.0} for row in workers]  # under `virtual`: 4 s of training and 1 of the server
    assert averaging(combined, alone, 2, served=True)["frames_per_s"] == pytest.approx(400 / 10)


def test_cost_comes_back_from_its_file(tmp_path):
    rows = [{"cell": cell, "seed": s, "run": f"{cell}{s}", "train_cpu_s": None, **averaging([], [], 1)}
            for cell in ("a", "1") for s in (1, 2)]  # fmt: skip
    for number, one in enumerate(rows):
        one["averaging_share"] = 0.25 * number
    (tmp_path / "cost.csv").write_text(tables.text(rows))
    found = tables.timing(tables.read_cost(tmp_path / "cost.csv"))
    assert found["1"] == {
        "averaging_share": [0.5, 0.75],
        "modelled_speedup": [None, None],
        "frames_per_s": [None, None],
    }
    assert list(found) == ["a", "1"]
