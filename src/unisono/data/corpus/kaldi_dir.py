"""Kaldi data directories, one a split: wav.scp, text, utt2spk, and where they are there segments and spk2gender.

Where features are read in place of recordings, feats.scp stands for wav.scp and there are no segments.

Only plain files are read: an entry of wav.scp that is a command (`sph2pipe ... |`), standard input or a place in an
archive is refused by name, and nothing is ever executed.
"""

import re
from pathlib import Path
from typing import NamedTuple

from unisono.data.corpus.sources import SourceRow
from unisono.data.corpus.text import read_lines
from unisono.errors import UserError

_BLANK = re.compile(r"[ \t]+")


class _Entry(NamedTuple):
    line: int
    value: str


def read_kaldi(folder: Path, split: str) -> list[SourceRow]:
    """Read one data directory as the rows of `split`.

    The ids of text, utt2spk and segments (without segments: wav.scp) must be the same, and each segment's recording
    must be in wav.scp. Order does not matter. A relative path of wav.scp is taken from `folder` if such a file is
    there, else, as Kaldi does, from the working directory. Raises UserError naming file, line or id.
    """
    text = _read(folder / "text")
    speakers = _read(folder / "utt2spk")
    recordings = _read(folder / "wav.scp")
    cut = (folder / "segments").exists()
    segments = _read(folder / "segments") if cut else recordings
    _same_ids(folder, {"text": text, "utt2spk": speakers, "segments" if cut else "wav.scp": segments})
    paths = {name: _path(folder, name, entry) for name, entry in recordings.items()}
    genders = _genders(folder / "spk2gender", speakers)
    rows = []
    for utt, (line, transcript) in text.items():
        name, segment = _segment(folder / "segments", utt, segments[utt]) if cut else (utt, None)
        if name not in paths:
            raise UserError(
                f"{folder / 'segments'}: line {segments[utt].line}: utterance {utt!r}: recording {name!r} is not in "
                f"{folder / 'wav.scp'}: add it or remove the segment"
            )
        speaker = speakers[utt].value
        rows.append(
            SourceRow(
                utterance_id=utt,
                speaker_id=speaker,
                split=split,
                path=paths[name],
                transcript=transcript,
                where=f"{folder / 'text'}: line {line}",
                recording=_where(folder, name, recordings[name]),
                segment=segment,
                speaker_class=genders.get(speaker, ""),
            )
        )
    return rows


def read_kaldi_features(folder: Path, split: str) -> list[SourceRow]:
    """Read one data directory by its feats.scp as the rows of `split`, whose path is that file.

    The ids of text, utt2spk and feats.scp must be the same. Raises UserError naming file, line or id.
    """
    text, speakers, feats = (_read(folder / name) for name in ("text", "utt2spk", "feats.scp"))
    _same_ids(folder, {"text": text, "utt2spk": speakers, "feats.scp": feats})
    genders = _genders(folder / "spk2gender", speakers)
    return [
        SourceRow(
            utterance_id=utt,
            speaker_id=speakers[utt].value,
            split=split,
            path=folder / "feats.scp",
            transcript=transcript,
            where=f"{folder / 'text'}: line {line}",
            recording=f"{folder / 'feats.scp'}: line {feats[utt].line}",
            speaker_class=genders.get(speakers[utt].value, ""),
        )
        for utt, (line, transcript) in text.items()
    ]


def _read(path: Path) -> dict[str, _Entry]:
    """Read `id value` lines; the value, which may be empty, is the rest of the line."""
    entries: dict[str, _Entry] = {}
    for number, line in enumerate(read_lines(path), start=1):
        if not (line := line.strip(" \t")):
            continue
        name, *rest = _BLANK.split(line, maxsplit=1)
        if name in entries:
            raise UserError(f"{path}: line {number}: {name!r} is there already (line {entries[name].line}): keep one")
        entries[name] = _Entry(number, rest[0] if rest else "")
        if not rest and path.name != "text":
            raise UserError(f"{path}: line {number}: {name!r} has nothing after it: complete the line")
    if not entries:
        raise UserError(f"{path}: empty: each split needs utterances")
    return entries


def _same_ids(folder: Path, files: dict[str, dict[str, _Entry]]) -> None:
    """Demand the same utterances in all files; name the first that one lacks, and how many more."""
    for there, entries in files.items():
        for lacking, others in files.items():
            missing = [utt for utt in entries if utt not in others]
            if missing:
                more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
                raise UserError(
                    f"{folder / lacking}: utterance {missing[0]!r}{more} of {folder / there}, line "
                    f"{entries[missing[0]].line}, is not there: add it, or run Kaldi's utils/fix_data_dir.sh"
                )


def _where(folder: Path, name: str, entry: _Entry) -> str:
    return f"{folder / 'wav.scp'}: line {entry.line}: recording {name!r}"


def _path(folder: Path, name: str, entry: _Entry) -> Path:
    where, value = _where(folder, name, entry), entry.value
    if value.endswith("|") or value.startswith("|"):
        raise UserError(
            f"{where}: {value!r} is a command, and data is never executed here: "
            "run it yourself, keep its output as WAV or FLAC and put the file's path in its place"
        )
    if value == "-" or re.search(r"\.ark:\d+$", value):
        raise UserError(f"{where}: {value!r} is no plain file: write the recording as WAV or FLAC and give its path")
    beside = folder / value
    return beside if Path(value).is_absolute() or beside.exists() else Path(value)


def _segment(path: Path, utt: str, entry: _Entry) -> tuple[str, tuple[float, float | None]]:
    """Return recording, and start and end in seconds; end None for the recording's own (-1 in the file)."""
    fields, where = entry.value.split(), f"{path}: line {entry.line}: utterance {utt!r}"
    try:
        name, start, end = fields[0], *map(float, fields[1:3])
    except ValueError:
        raise UserError(f"{where}: give recording, start and end in seconds, separated by spaces") from None
    if len(fields) > 4 or (len(fields) == 4 and fields[3] != "0"):
        raise UserError(f"{where}: channel {fields[3]!r}: only recordings of one channel can be read: convert them")
    whole = end == -1
    if not (0 <= start < float("inf") and (whole or start < end < float("inf"))):
        raise UserError(f"{where}: from {start:g} to {end:g} s: start must be at least 0 and end after start")
    return name, (start, None if whole else end)


def _genders(path: Path, speakers: dict[str, _Entry]) -> dict[str, str]:
    if not path.exists():
        return {}
    genders = _read(path)
    for speaker, (line, gender) in genders.items():
        if gender not in ("m", "f"):
            raise UserError(f"{path}: line {line}: speaker {speaker!r} has {gender!r}: write m or f")
    for utt, (line, speaker) in speakers.items():
        if speaker not in genders:
            raise UserError(
                f"{path}: speaker {speaker!r} of utterance {utt!r} ({path.parent / 'utt2spk'}, line {line}) is not "
                "there: add it or remove the file, which is optional"
            )
    return {speaker: entry.value for speaker, entry in genders.items()}
