"""Transcripts and speakers of a split, as scoring takes them."""

from collections.abc import Sequence
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


def common_table(systems: Sequence[Path]) -> Path:
    """Return the test set's table of the results that the systems lie in.

    Raises UserError where none of them lies in such, or where their tables hold other utterances or transcripts.
    """
    tables = list(dict.fromkeys(table for path in systems if (table := _own_table(path))))
    if not tables:
        raise UserError(
            f"--table: missing: neither {systems[0]} nor {systems[1]} lies in results/<name>/ with its table"
        )
    if len(tables) > 1 and read_references(tables[0]) != read_references(tables[1]):
        raise UserError(
            f"--table: {tables[0]} and {tables[1]} differ in utterances or transcripts: give the one to use"
        )
    return tables[0]


def _own_table(path: Path) -> Path | None:
    """Return data/test.tsv of the folder above `path` that a corpus was built in."""
    roots = (folder for folder in path.resolve().parents if (folder / "data" / "corpus.json").is_file())
    return next((root / "data" / "test.tsv" for root in roots), None)
