"""config/schema.json, made from the sections: an editor that reads it marks a mistake at its key, in words.

Sections with kinds are if/then for each kind; where none is named (another file may name it) the keys of all kinds
pass. A bare word passes for {kind: word}, `null` wherever it takes a key away, and a run or a cell of a study may name
any part of what a run may change.
"""

import types
from dataclasses import MISSING, fields
from typing import Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt, MinLen

from unisono.config.build import default_of, hints, markers
from unisono.config.config import Config
from unisono.config.markers import NAME, Pattern, Unique
from unisono.config.mistakes import sentences
from unisono.config.resolve import RUN_KEYS, Choice, choice_of
from unisono.config.study import Overrides

Node = dict[str, Any]
BOUNDS = {
    Ge: ("ge", "minimum"), Gt: ("gt", "exclusiveMinimum"), Le: ("le", "maximum"), Lt: ("lt", "exclusiveMaximum"),
    MinLen: ("min_length", "minItems"),
}  # fmt: skip
TYPES = {int: "integer", float: "number", bool: "boolean", str: "string", types.NoneType: "null"}


def schema() -> Node:
    """Return the JSON schema of a config."""
    properties = _properties(Config)
    definitions: dict[str, Node] = {}
    for key in list(properties):
        if choice_of(hints(Config)[key]):
            definitions[key] = properties[key]
            properties[key] = {"$ref": f"#/$defs/{key}"}
    changes = {key: properties[key] for key in RUN_KEYS}
    definitions["override"] = {"type": ["object", "null"], "properties": changes, "additionalProperties": False}
    properties["runs"] = {**_mapping(Overrides), "type": ["object", "null"], "description": sentences(Config)["runs"]}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Config of Unisono",
        "type": "object",
        "required": ["name"],
        "properties": properties,
        "additionalProperties": False,
        "$defs": definitions,
    }


def _properties(section: type) -> dict[str, Node]:
    texts = sentences(section)
    return {key: {**_node(hint), "description": texts.get(key, "")} for key, hint in hints(section).items()}


def _node(hint: Any) -> Node:
    """Return the schema of one annotation."""
    if hint == Overrides or (markers(hint) and get_args(hint)[0] == Overrides):
        return _mapping(hint)
    choice = choice_of(hint)
    plain = get_args(hint)[0] if markers(hint) else hint
    origin, args = get_origin(plain), get_args(plain)
    if choice and choice.has_kinds:
        return _kinds(choice)
    if origin in (Union, types.UnionType):
        return _union([_node(one) for one in args])
    if choice:
        section = choice.sections[None]
        needed = [field.name for field in fields(section) if default_of(field) is MISSING]
        node: Node = {"type": ["object", "null"], "properties": _properties(section), "additionalProperties": False}
        return {**node, "required": needed} if needed else node
    if origin is Literal:
        return {"enum": [*args, None]}
    if origin is tuple:
        fixed = {} if args[-1] is Ellipsis else {"minItems": len(args), "maxItems": len(args)}
        unique = {"uniqueItems": True} if any(isinstance(one, Unique) for one in markers(hint)) else {}
        return {"type": ["array", "null"], "items": _node(args[0]), **fixed, **unique, **_bounds(hint)}
    if origin is dict:
        return _mapping(hint)
    patterns = [f"^(?:{one.regex})$" for one in markers(hint) if isinstance(one, Pattern)]
    node = {"type": [TYPES[plain], "null"], **_bounds(hint)} if plain in TYPES else {}
    return {**node, "pattern": patterns[0]} if patterns else node


def _bounds(hint: Any) -> Node:
    found = {}
    for marker in markers(hint):
        for kind, (attribute, name) in BOUNDS.items():
            if isinstance(marker, kind):
                found[name] = getattr(marker, attribute)
    return found


def _mapping(hint: Any) -> Node:
    plain = get_args(hint)[0] if markers(hint) else hint
    names = {"propertyNames": {"pattern": f"^(?:{NAME.regex})$"}} if markers(get_args(plain)[0]) else {}
    inner = {"$ref": "#/$defs/override"} if plain == Overrides else _node(get_args(plain)[1])
    return {"type": ["object", "null"], "additionalProperties": inner, **names}


def _union(nodes: list[Node]) -> Node:
    """Return the schema of plain types and at most one mapping: by the type of the value, so errors are in words."""
    kinds = [kind for node in nodes for kind in node.get("type", ["string"])]
    found: Node = {"type": list(dict.fromkeys(kinds))}
    branches = []
    for node in nodes:
        own = [kind for kind in node.get("type", ["string"]) if kind != "null"]
        if own:
            branches.append({"if": {"type": own}, "then": node})
    return {**found, "allOf": branches}


def _kinds(choice: Choice) -> Node:
    words = [str(kind) for kind in choice.sections]
    bodies = {str(kind): _properties(section) for kind, section in choice.sections.items()}
    every: dict[str, Node] = {}
    for body in bodies.values():
        every = {**body, **every}
    every["kind"] = {"enum": [*words, None]}
    branches = [
        {
            "if": {"properties": {"kind": {"const": kind}}, "required": ["kind"]},
            "then": {"properties": body, "additionalProperties": False},
        }
        for kind, body in bodies.items()
    ]
    unnamed = {"if": {"not": {"required": ["kind"]}}, "then": {"properties": every, "additionalProperties": False}}
    return {
        "type": ["string", "object", "null"],
        **({"default": choice.default} if choice.default else {}),
        "if": {"type": "string"},
        "then": {"enum": words},
        "else": {"properties": {"kind": {"enum": [*words, None]}}, "allOf": [*branches, unnamed]},
    }
