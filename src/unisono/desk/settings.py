"""The settings of a config as the workflow would read them, without the workflow."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from unisono.config import check
from unisono.config.check import Settings
from unisono.config.resolve import merge
from unisono.errors import UserError

# The tree that this package lies in; rules, profiles and configs are no part of the package.
HOUSE = Path(__file__).resolve().parents[3]


def snakefile() -> Path:
    """Return the workflow's Snakefile. Raises UserError where the package is not in its tree."""
    path = HOUSE / "Snakefile"
    if not path.is_file():
        raise UserError(f"{path}: no such file: install Unisono from a clone of its repository (make venv)")
    return path


def read_settings(paths: Sequence[str | Path], changes: Sequence[str] = ()) -> Settings:
    """Read config files, later ones laid over earlier ones, then changes such as `parallel.workers=4`.

    Raises UserError, one line, for whatever the workflow would refuse in them, a file that is not there included.
    """
    config: dict[str, Any] = {}
    for path in paths:
        config = merge(config, _read_yaml(Path(path)))
    return check.settings(merge(config, changed(changes)), [str(path) for path in paths])


def changed(changes: Sequence[str]) -> dict[str, Any]:
    """Return `["parallel.workers=4"]` as `{"parallel": {"workers": 4}}`; values are YAML. Raises UserError."""
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
        nested = merge(nested, value)
    return nested


def _read_yaml(path: Path) -> Mapping[str, Any]:
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
