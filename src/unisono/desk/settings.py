"""The settings of a config as the workflow would read them, without the workflow."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from unisono import grid, sense, study
from unisono.errors import UserError

# The tree that this package lies in; rules, schema and configs are no part of the package.
HOUSE = Path(__file__).resolve().parents[3]


class Settings(NamedTuple):
    """A config made complete: what its runs share, each run by its name, and notes."""

    shared: dict[str, Any]
    runs: dict[str, dict[str, Any]]
    notes: list[str]


def snakefile() -> Path:
    """Return the workflow's Snakefile. Raises UserError where the package is not in its tree."""
    path = HOUSE / "Snakefile"
    if not path.is_file():
        raise UserError(f"{path}: no such file: install Unisono from a clone of its repository (make venv)")
    return path


def read_settings(paths: Sequence[str | Path], changes: Sequence[str] = ()) -> Settings:
    """Read config files, later ones laid over earlier ones, then changes such as `parallel.workers=4`.

    Raises UserError, one line, for whatever the workflow would refuse in them.
    """
    import jsonschema
    import yaml

    schema = yaml.safe_load((snakefile().parent / "workflow/schemas/config.schema.yaml").read_text(encoding="utf-8"))
    config: dict[str, Any] = {}
    for path in paths:
        config = study.merge(config, _read_yaml(Path(path)))
    config = study.merge(config, changed(changes))
    sense.check_given(config)
    shared, runs, notes = study.resolve(config, schema)
    validator = jsonschema.Draft202012Validator(schema)
    places = {name: study.place(config, name) for name in runs}
    for where, complete in [("", shared), *((places[name], run) for name, run in runs.items())]:
        for error in validator.iter_errors(complete):
            raise UserError(where + study.explain(error))
    sense.check_shared(shared)
    for name, run in runs.items():
        try:
            sense.check(run)
        except UserError as error:
            raise UserError(f"{places[name]}{error}") from None
        notes += sense.warnings(run)
    if shared["study"]:
        grid.check(shared["study"], runs)
    return Settings(shared, runs, list(dict.fromkeys(notes)))


def changed(changes: Sequence[str]) -> dict[str, Any]:
    """Return `["parallel.workers=4"]` as `{"parallel": {"workers": 4}}`; values are YAML. Raises UserError."""
    import yaml

    nested: dict[str, Any] = {}
    for change in changes:
        key, sign, text = change.partition("=")
        if not sign or not all(key.split(".")):
            raise UserError(f"{change}: neither a config file nor KEY=VALUE: write for instance parallel.workers=4")
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError:
            raise UserError(f"{change}: the value is no YAML: put it in quotes") from None
        for part in reversed(key.split(".")):
            value = {part: value}
        nested = study.merge(nested, value)
    return nested


def _read_yaml(path: Path) -> Mapping[str, Any]:
    import yaml

    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(f"{path}: no such file: give a config; `unisono corpus folder` makes one") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not readable ({error}): give a config in YAML") from None
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}: " if mark else ""
        raise UserError(f"{path}: {where}{getattr(error, 'problem', None) or 'not YAML'}: correct it") from None
    if not isinstance(value, dict):
        raise UserError(f"{path}: no config: expected `key: value` lines")
    return value
