"""Reading other people's text files: UTF-8 with or without BOM, lines ended by LF or CRLF, tab-separated tables."""

import logging
import os
import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from unisono.errors import UserError

log = logging.getLogger(__name__)

# Ids become names in HDF5, in Kaldi's text files (separated by spaces) and of generated audio files.
_ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")
# Invisible, but part of the spelling in Persian, Hindi, Mongolian and others: the two joiners and a vowel separator.
_SPELLING = "\u200c\u200d\u180e"


class Row(NamedTuple):
    """One line of a table."""

    line: int
    values: dict[str, str]


def read_lines(path: str | os.PathLike[str]) -> list[str]:
    """Return the lines of a UTF-8 text file without their ends; a BOM and CRLF are accepted and said in the log.

    Raises UserError naming the file where it is missing or unreadable, and the line that is not UTF-8.
    """
    try:
        data = Path(path).read_bytes()
    except FileNotFoundError:
        raise UserError(f"{path}: no such file: check corpora_dir and corpus.dir, or make the file") from None
    except OSError as error:
        raise UserError(f"{path}: not readable ({error.strerror}): check the path and its permissions") from None
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UserError(f"{path}: line {line}: not UTF-8: convert the file, e.g. with iconv -t UTF-8") from None
    if text.startswith("\ufeff"):
        log.info("%s: begins with a byte order mark: ignored", path)
        text = text[1:]
    if "\r\n" in text:
        log.info("%s: lines end with CRLF: read as LF", path)
        text = text.replace("\r\n", "\n")
    lines = text.split("\n")
    return lines[:-1] if lines[-1] == "" else lines


def read_rows(path: str | os.PathLike[str], required: Sequence[str]) -> list[Row]:
    """Read a tab-separated table with one heading line and no quoting; further columns are kept.

    Blank lines are skipped, and blanks around a field do not count. Raises UserError for a missing column, a doubled
    column or a line with another number of fields than the heading.
    """
    lines = read_lines(path)
    heading = _fields(lines[0]) if lines else []
    for column in required:
        if heading.count(column) != 1:
            what = "missing" if column not in heading else "there more than once"
            raise UserError(
                f"{path}: line 1: column {column!r} is {what}: "
                f"the heading needs {', '.join(required)}, separated by tabs"
            )
    rows = []
    for number, line in enumerate(lines[1:], start=2):
        if not line.strip():
            continue
        fields = _fields(line)
        if len(fields) != len(heading):
            raise UserError(
                f"{path}: line {number}: {len(fields)} fields, the heading has {len(heading)}: "
                "separate them by single tabs"
            )
        rows.append(Row(number, dict(zip(heading, fields, strict=True))))
    return rows


def _fields(line: str) -> list[str]:
    return [field.strip() for field in line.split("\t")]


def check_id(value: str, what: str, where: str) -> str:
    """Return `value` if it may serve as an id, else raise UserError (`what` it names, `where` it stands)."""
    if not _ID.fullmatch(value):
        raise UserError(
            f"{where}: {what} {value!r}: rename it: allowed are letters a-z A-Z, digits, '.', '_' and '-', "
            "not beginning with '.' or '-'"
        )
    return value


def words_of(text: str, where: str) -> list[str]:
    """Split a transcript at white space. Raises UserError for a word that the later stages could not carry.

    Invisible characters are refused, as two words that look alike would differ; those of a script's spelling are not.
    """
    words = text.split()
    for word in words:
        if word in ("<eps>", "<s>", "</s>") or word.startswith("#"):
            raise UserError(
                f"{where}: word {word!r}: change it: <eps>, <s>, </s> and words beginning with # are reserved"
            )
        if not word.isprintable():
            hidden = next(filter(_is_hidden, word), "" if word.strip(_SPELLING) else word[0])
            if hidden:
                name = unicodedata.name(hidden, "a control character")
                raise UserError(f"{where}: word {word!r}: take out U+{ord(hidden):04X} ({name}), which cannot be seen")
    return words


def _is_hidden(character: str) -> bool:
    """Tell controls, halves of surrogate pairs and formatting (text direction, tags) from what a word is made of."""
    return unicodedata.category(character) in ("Cc", "Cf", "Cs") and character not in _SPELLING


def short_list(items: Sequence[str], most: int = 50) -> str:
    """Return items joined by commas, with a count of those beyond `most`."""
    more = f" and {len(items) - most} more" if len(items) > most else ""
    return ", ".join(items[:most]) + more


def counted(number: float, what: str) -> str:
    """Return a whole number with its noun, which takes an s unless there is one: `1 word`, `2 words`."""
    return f"{number:,.0f} {what}{'' if number == 1 else 's'}"
