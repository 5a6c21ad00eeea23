"""What a study's runs become: numbers over seeds, pairs, tables, pictures; checked by hand on two cells."""

import csv
import json
import math
from types import SimpleNamespace

import pytest

from tests.support.settings import section
from unisono.config.parallel import CombineOptions
from unisono.config.study import Study
from unisono.engines.rules import vectors_sent
from unisono.errors import UserError
from unisono.score import plots
from unisono.score.statistics import mean_interval
from unisono.score.studies import cells as study_cells
from unisono.score.studies import findings, tables
from unisono.score.studies import plots as study_plots

SECTION = section(
    Study, name="s", axes={"workers": {"n2": {}, "n1": {}}}, cells={"odd": {}}, seeds=[1, 2], tune_on="n1",
    decode={"cells": ["n2", "n1"]},
)  # fmt: skip
TEST = study_cells.Test({"u1": ["A", "B"], "u2": ["C", "D"]}, {"u1": "ann", "u2": "tom"}, seed=1)
# Objectives of the last model by cell and seed; words that were heard.
LAST = {"n2": (-2.0, -3.0), "n1": (-1.0, -1.5), "odd": (-1.0, None)}
HEARD = {"n2": ("u1 A X\nu2 C D\n", "u1 X X\nu2 C\n"), "n1": ("u1 A B\nu2 C D\n", "u1 A B\nu2 C X\n")}
T_ONE = 12.706204736  # 97.5 % of Student's t with one degree of freedom
SENT = {"bytes_per_combination": 7, "bytes_for_diagnostics": 1}


def metrics(first, second):
    rows = [(0, None, 100, first), (0, 0, 50, None), (0, 1, 50, None), (1, None, 80, second)]
    return "".join(
        json.dumps({
            "iteration": i, "worker": worker, "frames": frames, "objective_train": objective,
            "objective_dev": objective, "frame_accuracy": 0.5, "learning_rate": 0.1, "rejected": False,
            "limited": 0.25 * i, "epoch": i, "objective_dev_full": objective, "frame_accuracy_full": 0.5,
        }) + "\n"
        for i, worker, frames, objective in rows
    )  # fmt: skip


@pytest.fixture
def root(tmp_path):
    """The files of a study's runs that its results are made of."""
    for cell, ends in LAST.items():
        for index, (seed, end) in enumerate(zip((1, 2), ends, strict=True)):
            folder = tmp_path / "runs" / f"s.{cell}-s{seed}"
            folder.mkdir(parents=True)
            settings = {
                "final_model": "last", "schedule": {"kind": "fixed"},
                "optimiser": {"kind": "sgd", "learning_rate": 0.1},
                "parallel": {"workers": 2, "period_frames": 50, "combine": {"kind": "mean"}},
                "observers": {"ema": {"kind": "ema"}} if cell == "n1" else {},
            }  # fmt: skip
            candidates = {"last": {"objective_dev": end, "frame_accuracy": 0.5 + 0.1 * index}}
            if cell == "n1":
                candidates["ema"] = {"objective_dev": end + 0.25 * seed, "frame_accuracy": 0.75}
            final = {
                "cpu": "a cpu", "version": "1", "libraries": {}, "parameters": 9, "iterations": 2,
                "rejected": [{}] * index, "candidates": candidates,
            }  # fmt: skip
            (folder / "config.json").write_text(json.dumps(settings))
            (folder / "final.json").write_text(json.dumps(final))
            (folder / "metrics.jsonl").write_text(metrics(-4.0 - index, end))
            if cell in HEARD:
                (folder / "decode/last").mkdir(parents=True)
                (folder / "decode/last/hyp.txt").write_text(HEARD[cell][index])
    return tmp_path


def found(root):
    cells = study_cells.gather(root, SECTION, TEST)
    tuned = {"acoustic_scale": 0.1, "word_insertion_penalty": 0.5, "dev_wer": 0.3, "tried": []}
    return cells, findings.results(SECTION, cells, dict.fromkeys(LAST, SENT), tuned, TEST)


def test_interval_of_a_mean():
    assert mean_interval([3.0]) is None
    low, high = mean_interval([1.0, 2.0, 3.0])
    assert (low, high) == pytest.approx((2 - 4.302652730 / math.sqrt(3), 2 + 4.302652730 / math.sqrt(3)))


def test_numbers_over_seeds(root):
    _, results = found(root)
    cell = results["cells"]["n2"]
    assert list(results["cells"]) == ["n2", "n1", "odd"]
    objective = cell["candidates"]["last"]["objective_dev"]
    assert objective["values"] == [-2.0, -3.0] and objective["mean"] == -2.5
    assert objective["ci95"] == pytest.approx([-2.5 - 0.5 * T_ONE, -2.5 + 0.5 * T_ONE])
    assert cell["candidates"]["last"]["frame_accuracy"]["mean"] == 0.55
    assert [epoch["values"] for epoch in cell["epochs"]["objective_dev"]] == [[-4.0, -5.0], [-2.0, -3.0]]
    assert [epoch["mean"] for epoch in cell["epochs"]["frame_accuracy"]] == [0.5, 0.5]
    wer = cell["candidates"]["last"]["wer"]
    assert (wer["values"], wer["mean"], wer["errors"], wer["words"]) == ([0.25, 0.75], 0.5, [1, 3], 4)
    assert (cell["frames"], cell["iterations"], cell["rejected"]) == (180, [2, 2], [0, 1])
    assert cell["bytes_per_combination"] == 7
    assert results["tuned"] == {
        "on": "runs/s.n1-s1/decode/last", "acoustic_scale": 0.1, "word_insertion_penalty": 0.5, "dev_wer": 0.3
    }  # fmt: skip


def test_an_observer_is_compared_with_the_last_model_of_the_same_seed(root):
    _, results = found(root)
    candidates = results["cells"]["n1"]["candidates"]
    assert list(candidates) == ["last", "ema"] and "wer" not in candidates["ema"]
    assert candidates["ema"]["objective_minus_last"]["values"] == [0.25, 0.5]
    assert "objective_minus_last" not in candidates["last"]


def test_a_seed_that_is_not_finite_leaves_no_mean(root):
    cells, results = found(root)
    assert results["cells"]["odd"]["candidates"]["last"]["objective_dev"] == {
        "values": [-1.0, None], "mean": None, "ci95": None
    }  # fmt: skip
    assert findings.curve(cells[2])[1]["objective_dev"] is None


def test_pairs(root):
    _, results = found(root)
    pairs = {(p["cell_a"], p["candidate_a"], p["cell_b"], p["candidate_b"]): p for p in results["pairs"]}
    assert list(pairs) == [
        ("n2", "last", "n1", "last"), ("n2", "last", "odd", "last"), ("n1", "last", "n1", "ema"),
        ("n1", "last", "odd", "last"),
    ]  # fmt: skip
    pair = pairs["n2", "last", "n1", "last"]
    assert pair["objective_difference"]["values"] == [-1.0, -1.5]
    wer = pair["wer_difference"]
    assert wer["values"] == [0.25, 0.5]
    # Errors over both seeds: u1 3 and 0, u2 1 and 1, so d = (3, 0) with mean 1.5 and variance 4.5 / 2 of the mean.
    assert wer["z"] == pytest.approx(1.5 / math.sqrt(4.5 / 2))
    assert "wer_difference" not in pairs["n1", "last", "odd", "last"]


def test_curve_is_mean_and_range_at_the_frames_of_all_workers(root, monkeypatch):
    cells, _ = found(root)
    rows = findings.curve(cells[0])
    assert [(row["frames"], row["objective_dev"]) for row in rows] == [(100, -4.5), (180, -2.5)]
    assert (rows[0]["objective_dev_min"], rows[0]["objective_dev_max"]) == (-5.0, -4.0)
    assert [row["limited"] for row in rows] == [0.0, 0.25]
    monkeypatch.setattr(findings, "MOST_POINTS", 1)
    (both,) = findings.curve(cells[0])
    assert (both["iteration"], both["frames"], both["objective_dev"]) == (1, 180, -3.5)
    assert (both["objective_dev_min"], both["objective_dev_max"], both["limited"]) == (-4.0, -3.0, 0.125)
    # A seed of chunks has some frames fewer, and one that newbob ends is shorter.
    folder = root / "runs" / "s.n2-s2" / "metrics.jsonl"
    lines = folder.read_text().splitlines()
    folder.write_text(lines[0].replace('"frames": 100', '"frames": 96') + "\n" + "\n".join(lines[1:3]) + "\n")
    (only,) = findings.curve(found(root)[0][0])
    assert (only["iteration"], only["frames"], only["objective_dev"]) == (0, 98, -4.5)


def test_an_epoch_is_worth_its_last_iteration():
    rows = [(0, None, None), (0, -2.0, -4.0), (1, None, None), (1, -1.0, None)]
    runs = [SimpleNamespace(combined=[{"epoch": row[0], "dev_full": row[seed]} for row in rows]) for seed in (1, 2)]
    runs.append(SimpleNamespace(combined=runs[0].combined[:2]))
    found = findings.epochs(SimpleNamespace(runs=runs), "dev_full")
    assert [(epoch["values"], epoch["mean"]) for epoch in found] == [
        ([-2.0, -4.0, -2.0], pytest.approx(-8.0 / 3.0)), ([-1.0, None, None], None)
    ]  # fmt: skip


def test_tables(root):
    cells, results = found(root)
    rows = list(csv.DictReader(tables.text(tables.cells(results)).splitlines()))
    assert [(row["cell"], row["candidate"]) for row in rows] == [
        ("n2", "last"), ("n1", "last"), ("n1", "ema"), ("odd", "last")
    ]  # fmt: skip
    assert (rows[0]["objective_dev"], rows[0]["wer"], rows[3]["objective_dev"]) == ("-2.5", "0.5", "")
    assert results["cells"]["n2"]["limited"] == [0.25 * 80 / 180] * 2 and float(rows[0]["limited"]) == 0.25 * 80 / 180
    assert len(tables.text(tables.pairs(results)).splitlines()) == 1 + 4
    folder = root / "benchmarks" / "train"
    folder.mkdir(parents=True)
    for name, cpu in {
        "s.n2-s1.block.9": "2.5",
        "s.n2-s1.finish": "1.5",
        "s.n2-s1.3.diagnose": "0.5",
        "s.n2-s10.finish": "9",
        "s.n2-s2.0.1": "NA",
    }.items():
        (folder / f"{name}.tsv").write_text(f"s\tcpu_time\n3\t{cpu}\n")
    (folder / "s.n2-s2.0.1.served").write_text("cpu_time\tmax_rss\n7.25\t300.00\n")
    cost = tables.cost(root / "benchmarks", cells)
    assert [row["train_cpu_s"] for row in cost] == [4.5, 7.2, None, None, None, None]
    assert cost[0]["decode_cpu_s"] is None


def test_pictures_repeat(root, tmp_path):
    cells, results = found(root)
    drawn = []
    for _ in range(2):
        study_plots.curves(
            tmp_path / "curves.svg", ["workers"], cells, {cell.name: findings.curve(cell) for cell in cells}
        )
        paces = dict.fromkeys(LAST, 100.0) | {"odd": None}
        courses = {cell.name: findings.curve(cell) for cell in cells}
        study_plots.curves(tmp_path / "seconds.svg", ["workers"], cells, courses, paces)
        study_plots.final(tmp_path / "final.svg", results)
        drawn.append([(tmp_path / name).read_bytes() for name in ("curves.svg", "seconds.svg", "final.svg")])
    assert drawn[0] == drawn[1] and all(b"<svg" in picture for picture in drawn[0])
    study_plots.curves(tmp_path / "none.svg", ["workers"], cells, courses, dict.fromkeys(LAST))
    assert b"seconds of training" in (tmp_path / "none.svg").read_bytes(), "no run was timed"
    assert b"odd" not in drawn[0][1] and b"odd" in drawn[0][0]
    assert b"seconds of training" in drawn[0][1] and b"seconds of training" not in drawn[0][0]


def test_a_cell_that_failed_stands_at_the_edge(root, tmp_path):
    _, results = found(root)
    several = {f"n{number}": {"candidates": {"last": ends(-2.0 - 0.01 * number, 0.4)}} for number in range(4)}
    drawn = []
    for spread in (0.1, 3.0):  # a failed cell's seeds and interval are not drawn
        bad = {"bad": {"candidates": {"last": ends(-7.5, 0.93, spread)}}}
        study_plots.final(tmp_path / "with.svg", {"cells": several | bad})
        drawn.append((tmp_path / "with.svg").read_text())
    assert drawn[0] == drawn[1] and "\u25c0 -7.50" in drawn[0] and "93.0 \u25b6" in drawn[0]
    study_plots.final(tmp_path / "without.svg", {"cells": several})
    assert "\u25c0" not in (tmp_path / "without.svg").read_text()


def test_error_rates_are_drawn_where_there_are_two_to_compare(tmp_path):
    systems = {f"n{number}": {"candidates": {"last": ends(-2.0 - 0.01 * number, 0.4)}} for number in range(3)}
    sizes = []
    for decoded in (0, 1, 2):
        for number, cell in enumerate(systems.values()):
            kept = {key: value for key, value in ends(-2.0, 0.4).items() if key != "wer" or number < decoded}
            cell["candidates"]["last"] = kept
        study_plots.final(tmp_path / "final.svg", {"cells": systems})
        sizes.append((tmp_path / "final.svg").read_text().count('id="axes_'))
    assert sizes == [1, 1, 2]


def test_runs_that_did_not_count_limited_steps_are_shown_without(root):
    for path in root.glob("runs/*/metrics.jsonl"):
        path.write_text("".join(line.replace('"limited"', '"other"') for line in path.open()))
    cells, results = found(root)
    assert results["cells"]["n2"]["limited"] == [None, None]
    row = tables.cells(results)[0]
    assert row["limited"] is None and findings.curve(cells[0])[0]["limited"] is None


def test_a_curve_that_fell_is_named_but_not_drawn(root, tmp_path):
    cells, _ = found(root)
    courses = {cell.name: findings.curve(cell) for cell in cells}
    drawn = []
    for start, end in ((-3.0, -70_000.4), (-4.0, -70_000.4), (-3.0, -9.0)):
        fell = [{**row, "objective_dev": start, "objective_dev_min": start, "objective_dev_max": start}
                for row in courses["odd"]]  # fmt: skip
        fell[-1] |= {"objective_dev": end, "objective_dev_min": end, "objective_dev_max": end}
        study_plots.curves(tmp_path / "curves.svg", ["workers"], cells, courses | {"odd": fell})
        drawn.append((tmp_path / "curves.svg").read_text())
    assert drawn[0] == drawn[1] and "(not shown: ends at -70,000)" in drawn[0]
    assert "(not shown: ends at -9.00)" in drawn[2]


@pytest.mark.parametrize("labels", [["n1", "n4", "n16"], ["ng-k1-constant", "ng-k10-constant", "k"], ["x" * 40, "y"]])
def test_a_legend_is_no_wider_than_its_panel(tmp_path, labels):
    with plots.figure(tmp_path / "drawn.png", 13.6, 4.6, panels=3) as drawn:
        for axes in drawn:
            for label in labels:
                axes.plot([0, 1], [0, 1], marker="o", label=label)
            plots.legend_below(axes, "period")
        drawn[0].figure.draw_without_rendering()
        for axes in drawn:
            assert axes.get_legend().get_window_extent().width <= axes.get_window_extent().width


@pytest.mark.parametrize("lines", [1, 11])
def test_a_long_legend_leaves_the_curves_their_height(tmp_path, lines):
    with plots.figure(tmp_path / "drawn.png", 13.6, 4.6, panels=3) as drawn:
        for axes in drawn:
            for line in range(lines):
                axes.plot([0, 1], [0, 1], label="x" * 30 + str(line))
            plots.legend_below(axes, "period")
        plots.make_room(drawn)
        drawn[0].figure.draw_without_rendering()
        for axes in drawn:
            assert axes.get_window_extent().height / axes.figure.dpi > 2.0  # inches


def ends(objective, wer, spread=0.1):
    """A candidate's numbers over two seeds around given means."""
    objectives = findings.over_seeds([objective - spread, objective + spread])
    return {"objective_dev": objectives, "wer": findings.over_seeds([wer, wer])}


def test_backoffs_and_rates_are_told(root):
    path = root / "runs/s.n2-s2/metrics.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    for row in rows:
        row["learning_rate"] /= 1 + row["iteration"]
        row["rejected"] = True
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    cells, results = found(root)
    cell = results["cells"]["n2"]
    assert cell["backoffs"] == [0, 2] and cell["rejected"] == [0, 1] and cell["worker_rate_first"] == 0.1
    assert cell["worker_rate_mean"] == pytest.approx([0.1, (100 * 0.1 + 80 * 0.05) / 180])
    row = tables.cells(results)[0]
    assert row["backoffs"] == 2 and row["worker_rate_mean"] == pytest.approx((0.1 + 14 / 180) / 2)
    study_plots.curves(root / "curves.svg", ["workers"], cells, {cell.name: findings.curve(cell) for cell in cells})
    assert "(back-offs: 2)" in (root / "curves.svg").read_text()


def test_a_model_that_a_seed_lacks_is_named(root):
    path = root / "runs/s.n1-s2/final.json"
    final = json.loads(path.read_text())
    del final["candidates"]["ema"]
    path.write_text(json.dumps(final))
    with pytest.raises(UserError, match="cell n1: not every seed has a model ema"):
        study_cells.gather(root, SECTION, TEST)


@pytest.mark.parametrize(
    ("kind", "workers", "sent"),
    [
        ("mean", 1, (0, 0)), ("mean", 8, (1.75, 0)), ("bmuf_nesterov", 2, (1, 0)), ("butterfly", 8, (1, 1.75)),
        ("hopping_ring", 4, (1, 1.5)), ("ring", 1, (0, 0)),
    ],
)  # fmt: skip
def test_what_a_rank_sends(kind, workers, sent):
    options = section(CombineOptions, kind=kind, weights="frames", block_momentum="auto", block_learning_rate=1.0)
    assert vectors_sent(options, workers) == sent
