"""Parts of long recordings as files of their own, so that all later stages know one file an utterance."""

import dataclasses
import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile

from unisono.data.corpus.audio import AudioInfo, UnusableAudio, keep_only, write_flac
from unisono.data.corpus.sources import SourceRow
from unisono.processes import map_shards

_OVERSHOOT_S = 0.5  # as Kaldi's extract-segments: an end so little beyond the recording is cut back to its end


def cut_segments(
    looked: Sequence[tuple[SourceRow, AudioInfo | str]], audio_dir: Path, processes: int
) -> list[tuple[SourceRow, AudioInfo | str]]:
    """Write the part of each row that has a `segment` as 16-bit FLAC under `audio_dir` (made anew); other rows stay.

    looked: rows, and what their recordings hold or the reason why they cannot be used. Returns the same for the parts,
    in the same order. Each recording is opened once.
    """
    if all(row.segment is None for row, _ in looked):
        return list(looked)
    audio_dir.mkdir(parents=True, exist_ok=True)
    todo = [row for row, found in looked if row.segment is not None and not isinstance(found, str)]
    todo.sort(key=lambda row: (row.path, row.utterance_id))
    groups = [(list(group), audio_dir) for _, group in itertools.groupby(todo, key=lambda row: row.path)]
    parts = map_shards(lambda index: _cut(*groups[index]), len(groups), processes)
    cut = {row.utterance_id: (row, found) for part in parts for row, found in part}
    keep_only(audio_dir, (row.path for row, found in cut.values() if not isinstance(found, str)))
    return [cut.get(row.utterance_id, (row, found)) for row, found in looked]


def _cut(rows: list[SourceRow], audio_dir: Path) -> list[tuple[SourceRow, AudioInfo | str]]:
    """Cut the parts of one recording."""
    cut: list[tuple[SourceRow, AudioInfo | str]] = []
    with soundfile.SoundFile(rows[0].path) as file:
        for row in rows:
            try:
                samples = _part(file, row)
            except UnusableAudio as error:
                cut.append((row, str(error)))
                continue
            target = audio_dir / f"{row.utterance_id}.flac"
            write_flac(target, samples, file.samplerate)
            cut.append(
                (dataclasses.replace(row, path=target, segment=None), AudioInfo(file.samplerate, 1, len(samples)))
            )
    return cut


def _part(file: soundfile.SoundFile, row: SourceRow) -> np.ndarray:
    """Return the samples round(start x rate) to round(end x rate) - 1 as int16."""
    start_s, end_s = row.segment or (0.0, None)
    frames = file.frames
    begin = round(start_s * file.samplerate)
    end = frames if end_s is None else round(end_s * file.samplerate)
    if begin >= frames or end > frames + _OVERSHOOT_S * file.samplerate:
        raise UnusableAudio(
            f"its segment ends at {(end_s or start_s):g} s, its recording at {frames / file.samplerate:g} s"
        )
    end = min(end, frames)
    if begin == end:
        raise UnusableAudio("empty (no samples)")
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
