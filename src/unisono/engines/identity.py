"""What a training run is known by: its config, frames, plan and initial model, as plain JSON values."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from unisono.files import read_json


def digest_of(identity: Mapping[str, Any]) -> str:
    """Return 16 hexadecimal digits that name an identity (plain JSON values)."""
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]


def identities(state_dir: Path) -> list[tuple[Path, dict[str, Any]]]:
    """Return the folders of a run's states and what each stands for, the last used first."""
    files = sorted(state_dir.glob("*/identity.json"), key=lambda path: path.stat().st_mtime, reverse=True)
    return [(file.parent, read_json(file)) for file in files]


def apart_from_workers(identity: Mapping[str, Any]) -> tuple[Any, Any]:
    """Return the number of workers, and the rest of an identity without the plan, which follows from it."""
    rest = json.loads(json.dumps({key: value for key, value in identity.items() if key != "plan"}))
    config = rest.get("config")
    parallel = config.get("parallel", {}) if isinstance(config, dict) else {}
    return parallel.pop("workers", None), rest


def differences_of(old: Any, new: Any, where: str = "") -> list[str]:
    """Return one phrase for each leaf that differs."""
    if isinstance(old, dict) and isinstance(new, dict):
        found = []
        for key in sorted({*old, *new}):
            found += differences_of(old.get(key), new.get(key), f"{where}.{key}" if where else key)
        return found
    return [] if old == new else [f"{where}: {old} -> {new}"]
