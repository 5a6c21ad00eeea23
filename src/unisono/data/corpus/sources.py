"""Where a corpus comes from: `table` (recordings and transcripts in a TSV) and `strings` (recordings to be joined).

Every source ends in a `Source`, which `unisono.data.corpus.build` checks and writes. Paths inside a table are relative
to its folder.
"""

import dataclasses
import functools
import math
import zlib
from pathlib import Path

import numpy as np

from unisono.data.corpus.audio import UnusableAudio, inspect, keep_only, read_audio, write_flac
from unisono.data.corpus.text import Row, check_id, read_rows
from unisono.errors import UserError

SPLITS = ("train", "dev", "test")
_NOISE = 4.0  # standard deviation of the noise in gaps, in 16-bit units: zeros would make log energies -inf


@dataclasses.dataclass(frozen=True, slots=True)
class SourceRow:
    """One utterance as its source gives it; `where` names file and line in messages.

    `recording`: the same for messages about the audio, "" where `where` serves them too. `fault` is the reason why the
    source could not make the recording, or "". `segment`: start and end in seconds of the part of `path` that is the
    utterance (end None: to the end); None: all of it. `speaker_class`: such as the speaker's sex, "" where it is not
    known.
    """

    utterance_id: str
    speaker_id: str
    split: str
    path: Path
    transcript: str
    where: str
    recording: str = ""
    fault: str = ""
    segment: tuple[float, float | None] | None = None
    speaker_class: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Source:
    """A corpus before its checks; `lm_text` None stands for the training transcripts."""

    rows: list[SourceRow]
    lexicon: Path
    lm_text: Path | None


def read_source_table(path: Path) -> list[SourceRow]:
    """Read utterance_id, speaker_id, split, path, transcript and, where they are there, speaker_class, begin_s, end_s.

    The last two cut an utterance out of a longer recording. Further columns are ignored.
    """
    columns = ("utterance_id", "speaker_id", "path", "transcript", "split")
    return [
        SourceRow(
            values["utterance_id"],
            values["speaker_id"],
            values["split"],
            path.parent / values["path"],
            values["transcript"],
            f"{path}: line {line}",
            segment=_segment(values, f"{path}: line {line}"),
            speaker_class=values.get("speaker_class", ""),
        )
        for line, values in read_rows(path, columns)
    ]


def _segment(values: dict[str, str], where: str) -> tuple[float, float | None] | None:
    """Return the part of the recording that the columns begin_s and end_s name; None for all of it."""
    begin, end = values.get("begin_s", ""), values.get("end_s", "")
    if not begin and not end:
        return None
    try:
        start, stop = float(begin or 0), float(end) if end else None
    except ValueError:
        raise UserError(f"{where}: begin_s {begin!r}, end_s {end!r}: give seconds, or nothing for the whole") from None
    if not 0 <= start < (math.inf if stop is None else stop) or stop == math.inf:
        raise UserError(f"{where}: from {begin} to {end} s: begin_s must be at least 0 and end_s after it")
    return start, stop


def join_strings(strings: Path, recordings: Path, audio_dir: Path) -> list[SourceRow]:
    """Join the recordings of each row of a strings table into one FLAC file under `audio_dir` (made anew).

    Columns of `strings`: string_id, speaker_id, split, utterance_ids and gaps_ms (separated by spaces or commas),
    transcript; of `recordings`: utterance_id, path. A string is gap, recording, gap, ..., recording, gap; gaps are
    whole milliseconds of rounded white Gaussian noise from `default_rng(crc32(string_id))`, drawn gap by gap.
    """
    parts = {
        values["utterance_id"]: recordings.parent / values["path"]
        for _, values in read_rows(recordings, ("utterance_id", "path"))
    }
    rows = read_rows(strings, ("string_id", "speaker_id", "split", "utterance_ids", "gaps_ms", "transcript"))
    audio_dir.mkdir(parents=True, exist_ok=True)
    joined = [_string(row, f"{strings}: line {row.line}", parts, audio_dir) for row in rows]
    keep_only(audio_dir, (row.path for row in joined if not row.fault))
    return joined


def _string(row: Row, where: str, parts: dict[str, Path], audio_dir: Path) -> SourceRow:
    values = row.values
    name = check_id(values["string_id"], "string id", where)
    ids = values["utterance_ids"].replace(",", " ").split()
    try:
        gaps = [int(gap) for gap in values["gaps_ms"].replace(",", " ").split()]
    except ValueError:
        raise UserError(f"{where}: gaps_ms {values['gaps_ms']!r}: give whole milliseconds") from None
    if not ids or len(gaps) != len(ids) + 1 or min(gaps) < 0:
        raise UserError(
            f"{where}: {len(ids)} recordings and {len(gaps)} gaps: give one gap more than recordings, none < 0"
        )
    for utt in ids:
        if utt not in parts:
            raise UserError(
                f"{where}: recording {utt!r} is not in the table of recordings: add it or remove the string"
            )
    target, fault = audio_dir / f"{name}.flac", ""
    try:
        samples, rate = _join(name, [parts[utt] for utt in ids], gaps)
        write_flac(target, samples, rate)
    except UnusableAudio as error:
        fault = str(error)
    except FileNotFoundError as error:
        raise UserError(f"{where}: {error.filename}: no such audio file: check corpus.dir and the table") from None
    return SourceRow(name, values["speaker_id"], values["split"], target, values["transcript"], where, fault=fault)


def _join(name: str, paths: list[Path], gaps: list[int]) -> tuple[np.ndarray, int]:
    recordings = [_recording(path) for path in paths]
    rates = sorted({rate for _, rate in recordings})
    if len(rates) != 1:
        raise UserError(f"{name}: its recordings have sampling rates {rates}: convert them to one")
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    noise = [np.rint(rng.normal(0.0, _NOISE, gap * rates[0] // 1000)).astype(np.int16) for gap in gaps]
    pieces = [noise[0]]
    for (samples, _), gap in zip(recordings, noise[1:], strict=True):
        pieces += [samples, gap]
    return np.concatenate(pieces), rates[0]


@functools.lru_cache(maxsize=4096)
def _recording(path: Path) -> tuple[np.ndarray, int]:
    try:
        inspect(path)
        samples, rate = read_audio(path)
    except UnusableAudio as error:
        raise UnusableAudio(f"{path.name}: {error}") from None
    return np.rint(np.clip(samples, -32768, 32767)).astype(np.int16), rate
