"""Config sections are built strictly: each mistake is named by its key, in one line."""

import json
from dataclasses import dataclass
from typing import Any, Literal

import hypothesis
import pytest
from hypothesis import strategies

from unisono.errors import UserError
from unisono.config.build import build, from_json


@dataclass(frozen=True, kw_only=True, slots=True)
class Inner:
    beam: float
    order: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Outer:
    name: str
    kind: Literal["mean", "bmuf"]
    scales: tuple[float, ...]
    context: tuple[int, int]
    inner: Inner
    arpa: str | None
    workers: int | Inner
    flag: bool
    weights: dict[str, float]
    rest: dict[str, Any]


GOOD = {
    "name": "demo",
    "kind": "mean",
    "scales": [1, 0.5],
    "context": [5, 5],
    "inner": {"beam": 10, "order": 2},
    "arpa": None,
    "workers": 4,
    "flag": True,
    "weights": {"a": 1},
    "rest": {"x": [1, None]},
}


def test_builds_nested_values():
    built = from_json(Outer, json.dumps(GOOD))
    assert built.scales == (1.0, 0.5) and built.context == (5, 5)
    assert built.inner == Inner(beam=10.0, order=2) and isinstance(built.inner.beam, float)
    assert built.weights == {"a": 1.0} and built.arpa is None and built.rest == {"x": [1, None]}


def test_union_takes_the_mapping():
    assert from_dict(Outer, {**GOOD, "workers": {"beam": 1, "order": 2}}).workers == Inner(beam=1.0, order=2)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"nmae": 1}, ["config.nmae", "unknown"]),
        ({"name": 3}, ["config.name", "str", "3"]),
        ({"kind": "sum"}, ["config.kind", "'sum'", "'mean'", "'bmuf'"]),
        ({"scales": 0.5}, ["config.scales", "list"]),
        ({"scales": [0.5, "x"]}, ["config.scales[1]", "float", "'x'"]),
        ({"context": [5]}, ["config.context", "expected 2 values", "found 1"]),
        ({"inner": {"beam": 1}}, ["config.inner.order", "missing"]),
        ({"inner": {"beam": 1, "order": 2, "x": 0}}, ["config.inner.x", "unknown"]),
        ({"inner": 7}, ["config.inner", "mapping"]),
        ({"inner": {"beam": 1, "order": 2.5}}, ["config.inner.order", "int", "2.5"]),
        ({"inner": {"beam": True, "order": 2}}, ["config.inner.beam", "float", "True"]),
        ({"inner": {"beam": 1, "order": True}}, ["config.inner.order", "int", "True"]),
        ({"flag": 1}, ["config.flag", "bool"]),
        ({"arpa": 5}, ["config.arpa", "str"]),
        ({"weights": {"a": "b"}}, ["config.weights.a", "float"]),
        ({"weights": [1]}, ["config.weights", "mapping"]),
        ({"name": None}, ["config.name"]),
    ],
)
def test_a_mistake_is_named(change, words):
    with pytest.raises(UserError) as caught:
        from_dict(Outer, {**GOOD, **change})
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message


@pytest.mark.parametrize("missing", sorted(GOOD))
def test_a_missing_key_is_named(missing):
    with pytest.raises(UserError, match=f"config.{missing}: missing"):
        from_dict(Outer, {key: value for key, value in GOOD.items() if key != missing})


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "null", '"x"', "{'a': 1}"])
def test_text_that_is_no_object(text):
    with pytest.raises(UserError, match="--options"):
        from_json(Outer, text)


JSON = strategies.recursive(
    strategies.none() | strategies.booleans() | strategies.integers() | strategies.floats() | strategies.text(),
    lambda inner: strategies.lists(inner) | strategies.dictionaries(strategies.text(), inner),
    max_leaves=5,
)


@pytest.mark.fuzz
@hypothesis.given(changes=strategies.dictionaries(strategies.sampled_from(sorted(GOOD)), JSON, min_size=1))
def test_any_value_is_built_or_refused(changes):
    try:
        built = from_dict(Outer, {**GOOD, **changes})
    except UserError:
        return
    assert isinstance(built.name, str) and built.kind in ("mean", "bmuf") and isinstance(built.flag, bool)
    assert all(type(value) is float for value in built.scales)
