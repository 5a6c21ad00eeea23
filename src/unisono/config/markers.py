"""What an annotation says about a key beyond its type and range: unit, kinds, shapes, pattern, uniqueness.

Ranges are those of `annotated_types`. Nothing here imports pydantic but within the methods that only pydantic calls.
"""

import re
from dataclasses import dataclass, is_dataclass
from typing import Any, get_args, get_origin, get_type_hints


class Section:
    """Base of every section: pydantic refuses unknown keys, values of another type and numbers that are not finite."""

    __pydantic_config__ = {"extra": "forbid", "strict": True, "allow_inf_nan": False}


@dataclass(frozen=True)
class Unit:
    """The unit of a number, for messages and pages."""

    name: str


@dataclass(frozen=True)
class Execution:
    """How a run is carried out, not what it computes: no part of its identity."""


@dataclass(frozen=True)
class Pattern:
    """Text that matches a regular expression from end to end."""

    regex: str

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        from pydantic_core import core_schema

        return core_schema.str_schema(pattern=f"^(?:{self.regex})$", strict=True)


NAME = Pattern(r"[A-Za-z0-9_][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class Unique:
    """A list of which no two elements are equal."""

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        from pydantic_core import PydanticCustomError, core_schema

        def check(values: Any) -> Any:
            if len(set(values)) < len(values):
                raise PydanticCustomError("unique", "has non-unique elements")
            return values

        return core_schema.no_info_after_validator_function(check, handler(source))


@dataclass(frozen=True)
class Shapes:
    """A union of plain types and a mapping, told apart by what the value looks like: one mistake gives one error."""

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        from pydantic_core import core_schema

        choices = {f"<{shape_of_type(one)}>": handler.generate_schema(one) for one in get_args(source)}

        def look(value: Any) -> str:
            name = f"<{shape_of_value(value)}>"
            return name if name in choices else "<none>"

        return core_schema.tagged_union_schema(choices, look, custom_error_type="shape", custom_error_message="shape")


def shape_of_type(hint: Any) -> str:
    """Return the shape of values of a type: number, flag, word or mapping."""
    hint = get_args(hint)[0] if hasattr(hint, "__metadata__") else hint
    if hint in (int, float):
        return "number"
    return "flag" if hint is bool else "mapping" if is_dataclass(hint) else "word"


def shape_of_value(value: Any) -> str:
    """Return the shape of a value: number, flag, word, mapping or another that no type of a config has."""
    shapes = {bool: "flag", int: "number", float: "number", str: "word", dict: "mapping"}
    return shapes.get(type(value), "other")


@dataclass(frozen=True)
class Kinds:
    """A union of sections told apart by their key `kind`; without one the kind `default` holds.

    A bare word is short for {kind: word}: `resolve` writes it out before a config is checked. default: None where the
    sections stand by name; one whose name is a kind is of that kind.
    """

    default: str | None

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        from pydantic_core import core_schema

        made = {member: handler.generate_schema(member) for member in dict.fromkeys(kinds_of(source).values())}
        choices = {f"<{kind}>": made[member] for kind, member in kinds_of(source).items()}

        def tag(value: Any) -> str:
            return f"<{value.get('kind') if isinstance(value, dict) else getattr(value, 'kind', None)}>"

        return core_schema.tagged_union_schema(choices, tag, custom_error_type="kind", custom_error_message="kind")


def kinds_of(union: Any) -> dict[str, Any]:
    """Return the section of each kind, in order; `union` is a section or a union of sections."""
    members = get_args(union) if get_origin(union) is not None else (union,)
    return {kind: one for one in members for kind in get_args(get_type_hints(one)["kind"])}


def is_name(text: str) -> bool:
    """Say whether a text may name an experiment, a run or a cell."""
    return re.fullmatch(NAME.regex, text) is not None
