"""The ARPA form of a back-off n-gram model: read strictly, write, look up, measure perplexity.

An ARPA file lists n-grams with log10 P(word | history) and, where the n-gram is itself a history, a log10 back-off
weight:  P(w | h) = P of the listed n-gram (h, w), else backoff(h) * P(w | h without its first word)  (Katz 1987,
eq. 12; the file format is ngram-format(5) of SRILM). `<s>` is only ever a history; `</s>` is only ever predicted.

The wheel that compiles the file aborts the whole process on a malformed one, so `read_arpa` refuses every
malformation by file and line before the wheel sees it.
"""

import math
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from unisono.errors import UserError
from unisono.files import atomic_path

BEGIN, END = "<s>", "</s>"
# What no word may be: sentence ends here, and the symbols of the graph.
RESERVED = (BEGIN, END, "<eps>", "#0")
# What the file says for a probability of zero (ngram-format(5)).
LOG_ZERO = -99.0

Gram = tuple[str, ...]


class Weights(NamedTuple):
    """One listed n-gram: log10 probability (<= 0) and log10 back-off weight (0 where the file has none)."""

    log10_probability: float
    log10_backoff: float


class Arpa(NamedTuple):
    """A back-off model; `grams[n - 1]` maps n-grams, as tuples of n words, to their weights."""

    grams: list[dict[Gram, Weights]]

    @property
    def order(self) -> int:
        """The length of the longest n-grams."""
        return len(self.grams)

    def words(self) -> set[str]:
        """Return the words that the model can predict, `</s>` among them and `<s>` not."""
        return {gram[0] for gram in self.grams[0]} - {BEGIN}

    def log10_probability(self, history: Sequence[str], word: str) -> float:
        """Return log10 P(word | history); only the last `order - 1` words of the history count.

        Raises KeyError for a word that is not among the unigrams.
        """
        context = tuple(history)[max(0, len(history) - self.order + 1) :]
        backoff = 0.0
        while context:
            listed = self.grams[len(context)].get((*context, word))
            if listed is not None:
                return backoff + listed.log10_probability
            weights = self.grams[len(context) - 1].get(context)
            backoff += weights.log10_backoff if weights else 0.0
            context = context[1:]
        return backoff + self.grams[0][(word,)].log10_probability


class Perplexity(NamedTuple):
    """Perplexity of a text: 10 ** (-mean log10 P), one term per word and per `</s>`."""

    value: float
    words: int
    sentences: int


def perplexity(arpa: Arpa, sentences: Iterable[Sequence[str]]) -> Perplexity:
    """Return the perplexity of sentences, `</s>` counted, `<s>` given.

    Raises UserError for a word that the model does not know and for a text without sentences.
    """
    total, words, count = 0.0, 0, 0
    for sentence in sentences:
        history = [BEGIN]
        for word in (*sentence, END):
            try:
                total += arpa.log10_probability(history, word)
            except KeyError:
                raise UserError(f"perplexity: the language model does not know the word {word!r}") from None
            history.append(word)
        words += len(sentence)
        count += 1
    if not count:
        raise UserError("perplexity: the text holds no sentences")
    return Perplexity(10.0 ** (-total / (words + count)), words, count)


def restrict(arpa: Arpa, vocabulary: set[str]) -> tuple[Arpa, int]:
    """Drop every n-gram with a word outside the vocabulary; return the rest and the number dropped.

    What is dropped keeps its probability mass: the rest is not renormalised, as in Kaldi's arpa2fst.
    """
    keep = vocabulary | {BEGIN, END}
    grams = [{gram: weights for gram, weights in level.items() if keep.issuperset(gram)} for level in arpa.grams]
    dropped = sum(map(len, arpa.grams)) - sum(map(len, grams))
    while len(grams) > 1 and not grams[-1]:
        grams.pop()
    return Arpa(grams), dropped


def write_arpa(path: str | os.PathLike[str], arpa: Arpa) -> None:
    """Write an ARPA file atomically: six decimals, n-grams sorted, back-off weights only where they are not zero."""
    with atomic_path(path) as temporary, open(temporary, "w", encoding="utf-8", newline="\n") as file:
        file.write("\\data\\\n")
        file.writelines(f"ngram {n}={len(level)}\n" for n, level in enumerate(arpa.grams, 1))
        for n, level in enumerate(arpa.grams, 1):
            file.write(f"\n\\{n}-grams:\n")
            for gram in sorted(level):
                probability, backoff = level[gram]
                tail = f"\t{backoff:.6f}" if backoff and n < arpa.order else ""
                file.write(f"{probability:.6f}\t{' '.join(gram)}{tail}\n")
        file.write("\n\\end\\\n")


def read_arpa(path: str | os.PathLike[str]) -> Arpa:
    """Read an ARPA file strictly.

    Raises UserError with file and line for: bytes that are not UTF-8, a missing or disordered section, counts that
    the header does not promise, a wrong number of columns, a number that is none, a probability above one, a repeated
    n-gram, a word or history that no lower order lists, `<s>` or `</s>` out of place or missing.
    """
    reader = _Reader(Path(path))
    grams: list[dict[Gram, Weights]] = []
    counts = reader.header()
    for order, count in enumerate(counts, 1):
        grams.append(reader.section(order, count, len(counts), grams))
    reader.expect("\\end\\")
    for symbol in (BEGIN, END):
        if (symbol,) not in grams[0]:
            raise UserError(f"{path}: the unigrams lack {symbol}: it must be among them")
    while len(grams) > 1 and not grams[-1]:
        grams.pop()
    return Arpa(grams)


class _Reader:
    """The lines of one file that are not blank, with their numbers, and what may come next among them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.number = 0
        try:
            text = path.read_bytes().decode("utf-8-sig")
        except FileNotFoundError:
            raise UserError(f"{path}: no such file: give an ARPA language model") from None
        except UnicodeDecodeError as error:
            line = path.read_bytes()[: error.start].count(b"\n") + 1
            raise UserError(f"{path}: line {line}: not UTF-8: convert the file") from None
        self.lines = self._content(text)
        self.current = next(self.lines)

    def _content(self, text: str) -> Iterator[str | None]:
        for self.number, line in enumerate(text.split("\n"), 1):
            if stripped := line.strip():
                yield stripped
        while True:
            yield None

    def fail(self, reason: str) -> UserError:
        return UserError(f"{self.path}: line {self.number}: {reason}: mend the ARPA file")

    def expect(self, heading: str) -> None:
        if self.current != heading:
            found = "the end of the file" if self.current is None else repr(self.current[:60])
            raise self.fail(f"expected {heading!r}, found {found}")
        self.current = next(self.lines)

    def header(self) -> list[int]:
        # The format allows free text before \data\.
        while self.current is not None and self.current != "\\data\\":
            self.current = next(self.lines)
        self.expect("\\data\\")
        counts: list[int] = []
        while self.current is not None and self.current.startswith("ngram"):
            order, equals, count = self.current.removeprefix("ngram").partition("=")
            if not equals or not _is_count(order) or not _is_count(count):
                raise self.fail(f"expected 'ngram N=COUNT', found {self.current[:60]!r}")
            if int(order) != len(counts) + 1:
                raise self.fail(f"expected the count of order {len(counts) + 1}, found order {order.strip()}")
            counts.append(int(count))
            self.current = next(self.lines)
        if not counts or not counts[0]:
            raise self.fail("the header promises no unigrams")
        return counts

    def section(self, order: int, count: int, highest: int, lower: list[dict[Gram, Weights]]) -> dict[Gram, Weights]:
        self.expect(f"\\{order}-grams:")
        level: dict[Gram, Weights] = {}
        while self.current is not None and not self.current.startswith("\\"):
            gram, weights = self._gram(order, highest)
            self._check(gram, level, lower)
            level[gram] = weights
            self.current = next(self.lines)
        if len(level) != count:
            raise self.fail(f"the header promises {count} {order}-grams, the file has {len(level)}")
        return level

    def _gram(self, order: int, highest: int) -> tuple[Gram, Weights]:
        fields = (self.current or "").split()
        if len(fields) not in ((order + 1,) if order == highest else (order + 1, order + 2)):
            raise self.fail(f"a {order}-gram of order-{highest} model cannot have {len(fields)} columns")
        probability = self._number(fields[0], "probability")
        if probability > 0.0:
            raise self.fail(f"the log10 probability {fields[0]} is above 0")
        backoff = self._number(fields[-1], "back-off weight") if len(fields) == order + 2 else 0.0
        return tuple(fields[1 : order + 1]), Weights(probability, backoff)

    def _number(self, text: str, what: str) -> float:
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if text.lower() in ("-inf", "-infinity"):
            return LOG_ZERO
        if not math.isfinite(number):
            raise self.fail(f"the log10 {what} {text!r} is no finite number")
        return number

    def _check(self, gram: Gram, level: dict[Gram, Weights], lower: list[dict[Gram, Weights]]) -> None:
        shown = " ".join(gram)
        if gram in level:
            raise self.fail(f"the n-gram {shown!r} occurs twice")
        if BEGIN in gram[1:] or END in gram[:-1]:
            raise self.fail(f"{BEGIN} not at the beginning or {END} not at the end of {shown!r}")
        if len(gram) > 1:
            if (gram[-1],) not in lower[0]:
                raise self.fail(f"the word {gram[-1]!r} of {shown!r} is not among the unigrams")
            if gram[:-1] not in lower[-1]:
                raise self.fail(f"the history of {shown!r} is not among the {len(gram) - 1}-grams")


def _is_count(text: str) -> bool:
    text = text.strip()
    return text.isascii() and text.isdigit()
