"""Which utterances of a corpus of features, without recordings, can be used."""

import logging
from collections.abc import Sequence
from pathlib import Path

from unisono.data.corpus.audio import AudioInfo
from unisono.data.corpus.sources import SourceRow
from unisono.data.kaldi.archive import Script

log = logging.getLogger(__name__)

# Frames a second, for the length of utterances in statistics; Kaldi's features do not say.
FRAMES_PER_SECOND = 100


def check_features(rows: Sequence[SourceRow]) -> tuple[list[SourceRow], dict[str, AudioInfo], list[dict[str, str]]]:
    """Read every value once; return what `check_audio` returns, a frame of features being a sample.

    Utterances without frames or words are set aside. Raises UserError for a value that cannot be read, and where the
    number of features differs.
    """
    scripts: dict[Path, Script] = {}
    kept: list[SourceRow] = []
    infos: dict[str, AudioInfo] = {}
    aside: list[dict[str, str]] = []
    for row in rows:
        script = scripts.setdefault(row.path, scripts.get(row.path) or Script(row.path, "matrix"))
        frames = len(script[row.utterance_id])
        reason = "no frames" if not frames else "" if row.transcript.split() else "transcript empty"
        if reason:
            log.warning("%s: utterance %s set aside: %s", row.where, row.utterance_id, reason)
            aside.append({"utterance_id": row.utterance_id, "split": row.split, "reason": reason})
        else:
            kept.append(row)
            infos[row.utterance_id] = AudioInfo(frames=frames, rate=FRAMES_PER_SECOND, channels=1)
    return kept, infos, sorted(aside, key=lambda entry: entry["utterance_id"])
