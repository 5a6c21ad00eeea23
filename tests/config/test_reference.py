"""config/README.md and config/schema.json are what the settings say; an editor marks a mistake at its key."""

import functools
import json
import re

import jsonschema
import pytest
import yaml

from unisono.cli import config_reference
from unisono.config.config import Config
from unisono.config.reference import MARK, keys, page
from unisono.config.schema import schema

KEYS = list(keys(Config, ""))


@functools.cache
def validator():
    made = schema()
    jsonschema.Draft202012Validator.check_schema(made)
    return jsonschema.Draft202012Validator(made)


def test_each_key_is_explained():
    assert len(KEYS) > 150
    assert [key.path for key in KEYS if len(key.meaning) < 9 or not key.meaning.endswith(".")] == []


def test_a_key_that_several_kinds_have_comes_once():
    paths = [key.path for key in KEYS]
    assert len(set(paths)) == len(paths)
    kinds = {key.path: key.kinds for key in KEYS}
    assert kinds["optimiser.ng.rank_in"] == ["ng_online", "ng_simple"] or kinds["optimiser.ng.rank_in"] == ["ng_online"]
    assert kinds["parallel.combine.block_momentum"] == ["bmuf", "bmuf_nesterov"]
    assert kinds["optimiser.momentum"] == []


def test_rows_say_type_range_unit_and_default():
    text = page()
    assert "| `decode.beam` | number > 0 | nats | `13.0` | Beam on the test set. |" in text
    assert "| `network.context` | list of 2 of integer ≥ 0, ≤ 100 | frames | `[5, 5]` |" in text
    assert "| `parallel.workers` | integer ≥ 1, ≤ 100000 or mapping | workers | `2` |" in text
    assert "| `hmm.features.num_mel_bins` | integer ≥ 3, ≤ 512 | bins | `23` |" in text
    assert re.search(r"`schedule.power` .* Only for `polynomial`, `decaying`. \|", text)


@pytest.mark.parametrize("name", ["README.md", "schema.json"])
def test_what_is_generated_is_up_to_date(root, tmp_path, name):
    for one in ("README.md", "schema.json"):
        (tmp_path / one).write_bytes((root / "config" / one).read_bytes())

    class Args:
        readme, schema = str(tmp_path / "README.md"), str(tmp_path / "schema.json")

    config_reference.run(Args)
    assert (tmp_path / name).read_text() == (root / "config" / name).read_text(), "run `unisono config-reference`"


def test_only_what_is_below_the_mark_is_rewritten(tmp_path):
    (tmp_path / "README.md").write_text(f"# Mine\n\n{MARK}\nold\n")

    class Args:
        readme, schema = str(tmp_path / "README.md"), str(tmp_path / "schema.json")

    config_reference.run(Args)
    text = (tmp_path / "README.md").read_text()
    assert text.startswith("# Mine\n") and "\nold\n" not in text and "`decode.beam`" in text
    assert json.loads((tmp_path / "schema.json").read_text())["title"] == "Config of Unisono"


def test_shipped_configs_name_the_schema_and_pass(root):
    check = validator()
    for path in sorted(path for path in (root / "config").rglob("*.yaml") if ".claims" not in path.suffixes):
        first = path.read_text(encoding="utf-8").split("\n", 1)[0]
        named = re.fullmatch(r"# yaml-language-server: \$schema=(.*)", first)
        assert named and (path.parent / named[1]).resolve() == root / "config" / "schema.json", path
        assert list(check.iter_errors(yaml.safe_load(path.read_text(encoding="utf-8")))) == [], path


@pytest.mark.parametrize(
    "config",
    [
        {"parallel": {"combine": "bmuf"}},
        {"runs": {"a": None, "b": {"parallel": {"combine": {"block_momentum": 0.9}}}}},
        {
            "seed": None,
            "parallel": {"workers": {"initial": 1, "final": 3}},
            "observers": {"ema": {}, "slow": {"kind": "tail"}, "x": "polyak"},
        },
        {"report": {"classes": {"a": "each", "b": 16}}, "hmm": {"align_with": {"name": "y"}}},
        {"study": {"name": "s", "axes": {"a": {"b": {"network": "dnn"}, "c": None}}, "cells": {"d": {"seed": 3}}}},
    ],
)
def test_an_editor_passes_what_is_right(config):
    assert list(validator().iter_errors({"name": "x", **config})) == []


@pytest.mark.parametrize(
    ("config", "place", "words"),
    [
        ({"paralel": {}}, "", "'paralel' was unexpected"),
        ({"parallel": {"period_frame": 3}}, "parallel", "'period_frame' was unexpected"),
        ({"parallel": {"combine": {"kind": "bmuf", "block_momentun": 0.5}}}, "parallel.combine", "'block_momentun'"),
        ({"parallel": {"combine": {"kind": "mean", "block_momentum": 0.5}}}, "parallel.combine", "'block_momentum'"),
        ({"parallel": {"combine": {"kind": "bmuff"}}}, "parallel.combine.kind", "'bmuff' is not one of ['mean'"),
        ({"parallel": {"combine": "bmuff"}}, "parallel.combine", "'bmuff' is not one of ['mean'"),
        ({"parallel": {"combine": {"weigths": "equal"}}}, "parallel.combine", "'weigths' was unexpected"),
        ({"optimiser": {"momentum": 1.5}}, "optimiser.momentum", "1.5 is greater than or equal to the maximum of 1"),
        ({"parallel": {"combine": {"kind": "bmuf", "block_momentum": 1.4}}}, "parallel.combine.block_momentum", "1.4"),
        ({"parallel": {"period_frames": "many"}}, "parallel.period_frames", "'many' is not of type 'integer'"),
        ({"parallel": {"workers": {"initial": 1}}}, "parallel.workers", "'final' is a required property"),
        ({"corpus": {"kind": "kaldi", "kaldi": {"tran": "a"}}}, "corpus.kaldi", "'tran' was unexpected"),
        ({"observers": {"x": {"kind": "tail", "start": 0}}}, "observers.x", "'start' was unexpected"),
        ({"runs": {"a": {"sed": 1}}}, "runs.a", "'sed' was unexpected"),
        ({"study": {"name": "s", "axes": {"a": {"b": {"hmm": {}}}}}}, "study.axes.a.b", "'hmm' was unexpected"),
    ],
)
def test_an_editor_marks_a_mistake_at_its_key_in_words(config, place, words):
    found = list(validator().iter_errors({"name": "x", **config}))
    assert len(found) == 1
    assert ".".join(map(str, found[0].absolute_path)) == place and words in found[0].message
