"""Sections to and from JSON without a validator: what a command is told, what a file keeps, what decides a result.

complete(section)   every key, for files that people and later programs read
identity(section)   only what is not at its default, without how a run is carried out: two sections are alike
                    exactly when these are, and a key that a later version adds changes none of them
build(hint, values) the section again, from either
"""

import dataclasses
import json
import types
from collections.abc import Iterable
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from unisono.config.markers import Execution, Kinds, kinds_of
from unisono.errors import UserError


def compact(value: Any) -> str:
    """Return JSON on one line with sorted keys: the form in which a section travels to a command."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def complete(section: Any, *, execution: bool = True) -> dict[str, Any]:
    """Return every key of a section, nested, as JSON has it; without `execution` only what decides a result."""
    return {
        field.name: _plain(getattr(section, field.name), lambda below: complete(below, execution=execution))
        for field in fields(section)
        if execution or not _is_execution(type(section), field.name)
    }


def identity(section: Any, names: Iterable[str] | None = None) -> dict[str, Any]:
    """Return the keys of a section that differ from their default, and `kind` where there is one.

    names: of these keys alone, dotted for one of a section below (`features`, `mono.iterations`); default: all.
    """
    wanted = None if names is None else _split(names)
    found: dict[str, Any] = {}
    for field in fields(section):
        if (wanted is not None and field.name not in wanted) or _is_execution(type(section), field.name):
            continue
        value, below = getattr(section, field.name), (wanted or {}).get(field.name)
        if field.name == "kind" or value != default_of(field):
            plain = _plain(value, lambda inner, below=below: identity(inner, below))
            if plain != {} or type(value) is not type(default_of(field)):
                found[field.name] = plain
    return found


def _split(names: Iterable[str]) -> dict[str, list[str] | None]:
    """Return what is asked of each key: all of it (None), or only these keys below it; `kind` always."""
    wanted: dict[str, list[str] | None] = {"kind": None}
    for name in names:
        head, _, rest = name.partition(".")
        below = wanted.get(head, [])
        wanted[head] = None if not rest or below is None else [*below, rest]
    return wanted


def _plain(value: Any, inner: Any) -> Any:
    if is_dataclass(value):
        return inner(value)
    if isinstance(value, dict):
        return {name: _plain(one, inner) for name, one in value.items()}
    return [_plain(one, inner) for one in value] if isinstance(value, tuple) else value


def default_of(field: "dataclasses.Field[Any]") -> Any:
    """Return a field's default; MISSING where it has none."""
    return field.default if field.default_factory is MISSING else field.default_factory()


@cache
def hints(section: type) -> dict[str, Any]:
    """Return the annotation of each key of a section, with its markers."""
    return get_type_hints(section, include_extras=True)


def markers(hint: Any) -> tuple[Any, ...]:
    """Return the markers of an annotation."""
    return getattr(hint, "__metadata__", ())


def _is_execution(section: type, key: str) -> bool:
    return any(isinstance(marker, Execution) for marker in markers(hints(section)[key]))


def from_json(hint: Any, text: str, where: str = "--options") -> Any:
    """Build a section from JSON text; `where` names its origin in messages. Raises UserError as `build` does."""
    try:
        values = json.loads(text)
    except ValueError as error:
        raise UserError(f"{where}: not JSON ({error})") from None
    return build(hint, values, where)


def build(hint: Any, values: Any, where: str = "config") -> Any:
    """Build a section, or a value of any annotation, from what JSON gives; missing keys take their defaults.

    Raises UserError for a key that the section does not have, a missing one without default, or a value of another
    type. Ranges were checked where the config was.
    """
    plain = get_args(hint)[0] if get_origin(hint) is Annotated else hint
    if any(isinstance(marker, Kinds) for marker in markers(hint)):
        return _build_kind(hint, values, where)
    if is_dataclass(plain):
        return values if isinstance(values, plain) else _build_section(plain, values, where)  # type: ignore[arg-type]
    origin, args = get_origin(plain), get_args(plain)
    if origin in (Union, types.UnionType):
        return _build_union(args, values, where)
    if origin is tuple and isinstance(values, list | tuple):
        kinds = [args[0]] * len(values) if args[-1] is Ellipsis else list(args)
        if len(kinds) != len(values):
            raise UserError(f"{where}: expected {len(kinds)} values, found {len(values)}")
        return tuple(
            build(kind, value, f"{where}[{i}]") for i, (kind, value) in enumerate(zip(kinds, values, strict=True))
        )
    if origin is dict and isinstance(values, dict):
        return {key: build(args[1], value, f"{where}.{key}") for key, value in values.items()}
    return _scalar(plain, values, where)


def _build_kind(hint: Any, values: Any, where: str) -> Any:
    union = get_args(hint)[0]
    known = kinds_of(union)
    if isinstance(values, tuple(known.values())):
        return values
    kind = values.get("kind") if isinstance(values, dict) else None
    if not isinstance(kind, str) or kind not in known:
        raise UserError(f"{where}.kind: {kind!r} is not one of {', '.join(known)}")
    return _build_section(known[kind], values, where)


def _build_section(section: Any, values: Any, where: str) -> Any:
    if not isinstance(values, dict):
        raise UserError(f"{where}: expected a mapping, found {type(values).__name__}")
    known = hints(section)
    for key in values:
        if key not in known:
            raise UserError(f"{where}.{key}: unknown key: known are {', '.join(sorted(known))}")
    for field in fields(section):
        if field.name not in values and default_of(field) is MISSING:
            raise UserError(f"{where}.{field.name}: missing")
    return section(**{key: build(known[key], value, f"{where}.{key}") for key, value in values.items()})


def _build_union(args: tuple[Any, ...], value: Any, where: str) -> Any:
    reasons = []
    for arg in args:
        try:
            return build(arg, value, where)
        except UserError as error:
            reasons.append(str(error))
    raise UserError(reasons[0])


def _scalar(hint: Any, value: Any, where: str) -> Any:
    if get_origin(hint) is Literal:
        if value in get_args(hint) and isinstance(value, tuple({type(word) for word in get_args(hint)})):
            return value
        raise UserError(f"{where}: {value!r} is not one of {', '.join(map(repr, get_args(hint)))}")
    if hint is Any or (hint is types.NoneType and value is None):
        return value
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    kind = get_origin(hint) or hint
    if not isinstance(value, kind) or (isinstance(value, bool) and hint is not bool):
        raise UserError(f"{where}: expected {getattr(kind, '__name__', kind)}, found {value!r}")
    return value
