"""A paper's claims name cells and metrics of its study; whatever cannot be tested is refused in one line."""

import json

import pytest
import yaml

from unisono.config import check
from unisono.config.build import complete, from_json
from unisono.config.claims import Claims
from unisono.errors import UserError

CONFIG = {
    "name": "x",
    "observers": {"ema": {}},
    "study": {
        "name": "s",
        "cells": {
            "a": {},
            "b-1": {},
            "n": {"schedule": {"epochs": None, "iterations": 9}},
            "newbob": {"schedule": {"kind": "newbob"}},
        },
        "tune_on": "a",
        "decode": {"cells": ["a"]},
    },
}
CLAIM = {"claim": "B is better.", "stands": "abstract", "certainty": "A"}


def read(folder, claim, config=None, text=None):
    path = folder / "x.yaml"
    claims = {"paper": "Somebody 2014", "claims": {"one": claim}}
    (folder / "x.claims.yaml").write_text(text or yaml.safe_dump(claims))
    return check.claims([str(path)], check.read_config(config or CONFIG))


def test_claims_are_read_and_travel_as_json(tmp_path):
    measured = {"b-1": 1, "a/ema": -1.0}
    claims = read(tmp_path, {**CLAIM, "published": "9 %", "measured": measured, "expected": "above"})
    claim = claims.claims["one"]
    assert (claim.measured, claim.metric, claim.margin, claim.value) == (measured, "objective_dev", 0.03, 0.0)
    assert from_json(Claims, json.dumps(complete(claims))) == claims


def test_the_last_file_with_claims_has_them(tmp_path):
    settings, files = check.read_config(CONFIG), [tmp_path / "x.yaml", tmp_path / "y.yaml"]
    assert check.claims(list(map(str, files)), settings) is None
    for name in "xy":
        text = yaml.safe_dump({"paper": name, "claims": {"one": {**CLAIM, "cannot": "why"}}})
        (tmp_path / f"{name}.claims.yaml").write_text(text)
        assert check.claims(list(map(str, files)), settings).paper == name


@pytest.mark.parametrize(
    ("claim", "line"),
    [
        ({}, "claims.one: has none of measured, shown, cannot: give one"),
        ({"cannot": "so", "shown": ["a"]}, "claims.one: has shown and cannot of measured, shown, cannot: give one"),
        ({"measured": {"a": 1}}, "claims.one.expected: goes with measured"),
        ({"cannot": "so", "expected": "above"}, "claims.one.expected: goes with measured"),
        (
            {"measured": {"c": 1}, "expected": "above"},
            "claims.one.measured: c: no such cell: known are a, b-1, n, newbob",
        ),
        ({"shown": ["a/polyak"]}, "claims.one.shown: a/polyak: cell a makes only last, ema: give it the observer"),
        ({"shown": ["a/ema"], "metric": "averaging_share"}, "claims.one.shown: a/ema: averaging_share is of a run"),
        ({"shown": ["b-1"], "metric": "wer"}, "claims.one.shown: b-1: not decoded: name it in study.decode"),
        ({"shown": ["b-1"], "metric": "cer"}, "claims.one.shown: b-1: not decoded"),
        ({"shown": ["a/ema"], "metric": "wer"}, "claims.one.shown: a/ema: not decoded"),
        ({"shown": ["a@2"], "metric": "frames_per_s"}, "claims.one.shown: a@2: frames_per_s is of a run"),
        ({"shown": ["a@4"], "metric": "wer"}, "claims.one.shown: a@4: not decoded"),
        ({"shown": ["a@5"]}, "claims.one.shown: a@5: cell a trains for 4 epochs"),
        ({"shown": ["n@1"]}, "claims.one.shown: n@1: cell n trains for no whole number of epochs"),
        ({"shown": ["newbob@1"]}, "claims.one.shown: newbob@1: newbob decides after how many epochs a run ends"),
        ({"shown": ["a@0"]}, "claims.one.shown: a@0: cell a trains for 4 epochs"),
        ({"shown": ["a/ema@2"]}, "claims.one.shown: a/ema@2: after an epoch only the last model is evaluated: say a@2"),
        ({"shown": ["a"], "metric": "cer2"}, 'claims.one.metric: "cer2" is not one of objective_dev,'),
        ({"shown": ["a"], "certainty": "N"}, 'claims.one.certainty: "N" is not one of A, C,'),
        ({"shown": ["a"], "tested": 1}, "claims.one.tested: unknown key"),
        ({"shown": []}, "claims.one.shown: []: give at least 1"),
        ({"measured": {"a": "b"}, "expected": "above"}, 'claims.one.measured.a: "b" is not a number'),
        ({"measured": {"a b": 1}, "expected": "above"}, "claims.one.measured.a b"),
        ({"shown": ["a"], "margin": 0}, "claims.one.margin: 0 is out of range: above 0"),
    ],
)
def test_a_claim_that_cannot_be_tested_is_refused_in_one_line(tmp_path, claim, line):
    with pytest.raises(UserError) as error:
        read(tmp_path, {**CLAIM, **claim})
    file, _, said = str(error.value).partition(": ")
    assert file == str(tmp_path / "x.claims.yaml") and said.startswith(line) and "\n" not in said, error.value


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a: [", "not readable as YAML"),
        ("- a", '["a"] is not a mapping'),
        ("paper: x", "claims: missing: give one: The claims by name"),
        ("paper: x\npaper: y", "line 2: paper stands already in line 1"),
        ("paper: x\nclaims: {}", "claims: {}: give at least 1"),
        ("paper: x\nclaims: {on: {}}", "claims: True is no name"),
        (
            "paper: x\nclaims: {a: {stands: x, certainty: A}}",
            "claims.a.claim: missing: give one: The claim, a sentence",
        ),
    ],
)
def test_a_file_that_is_none_of_claims(tmp_path, text, line):
    with pytest.raises(UserError) as error:
        read(tmp_path, {}, text=text)
    assert line in str(error.value) and "\n" not in str(error.value), error.value
    assert str(error.value).startswith(str(tmp_path / "x.claims.yaml"))


def test_claims_need_a_study(tmp_path):
    with pytest.raises(UserError, match=r"^study: missing: .*x\.claims\.yaml tests its claims on the cells of a study"):
        read(tmp_path, {**CLAIM, "cannot": "so"}, config={"name": "x"})
