"""Which utterances have audio that can be used: a look at every recording, then the cut of segments."""

import collections
import logging
from collections.abc import Sequence
from pathlib import Path

from unisono.data.corpus.audio import AudioInfo, UnusableAudio, inspect
from unisono.data.corpus.segments import cut_segments
from unisono.data.corpus.sources import SourceRow
from unisono.data.corpus.text import short_list
from unisono.errors import UserError
from unisono.processes import map_shards

log = logging.getLogger(__name__)

EMPTY = "transcript empty"  # why an utterance without words is set aside
_CHUNK = 500
_NAMED = 3


def check_audio(
    rows: Sequence[SourceRow], audio_dir: Path, processes: int
) -> tuple[list[SourceRow], dict[str, AudioInfo], list[dict[str, str]]]:
    """Look at every recording, and write the segments of long ones to `audio_dir`.

    Returns the usable rows, what they hold by utterance id, and the utterances set aside: id, split and reason,
    sorted by id. Raises UserError, before anything is cut, that names the first few recordings that are missing, have
    several channels or another sampling rate than most, and how many more.
    """
    there = _refuse(list(zip(rows, look(rows, processes), strict=True)))
    kept: list[SourceRow] = []
    infos: dict[str, AudioInfo] = {}
    quarantined: list[dict[str, str]] = []
    for row, found in cut_segments(there, audio_dir, processes):
        if isinstance(found, str):
            log.warning("%s: utterance %s set aside: %s", row.where, row.utterance_id, found)
            quarantined.append({"utterance_id": row.utterance_id, "split": row.split, "reason": found})
        else:
            kept.append(row)
            infos[row.utterance_id] = found
    return kept, infos, sorted(quarantined, key=lambda entry: entry["utterance_id"])


def _refuse(looked: list[tuple[SourceRow, AudioInfo | str | None]]) -> list[tuple[SourceRow, AudioInfo | str]]:
    """Return what is there; raise UserError where that would not make one corpus."""
    _end([(row, "no such audio file") for row, found in looked if found is None], "check corpus.dir and the path there")
    there = [(row, found) for row, found in looked if found is not None]
    usable = [(row, found) for row, found in there if not isinstance(found, str)]
    several = [(row, f"{found.channels} channels") for row, found in usable if found.channels != 1]
    _end(several, "convert to one channel")
    rates = collections.Counter(found.rate for _, found in usable)
    usual = min(rates, key=lambda rate: (-rates[rate], rate), default=0)
    others = [(row, f"{found.rate} Hz") for row, found in usable if found.rate != usual]
    _end(others, f"the rest has {usual} Hz, convert to one sampling rate")
    return there


def _end(faults: list[tuple[SourceRow, str]], remedy: str) -> None:
    named: dict[Path, str] = {}
    for row, fault in faults:
        named.setdefault(row.path, f"{row.recording or row.where}: {row.path}: {fault}")
    if named:
        raise UserError(f"{short_list(list(named.values()), _NAMED)}: {remedy}")


def look(rows: Sequence[SourceRow], processes: int) -> list[AudioInfo | str | None]:
    """Return for each row what its recording holds, the reason why it is unusable, or None where it is missing.

    Each recording is looked at once, whatever number of rows and of links name it.
    """
    names = [(_identity(row.path), row.segment is not None) for row in rows]
    todo = dict(zip(names, ((row.path, row.segment is not None) for row in rows), strict=True))
    files = list(todo.values())
    chunks = [files[i : i + _CHUNK] for i in range(0, len(files), _CHUNK)]
    parts = map_shards(lambda index: _look_at(chunks[index]), len(chunks), processes)
    found = dict(zip(todo, (one for part in parts for one in part), strict=True))
    return [_judged(row, found[name]) for row, name in zip(rows, names, strict=True)]


def _judged(row: SourceRow, found: AudioInfo | str | None) -> AudioInfo | str | None:
    if row.fault:
        return row.fault
    if isinstance(found, str):
        return found if row.segment is None else f"{row.path.name}: {found}"
    return found if row.transcript.split() else EMPTY


def _identity(path: Path) -> tuple[int, int] | Path:
    try:
        status = path.stat()
    except OSError:
        return path
    return status.st_dev, status.st_ino


def _look_at(files: list[tuple[Path, bool]]) -> list[AudioInfo | str | None]:
    results: list[AudioInfo | str | None] = []
    for path, parts in files:
        try:
            results.append(inspect(path, parts))
        except UnusableAudio as error:
            results.append(str(error))
        except (FileNotFoundError, NotADirectoryError):
            results.append(None)
    return results
