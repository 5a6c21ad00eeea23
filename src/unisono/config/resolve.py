"""From what a user wrote to the complete, unchecked config of each run: bare words, `null`, merging, kinds.

The order of work: bare words are written out and keys that no kind knows refused where they stand (`expand`); the files
were merged by Snakemake, each run is laid over the rest (`merge`); then the kinds are known, and keys of a sibling
kind are dropped with a note, `null` takes its key away, and text such as 1e-3 or true becomes what it stands for
(`settle`).
"""

import copy
import difflib
import types
from collections.abc import Mapping
from typing import Any, NamedTuple, Union, get_args, get_origin

from unisono.config.build import hints, markers
from unisono.config.config import Config, Shared
from unisono.config.markers import Kinds, kinds_of
from unisono.config.run import Run
from unisono.config.study import Part
from unisono.errors import UserError

Raw = dict[str, Any]
# What a run may override: everything before training is shared by the runs of a config, and so are these two sections.
RUN_KEYS = [key for key in hints(Run) if key not in ("diagnostics", "data")]


class Choice(NamedTuple):
    """The sections that may stand at a place: one of each kind, or a single one under no name."""

    sections: Mapping[Any, type]
    default: str | None

    @property
    def has_kinds(self) -> bool:
        """Whether the sections are told apart by `kind`."""
        return None not in self.sections


def _bare(hint: Any) -> Any:
    return get_args(hint)[0] if markers(hint) else hint


def choice_of(hint: Any) -> Choice | None:
    """Return the sections that an annotation allows; None for a plain value."""
    for marker in markers(hint):
        if isinstance(marker, Kinds):
            return Choice(dict(kinds_of(get_args(hint)[0])), marker.default)
    plain = _bare(hint)
    for one in get_args(plain) if get_origin(plain) in (Union, types.UnionType) else (plain,):
        inner = get_args(one)[0] if markers(one) else one
        if isinstance(inner, type) and hasattr(inner, "__dataclass_fields__"):
            return Choice({None: inner}, None)
    return None


def by_name(hint: Any) -> Any:
    """Return the annotation of the sections with kinds that an annotation has by name; None for any other."""
    plain = _bare(hint)
    inner = get_args(plain)[1] if get_origin(plain) is dict else None
    return inner if (choice := choice_of(inner)) and choice.has_kinds else None


def expand(value: Any, hint: Any, where: str) -> Any:
    """Return `value` with each bare word of a section with kinds as {kind: word}; `null` as text becomes None.

    Raises UserError for a key that no kind of its section has, with the nearest right one.
    """
    choice, plain = choice_of(hint), _bare(hint)
    if is_null(value, hint):
        return None
    if get_origin(plain) is dict and isinstance(value, Mapping):
        return {name: expand(inner, get_args(plain)[1], join(where, name)) for name, inner in value.items()}
    if choice is None:
        return copy.deepcopy(value)
    if isinstance(value, str) and choice.has_kinds:
        return {"kind": value}
    if not isinstance(value, Mapping):
        return copy.deepcopy(value)
    found: Raw = {}
    for key, inner in value.items():
        owners = [hints(section)[key] for section in choice.sections.values() if key in hints(section)]
        if not owners:
            raise UserError(unknown_key(join(where, key), str(key), _keys(choice, value.get("kind"))))
        fitting = [owner for owner in owners if choice_of(owner)] or owners
        found[key] = _expand_any(inner, fitting, join(where, key))
    return found


def _expand_any(value: Any, owners: list[Any], where: str) -> Any:
    """Expand a value that several kinds have: by the first whose keys fit; all must refuse before it is refused."""
    refused: UserError | None = None
    for owner in owners:
        try:
            return expand(value, owner, where)
        except UserError as error:
            refused = refused or error
    raise refused or UserError(where)


def _keys(choice: Choice, kind: Any) -> list[str]:
    sections = [choice.sections[kind]] if kind in choice.sections else list(choice.sections.values())
    return list(dict.fromkeys(key for section in sections for key in hints(section)))


def merge(base: Any, over: Any) -> Any:
    """Return `base` with `over` laid on it: mappings key by key at every depth, anything else replaced."""
    if not (isinstance(base, Mapping) and isinstance(over, Mapping)):
        return copy.deepcopy(over)
    return {
        key: merge(base.get(key), over[key]) if key in over else copy.deepcopy(base[key]) for key in {**base, **over}
    }


def settle(value: Any, hint: Any, where: str, notes: list[str]) -> Any:
    """Return `value` with its kinds named, without keys of a sibling kind and without those that `null` takes away.

    A key of a sibling kind is noted. `null` stays where the key may be null. Text that reads as a number becomes one
    where a number is due, as YAML 1.1 takes 1e-3 for a word; so do true and false, which are text in `--config`. Wrong
    types are left for the check.
    """
    choice, named = choice_of(hint), by_name(hint)
    if named and isinstance(value, Mapping):
        return {
            name: settle(_with_kind(inner, name, named), named, join(where, name), notes)
            for name, inner in value.items()
            if inner is not None
        }
    if choice is None or not isinstance(value, Mapping):
        return _plain(value, hint)
    kind = (value.get("kind") or choice.default) if choice.has_kinds else None
    section = choice.sections.get(kind) if kind is None or isinstance(kind, str) else None
    if section is None:
        return dict(value)
    found: Raw = {"kind": kind} if choice.has_kinds else {}
    unused: dict[str, list[str]] = {}  # keys and the kinds that have them
    for key, inner in value.items():
        if key == "kind" and choice.has_kinds:
            continue
        below = hints(section).get(key)
        if below is None:
            if inner is not None:
                unused[join(where, key)] = [str(name) for name, other in choice.sections.items() if key in hints(other)]
        elif inner is not None or allows_null(below):
            found[key] = _settle_below(inner, below, choice, key, join(where, key), notes)
    if unused:
        users = ", ".join(dict.fromkeys(user for kinds in unused.values() for user in kinds))
        notes.append(f"{', '.join(unused)}: not used with kind {kind}, only with {users}")
    return found


def _with_kind(value: Any, name: str, hint: Any) -> Any:
    """Return a section that stands by name, of the kind that it is named after where it says none."""
    choice = choice_of(hint)
    short = isinstance(value, Mapping) and value.get("kind") is None and choice and name in choice.sections
    return {**value, "kind": name} if short else value


def _settle_below(value: Any, hint: Any, choice: Choice, key: str, where: str, notes: list[str]) -> Any:
    """Settle a section below; keys that only its namesake of a sibling kind has are dropped with a note."""
    below = choice_of(hint)
    if below is not None and not below.has_kinds and isinstance(value, Mapping):
        own = next(iter(below.sections.values()))
        for foreign in [name for name in value if name not in hints(own)]:
            users = [
                str(kind)
                for kind, other in choice.sections.items()
                if (namesake := choice_of(hints(other).get(key))) and foreign in _keys(namesake, None)
            ]
            if users:
                notes.append(f"{join(where, foreign)}: used only with kind {', '.join(users)}")
                value = {name: inner for name, inner in value.items() if name != foreign}
    return settle(value, hint, where, notes)


def allows_null(hint: Any) -> bool:
    """Say whether a key may be null."""
    return type(None) in get_args(_bare(hint))


def is_null(value: Any, hint: Any) -> bool:
    """Say whether a value is null, or the word, as `--config 'section={key: null}'` gives it; but free text."""
    return value is None or (value == "null" and _bare(hint) is not str)


def _plain(value: Any, hint: Any) -> Any:
    plain = _bare(hint)
    origin, args = get_origin(plain), get_args(plain)
    if isinstance(value, list) and origin is tuple:
        kinds = [args[0]] * len(value) if args[-1] is Ellipsis else [*args, *[Any] * len(value)]
        return [_plain(one, kind) for one, kind in zip(value, kinds, strict=False)]
    if isinstance(value, dict) and origin is dict:
        return {key: _plain(one, args[1]) for key, one in value.items()}
    types_here = (
        {get_args(one)[0] if markers(one) else one for one in args} if origin in (Union, types.UnionType) else {plain}
    )
    if isinstance(value, float):
        return value + 0.0  # -0.0 equals 0.0 and would print otherwise
    if isinstance(value, str) and bool in types_here:
        return {"true": True, "false": False}.get(value.lower(), value)
    if isinstance(value, str) and types_here & {int, float}:
        for read in (kind for kind in (int, float) if kind in types_here):
            try:
                return read(value)
            except ValueError:
                continue
    return value


def base_of(config: Mapping[str, Any]) -> Raw:
    """Return a config, as it is written, with its bare words written out. Raises UserError for an unknown key."""
    return expand({key: value for key, value in config.items() if key != "runs"}, Config, "")


def shared_of(base: Raw, notes: list[str]) -> Raw:
    """Return what all runs share, settled."""
    return settle({key: value for key, value in base.items() if key in hints(Shared)}, Shared, "", notes)


def run_of(base: Raw, parts: list[Part], place: str, notes: list[str]) -> Raw:
    """Return the settled settings of one run: the config with the run's overrides laid over it, part by part."""
    merged = {key: value for key, value in base.items() if key in hints(Run)}
    for where, override in parts:
        merged = merge(merged, _override(override, where))
    settled = settle(merged, Run, place, notes)
    parallel = settled.get("parallel")
    if isinstance(parallel, dict) and parallel.get("engine") == "async":
        parallel.setdefault("arrival", {"kind": "live"})  # part of what the run is, as the engine is not
    return settled


def _override(override: Any, where: str) -> Raw:
    """Return an override with its bare words written out; refuse what no run may change."""
    override = {} if is_null(override, Any) else override
    if not isinstance(override, Mapping):
        raise UserError(f"{where}: expected a mapping of settings, found {override!r}")
    for key in override:
        if key in hints(Config) and key not in RUN_KEYS:
            raise UserError(f"{where}.{key}: shared by all runs: a run may change only {', '.join(RUN_KEYS)}")
    return expand(override, Config, where)


def unknown_key(where: str, key: str, known: list[str]) -> str:
    """Return the line about an unknown key: the nearest right one, or all where none is near."""
    return f"{where}: unknown key: {nearest(key, known) or 'known here are ' + ', '.join(sorted(known))}"


def nearest(word: Any, known: list[str]) -> str:
    """Return the question about the nearest known word; empty where none is near."""
    found = difflib.get_close_matches(str(word), known, n=1, cutoff=0.6)
    return f"did you mean {found[0]}?" if found else ""


def join(where: str, key: Any) -> str:
    """Return the dotted place of a key."""
    return f"{where}.{key}" if where else str(key)
