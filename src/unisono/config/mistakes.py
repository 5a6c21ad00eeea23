"""One line for a mistake that pydantic found: full key, value, what is allowed, the nearest right word."""

import ast
import inspect
import json
import sys
import types
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt

from unisono.config.build import hints, markers
from unisono.config.markers import Kinds, Shapes, Unit, kinds_of, shape_of_type
from unisono.config.resolve import join, nearest, unknown_key

RANGE = {Ge: ("ge", "at least"), Gt: ("gt", "above"), Le: ("le", "at most"), Lt: ("lt", "below")}
NAMES = {"int": "an integer", "float": "a number", "bool": "true or false", "string": "text"}
SHAPES = {"number": "a number", "flag": "true or false", "mapping": "a mapping"}


def explain(error: Mapping[str, Any], section: type, where: str) -> str:
    """Return the line for one of pydantic's errors about a section that stands at `where`."""
    named = [step for step in error["loc"] if isinstance(step, int) or not step.startswith(("<", "["))]
    for step in named:
        where = join(where, step)
    hint, owner = hint_at(section, error["loc"])
    found, kind = json.dumps(error["input"], ensure_ascii=False, default=str), str(error["type"])
    if kind == "kind":
        value = error["input"].get("kind") if isinstance(error["input"], dict) else error["input"]
        known = list(kinds_of(get_args(hint)[0]))
        if isinstance(error["input"], dict):
            return f"{where}.kind: {json.dumps(value)} {_choices(value, known)}"
        return f"{where}: {found} is not a mapping or one of {', '.join(known)}"
    if kind in ("unexpected_keyword_argument", "extra_forbidden"):
        return unknown_key(where, str(named[-1]), list(hints(owner)))
    if kind == "missing":
        if isinstance(named[-1], int):
            whole, _ = hint_at(section, error["loc"][:-1])
            return f"{where.rpartition('.')[0]}: {found}: give {len(get_args(_plain(whole)))} values"
        return f"{where}: missing: give one: {sentences(owner).get(str(named[-1]), '').rstrip('.')}"
    if kind in ("greater_than", "greater_than_equal", "less_than", "less_than_equal"):
        return f"{where}: {found} is out of range: {allowed(hint)}{_unit(hint)}"
    return f"{where}: {found}{_other(error, hint)}"


def _other(error: Mapping[str, Any], hint: Any) -> str:
    kind, union = str(error["type"]), _union(hint)
    if kind == "shape" or (kind == "literal_error" and any(isinstance(one, Shapes) for one in markers(hint))):
        return f" is neither {' nor '.join(dict.fromkeys(_shape(one) for one in union))}"
    if kind == "literal_error":
        words = [str(word) for one in union for word in get_args(_plain(one)) if get_origin(_plain(one)) is Literal]
        return f" {_choices(error['input'], words)}"
    if kind == "string_pattern_mismatch":
        return ": only letters, digits and . _ - (not first) are possible here"
    if kind == "too_short":
        return f": give at least {error['ctx']['min_length']}"
    if kind == "too_long":
        return f": give {error['ctx']['max_length']} values"
    if kind == "unique":
        return " has non-unique elements"
    if kind == "finite_number":
        return " is not a number that can be used"
    head = kind.removesuffix("_type")
    if head in ("dataclass", "dict", "mapping"):
        return " is not a mapping"
    if head in ("tuple", "list"):
        return " is not a list"
    if head in NAMES:
        return f" is not {NAMES[head]}"
    message = str(error["msg"])
    return f": {message[:1].lower()}{message[1:]}"


def hint_at(section: Any, steps: Sequence[Any]) -> tuple[Any, Any]:
    """Return the annotation at a place of pydantic's and the section that has it; a step `<kind>` chooses a section."""
    hint, owner = section, section
    for step in steps:
        plain = _plain(hint)
        if isinstance(step, str) and step.startswith("<"):
            if any(isinstance(one, Kinds) for one in markers(hint)):
                hint = kinds_of(plain)[step.strip("<>")]
            elif step != "<word>" or len(_union(hint)) < 2:
                hint = next((one for one in _union(hint) if f"<{shape_of_type(one)}>" == step), hint)
        elif isinstance(step, int):
            args = get_args(plain)
            hint = args[0] if args[-1] is Ellipsis else args[step] if step < len(args) else hint
        else:
            sections = [_plain(one) for one in _union(hint) if hasattr(_plain(one), "__dataclass_fields__")]
            if sections:
                owner = sections[0]
                hint = hints(owner).get(step, hint)
            elif get_origin(plain) is dict:
                hint = get_args(plain)[1]
    return hint, owner


def allowed(hint: Any) -> str:
    """Return an annotation's range in words, such as `at least 0 and below 1`."""
    for one in (hint, *_union(hint)):
        words = [
            f"{word} {getattr(marker, key)}"
            for marker in markers(one)
            for kind, (key, word) in RANGE.items()
            if isinstance(marker, kind)
        ]
        if words:
            return " and ".join(words)
    return ""


def _choices(value: Any, words: list[str]) -> str:
    near = nearest(value, words)
    return f"is not one of {', '.join(words)}" + (f": {near}" if near else "")


def unit_of(hint: Any) -> str:
    """Return the unit of an annotation; empty where it has none."""
    units = [marker.name for one in (hint, *_union(hint)) for marker in markers(one) if isinstance(marker, Unit)]
    return units[0] if units else ""


def _unit(hint: Any) -> str:
    return f" {unit_of(hint)}" if unit_of(hint) else ""


def _shape(one: Any) -> str:
    plain = _plain(one)
    return ", ".join(map(str, get_args(plain))) if get_origin(plain) is Literal else SHAPES[shape_of_type(one)]


def _plain(hint: Any) -> Any:
    return get_args(hint)[0] if markers(hint) else hint


def _union(hint: Any) -> tuple[Any, ...]:
    plain = _plain(hint)
    return get_args(plain) if get_origin(plain) in (Union, types.UnionType) else (plain,)


@cache
def sentences(section: type) -> dict[str, str]:
    """Return what the text below each key of a section says, of its base classes too."""
    found: dict[str, str] = {}
    for cls in reversed(section.__mro__):
        if "__dataclass_fields__" not in vars(cls):
            continue
        tree = _tree(cls.__module__)
        body = next(node.body for node in tree.body if isinstance(node, ast.ClassDef) and node.name == cls.__name__)
        for key, text in zip(body, body[1:], strict=False):
            if isinstance(key, ast.AnnAssign) and isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant):
                found[ast.unparse(key.target)] = " ".join(str(text.value.value).split())
    return found


@cache
def _tree(module: str) -> ast.Module:
    return ast.parse(inspect.getsource(sys.modules[module]))
