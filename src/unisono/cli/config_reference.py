"""Write the table of all config keys from the JSON schema into config/README.md.

The page keeps what stands above the line MARK; everything below is made anew: a table for each section, in the order
of the schema, with type, range, unit, default and meaning of each key. A test fails while page and schema differ.
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

MARK = "<!-- Below: made by `unisono config-reference` from workflow/schemas/config.schema.yaml. Do not edit. -->"


def register(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument("--schema", default="workflow/schemas/config.schema.yaml", metavar="FILE")
    parser.add_argument("--readme", default="config/README.md", metavar="FILE", help="page to rewrite")


def run(args: argparse.Namespace) -> None:
    """Rewrite the generated part of the page."""
    import yaml

    from unisono.errors import UserError
    from unisono.files import write_text

    try:
        schema = yaml.safe_load(Path(args.schema).read_text(encoding="utf-8"))
        page = Path(args.readme).read_text(encoding="utf-8")
    except (OSError, yaml.YAMLError) as error:
        raise UserError(f"config-reference: {error}: give --schema and --readme of an unisono folder") from None
    if MARK not in page:
        raise UserError(f"{args.readme}: the line {MARK!r} is missing: put it where the tables shall begin")
    write_text(args.readme, page[: page.index(MARK)] + MARK + "\n\n" + render(schema))


def render(schema: dict[str, Any]) -> str:
    """Return the Markdown tables for a JSON schema whose top-level properties are the sections of a config."""
    single, sections = [], []
    for name, node in schema["properties"].items():
        rows = list(leaves(node, name, schema))
        if len(rows) == 1 and rows[0][0] == name:
            single += rows
        else:
            text = resolve(node, schema).get("description", "")
            sections.append(f"## `{name}`\n\n{text + chr(10) * 2 if text else ''}{_table(rows, schema)}")
    return "\n".join(([f"## Single keys\n\n{_table(single, schema)}"] if single else []) + sections)


def leaves(node: dict[str, Any], path: str, schema: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (dotted key, its schema) for everything below `node` that has no keys of its own.

    A value that may be a word or a mapping (`combine: mean` or `combine: {kind: mean}`) gives a row of its own and
    those of the mapping.
    """
    node = resolve(node, schema)
    choices = [resolve(choice, schema) for choice in node.get("oneOf", node.get("anyOf", []))]
    mappings = [part for part in [node, *choices] if part.get("properties")]
    if not mappings or len(choices) > 1:
        yield path, node
    for mapping in mappings:
        for name, below in mapping["properties"].items():
            yield from leaves(below, f"{path}.{name}", schema)


def resolve(node: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """Follow `$ref: "#/..."`; what stands beside the reference overrides what it names."""
    while "$ref" in node:
        target: Any = schema
        for step in node["$ref"].removeprefix("#/").split("/"):
            target = target[step]
        node = {**target, **{key: value for key, value in node.items() if key != "$ref"}}
    return node


def describe(node: dict[str, Any], schema: dict[str, Any]) -> str:
    """Return type and range of one value in a few words."""
    node = resolve(node, schema)
    if "enum" in node:
        return ", ".join(_literal(value) for value in node["enum"])
    if "const" in node:
        return _literal(node["const"])
    if choices := node.get("oneOf", node.get("anyOf")):
        return " or ".join(describe(choice, schema) for choice in choices)
    kinds = node.get("type", "any")
    words = " or ".join(kinds if isinstance(kinds, list) else [kinds])
    if "items" in node and isinstance(node["items"], dict):
        words = words.replace("array", f"list of {describe(node['items'], schema)}")
    words = words.replace("object", "mapping").replace("array", "list")
    return " ".join([words, *_limits(node)])


def _limits(node: dict[str, Any]) -> list[str]:
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    limits = [f"{sign} {node[key]}" for key, sign in signs.items() if key in node]
    if "minItems" in node or "maxItems" in node:
        low, high = node.get("minItems", 0), node.get("maxItems", "any")
        limits.append(f"({low} values)" if low == high else f"({low} to {high} values)")
    if "pattern" in node:
        limits.append(f"like `{node['pattern']}`".replace("|", "\\|"))
    return limits


def _table(rows: list[tuple[str, dict[str, Any]]], schema: dict[str, Any]) -> str:
    lines = ["| key | value | unit | default | meaning |", "|---|---|---|---|---|"]
    for path, node in rows:
        default = _literal(node["default"]) if "default" in node else ""
        meaning = " ".join(str(node.get("description", "")).split()).replace("|", "\\|")
        lines.append(f"| `{path}` | {describe(node, schema)} | {node.get('unit', '')} | {default} | {meaning} |")
    return "\n".join(lines) + "\n"


def _literal(value: Any) -> str:
    return f"`{value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False)}`"
