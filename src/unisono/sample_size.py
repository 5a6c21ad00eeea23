"""How many words a test set needs before its word error rate says anything.

The error of a rate w over n words is about 1.96 sqrt(w (1 - w) / n); errors of one speaker come in clumps, which about
doubles it (`CLUMPS`, from the bootstrap intervals of the ready-made configs).
"""

CLUMPS = 2.0
EXPECTED = 0.2  # a rate in the middle of what recognisers have
FEW_WORDS = 500
FEW_SPEAKERS = 5  # as score.statistics: an interval over fewer says nothing about other speakers


def half_width(words: int, rate: float = EXPECTED) -> float:
    """Return about how far a word error rate over so many words can be off, 95 %, as a fraction.

    words: at least 1.
    """
    return CLUMPS * 1.96 * (rate * (1 - rate) / words) ** 0.5


def too_small(words: int, speakers: int) -> str:
    """Say why a test set is too small for a statement, "" where it is not."""
    if words < FEW_WORDS:
        return (
            f"the test set has only {words} word{'' if words == 1 else 's'}: a word error rate of"
            f" {100 * EXPECTED:.0f} % could be off by {100 * half_width(max(1, words)):.0f} points: take {FEW_WORDS}"
            " words or more"
        )
    if speakers < FEW_SPEAKERS:
        return (
            f"the test set has only {speakers} speaker{'' if speakers == 1 else 's'}: its word error rate says little"
            f" about other speakers: take {FEW_SPEAKERS} or more"
        )
    return ""
