"""Pronunciation lexicons: `WORD PHONE PHONE ...` a line, several lines a word; any language, any phone set."""

import logging
import os
import re
from collections.abc import Iterable, Mapping, Sequence

from unisono.data.corpus.text import read_lines, words_of
from unisono.errors import UserError
from unisono.files import write_text

log = logging.getLogger(__name__)

Lexicon = dict[str, list[tuple[str, ...]]]

_NUMBER = re.compile(r"\d*\.?\d+([eE]-?\d+)?")
_VARIANT = re.compile(r"(.+)\(\d+\)")


def read_lexicon(path: str | os.PathLike[str], phone_set: Iterable[str] | None = None) -> Lexicon:
    """Read a lexicon: {word: pronunciations}, words and pronunciations sorted, doubled lines merged.

    White space separates; the first field is the word. `WORD(2)` is one more pronunciation of WORD where that is there,
    as in the CMU dictionary. With a `phone_set` each phone must be in it. Raises UserError naming file and line for a
    word without phones, a reserved name or an unknown phone, and for a lexicon with weights.
    """
    found: dict[str, set[tuple[str, ...]]] = {}
    allowed = None if phone_set is None else set(phone_set)
    lines = {
        n: words_of(_without_comment(line), f"{path}: line {n}") for n, line in enumerate(read_lines(path), start=1)
    }
    lines = {number: fields for number, fields in lines.items() if fields}
    _refuse_weights(path, list(lines.values()))
    words = {fields[0] for fields in lines.values()}
    doubled = variants = 0
    for number, (word, *rest) in lines.items():
        where, phones = f"{path}: line {number}", tuple(rest)
        if not phones:
            raise UserError(f"{where}: word {word!r} has no phones: add its pronunciation or remove the line")
        for phone in phones:
            if allowed is not None and phone not in allowed:
                raise UserError(
                    f"{where}: word {word!r}: phone {phone!r} is not in the phone set: "
                    "correct it or add it to the file of corpus.phones"
                )
        if (variant := _VARIANT.fullmatch(word)) and variant[1] in words:
            word = variant[1]
            variants += 1
        doubled += phones in found.get(word, ())
        found.setdefault(word, set()).add(phones)
    if not found:
        raise UserError(f"{path}: no words: write one line a word: WORD PHONE PHONE ...")
    if doubled:
        log.info("%s: %d doubled lines merged", path, doubled)
    if variants:
        log.info("%s: %d lines WORD(number) read as further pronunciations of WORD", path, variants)
    return {word: sorted(found[word]) for word in sorted(found)}


def _without_comment(line: str) -> str:
    """Return what stands before a `#` of its own, which begins a comment in the CMU dictionary."""
    return line.split(" # ", 1)[0]


def _refuse_weights(path: str | os.PathLike[str], lines: Sequence[Sequence[str]]) -> None:
    """Refuse Kaldi's lexiconp.txt, whose weights would become phones.

    A decimal point is asked for, as the units of whole words may be numbers: ONE 1 2 3.
    """
    weighted = all(len(fields) > 2 and _NUMBER.fullmatch(fields[1]) for fields in lines)
    if weighted and any("." in fields[1] for fields in lines):
        raise UserError(
            f"{path}: a number follows each word ({' '.join(lines[0][:3])} ...), as in Kaldi's lexiconp.txt: "
            "weights are not read: take that column out, or give the lexicon.txt beside it"
        )


def read_phone_set(path: str | os.PathLike[str]) -> list[str]:
    """Read the allowed phones: the first field of each line (so cmudict.phones is read as it is)."""
    return sorted({fields[0] for line in read_lines(path) if (fields := line.split())})


def write_lexicon(path: str | os.PathLike[str], lexicon: Mapping[str, Iterable[tuple[str, ...]]]) -> None:
    """Write a lexicon sorted, with two spaces after the word."""
    lines = [f"{word}  {' '.join(phones)}" for word in sorted(lexicon) for phones in sorted(lexicon[word])]
    write_text(path, "\n".join(lines) + "\n")
