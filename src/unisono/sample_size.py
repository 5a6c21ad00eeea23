"""How far a test set can be trusted: the words and speakers it needs, the words that the language model never saw.

The error of a rate w over n words is about 1.96 sqrt(w (1 - w) / n); errors of one speaker come in clumps, which about
doubles it (`CLUMPS`, from the bootstrap intervals of the ready-made configs).
"""

from collections.abc import Collection, Iterable, Sequence

CLUMPS = 2.0
EXPECTED = 0.2  # a rate in the middle of what recognisers have
FEW_WORDS = 500
FEW_SPEAKERS = 5  # as score.statistics: an interval over fewer says nothing about other speakers
MANY_UNSEEN = 0.05  # of the words spoken; more deserve a warning
MORE_WORDS = f"record {FEW_WORDS} or more, or move speakers from train to test in column split of the table"


def half_width(words: int, rate: float = EXPECTED) -> float:
    """Return about how far a word error rate over so many words can be off, 95 %, as a fraction.

    words: at least 1.
    """
    return CLUMPS * 1.96 * (rate * (1 - rate) / words) ** 0.5


def measured_half_width(words: int, ci95: Sequence[float]) -> float:
    """Return how far a measured rate can be off: half its interval; 3 / words where that has no width (rule of three).

    words: at least 1. ci95: fractions.
    """
    return (ci95[1] - ci95[0]) / 2 or 3 / words


def few_words(words: int, measured: tuple[str, float, float] | None = None) -> str:
    """Say that the test set has too few words, "" where it has enough.

    measured: a system, its word error rate and how far that can be off, once they are known.
    """
    if words >= FEW_WORDS:
        return ""
    name, rate, off = measured or ("a word error rate", EXPECTED, half_width(max(1, words)))
    what = f"{name} of {100 * rate:.0f} %" if measured is None else f"the {100 * rate:.2f} % of {name}"
    return (
        f"the test set has only {words} word{'' if words == 1 else 's'}: {what} could be off by"
        f" {100 * off:.0f} points: {MORE_WORDS}"
    )


def few_speakers(speakers: int) -> str:
    """Say that the test set has too few speakers, "" where it has enough."""
    if speakers >= FEW_SPEAKERS:
        return ""
    return (
        f"the test set has only {speakers} speaker{'' if speakers == 1 else 's'}: its word error rate says little"
        f" about other speakers: take {FEW_SPEAKERS} or more"
    )


def too_small(words: int, speakers: int) -> str:
    """Say why a test set is too small for a statement, "" where it is not."""
    return few_words(words) or few_speakers(speakers)


def unseen(texts: Iterable[str], known: Collection[str]) -> int:
    """Count the words of `texts` (separated by blanks) that are not among the `known` ones of another text."""
    return sum(word not in known for text in texts for word in text.split())
