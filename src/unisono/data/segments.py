"""Parts of long recordings as files of their own, so that all later stages know one file an utterance."""

import dataclasses
import itertools
import multiprocessing
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile

from unisono.data.audio import UnusableAudio, inspect, write_flac
from unisono.data.sources import SourceRow
from unisono.errors import UserError

_OVERSHOOT_S = 0.5  # as Kaldi's extract-segments: an end so little beyond the recording is cut back to its end


def cut_segments(rows: Sequence[SourceRow], audio_dir: Path, processes: int) -> list[SourceRow]:
    """Write the part of each row that has a `segment` as 16-bit FLAC under `audio_dir` (made anew); other rows stay.

    Each recording is opened once. A part that cannot be made has its reason in `fault`. Raises UserError for a
    missing recording or one with several channels.
    """
    whole = [row for row in rows if row.segment is None]
    if len(whole) == len(rows):
        return list(rows)
    shutil.rmtree(audio_dir, ignore_errors=True)
    audio_dir.mkdir(parents=True)
    ordered = sorted((row for row in rows if row.segment is not None), key=lambda row: (row.path, row.utterance_id))
    groups = [(list(group), audio_dir) for _, group in itertools.groupby(ordered, key=lambda row: row.path)]
    if processes < 2 or len(groups) < 2:
        return whole + [row for group in groups for row in _cut(*group)]
    with multiprocessing.get_context("fork").Pool(min(processes, len(groups))) as pool:
        return whole + [row for part in pool.starmap(_cut, groups, chunksize=1) for row in part]


def _cut(rows: list[SourceRow], audio_dir: Path) -> list[SourceRow]:
    """Cut the parts of one recording."""
    first = rows[0]
    try:
        info = inspect(first.path)
    except FileNotFoundError:
        raise UserError(f"{first.where}: {first.path}: no such audio file: check corpus.dir and wav.scp") from None
    except UnusableAudio as error:
        return [dataclasses.replace(row, fault=f"{row.path.name}: {error}", segment=None) for row in rows]
    if info.channels != 1:
        raise UserError(f"{first.where}: {first.path}: {info.channels} channels: convert it to one channel")
    cut = []
    with soundfile.SoundFile(first.path) as file:
        for row in rows:
            target, fault = audio_dir / f"{row.utterance_id}.flac", ""
            try:
                write_flac(target, _part(file, row, info.frames), info.rate)
            except UnusableAudio as error:
                fault = str(error)
            cut.append(dataclasses.replace(row, path=target, fault=fault, segment=None))
    return cut


def _part(file: soundfile.SoundFile, row: SourceRow, frames: int) -> np.ndarray:
    """Return the samples round(start x rate) to round(end x rate) - 1 as int16."""
    start_s, end_s = row.segment or (0.0, None)
    begin = round(start_s * file.samplerate)
    end = frames if end_s is None else round(end_s * file.samplerate)
    if begin >= frames or end > frames + _OVERSHOOT_S * file.samplerate:
        raise UnusableAudio(
            f"its segment ends at {(end_s or start_s):g} s, its recording at {frames / file.samplerate:g} s"
        )
    end = min(end, frames)
    try:
        file.seek(begin)
        samples = file.read(end - begin, dtype="float32")
    except soundfile.SoundFileError as error:
        raise UnusableAudio(f"not readable ({row.path.name}: {error})") from None
    if len(samples) != end - begin:
        raise UnusableAudio(f"truncated ({row.path.name}: {len(samples)} of {end - begin} samples could be read)")
    if not np.isfinite(samples).all():
        raise UnusableAudio(f"not readable ({row.path.name}: samples are NaN or infinite)")
    return np.rint(np.clip(samples * np.float32(32768), -32768, 32767)).astype(np.int16)
