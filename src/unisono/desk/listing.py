"""All finished runs of a folder in one table: what differs, word error rate, hours, date."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from unisono.desk.words import speech
from unisono.errors import UserError
from unisono.files import read_json

COLUMNS = ("run", "what differs", "WER %", "95 % interval", "GMM %", "training speech", "date")
SHOWN = 4  # settings that a line has room for


class Entry(NamedTuple):
    """One run. wer.json's numbers are None before it is scored; hours: of training speech; time: of its last file."""

    name: str
    config: dict[str, Any]
    wer: float | None
    ci95: tuple[float, float] | None
    gmm_wer: float | None
    hours: float | None
    time: float


def read_entries(folder: Path) -> list[Entry]:
    """Read every run below `folder`, which holds folders of results. Raises UserError where there is none."""
    found = []
    for config in sorted(folder.glob("*/runs/*/config.json")):
        run, root = config.parent, config.parents[2]
        numbers, corpus = _optional(run / "wer.json"), _optional(root / "data" / "corpus.json")
        gmms = [_optional(path).get("wer") for path in root.glob("gmm/*/wer.json")]
        seconds = corpus.get("splits", {}).get("train", {}).get("seconds")
        newest = max(path.stat().st_mtime for path in (config, run / "final.json", run / "wer.json") if path.exists())
        found.append(
            Entry(
                name=f"{root.name}/{run.name}",
                config=_flat(_optional(config)),
                wer=numbers.get("wer"),
                ci95=tuple(numbers["ci95"]) if "ci95" in numbers else None,
                gmm_wer=min((wer for wer in gmms if wer is not None), default=None),
                hours=None if seconds is None else seconds / 3600,
                time=newest,
            )
        )
    if not found:
        raise UserError(f"{folder}: no runs in it: give the folder that holds results (results)")
    return found


def differences(entries: Sequence[Entry]) -> list[dict[str, Any]]:
    """Return for each run its settings that are not the same in all of them; a key that a run lacks is None."""
    keys = sorted({key for entry in entries for key in entry.config})
    differing = [key for key in keys if any(entry.config.get(key) != entries[0].config.get(key) for entry in entries)]
    return [{key: entry.config.get(key) for key in differing} for entry in entries]


def rows(entries: Sequence[Entry]) -> list[tuple[str, ...]]:
    """Return one row of text a run, columns as COLUMNS."""
    return [
        (
            entry.name,
            _shown(differs),
            "–" if entry.wer is None else f"{100 * entry.wer:.2f}",
            "–" if entry.ci95 is None else f"{100 * entry.ci95[0]:.2f} to {100 * entry.ci95[1]:.2f}",
            "–" if entry.gmm_wer is None else f"{100 * entry.gmm_wer:.2f}",
            "–" if entry.hours is None else speech(3600 * entry.hours),
            time.strftime("%Y-%m-%d %H:%M", time.localtime(entry.time)),
        )
        for entry, differs in zip(entries, differences(entries), strict=True)
    ]


def as_json(entries: Sequence[Entry]) -> list[dict[str, Any]]:
    """Return the entries as plain values; `differs` in place of the whole config."""
    return [
        {
            "name": entry.name, "differs": differs, "wer": entry.wer, "ci95": entry.ci95, "gmm_wer": entry.gmm_wer,
            "hours": entry.hours, "time": entry.time,
        }
        for entry, differs in zip(entries, differences(entries), strict=True)
    ]  # fmt: skip


def _shown(differs: Mapping[str, Any]) -> str:
    given = {key: value for key, value in differs.items() if value is not None}
    words = [f"{key}={value}" for key, value in given.items()][:SHOWN]
    return ", ".join(words) + (f" (+{len(given) - SHOWN})" if len(given) > SHOWN else "") or "–"


def _flat(value: Any, where: str = "") -> dict[str, Any]:
    if not isinstance(value, dict):
        return {where: value}
    flat: dict[str, Any] = {}
    for key, inner in value.items():
        flat |= _flat(inner, f"{where}.{key}" if where else str(key))
    return flat


def _optional(path: Path) -> dict[str, Any]:
    try:
        value = read_json(path)
    except UserError:
        return {}
    return value if isinstance(value, dict) else {}
