"""Transcripts as people write them, fitted to the words of a lexicon: case, and punctuation at the ends of words."""

import collections
import dataclasses
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from unisono.data.corpus.sources import SourceRow
from unisono.data.corpus.text import words_of
from unisono.errors import UserError

CASES: dict[str, Callable[[str], str]] = {
    "as it stands": str,
    "in upper case": str.upper,
    "in lower case": str.lower,
}


class Fitted(NamedTuple):
    """Rows with fitted transcripts, what was done in words, faults, and words that the lexicon lacks: how often."""

    rows: list[SourceRow]
    notes: list[str]
    faults: list[str]
    missing: collections.Counter[str]


def fit(rows: Sequence[SourceRow], lexicon: Iterable[str]) -> Fitted:
    """Write each transcript in the case in which most of its words are in the lexicon.

    Punctuation at the ends of a word is dropped where the lexicon has only the word without it. Rows with a word that
    no later stage could carry are left out and named.
    """
    known = set(lexicon)
    sound: list[tuple[SourceRow, list[str]]] = []
    faults = []
    for row in rows:
        try:
            sound.append((row, words_of(row.transcript, row.where)))
        except UserError as error:
            faults.append(str(error))
    counts = collections.Counter(word for _, words in sound for word in words)
    found = {
        name: sum(number for word, number in counts.items() if _bare(change(word), known) in known)
        for name, change in CASES.items()
    }
    best = max(found, key=lambda name: found[name])
    change = CASES[best]
    fitted = {word: _bare(change(word), known) for word in counts}
    changed = sum(number for word, number in counts.items() if fitted[word] != change(word))
    notes = []
    if best != "as it stands":
        notes.append(f"the text is written {best}, as the words of the lexicon are")
    if changed:
        notes.append(f"punctuation at the ends of {changed} words is dropped")
    ready = [
        dataclasses.replace(row, transcript=" ".join(fitted[word] for word in words if fitted[word]))
        for row, words in sound
    ]
    missing = collections.Counter(word for row in ready for word in row.transcript.split() if word not in known)
    return Fitted(ready, notes, faults, missing)


def _bare(word: str, known: set[str]) -> str:
    """Return the word without punctuation at its ends, unless the lexicon has it with that."""
    begin, end = 0, len(word)
    # What the lexicon knows is taken at once: an apostrophe or full stop may be part of a word.
    while begin < end and _is_mark(word[end - 1]) and word[begin:end] not in known:
        end -= 1
    while begin < end and _is_mark(word[begin]) and word[begin:end] not in known:
        begin += 1
    return word[begin:end]


def _is_mark(character: str) -> bool:
    return unicodedata.category(character)[0] in "PS"
