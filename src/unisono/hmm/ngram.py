"""N-gram language models estimated from text, and the uniform word loop, both as back-off models in ARPA form.

Every model is interpolated and closed over its vocabulary V (the words of the lexicon, or those of them that the text
holds, and `</s>`):

    P(w | h) = alpha(h, w) + lambda(h) * P(w | h'),    h' = h without its first word,    P(w | nothing) = 1 / |V|

so each history's probabilities sum to one and no word of the vocabulary has probability zero. With c the counts below,
N(h) = sum over w of c(h, w) and T(h) = the number of w with c(h, w) > 0:

* `witten_bell` (Witten & Bell 1991, method C; Chen & Goodman 1999, eq. 16 and 17): c are the counts of the text,
  alpha = c(h, w) / (N(h) + T(h)),  lambda = T(h) / (N(h) + T(h)).
* `kneser_ney` (Kneser & Ney 1995, interpolated as in Chen & Goodman 1999, section 3): at the highest order c are the
  counts of the text; below it c(g) is the number of different words before g (the count of the text for a g that
  begins with `<s>`, which nothing precedes). One discount for each order n, D_n = n1 / (n1 + 2 n2) with n1, n2
  the numbers of n-grams with c = 1 and c = 2:  alpha = max(c(h, w) - D, 0) / N(h),  lambda = D T(h) / N(h).

A text sentence is `<s> w1 ... wk </s>` with a single `<s>`.
"""

import math
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

from unisono.errors import UserError
from unisono.hmm.arpa import BEGIN, END, LOG_ZERO, RESERVED, Arpa, Gram, Weights

Smoothing = Literal["witten_bell", "kneser_ney"]


def read_text(path: str | os.PathLike[str], vocabulary: set[str]) -> list[list[str]]:
    """Read one sentence per line, words divided by blanks; empty lines are passed over.

    Raises UserError for a missing file, bytes that are not UTF-8, no sentence at all, and, all at once, for words
    outside the vocabulary.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
    except FileNotFoundError:
        raise UserError(f"{path}: no such file: give a text for the language model") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: byte {error.start}: not UTF-8: convert the file") from None
    sentences = [words for line in lines if (words := line.split())]
    if not sentences:
        raise UserError(f"{path}: no sentences: the language model needs text")
    unknown = sorted({word for sentence in sentences for word in sentence} - vocabulary)
    if unknown:
        shown = ", ".join(unknown[:10]) + (", ..." if len(unknown) > 10 else "")
        raise UserError(
            f"{path}: {len(unknown)} words are not in the lexicon ({shown}): add them to the lexicon or change the text"
        )
    return sentences


def check_vocabulary(vocabulary: Iterable[str]) -> None:
    """Raise UserError for an empty vocabulary and for a word that has a meaning of its own in models or graphs."""
    words = set(vocabulary)
    if not words:
        raise UserError("lexicon: no words: the language model needs a vocabulary")
    for word in RESERVED:
        if word in words:
            raise UserError(f"lexicon: the word {word!r} has a meaning of its own in language models: rename it")


def estimate(sentences: Sequence[Sequence[str]], vocabulary: Iterable[str], order: int, smoothing: Smoothing) -> Arpa:
    """Estimate a model of the given order (>= 1) from sentences over a closed vocabulary (see the module).

    Orders that the text is too short to fill are left out. Raises UserError for a vocabulary that cannot be used and
    ValueError for a word outside it.
    """
    words = set(vocabulary)
    check_vocabulary(words)
    if outside := {word for sentence in sentences for word in sentence} - words:
        raise ValueError(f"words outside the vocabulary: {sorted(outside)[:5]}")
    counts = [level for level in _raw_counts(sentences, order) if level]
    if smoothing == "kneser_ney":
        counts = _continuation_counts(counts)
    probabilities: list[dict[Gram, float]] = [{}]
    backoffs: list[dict[Gram, float]] = []
    uniform = 1.0 / (len(words) + 1)
    for n, level in enumerate(counts, 1):
        shares, weights = _interpolate(level, smoothing)
        backoffs.append(weights)
        if n == 1:
            rest = weights.get((), 1.0) * uniform
            probabilities[0] = {(w,): shares.get((w,), 0.0) + rest for w in (*sorted(words), END)}
        else:
            lower = probabilities[-1]
            probabilities.append({g: share + weights[g[:-1]] * lower[g[1:]] for g, share in shares.items()})
    return _to_arpa(probabilities, backoffs[1:])


def loop(vocabulary: Iterable[str], end_probability: float) -> Arpa:
    """Return the uniform word loop: P(</s>) = end_probability, every word (1 - end_probability) / words, always."""
    words = sorted(set(vocabulary))
    check_vocabulary(words)
    if not 0.0 < end_probability < 1.0:
        raise UserError(f"lm.end_probability: {end_probability} is not between 0 and 1: give a probability")
    each = (1.0 - end_probability) / len(words)
    return _to_arpa([{(w,): each for w in words} | {(END,): end_probability}], [])


def end_probability(sentences: Sequence[Sequence[str]]) -> float:
    """Return the share of `</s>` among the words and sentence ends of a text: what fits a word loop to its lengths."""
    return len(sentences) / (len(sentences) + sum(map(len, sentences)))


def discount(level: Counter[Gram]) -> float:
    """Return D = n1 / (n1 + 2 n2) (Ney, Essen & Kneser 1994), or 1/2 where no count is one or none is two.

    There the formula would take nothing away (D = 0: no mass for what was not seen) or ignore single counts (D = 1).
    """
    ones = sum(1 for count in level.values() if count == 1)
    twos = sum(1 for count in level.values() if count == 2)
    return ones / (ones + 2.0 * twos) if ones and twos else 0.5


def _raw_counts(sentences: Iterable[Sequence[str]], order: int) -> list[Counter[Gram]]:
    counts: list[Counter[Gram]] = [Counter() for _ in range(order)]
    for sentence in sentences:
        padded = (BEGIN, *sentence, END)
        for n, level in enumerate(counts, 1):
            level.update(padded[i : i + n] for i in range(len(padded) - n + 1))
    # Nothing predicts <s>.
    del counts[0][(BEGIN,)]
    return counts


def _continuation_counts(raw: list[Counter[Gram]]) -> list[Counter[Gram]]:
    counts: list[Counter[Gram]] = []
    for level, above in zip(raw, raw[1:], strict=False):
        different = Counter(gram[1:] for gram in above)
        counts.append(Counter({g: c if g[0] == BEGIN else different[g] for g, c in level.items()}))
    return [*counts, raw[-1]]


def _interpolate(level: Counter[Gram], smoothing: Smoothing) -> tuple[dict[Gram, float], dict[Gram, float]]:
    """Return alpha for each n-gram and lambda for each history of one order."""
    totals: defaultdict[Gram, int] = defaultdict(int)
    types: defaultdict[Gram, int] = defaultdict(int)
    for gram, count in level.items():
        totals[gram[:-1]] += count
        types[gram[:-1]] += 1
    if smoothing == "witten_bell":
        shares = {g: c / (totals[g[:-1]] + types[g[:-1]]) for g, c in level.items()}
        return shares, {h: types[h] / (totals[h] + types[h]) for h in totals}
    less = discount(level)
    shares = {g: max(c - less, 0.0) / totals[g[:-1]] for g, c in level.items()}
    return shares, {h: less * types[h] / totals[h] for h in totals}


def _to_arpa(probabilities: list[dict[Gram, float]], backoffs: list[dict[Gram, float]]) -> Arpa:
    """Join probabilities of orders 1, 2, ... with the lambdas of histories of 1, 2, ... words."""
    grams: list[dict[Gram, Weights]] = []
    for n, level in enumerate(probabilities):
        weights = backoffs[n] if n < len(backoffs) else {}
        level = level if n else level | {(BEGIN,): 0.0}
        grams.append({g: Weights(_log10(p), _log10(weights[g]) if g in weights else 0.0) for g, p in level.items()})
    return Arpa(grams)


def _log10(value: float) -> float:
    return math.log10(value) if value > 0.0 else LOG_ZERO
