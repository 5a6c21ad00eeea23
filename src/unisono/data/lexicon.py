"""Pronunciation lexicons: `WORD PHONE PHONE ...` a line, several lines a word; any language, any phone set."""

import logging
import os
from collections.abc import Iterable, Mapping

from unisono.data.text import read_lines, short_list, words_of
from unisono.errors import UserError
from unisono.files import write_text

log = logging.getLogger(__name__)

Lexicon = dict[str, list[tuple[str, ...]]]


def read_lexicon(path: str | os.PathLike[str], phone_set: Iterable[str] | None = None) -> Lexicon:
    """Read a lexicon: {word: pronunciations}, words and pronunciations sorted, doubled lines merged.

    White space separates; the first field is the word. With a `phone_set` each phone must be in it. Raises
    UserError naming file and line for a word without phones, a reserved name or an unknown phone.
    """
    found: dict[str, set[tuple[str, ...]]] = {}
    allowed = None if phone_set is None else set(phone_set)
    doubled = 0
    for number, line in enumerate(read_lines(path), start=1):
        where = f"{path}: line {number}"
        fields = words_of(line, where)
        if not fields:
            continue
        word, phones = fields[0], tuple(fields[1:])
        if not phones:
            raise UserError(f"{where}: word {word!r} has no phones: add its pronunciation or remove the line")
        for phone in phones:
            if allowed is not None and phone not in allowed:
                raise UserError(
                    f"{where}: word {word!r}: phone {phone!r} is not in the phone set: "
                    "correct it or add it to the file of corpus.phones"
                )
        doubled += phones in found.get(word, ())
        found.setdefault(word, set()).add(phones)
    if not found:
        raise UserError(f"{path}: no words: write one line a word: WORD PHONE PHONE ...")
    if doubled:
        log.info("%s: %d doubled lines merged", path, doubled)
    return {word: sorted(found[word]) for word in sorted(found)}


def read_phone_set(path: str | os.PathLike[str]) -> list[str]:
    """Read the allowed phones: the first field of each line (so cmudict.phones is read as it is)."""
    return sorted({fields[0] for line in read_lines(path) if (fields := line.split())})


def write_lexicon(path: str | os.PathLike[str], lexicon: Mapping[str, Iterable[tuple[str, ...]]]) -> None:
    """Write a lexicon sorted, with two spaces after the word."""
    lines = [f"{word}  {' '.join(phones)}" for word in sorted(lexicon) for phones in sorted(lexicon[word])]
    write_text(path, "\n".join(lines) + "\n")


def map_unknown(
    texts: Iterable[tuple[str, list[str]]], lexicon: Lexicon, unknown_word: str | None, where: str
) -> list[list[str]]:
    """Replace the words that the lexicon lacks by `unknown_word`.

    texts: (name, words). Raises UserError that lists all missing words at once where `unknown_word` is None or
    has no pronunciation itself.
    """
    if unknown_word is not None and unknown_word not in lexicon:
        raise UserError(
            f"corpus.unknown_word: {unknown_word!r} is not in the lexicon: add it, e.g. '{unknown_word}  SPN'"
        )
    missing: dict[str, str] = {}
    mapped = []
    for name, words in texts:
        for word in words:
            if word not in lexicon:
                missing.setdefault(word, name)
        mapped.append([word if unknown_word is None or word in lexicon else unknown_word for word in words])
    if missing and unknown_word is None:
        listed = short_list([f"{word} ({missing[word]})" for word in sorted(missing)])
        raise UserError(
            f"{where}: {len(missing)} words are not in the lexicon: {listed}: "
            "add their pronunciations, or set corpus.unknown_word to a word of the lexicon that stands for them"
        )
    if missing:
        log.info("%s: %d words mapped to %s: %s", where, len(missing), unknown_word, short_list(sorted(missing)))
    return mapped
