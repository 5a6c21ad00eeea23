"""Words that the lexicon lacks: replaced by one that stands for them, or all listed at once."""

import collections
import logging
import unicodedata
from pathlib import Path

from unisono.data.corpus.lexicon import Lexicon
from unisono.data.corpus.text import short_list
from unisono.errors import UserError
from unisono.files import write_text

log = logging.getLogger(__name__)


class Coverage:
    """Looks up all words of a corpus, then settles what becomes of those that are missing."""

    def __init__(self, lexicon: Lexicon, path: Path, unknown_word: str | None) -> None:
        """Take the lexicon, its file for messages, and the word of it that stands for missing ones, or None.

        Raises UserError where `unknown_word` has no pronunciation itself.
        """
        if unknown_word is not None and unknown_word not in lexicon:
            raise UserError(
                f"corpus.unknown_word: {unknown_word!r} is not in the lexicon: add it, e.g. '{unknown_word}  SPN'"
            )
        self._lexicon, self._path, self._unknown = lexicon, path, unknown_word
        self._missing: collections.Counter[str] = collections.Counter()
        self._first: dict[str, str] = {}

    def covered(self, words: list[str], where: str) -> list[str]:
        """Return the words with missing ones replaced, if there is a word for that; `where` they stand."""
        if all(word in self._lexicon for word in words):
            return words
        for word in words:
            if word not in self._lexicon:
                self._missing[word] += 1
                self._first.setdefault(word, where)
        return [word if self._unknown is None or word in self._lexicon else self._unknown for word in words]

    def settle(self, listing: Path) -> None:
        """Write the missing words to `listing`: word, tab, how often; the most frequent first. No file where none is.

        Raises UserError that names them where no word stands for them.
        """
        listing.unlink(missing_ok=True)
        if not self._missing:
            return
        ordered = sorted(self._missing.items(), key=lambda item: (-item[1], item[0]))
        write_text(listing, "".join(f"{word}\t{count}\n" for word, count in ordered))
        forms = self._other_forms()
        if self._unknown is None:
            named = short_list([f"{word} ({self._first[word]})" for word in sorted(self._missing)])
            raise UserError(
                f"{self._path}: {_words(len(ordered))} not in the lexicon: {named}; all in {listing}{forms}: "
                "add their pronunciations, or set corpus.unknown_word to a word of the lexicon that stands for them"
            )
        log.log(
            logging.WARNING if forms else logging.INFO,
            f"{self._path}: {_words(len(ordered))} not in the lexicon, read as {self._unknown} (all in {listing})"
            + forms,
        )

    def _other_forms(self) -> str:
        """Say which missing words differ from words of the lexicon by case alone, or by how accents are coded."""
        for form, change in (("upper case", str.upper), ("lower case", str.lower)):
            if cased := [word for word in self._missing if change(word) in self._lexicon]:
                return f"; {len(cased)} of them are there in {form}: write the text in {form}, as the lexicon is"
        known = {unicodedata.normalize("NFC", word): word for word in self._lexicon}
        alike = [word for word in sorted(self._missing) if unicodedata.normalize("NFC", word) in known]
        if not alike:
            return ""
        twin = known[unicodedata.normalize("NFC", alike[0])]
        return (
            f"; {len(alike)} of them are there in another Unicode form, such as {ascii(alike[0])} as {ascii(twin)}: "
            "convert text and lexicon to one form, e.g. with uconv -x nfc"
        )


def _words(number: int) -> str:
    return "1 word is" if number == 1 else f"{number} words are"
