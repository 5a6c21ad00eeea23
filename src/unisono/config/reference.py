"""The tables of config/README.md, made from the sections. A test fails while the page differs from what this writes."""

import json
import types
from collections.abc import Iterator
from dataclasses import MISSING, fields
from typing import Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt, MinLen

from unisono.config.build import complete, default_of, hints, markers
from unisono.config.config import Config
from unisono.config.markers import Pattern
from unisono.config.mistakes import sentences, unit_of
from unisono.config.resolve import by_name, choice_of

MARK = "<!-- Below: made by `unisono config-reference` from src/unisono/config/. Do not edit. -->"
SIGNS = {Ge: ("ge", "≥"), Gt: ("gt", ">"), Le: ("le", "≤"), Lt: ("lt", "<")}
# The story of a config, not the order in which sections are inherited.
ORDER = ["name", "corpora_dir", "corpus", "features", "speed_perturbation", "hmm", "lm", "decode", "report"]


class Key:
    """A key of a config as a row of the page: where it is, what it may be, which kinds of its section have it."""

    def __init__(self, path: str, section: type, key: str) -> None:
        self.path, self.hint = path, hints(section)[key]
        self.kinds: list[str] = []
        self.meaning = sentences(section).get(key, "")
        self.default = next(default_of(field) for field in fields(section) if field.name == key)


def keys(hint: Any, path: str) -> Iterator[Key]:
    """Yield every key below an annotation; one that several kinds have comes once, with these kinds."""
    choice, named = choice_of(hint), by_name(hint)
    if named:
        yield from keys(named, f"{path}<name>.")
    if choice is None:
        return
    found: dict[str, Key] = {}
    if choice.has_kinds:
        found["kind"] = _kind_key(choice, path)
    for kind, section in choice.sections.items():
        for field in fields(section):
            if field.name != "kind":
                key = found.setdefault(field.name, Key(f"{path}{field.name}", section, field.name))
                key.kinds += [kind] if kind else []
                if len(list(keys(hints(section)[field.name], ""))) > len(list(keys(key.hint, ""))):
                    key.hint = hints(section)[field.name]
    for key in found.values():
        if key.kinds == list(choice.sections):
            key.kinds = []
        yield key
        for below in keys(key.hint, f"{key.path}."):
            below.kinds = below.kinds or key.kinds
            yield below


def _kind_key(choice: Any, path: str) -> Key:
    """Return the row of `kind`: its words are the kinds, its meaning what each is."""
    first = next(iter(choice.sections.values()))
    key = Key(f"{path}kind", first, "kind")
    key.hint, key.default = Literal[tuple(choice.sections)], MISSING if choice.default is None else choice.default
    said: dict[str, list[str]] = {}
    for kind, section in choice.sections.items():
        said.setdefault(sentences(section)["kind"].rstrip("."), []).append(kind)
    parts = [f"{', '.join(kinds)}: {words}" for words, kinds in said.items()]
    key.meaning = "; ".join(parts) + "."
    return key


def page() -> str:
    """Return the Markdown below MARK: a table of the single keys, then one for each section."""
    single, sections = [], []
    order = [*ORDER, *(key for key in hints(Config) if key not in ORDER)]
    every = {key.path: key for key in keys(Config, "")}
    for name in order:
        below = [key for path, key in every.items() if path.startswith(f"{name}.")]
        if below:
            parts = [f"- `{key.path}`: {key.meaning}" for key in below if _is_mapping(key.hint)]
            rows = _table([key for key in below if not _is_mapping(key.hint)])
            sections.append(
                "\n\n".join([f"## `{name}`", every[name].meaning, *(["\n".join(parts)] if parts else []), rows])
            )
        else:
            single.append(every[name])
    return "\n".join([f"## Single keys\n\n{_table(single)}", *sections])


def _is_mapping(hint: Any) -> bool:
    """Say whether a key is a mere section: neither a value nor possibly null."""
    plain = get_args(hint)[0] if markers(hint) else hint
    union = get_args(plain) if get_origin(plain) in (Union, types.UnionType) else (plain,)
    return choice_of(hint) is not None and all(hasattr(one, "__dataclass_fields__") for one in union)


def _table(rows: list[Key]) -> str:
    lines = ["| key | value | unit | default | meaning |", "|---|---|---|---|---|"]
    for key in rows:
        default = "" if key.default is MISSING else f"`{_literal(key.default)}`"
        only = f" Only for {', '.join(f'`{kind}`' for kind in key.kinds)}." if key.kinds else ""
        meaning = f"{key.meaning}{only}".replace("|", "\\|")
        lines.append(f"| `{key.path}` | {_describe(key.hint)} | {unit_of(key.hint)} | {default} | {meaning} |")
    return "\n".join(lines) + "\n"


def _literal(value: Any) -> str:
    if hasattr(value, "__dataclass_fields__"):
        value = complete(value)
    return value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False)


def _describe(hint: Any) -> str:
    """Return type and range of a value in a few words."""
    plain = get_args(hint)[0] if markers(hint) else hint
    origin, args = get_origin(plain), get_args(plain)
    if origin in (Union, types.UnionType):
        return " or ".join(_describe(one) for one in args)
    if origin is Literal:
        return ", ".join(f"`{word}`" for word in args)
    if origin is tuple:
        least = [marker.min_length for marker in markers(hint) if isinstance(marker, MinLen)]
        many = f"{least[0]} or more of " if least else "" if args[-1] is Ellipsis else f"{len(args)} of "
        return f"list of {many}{_describe(args[0])}"
    patterns = [marker.regex for marker in markers(hint) if isinstance(marker, Pattern)]
    if patterns:
        return f"text like `{patterns[0]}`".replace("|", "\\|")
    names = {int: "integer", float: "number", bool: "`true`, `false`", str: "text", type(None): "`null`"}
    marked = [(m, *SIGNS[kind]) for m in markers(hint) for kind in SIGNS if isinstance(m, kind)]
    bounds = ", ".join(f"{sign} {getattr(marker, attribute)}" for marker, attribute, sign in marked)
    return f"{names.get(plain, 'mapping')} {bounds}".rstrip()
