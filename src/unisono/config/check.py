"""The config as a user wrote it, checked and complete: pydantic reads the sections, a mistake is one line.

This is the only module that needs pydantic, and what it returns are the sections themselves.
"""

import json
import os
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from unisono.config import resolve
from unisono.config.claims import Claims, check_claims
from unisono.config.config import Config
from unisono.config.files import check_named_files
from unisono.config.markers import is_name
from unisono.config.mistakes import explain
from unisono.config.rules import check_engine, check_given, check_run, check_shared, warnings
from unisono.config.run import Run
from unisono.config.stack import PREFIX, stack_of
from unisono.config.study import Study, check_study, experiments
from unisono.errors import UserError


class Settings(NamedTuple):
    """A config made complete: what its runs share, each run by its name, and lines for the log."""

    shared: Config
    runs: dict[str, Run]
    notes: list[str]


def read_config(config: Mapping[str, Any]) -> Settings:
    """Return the complete settings of a config. Raises UserError, one line, for the first mistake.

    The runs, or those of the study's grid, are laid over the rest; without either there is one, `main`.
    """
    raw = with_names(config, "")
    check_given(raw)
    base, notes = resolve.base_of(raw), []
    parts, place = _experiments(raw, base)
    shared = validate(Config, resolve.shared_of(base, notes) | resolve.run_of(base, [], "", []), "")
    runs = {}
    for name, overrides in parts.items():
        where = f"{place}{name}" if place else ""
        if name.startswith(PREFIX):
            raise UserError(f"{where}: names that begin with {PREFIX} are those of pretraining: choose another")
        run = validate(Run, resolve.run_of(base, overrides, where, notes), where)
        _check(run, where)
        runs[name] = run
        notes += warnings(run)
    check_shared(shared)
    if shared.study:
        check_study(shared.study, runs)
    return Settings(shared, runs, list(dict.fromkeys(notes)))


def _check(run: Run, where: str) -> None:
    """Refuse a run that makes no sense, or one that is derived from it."""
    layers = ((resolve.join(where, "initialisation"), layer) for layer in stack_of(run).values())
    for place, one in [(where, run), *layers]:
        try:
            check_run(one)
            check_engine(one.parallel)
        except UserError as error:
            raise UserError(resolve.join(place, error)) from None


def settings(config: Mapping[str, Any], paths: Sequence[str]) -> Settings:
    """Return the complete settings of a config that came from these files, which name files that are there.

    Raises UserError, one line, for the first mistake, and where the results cannot be written.
    """
    check_keys(paths)
    found = read_config(config)
    check_named_files(found.shared, found.runs)
    check_writable(f"results/{found.shared.name}")
    return found


def claims(paths: Sequence[str], found: Settings) -> Claims | None:
    """Return the claims beside the last of a config's files that has any, `x.claims.yaml` of `x.yaml`; else None.

    Raises UserError, one line, for the first mistake.
    """
    files = [file for path in paths if os.path.exists(file := claims_file(path))]
    if not files:
        return None
    check_keys(files[-1:])
    try:
        raw = yaml.safe_load(Path(files[-1]).read_bytes())
    except (OSError, yaml.YAMLError) as error:
        raise UserError(f"{files[-1]}: not readable as YAML: {' '.join(str(error).split())}") from None
    if found.shared.study is None:
        raise UserError(f"study: missing: {files[-1]} tests its claims on the cells of a study")
    try:
        made = validate(Claims, with_names(raw, "") if isinstance(raw, Mapping) else raw, "")
        check_claims(made, found.shared.study, found.runs)
    except UserError as error:
        raise UserError(f"{files[-1]}: {error}") from None
    return made


def claims_file(path: str) -> str:
    """Return where the claims of a config lie."""
    return f"{os.path.splitext(path)[0]}.claims.yaml"


def _experiments(raw: Mapping[str, Any], base: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    """Return what each run overrides, in parts with the place of each, and what stands before a run's keys."""
    runs, study = raw.get("runs"), base.get("study")
    if study is not None:
        if runs and not resolve.is_null(runs, Any):
            raise UserError("runs and study: a config has one of them: a study's cells are its runs")
        grid = validate(Study, resolve.settle(study, Study, "study", []), "study")
        return experiments(grid), "study."
    if resolve.is_null(runs, Any):
        return {"main": []}, ""
    if not isinstance(runs, Mapping):
        raise UserError(f"runs: expected a mapping from the name of a run to its settings, found {runs!r}")
    for name in runs:
        if not is_name(name):
            raise UserError(f"runs: {json.dumps(name)}: only letters, digits and . _ - (not first) are possible here")
    return {name: [(f"runs.{name}", override)] for name, override in runs.items()}, "runs."


@cache
def _adapter(section: type) -> Any:
    from pydantic import TypeAdapter

    return TypeAdapter(section)


def validate(section: type, raw: Mapping[str, Any], where: str) -> Any:
    """Return the section that settled values make. Raises UserError for the first mistake, its key after `where`."""
    from pydantic import ValidationError

    try:
        return _adapter(section).validate_json(json.dumps(raw, default=str))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise UserError(explain(first, section, where)) from None


def with_names(value: Any, where: str) -> Any:
    """Return a config with text for every key; refuse keys such as `on`, which YAML reads as something else."""
    if isinstance(value, Mapping):
        for key in value:
            if key is None or isinstance(key, bool):
                raise UserError(f"{where}: {key} is no name: put it in quotes (YAML has values on, off, yes, no, ~)")
        return {str(key): with_names(inner, resolve.join(where, key)) for key, inner in value.items()}
    return [with_names(inner, where) for inner in value] if isinstance(value, list) else value


def check_keys(paths: Sequence[str]) -> None:
    """Refuse a config with a key twice in one mapping: YAML readers take the last one without a word."""
    for path in paths:
        try:
            nodes = [yaml.compose(Path(path).read_bytes(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))]
        except yaml.YAMLError:
            continue  # JSON need not be YAML, and anything else was refused when Snakemake read it
        for node in nodes:  # which grows; an alias is the node that it names once more
            lines: dict[str, int] = {}
            pairs = node.value if isinstance(node, yaml.MappingNode) else []
            for key, _ in pairs:
                name, line = str(key.value), key.start_mark.line + 1
                if name in lines:
                    raise UserError(f"{path}: line {line}: {name} stands already in line {lines[name]}: remove one")
                lines[name] = line
            below = node.value if isinstance(node, yaml.SequenceNode) else [value for _, value in pairs]
            nodes += [value for value in below if value not in nodes]


def check_writable(folder: str) -> None:
    """Refuse a folder of results that cannot be made or written to; Snakemake would end with a traceback."""
    place = Path(folder)
    while not os.path.lexists(place) and place != place.parent:
        place = place.parent
    if not (place.is_dir() and os.access(place, os.W_OK | os.X_OK)):
        raise UserError(f"name: {folder}: cannot be written: {place} is no folder, or one that you may not write to")
