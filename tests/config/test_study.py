"""A study's grid becomes cells and runs; what makes none is refused by name."""

import json

import pytest
import yaml

from unisono.config.build import complete, from_json
from unisono.config.check import read_config
from unisono.config.study import Study, cells, decoded, tuned_on
from unisono.errors import UserError

AXES = {
    "optimiser": {"sgd": {"optimiser": "sgd"}, "ng": {"optimiser": {"kind": "ng_online", "learning_rate": 0.1}}},
    "workers": {"n1": {"parallel": {"workers": 1}}, "n4": {"parallel": {"workers": 4, "combine": "bmuf"}}},
}


def read(section, **config):
    return read_config({"name": "x", "study": section, **config})


def test_cells_are_the_product_in_the_order_of_the_axes():
    section = {"name": "s", "axes": AXES, "cells": {"alone": {"observers": {"ema": {}}}}, "seeds": [1, 7]}
    settings = read(section, optimiser={"minibatch": 32}, seed=5)
    names = ["sgd-n1", "sgd-n4", "ng-n1", "ng-n4", "alone"]
    assert list(settings.runs) == [f"s.{cell}-s{seed}" for cell in names for seed in (1, 7)]
    assert {name: cell.values for name, cell in cells(settings.shared.study).items()} == {
        "sgd-n1": ("sgd", "n1"), "sgd-n4": ("sgd", "n4"), "ng-n1": ("ng", "n1"), "ng-n4": ("ng", "n4"), "alone": ()
    }  # fmt: skip
    run = settings.runs["s.ng-n4-s7"]
    assert (run.seed, run.parallel.workers, run.parallel.combine.kind) == (7, 4, "bmuf")
    # merged deeply over the rest of the config, which keeps its own seed for scoring
    assert (run.optimiser.kind, run.optimiser.learning_rate, run.optimiser.minibatch) == ("ng_online", 0.1, 32)
    assert settings.shared.seed == 5 and settings.runs["s.sgd-n1-s1"].optimiser.kind == "sgd"
    assert settings.runs["s.alone-s1"].observers["ema"].kind == "ema"


def test_a_command_that_is_told_of_a_study_finds_the_same_cells():
    """It is told in JSON, whose keys are text."""
    study = read(yaml.safe_load("{name: s, axes: {workers: {1: {}, 0.5: {}}}, cells: {7: {}}}")).shared.study
    assert list(cells(study)) == ["1", "0.5", "7"]
    assert from_json(Study, json.dumps(complete(study))) == study


def test_a_later_axis_goes_over_an_earlier_one():
    axes = {"a": {"x": {"optimiser": {"momentum": 0.5}}}, "b": {"y": {"optimiser": {"momentum": 0.9}}}}
    assert read({"name": "s", "axes": axes}).runs["s.x-y-s1"].optimiser.momentum == 0.9


def test_what_is_decoded_and_what_it_is_tuned_on():
    decode = {"cells": ["n4"], "candidates": ["ema", "last"]}
    section = {"name": "s", "axes": {"workers": AXES["workers"]}, "seeds": [3, 1], "tune_on": "n1", "decode": decode}
    study = read(section, observers={"ema": {}}).shared.study
    assert list(decoded(study)) == [
        f"runs/s.n4-s{seed}/decode/{candidate}" for seed in (3, 1) for candidate in ("ema", "last")
    ]
    assert tuned_on(study) == "runs/s.n1-s3/decode/ema"


def test_candidates_begin_with_the_last():
    run = read({"name": "s", "cells": {"a": {"final_model": "best", "observers": {"polyak": {}}}}}).runs["s.a-s1"]
    assert run.candidates == ["last", "best", "polyak"]


@pytest.mark.parametrize(
    ("section", "line"),
    [
        ({}, "study.name: missing: give one: Name of the study"),
        (3, "study: 3 is not a mapping"),
        ({"name": "s"}, "study: no cell"),
        ({"name": "s", "axes": {"a": {}}}, "study.axes.a: {}: give at least 1"),
        ({"name": "s", "axes": [1]}, "study.axes: [1] is not a mapping"),
        ({"name": "s", "axes": {"a": ["x"]}}, 'study.axes.a: ["x"] is not a mapping'),
        ({"name": "s", "axes": {"a": {"x": 3}}}, "study.axes.a.x: 3 is not a mapping"),
        (yaml.safe_load("{name: s, axes: {momentum: {off: {}, on: {}}}}"), "study.axes.momentum: False is no name"),
        (yaml.safe_load("{name: s, cells: {~: {}}}"), "study.cells: None is no name"),
        ({"name": "s", "cells": {"a": {}}, "seeds": 4}, "study.seeds: 4 is not a list"),
        ({"name": "s", "cells": {"a": {}}, "seeds": []}, "study.seeds: []: give at least 1"),
        ({"name": "s", "cells": {"a": {}}, "seeds": [-1]}, "study.seeds.0: -1 is out of range"),
        ({"name": "s", "cells": {"a": {}}, "decode": {"candidates": []}}, "study.decode.candidates: []: give at least"),
        ({"name": "s", "cells": {"a": {}}, "decode": [1]}, "study.decode: [1] is not a mapping"),
        ({"name": "s", "cells": {"a": {}}, "decode": {"cells": "a"}}, 'study.decode.cells: "a" is not a list'),
        ({"name": "s", "axes": {"a": {"b/c": {}}}}, 'study.axes.a.b/c: "b/c": only letters'),
        ({"name": "s", "axes": {"a": {"x-y": {}}, "b": {"z": {}}}, "cells": {"x-y-z": {}}},
         "study: two cells have the name x-y-z"),
        ({"name": "s", "cells": {"a": {"seed": 3}}}, "study.cells.a.seed: a study's seeds"),
        ({"name": "s", "cells": {"a": {"hmm": {}}}}, "study.cells.a.hmm: shared by all runs"),
        ({"name": "s", "axes": {"a": {"x": {"optimiser": {"rate": 1}}}}}, "study.axes.a.x.optimiser.rate: unknown key"),
        ({"name": "s", "cells": {"a": {}}, "tune_on": "b"}, "study.tune_on: b: no such cell: known are a"),
        ({"name": "s", "cells": {"a": {}}, "decode": {"cells": ["b"]}}, "study.decode.cells: b: no such cell"),
        ({"name": "s", "cells": {"a": {}}, "decode": {"cells": ["a"]}}, "study.tune_on: missing"),
        ({"name": "s", "axis": {}}, "study.axis: unknown key: did you mean axes?"),
        ({"name": "s", "cells": {"a": {}}, "tune_on": "a", "decode": {"cells": ["a"], "candidates": ["polyak"]}},
         "study.decode.candidates: polyak: cell a makes only last"),
    ],
)  # fmt: skip
def test_a_grid_that_makes_no_sense_is_refused_in_one_line(section, line):
    with pytest.raises(UserError) as error:
        read(section)
    assert str(error.value).startswith(line) and "\n" not in str(error.value), error.value


def test_a_study_without_curves_is_refused():
    with pytest.raises(UserError, match="diagnostics.frames: 0: a study draws"):
        read({"name": "s", "cells": {"a": {}}}, diagnostics={"frames": 0})
