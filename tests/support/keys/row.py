"""A row: a key, values that it may have, and the config in which each of them gives something else.

The key is first taken out of the config, so that its default holds: a program that ignored the key would give the same
for that and for every value.
"""

import copy
import types
from collections.abc import Callable, Iterator
from dataclasses import fields
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin

from unisono.config.build import hints, markers
from unisono.config.check import Settings, read_config
from unisono.config.config import Config
from unisono.config.resolve import by_name, choice_of
from unisono.errors import UserError

Raw = dict[str, Any]


class Row(NamedTuple):
    """A key, dotted, the values that are tried beside its default, and what else stands in the config.

    refused: a value, or to give none, is refused in one line; that line is what comes out.
    """

    key: str
    values: list[Any]
    config: Raw = {}
    refused: bool = False


def laid(base: Raw, changes: Raw) -> Raw:
    """Return a config with dotted keys changed: {"parallel.workers": 3}; a bare word on the way becomes its section."""
    made = copy.deepcopy(base)
    for key, value in changes.items():
        *path, last = key.split(".")
        section = made
        for step in path:
            below = section.get(step, {})
            section[step] = {"kind": below} if isinstance(below, str) else below if isinstance(below, dict) else {}
            section = section[step]
        section[last] = copy.deepcopy(value)
    return made


def without(config: Raw, key: str) -> Raw:
    """Return a config without a key, whose default then holds; `kind` also where it is given as a bare word."""
    made, (*path, last) = copy.deepcopy(config), key.split(".")
    section = made
    for step in path:
        if last == "kind" and isinstance(section.get(step), str):
            section.pop(step)
        section = section.get(step, {})
    if isinstance(section, dict):
        section.pop(last, None)
    return made


def outcomes(row: Row, base: Raw, outcome: Callable[[Settings], Any]) -> list[Any]:
    """Return what comes out with the key at its default, and then with each of its values."""
    default = without(laid(base, row.config), row.key)
    found = []
    for config in [default, *(laid(default, {row.key: value}) for value in row.values)]:
        try:
            found.append(outcome(read_config({"name": "x", **config})))
        except UserError as error:
            if not row.refused:
                raise
            found.append(str(error))
    return found


class Leaf(NamedTuple):
    """A key that has no keys below it, and the section that declares it: kinds may each have their own of one name."""

    path: str
    section: str


def leaves(hint: Any = Config, path: str = "") -> Iterator[tuple[Leaf, Any]]:
    """Yield every leaf below an annotation with its own annotation; that of `kind` is all kinds, under no section."""
    choice, named = choice_of(hint), by_name(hint)
    if named:
        yield from leaves(named, f"{path}<name>.")
    if choice is None:
        return
    if choice.has_kinds:
        yield Leaf(f"{path}kind", ""), Literal[tuple(choice.sections)]
    for section in choice.sections.values():
        for field in fields(section):
            inner = hints(section)[field.name]
            below = list(leaves(inner, f"{path}{field.name}."))
            yield from below
            if field.name != "kind" and (not below or _may_be_plain(inner)):
                yield Leaf(f"{path}{field.name}", declaring(section, field.name)), inner


def _may_be_plain(hint: Any) -> bool:
    plain = get_args(hint)[0] if markers(hint) else hint
    members = get_args(plain) if get_origin(plain) in (Union, types.UnionType) else ()
    return any(choice_of(one) is None and one is not type(None) for one in members)


def declaring(section: type, key: str) -> str:
    """Return the name of the class that declares a key first; one that gives it another default does not count."""
    return [cls.__name__ for cls in section.__mro__ if key in vars(cls).get("__annotations__", {})][-1]


def leaf_of(row: Row, base: Raw) -> Leaf:
    """Return the leaf that a row is about."""
    *path, last = row.key.split(".")
    if last == "kind":
        return Leaf(_general(row.key), "")
    section: Any = next(filter(None, (_read(laid(base, {**row.config, row.key: value})) for value in row.values)), None)
    if section is None:  # every value is refused
        section = _read(laid(base, row.config))
    for step in path:
        section = section[step] if isinstance(section, dict) else getattr(section, step)
    return Leaf(_general(row.key), declaring(type(section), last))


def _read(config: Raw) -> Any:
    try:
        return read_config({"name": "x", **config}).shared
    except UserError:
        return None


def _general(key: str) -> str:
    first, *rest = key.split(".")
    return ".".join([first, "<name>", *rest[1:]]) if first == "observers" else key


def words(hint: Any) -> set[Any]:
    """Return the words that a key chooses among, those beside numbers too; nothing for other keys."""
    plain = get_args(hint)[0] if markers(hint) else hint
    if get_origin(plain) is Literal:
        return set(get_args(plain))
    return {word for one in get_args(plain) if get_origin(one) is Literal for word in get_args(one)}
