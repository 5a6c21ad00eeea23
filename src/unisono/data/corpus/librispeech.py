"""The layout of LibriSpeech: <subset>/<speaker>/<chapter>/ with <speaker>-<chapter>-<number>.flac and a .trans.txt."""

import os
from collections.abc import Sequence
from pathlib import Path

from unisono.data.corpus.sources import SourceRow
from unisono.data.corpus.text import read_lines
from unisono.errors import UserError


def read_librispeech(folder: Path, split: str, subsets: Sequence[str]) -> list[SourceRow]:
    """Read the subsets (folders such as train-clean-100 below `folder`) that make up `split`.

    SPEAKERS.TXT in `folder`, if it is there, gives each speaker's sex as class. Raises UserError naming the file or
    folder where a transcript lacks its recording or the other way round.
    """
    if not subsets:
        raise UserError(f"corpus.librispeech.{split}: no subsets: name folders below {folder}")
    classes = _classes(folder / "SPEAKERS.TXT")
    rows = []
    for subset in subsets:
        if not (folder / subset).is_dir():
            raise UserError(
                f"{folder / subset}: no such folder: check corpora_dir, corpus.dir and corpus.librispeech.{split}"
            )
        before = len(rows)
        for speaker in _folders(folder / subset):
            for chapter in _folders(speaker):
                rows += _chapter(chapter, speaker.name, split, classes.get(speaker.name, ""))
        if len(rows) == before:
            raise UserError(f"{folder / subset}: no chapters in it: expected <speaker>/<chapter>/*.trans.txt")
    return rows


def _chapter(folder: Path, speaker: str, split: str, speaker_class: str) -> list[SourceRow]:
    prefix = f"{speaker}-{folder.name}"
    path = folder / f"{prefix}.trans.txt"
    recordings = {name.removesuffix(".flac") for name in os.listdir(folder) if name.endswith(".flac")}
    rows = []
    for number, line in enumerate(read_lines(path), start=1):
        if not (line := line.strip()):
            continue
        name, _, transcript = line.partition(" ")
        where = f"{path}: line {number}"
        if not name.startswith(prefix + "-"):
            raise UserError(f"{where}: utterance {name!r} does not begin with {prefix}-: mend the line")
        if name not in recordings:
            raise UserError(f"{where}: {folder / name}.flac: no such audio file: unpack the corpus anew")
        rows.append(
            SourceRow(
                name, speaker, split, folder / f"{name}.flac", transcript.strip(), where, speaker_class=speaker_class
            )
        )
    if untold := sorted(recordings - {row.utterance_id for row in rows}):
        more = f" (and {len(untold) - 1} more)" if len(untold) > 1 else ""
        raise UserError(f"{path}: no line for the recording {untold[0]}.flac{more}: add it or remove the recording")
    return rows


def _folders(path: Path) -> list[Path]:
    with os.scandir(path) as entries:
        return sorted(path / entry.name for entry in entries if entry.is_dir())


def _classes(path: Path) -> dict[str, str]:
    """Read `id | sex | subset | minutes | name` lines; comments begin with a semicolon."""
    if not path.exists():
        return {}
    fields = [[field.strip() for field in line.split("|")] for line in read_lines(path) if not line.startswith(";")]
    return {row[0]: row[1].lower() for row in fields if len(row) > 1}
