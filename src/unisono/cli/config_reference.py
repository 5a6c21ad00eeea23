"""Write the table of all config keys from the JSON schema into config/README.md.

The page keeps what stands above the line MARK; everything below is made anew: a table for each section, in the order
of the schema, with type, range, unit, default and meaning of each key, and the kinds that use it (`x-kinds`); above it
what mappings within the section are for. A test fails while page and schema differ.
"""

import argparse
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

Schema = dict[str, Any]

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


def render(schema: Schema) -> str:
    """Return the Markdown tables for a JSON schema whose top-level properties are the sections of a config."""
    single, sections = [], []
    for name, node in schema["properties"].items():
        rows = list(leaves(node, name, schema))
        if len(rows) == 1 and rows[0][0] == name:
            single += rows
        else:
            texts = [resolve(node, schema).get("description", "")]
            texts.append("\n".join(f"- `{path}`: {meaning}" for path, meaning in mappings(node, name, schema)))
            sections.append("\n\n".join([f"## `{name}`", *filter(None, texts), _table(rows, schema)]))
    return "\n".join(([f"## Single keys\n\n{_table(single, schema)}"] if single else []) + sections)


def leaves(node: Schema, path: str, schema: Schema) -> Iterator[tuple[str, Schema]]:
    """Yield (dotted key, its schema) for everything at or below `node` that a config can set.

    A mapping with keys of its own gives the rows of its keys, and a row for itself too where it may be something else
    (a number or null). The default of a mapping overrides those of its keys, its `x-kinds` hold for all of them.
    """
    node = resolve(node, schema)
    kinds = node.get("type", "object")
    properties = node.get("properties", {})
    if not properties or kinds != "object":
        yield path, node
    given = node["default"] if isinstance(node.get("default"), dict) else {}
    for name, below in properties.items():
        below = resolve(below, schema)
        if name in given:
            below = {**below, "default": given[name]}
        if "x-kinds" in node:
            below = {"x-kinds": node["x-kinds"], **below}
        yield from leaves(below, f"{path}.{name}", schema)


def mappings(node: Schema, path: str, schema: Schema) -> Iterator[tuple[str, str]]:
    """Yield (dotted key, meaning) for every explained mapping below `node` that has no row of its own."""
    for name, below in resolve(node, schema).get("properties", {}).items():
        below, where = resolve(below, schema), f"{path}.{name}"
        if below.get("properties") and below.get("type", "object") == "object" and below.get("description"):
            yield where, below["description"]
        yield from mappings(below, where, schema)


def resolve(node: Schema, schema: Schema) -> Schema:
    """Follow `$ref: "#/..."`; what stands beside the reference overrides what it names."""
    while "$ref" in node:
        target: Any = schema
        for step in node["$ref"].removeprefix("#/").split("/"):
            target = target[step]
        node = {**target, **{key: value for key, value in node.items() if key != "$ref"}}
    return node


def describe(node: Schema, schema: Schema) -> str:
    """Return type and range of one value in a few words."""
    node = resolve(node, schema)
    if "enum" in node:
        return ", ".join(_literal(value) for value in node["enum"])
    kinds = node.get("type", "any value")
    return " or ".join(_kind(kind, node, schema) for kind in ([kinds] if isinstance(kinds, str) else kinds))


def _kind(kind: str, node: Schema, schema: Schema) -> str:
    if kind in ("integer", "number"):
        signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
        return " ".join([kind, ", ".join(f"{sign} {node[key]}" for key, sign in signs.items() if key in node)]).rstrip()
    if kind == "array":
        low, high = node.get("minItems", 0), node.get("maxItems")
        items = describe(node["items"], schema) if "items" in node else "values"
        many = f"{low} of " if low == high else f"{low} or more of " if low and high is None else ""
        return f"list of {many}{items}"
    if kind == "string" and "pattern" in node:
        word = re.fullmatch(r"\^(\w+)\$", node["pattern"])
        return f"`{word[1]}`" if word else f"string like `{node['pattern']}`".replace("|", "\\|")
    return {"object": "mapping", "null": "`null`", "boolean": "`true`, `false`"}.get(kind, kind)


def _table(rows: list[tuple[str, Schema]], schema: Schema) -> str:
    lines = ["| key | value | unit | default | meaning |", "|---|---|---|---|---|"]
    for path, node in rows:
        default = _literal(node["default"]) if "default" in node else ""
        meaning = " ".join(str(node.get("description", "")).split()).replace("|", "\\|")
        if "x-kinds" in node:
            meaning += f" Only for {', '.join(f'`{kind}`' for kind in node['x-kinds'])}."
        lines.append(f"| `{path}` | {describe(node, schema)} | {node.get('unit', '')} | {default} | {meaning} |")
    return "\n".join(lines) + "\n"


def _literal(value: Any) -> str:
    return f"`{value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False)}`"
