"""Transcripts and speakers of a split, as scoring takes them."""

from pathlib import Path

from unisono.data.corpus.text import read_rows
from unisono.errors import UserError


def read_references(table_path: str | Path) -> tuple[dict[str, list[str]], dict[str, str]]:
    """Read the words and the speaker of each utterance from a table (any with these three columns).

    Raises UserError for a missing file or column, or an utterance that stands twice.
    """
    references: dict[str, list[str]] = {}
    speakers: dict[str, str] = {}
    for row in read_rows(table_path, ("utterance_id", "speaker_id", "transcript")):
        utterance = row.values["utterance_id"]
        if utterance in references:
            raise UserError(f"{table_path}: line {row.line}: utterance {utterance} stands twice: remove one")
        references[utterance] = row.values["transcript"].split()
        speakers[utterance] = row.values["speaker_id"]
    return references, speakers
