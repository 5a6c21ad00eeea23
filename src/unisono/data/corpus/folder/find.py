"""Which recordings lie in a folder, who speaks and what was said.

| layout | transcript | speaker |
|---|---|---|
| a text beside each | `NAME.lab` or `NAME.txt` beside `NAME.wav` or `NAME.flac` | first folder below |
| Montreal Forced Aligner | the same, or `NAME.TextGrid`: an interval is an utterance | the name of the tier |
| LibriSpeech | a line `NAME words` of `*.trans.txt` in the recording's folder | first folder below the subset |

Where the folders right below are train, dev and test (`train-clean-100`, `dev`, `test`), they are the splits. What does
not fit is collected, not raised: the whole list is shown at once.
"""

import collections
import dataclasses
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from unisono.data.corpus.folder.textgrid import read_textgrid
from unisono.data.corpus.sources import SPLITS, SourceRow
from unisono.data.corpus.text import read_lines
from unisono.errors import UserError

AUDIO = (".wav", ".flac")
TEXTS = (".lab", ".txt", ".TextGrid")  # the first that is there counts
_SPLIT = re.compile(r"(train|dev|valid|test|eval)(?![a-z])", re.IGNORECASE)
_NAMES = {"valid": "dev", "eval": "test"}
_NOT_IN_IDS = re.compile(r"[^A-Za-z0-9._-]+")


class Found(NamedTuple):
    """What a folder holds. rows: `split` is "" where no folder names it. faults: a line each."""

    rows: list[SourceRow]
    faults: list[str]


def find(folder: Path, speaker_characters: int | None = None) -> Found:
    """Find the utterances below `folder`, sorted by path.

    speaker_characters: so many first letters of a recording's name are its speaker, in place of the folder's name.
    Raises UserError where there is no recording, or where nothing says who speaks.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder: give the one that holds the recordings")
    files = _files(folder)
    recordings = [path for path in files if path.suffix.lower() in AUDIO]
    if not recordings:
        raise UserError(f"{folder}: no recordings: put WAV or FLAC files there, with a text beside each")
    faults: list[str] = []
    lines = _transcript_lines([path for path in files if path.name.endswith(".trans.txt")], faults)
    splits = _split_folders(folder, recordings)
    rows: list[SourceRow] = []
    for path in recordings:
        if not str(path).isprintable():
            faults.append(f"{str(path)!r}: characters that cannot be seen: rename the file or folder")
            continue
        parts = path.relative_to(folder).parts[:-1]
        split, parts = (splits[parts[0]], parts[1:]) if splits else ("", parts)
        speaker = path.stem[:speaker_characters] if speaker_characters else parts[0] if parts else ""
        rows += _utterances(path, speaker, split, lines, faults)
    _check_speakers(folder, rows)
    faults += [f"{path}: no recording of this name beside it" for path in _alone(files, recordings)]
    return Found(_with_ids(folder, rows), faults)


def _files(folder: Path) -> list[Path]:
    """Return all files below a folder, sorted; what is hidden, such as a .venv, is passed by."""
    found = []
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name[0] != "."]
        found += [Path(place, name) for name in names if name[0] != "."]
    return sorted(found)


def _utterances(
    path: Path, speaker: str, split: str, lines: dict[Path, tuple[str, str]], faults: list[str]
) -> list[SourceRow]:
    """Return what a recording holds: one utterance, or those of its TextGrid."""
    bare = path.with_suffix("")
    beside = next((text for suffix in TEXTS if (text := Path(f"{bare}{suffix}")).is_file()), None)
    if bare in lines:
        transcript, where = lines[bare]
    elif beside is None:
        faults.append(f"{path}: no text: write what was said into {bare.name}.txt beside it")
        return []
    else:
        where = str(beside)
        try:
            if beside.suffix == ".TextGrid":
                return [
                    SourceRow("", name or speaker, split, path, text, where, segment=part)
                    for name, text, part in read_textgrid(beside)
                ]
            transcript = " ".join(read_lines(beside))
        except UserError as error:
            faults.append(str(error))
            return []
    return [SourceRow("", speaker, split, path, transcript, where)]


def _transcript_lines(paths: Iterable[Path], faults: list[str]) -> dict[Path, tuple[str, str]]:
    """Return {recording without its suffix: (transcript, where it stands)} of the files of LibriSpeech's layout."""
    found = {}
    for path in paths:
        try:
            for number, line in enumerate(read_lines(path), start=1):
                name, _, transcript = line.strip().partition(" ")
                if name:
                    found[path.parent / name] = (transcript, f"{path}: line {number}")
        except UserError as error:
            faults.append(str(error))
    return found


def _split_folders(folder: Path, recordings: list[Path]) -> dict[str, str]:
    """Return the split of each folder right below, or nothing unless these are the splits, all three of them."""
    tops = {path.relative_to(folder).parts[0] for path in recordings if path.parent != folder}
    matches = {top: _SPLIT.match(top) for top in tops}
    if any(path.parent == folder for path in recordings) or not all(matches.values()):
        return {}
    splits = {top: (word := match[1].lower()) and _NAMES.get(word, word) for top, match in matches.items() if match}
    return splits if set(splits.values()) == set(SPLITS) else {}


def _check_speakers(folder: Path, rows: list[SourceRow]) -> None:
    unknown = next((row for row in rows if not row.speaker_id), None)
    if unknown:
        raise UserError(
            f"{unknown.path}: nothing says who speaks: put the recordings of each speaker into a folder below {folder},"
            " or give --speaker-characters N if the first N letters of a recording's name do"
        )


def _alone(files: list[Path], recordings: list[Path]) -> list[Path]:
    known = {path.with_suffix("") for path in recordings}
    texts = [path for path in files if path.suffix in TEXTS and not path.name.endswith(".trans.txt")]
    return [path for path in texts if path.with_suffix("") not in known]


def _with_ids(folder: Path, rows: list[SourceRow]) -> list[SourceRow]:
    """Give ids: a recording's name where that is unique, else with its folders; several utterances are numbered."""
    stems = collections.Counter(path.stem for path in {row.path for row in rows})
    in_recording = collections.Counter(row.path for row in rows)
    numbers: collections.Counter[Path] = collections.Counter()
    taken: set[str] = set()
    named = []
    for row in rows:
        parts = row.path.relative_to(folder).with_suffix("").parts
        name = row.path.stem if stems[row.path.stem] == 1 else "-".join(parts)
        if in_recording[row.path] > 1:
            numbers[row.path] += 1
            name += f"-{numbers[row.path]:04d}"
        wanted = name = _as_id(name)
        for further in range(2, len(rows) + 2):
            if name not in taken:
                break
            name = f"{wanted}-{further}"
        taken.add(name)
        named.append(dataclasses.replace(row, utterance_id=name, speaker_id=_as_id(row.speaker_id)))
    return named


def _as_id(name: str) -> str:
    """Return a name as ids may be, see `unisono.data.corpus.text.check_id`."""
    fit = _NOT_IN_IDS.sub("_", name)
    return fit if fit[:1] not in ("", ".", "-") else f"_{fit[1:]}"
