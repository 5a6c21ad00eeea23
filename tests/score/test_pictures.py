"""Small pictures: SVG that can stand in a page, the same bytes for the same data, nothing lost."""

import xml.dom.minidom

import pytest

from unisono.score import pictures

SYSTEMS = [
    {"name": "tri GMM", "wer": 0.2, "ci95": [0.15, 0.25], "chosen": False},
    {"name": "<b>", "wer": 0.0, "ci95": [0.0, 0.0], "chosen": True},
]
ROWS = [{"frames_seen": 100 * i, "objective_dev": -2.0 + i / 10, "objective_train": None} for i in range(3)]


@pytest.mark.parametrize(
    ("draw", "data", "taller"),
    [
        (pictures.rates, SYSTEMS, SYSTEMS * 3),
        (pictures.spent, {"hmm": 60.0}, {f"stage{i}": 60.0 for i in range(9)}),
    ],
)
def test_a_picture_grows_with_what_it_shows(draw, data, taller):
    heights = [float(parsed(draw(what)).getAttribute("height").removesuffix("pt")) for what in (data, taller)]
    assert heights[1] > heights[0] + 50
    assert draw(data) == draw(data)


def parsed(svg):
    assert svg.startswith("<svg"), "no XML heading within a page"
    return xml.dom.minidom.parseString(svg).documentElement


@pytest.mark.parametrize("runs", [{}, {"a": []}, {"a": ROWS}, {f"run{i}": ROWS for i in range(20)}])
def test_courses_of_none_and_of_many_runs(runs):
    assert parsed(pictures.courses(runs)).tagName == "svg"


def test_a_line_for_each_run():
    one, two = (pictures.courses({f"run{i}": ROWS for i in range(n)}) for n in (1, 2))
    assert pictures.BLUE.lower() in one.lower() and pictures.RED.lower() not in one.lower()
    assert pictures.RED.lower() in two.lower()
