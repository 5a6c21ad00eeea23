"""Config sections as frozen dataclasses: built strictly, so that a missing or unknown key is named at once.

The JSON schema owns every default; a dataclass here has none, and a command never guesses.
"""

import dataclasses
import json
import types
import typing
from typing import Any, TypeVar

from unisono.errors import UserError

T = TypeVar("T")


def from_json(cls: type[T], text: str, where: str = "--options") -> T:
    """Build the dataclass `cls` from a JSON object.

    `where` names the origin in messages. Raises UserError for text that is not a JSON object, an unknown or a
    missing key, or a value of another type than the field's annotation.
    """
    try:
        values = json.loads(text)
    except ValueError as error:
        raise UserError(f"{where}: not JSON ({error})") from None
    return from_dict(cls, values, where)


def from_dict(cls: type[T], values: Any, where: str = "config") -> T:
    """Build the dataclass `cls` from a mapping; nested dataclasses and tuples are built from mappings and lists.

    A field whose config key is a Python keyword carries it in its metadata: field(metadata={"key": "global"}).
    """
    if not isinstance(values, dict):
        raise UserError(f"{where}: expected a mapping, found {type(values).__name__}")
    fields = {str(f.metadata.get("key", f.name)): f for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    for key in values:
        if key not in fields:
            raise UserError(f"{where}.{key}: unknown key: known are {', '.join(sorted(fields))}")
    hints = typing.get_type_hints(cls)
    built = {}
    for name, field in fields.items():
        if name in values:
            built[field.name] = _convert(hints[field.name], values[name], f"{where}.{name}")
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise UserError(f"{where}.{name}: missing")
    return cls(**built)


def _convert(hint: Any, value: Any, where: str) -> Any:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return _convert_union(args, value, where)
    if origin is typing.Literal:
        if value not in args:
            raise UserError(f"{where}: {value!r} is not one of {', '.join(map(repr, args))}")
        return value
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise UserError(f"{where}: expected a list, found {value!r}")
        kinds = [args[0]] * len(value) if len(args) == 2 and args[1] is Ellipsis else list(args)
        if len(kinds) != len(value):
            raise UserError(f"{where}: expected {len(kinds)} values, found {len(value)}")
        return tuple(_convert(k, v, f"{where}[{i}]") for i, (k, v) in enumerate(zip(kinds, value, strict=True)))
    if origin is dict:
        if not isinstance(value, dict):
            raise UserError(f"{where}: expected a mapping, found {value!r}")
        return {k: _convert(args[1], v, f"{where}.{k}") for k, v in value.items()}
    if dataclasses.is_dataclass(hint):
        return value if isinstance(value, hint) else from_dict(hint, value, where)  # type: ignore[arg-type]
    return _convert_scalar(hint, value, where)


def _convert_union(args: tuple[Any, ...], value: Any, where: str) -> Any:
    if value is None and type(None) in args:
        return None
    reasons = []
    for arg in args:
        if arg is not type(None):
            try:
                return _convert(arg, value, where)
            except UserError as error:
                reasons.append(str(error))
    raise UserError(reasons[-1])


def _convert_scalar(hint: Any, value: Any, where: str) -> Any:
    if hint is Any:
        return value
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        raise UserError(f"{where}: expected {hint.__name__}, found {value!r}")
    return value
