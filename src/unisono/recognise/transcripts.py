"""Transcripts as text: Kaldi's, JSON lines, or NIST's CTM."""

import json
from collections.abc import Sequence

from unisono.recognise.transcribe import Transcript


def format_text(transcripts: Sequence[Transcript]) -> str:
    """Kaldi text: a line `utterance_id WORD WORD` each, in the order given."""
    return "".join(" ".join([found.recording.utterance_id, *found.words]) + "\n" for found in transcripts)


def format_json(transcripts: Sequence[Transcript]) -> str:
    """Return a JSON object a line, in the order given.

    Keys: utterance_id, speaker_id, path, duration_s, text; complete: false where no whole sentence survived the
    search and the best part of one is given; with times also words, a list of {word, start_s, duration_s}, null where
    the words could not be aligned.
    """
    lines = []
    for found in transcripts:
        name, speaker, path = found.recording
        row = {"utterance_id": name, "speaker_id": speaker, "path": str(path), "duration_s": round(found.seconds, 4)}
        row |= {"text": " ".join(found.words), "complete": found.complete}
        if found.timed:
            keys = ("word", "start_s", "duration_s")
            row["words"] = None if found.times is None else [dict(zip(keys, t, strict=True)) for t in found.times]
        lines.append(json.dumps(row, ensure_ascii=False) + "\n")
    return "".join(lines)


def format_ctm(transcripts: Sequence[Transcript]) -> str:
    """Return NIST CTM, sorted by utterance: `utterance_id 1 start duration WORD`, seconds, no confidence.

    Utterances without words, and those whose words could not be aligned (a warning tells), have no lines.
    """
    return "".join(
        f"{found.recording.utterance_id} 1 {start:.4f} {duration:.4f} {word}\n"
        for found in sorted(transcripts, key=lambda found: found.recording.utterance_id)
        for word, start, duration in found.times or []
    )


FORMATS = {"text": format_text, "json": format_json, "ctm": format_ctm}
