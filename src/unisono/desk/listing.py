"""All finished runs of a folder in one table: what differs, word error rate, hours, date."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from unisono.errors import UserError
from unisono.files import read_json

COLUMNS = ("run", "what differs", "WER %", "95 % interval", "GMM %", "train h", "date")
SHOWN = 4  # settings that a line has room for; the others are said below the table
SHARED = ("features", "hmm", "lm", "decode")  # what `recogniser.json` has of what the runs of a config share


class Entry(NamedTuple):
    """One run. wer.json's numbers are None before it is scored; hours: of training speech; time: of its last file.

    config: its settings, those that it shares with others, and its corpus, flat.
    """

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
                config=_settings(run, corpus),
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
    values = _values(entries)
    differing = [key for key in sorted(values) if len(values[key]) > 1 and not _follows(values, key)]
    # What goes along with the corpus, as sizes do, says least.
    configs = [entry.config for entry in entries]
    pairs = {
        key: {(config.get("corpus"), repr(config[key])) for config in configs if config.get(key) is not None}
        for key in differing
    }
    corpora = {config.get("corpus") for config in configs}
    differing.sort(key=lambda key: key != "corpus" and len(corpora) > 1 and len(pairs[key]) <= len(corpora))
    return [{key: entry.config.get(key) for key in differing} for entry in entries]


def below(entries: Sequence[Entry]) -> list[str]:
    """Return a line for each setting that differs and has no room in some row of the table."""
    differing = differences(entries)
    cut = sorted({key for differs in differing for key in list(_given(differs))[SHOWN:]})
    lines = []
    for key in cut:
        runs: dict[str, list[str]] = {}
        for entry, differs in zip(entries, differing, strict=True):
            if differs[key] is not None:
                runs.setdefault(str(differs[key]), []).append(entry.name)
        lines.append(f"{key}: " + "; ".join(f"{value} ({', '.join(names)})" for value, names in runs.items()))
    return lines


def _values(entries: Sequence[Entry]) -> dict[str, set[str]]:
    """Return the values of each key in the runs whose settings of its section are known; "None": it lacks there."""
    sections = [{key.partition(".")[0] for key in entry.config} for entry in entries]
    return {
        key: {
            repr(entry.config.get(key))
            for entry, known in zip(entries, sections, strict=True)
            if key.partition(".")[0] in known
        }
        for key in {key for entry in entries for key in entry.config}
    }


def _follows(values: Mapping[str, set[str]], key: str) -> bool:
    """Return whether a key differs only as runs of another kind lack it: the kind is shown."""
    kind = f"{key.rpartition('.')[0]}.kind"
    return key != kind and len(values.get(kind, ())) > 1 and len(values[key] - {"None"}) == 1


def _settings(run: Path, corpus: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a run, flat: its own, those it shares where they are written down, and its corpus."""
    shared = _optional(run / "recogniser.json").get("settings", {})
    found = _optional(run / "config.json") | {key: shared[key] for key in SHARED if key in shared}
    if splits := corpus.get("splits"):
        utterances = "+".join(str(splits.get(split, {}).get("utterances", 0)) for split in ("train", "dev", "test"))
        found["corpus"] = f"{utterances} ({sum(facts.get('seconds', 0.0) for facts in splits.values()):.0f} s)"
        found["lexicon"] = corpus.get("lexicon_words")
    return _flat(found)


def rows(entries: Sequence[Entry]) -> list[tuple[str, ...]]:
    """Return one row of text a run, columns as COLUMNS."""
    return [
        (
            entry.name,
            _shown(differs),
            "–" if entry.wer is None else f"{100 * entry.wer:.2f}",
            "–" if entry.ci95 is None else f"{100 * entry.ci95[0]:.2f} to {100 * entry.ci95[1]:.2f}",
            "–" if entry.gmm_wer is None else f"{100 * entry.gmm_wer:.2f}",
            "–" if entry.hours is None else f"{entry.hours:.2f}",
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
    given = _given(differs)
    words = [f"{key}={value}" for key, value in given.items()][:SHOWN]
    return ", ".join(words) + (f" (+{len(given) - SHOWN} below)" if len(given) > SHOWN else "") or "–"


def _given(differs: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in differs.items() if value is not None}


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
