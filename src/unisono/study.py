"""From a user's config and the schema to complete settings: bare words, `null`, runs, defaults.

The schema (workflow/schemas/config.schema.yaml) owns every name, type, range and default; this module knows how it is
read. Beyond JSON Schema it uses three keywords: `unit`, `x-kinds` (the kinds of the section that use a key) and
`x-other` (keys of no influence on the result, left out of a run's identity). The `default` of an object is laid under
what the user gives.

Only the standard library, and no validator: the Snakefile brings one and hands its errors to `explain`.
"""

import copy
import difflib
import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from unisono import grid
from unisono.errors import UserError

Config = dict[str, Any]

# What decides a training run.
IDENTITY = (
    "network",
    "initialisation",
    "optimiser",
    "schedule",
    "parallel",
    "observers",
    "final_model",
    "seed",
    "quirks",
    "diagnostics",
    "data",
)
# Keys that came later are named only where they are not this, so that a run of before is still the same run.
LATER = {"precision": "float32", "prior": "alignment"}
# What a run may override: everything before training is shared by the runs of a config, and so is the machine.
RUN_SECTIONS = (*(key for key in IDENTITY if key not in ("quirks", "diagnostics", "data")), "prior")
RUN_KEYS = {"resources": "precision"}  # of these sections this key alone


class Study(NamedTuple):
    """A config made complete: the shared settings, those of each run by its name, and lines for the log."""

    shared: Config
    runs: dict[str, Config]
    notes: list[str]


def resolve(config: Mapping[str, Any], schema: Config) -> Study:
    """Return the complete settings of each run of `config`.

    The runs, or those of the study's grid, are merged over the rest before defaults are filled in; without either
    there is one, `main`. Ranges and types are not checked here (see `explain`). Raises UserError for an unknown key,
    with the nearest known one, for a run that overrides what the runs share, and for a grid that makes no sense.
    """
    notes: list[str] = []
    base = expand({key: value for key, value in config.items() if key != "runs"}, schema, schema, "")
    runs = {}
    for name, parts in _experiments(config, base, schema).items():
        merged = base
        for where, override in parts:
            merged = merge(merged, _override(override, schema, where))
        runs[name] = fill(prune(merged, schema, schema, place(config, name).rstrip("."), notes), schema, schema)
    shared = fill(prune(base, schema, schema, "", []), schema, schema)
    shared["runs"] = {name: {} for name in runs}
    return Study(shared, runs, list(dict.fromkeys(notes)))


def place(config: Mapping[str, Any], run: str) -> str:
    """Return what stands before a run's keys in messages: `runs.a.`, `study.name.cell-s1.`, nothing for `main`."""
    return f"runs.{run}." if config.get("runs") else f"study.{run}." if config.get("study") else ""


def _experiments(config: Mapping[str, Any], base: Config, schema: Config) -> dict[str, list[grid.Part]]:
    """Return what each run overrides, in parts with the place where each stands."""
    runs, study = config.get("runs"), config.get("study")
    if study is not None:
        if runs:
            raise UserError("runs and study: a config has one of them: a study's cells are its runs")
        known = schema["properties"]["study"]
        return grid.experiments(fill(prune(base["study"], known, schema, "study", []), known, schema))
    runs = runs or {"main": {}}
    if not isinstance(runs, Mapping):
        raise UserError(f"runs: expected a mapping from the name of a run to its settings, found {runs!r}")
    return {str(name): [(f"runs.{name}", override)] for name, override in runs.items()}


def _override(override: Any, schema: Config, where: str) -> Config:
    """Return an override with its bare words written out; refuse what no run may change."""
    override = {} if override is None else override
    if not isinstance(override, Mapping):
        raise UserError(f"{where}: expected a mapping of settings, found {override!r}")
    allowed = [*RUN_SECTIONS, *(f"{section}.{key}" for section, key in RUN_KEYS.items())]
    for key, value in override.items():
        only = key in RUN_KEYS and isinstance(value, Mapping) and set(value) <= {RUN_KEYS[key]}
        if key in schema["properties"] and key not in RUN_SECTIONS and not only:
            raise UserError(f"{where}.{key}: shared by all runs: a run may change only {', '.join(allowed)}")
    return expand(override, schema, schema, where)


def merge(base: Any, over: Any) -> Any:
    """Return `base` with `over` laid on it: mappings key by key at every depth, anything else replaced."""
    if not (isinstance(base, Mapping) and isinstance(over, Mapping)):
        return copy.deepcopy(over)
    return {
        key: merge(base.get(key), over[key]) if key in over else copy.deepcopy(base[key]) for key in {**base, **over}
    }


def expand(value: Any, schema: Config, root: Config, where: str) -> Any:
    """Return `value` with each bare word of a section with kinds as `{kind: word}`; refuse unknown keys by name."""
    schema = _deref(schema, root)
    properties = schema.get("properties", {})
    if isinstance(value, str) and "kind" in properties:
        return {"kind": value}
    if not isinstance(value, Mapping) or not properties:
        return copy.deepcopy(value)
    for key in value:
        if key not in properties:
            raise UserError(unknown_key(_join(where, key), str(key), list(properties)))
    return {key: expand(value[key], properties[key], root, _join(where, key)) for key in value}


def unknown_key(where: str, key: str, known: list[str]) -> str:
    """Return the line about an unknown key: the nearest right one, or all where none is near."""
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.6)
    remedy = f"did you mean {near[0]}?" if near else f"known here are {', '.join(sorted(known))}"
    return f"{where}: unknown key: {remedy}"


def prune(value: Any, schema: Config, root: Config, where: str, notes: list[str]) -> Any:
    """Return `value` without the keys that `null` takes away and without those that its kind does not use.

    `null` stays where the schema allows it. A key of another kind is noted, and its default will stand instead, so
    that it cannot change a run's identity.
    """
    schema = _deref(schema, root)
    properties = schema.get("properties", {})
    if not isinstance(value, Mapping) or not properties:
        return _number(value, schema)
    kept = {}
    kind = value.get("kind") or fill({}, schema, root).get("kind")
    for key, inner in value.items():
        below = _deref(properties[key], root)
        other = "x-kinds" in below and kind not in below["x-kinds"]
        if inner is None and (other or "null" not in _types(below)):
            continue
        if other:
            notes.append(f"{_join(where, key)}: not used with kind {kind}, only with {', '.join(below['x-kinds'])}")
            continue
        kept[key] = prune(inner, below, root, _join(where, key), notes)
    return kept


def fill(value: Any, schema: Config, root: Config) -> Any:
    """Return `value` with the schema's default for every key that is missing, at every depth."""
    schema = _deref(schema, root)
    properties = schema.get("properties", {})
    if not isinstance(value, Mapping) or not properties:
        return copy.deepcopy(value)
    base = merge(schema.get("default") or {}, value)
    filled = dict(base)
    for key, below in properties.items():
        below = _deref(below, root)
        if key in filled or "default" in below:
            filled[key] = fill(filled.get(key, below.get("default")), below, root)
    return filled


def explain(error: Any) -> str:
    """Return one line for a `jsonschema` ValidationError: key, value, what is allowed, unit."""
    where = ".".join(str(part) for part in error.absolute_path)
    value, schema, found = error.instance, error.schema, json.dumps(error.instance, ensure_ascii=False, default=str)
    unit = f" {schema['unit']}" if schema.get("unit") else ""
    if error.validator == "type":
        return f"{where}: {found} is not of type {' or '.join(_types(schema))}"
    if error.validator == "enum":
        words = [str(word) for word in schema["enum"]]
        near = difflib.get_close_matches(str(value), words, n=1)
        return f"{where}: {found} is not one of {', '.join(words)}" + (f": did you mean {near[0]}?" if near else "")
    if error.validator in ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"):
        return f"{where}: {found} is out of range: {allowed(schema)}{unit}"
    if error.validator == "anyOf":
        choices = [str(one["const"]) if "const" in one else f"a {one['type']}" for one in schema["anyOf"]]
        return f"{where}: {found} is neither {' nor '.join(choices)}"
    if error.validator == "required":
        key = next(key for key in schema["required"] if key not in value)
        return f"{_join(where, key)}: missing: give one: {schema['properties'][key]['description'].rstrip('.')}"
    if error.validator == "pattern":
        return f"{where}: {found}: only letters, digits and . _ - (not first) are possible here"
    return f"{where}: {' '.join(error.message.split())}"


def allowed(schema: Mapping[str, Any]) -> str:
    """Return a schema's range in words, such as `at least 0 and below 1`."""
    words = {"minimum": "at least", "exclusiveMinimum": "above", "maximum": "at most", "exclusiveMaximum": "below"}
    return " and ".join(f"{word} {schema[key]}" for key, word in words.items() if key in schema)


def leaves(schema: Config, root: Config | None = None, where: str = "") -> Iterator[tuple[str, Config]]:
    """Yield the dotted path and the schema of every key that is no mere section: a value, or one that may be either."""
    root = root or schema
    for key, below in schema.get("properties", {}).items():
        below = _deref(below, root)
        if _types(below) != ["object"] or not below.get("properties"):
            yield _join(where, key), below
        yield from leaves(below, root, _join(where, key))


def identity(run: Config, schema: Config) -> Config:
    """Return what decides a run's result: its training sections without engine, device, cores and the like."""
    found = {key: _without_other(run[key], schema["properties"][key], schema) for key in IDENTITY}
    later = {"precision": run["resources"]["precision"], "prior": run["prior"]}
    return found | {key: value for key, value in later.items() if value != LATER[key]}


def compact(value: Any) -> str:
    """Return JSON on one line with sorted keys: the form in which a section travels to a command."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def _without_other(value: Any, schema: Config, root: Config) -> Any:
    schema = _deref(schema, root)
    if not isinstance(value, Mapping) or "properties" not in schema:
        return value
    properties = schema["properties"]
    return {
        key: _without_other(inner, properties[key], root)
        for key, inner in value.items()
        if not _deref(properties[key], root).get("x-other")
    }


def _deref(schema: Config, root: Config) -> Config:
    """Return `schema` with what its `$ref` names laid under it."""
    if "$ref" not in schema:
        return schema
    target: Any = root
    for part in schema["$ref"].removeprefix("#/").split("/"):
        target = target[part]
    return {**target, **{key: value for key, value in schema.items() if key != "$ref"}}


def _number(value: Any, schema: Mapping[str, Any]) -> Any:
    """Return a number for text such as 1e-3, which YAML 1.1 takes for a word because it has no point."""
    if isinstance(value, str) and "number" in _types(schema):
        try:
            return float(value)
        except ValueError:
            return value
    return value


def _types(schema: Mapping[str, Any]) -> list[str]:
    types = schema.get("type", [])
    return [types] if isinstance(types, str) else list(types)


def _join(where: str, key: Any) -> str:
    return f"{where}.{key}" if where else str(key)
