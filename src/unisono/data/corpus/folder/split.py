"""Who is in train, dev and test: whole speakers, drawn by a seed, about a tenth of the speech for dev and for test."""

import random
from collections.abc import Mapping

SHARE = 0.1  # of the speech, for dev and for test
MOST_SPEAKERS = 5  # as many as an interval over speakers needs, where there are enough
TOO_LONG = 0.25  # a speaker with more of the speech than this goes to train if another can be had


def split_speakers(seconds: Mapping[str, float], seed: int) -> dict[str, str]:
    """Return the split of each speaker; `seconds` of speech each. There must be at least three speakers.

    test and dev take speakers, drawn in an order of the seed, until each has a tenth of the speech and a sixth of the
    speakers, but for five that are enough; train has the rest.
    """
    if len(seconds) < 3:
        raise ValueError(f"{len(seconds)} speakers: three splits need at least three")
    order = sorted(seconds)
    random.Random(f"splits {seed}").shuffle(order)
    total = sum(seconds.values()) or 1.0
    order.sort(key=lambda speaker: seconds[speaker] > TOO_LONG * total)  # stable: the order stays within the halves
    fewest = min(MOST_SPEAKERS, max(1, len(order) // 6))
    splits: dict[str, str] = {}
    for split in ("test", "dev"):
        left = 1 if split == "dev" else 2  # what must remain for the others
        got, taken = 0, 0.0
        while len(order) > left and (got < fewest or taken < SHARE * total) and (got == 0 or got < len(seconds) // 3):
            speaker = order.pop(0)
            splits[speaker] = split
            got, taken = got + 1, taken + seconds[speaker]
    return splits | dict.fromkeys(order, "train")


def split_utterances(utterances: list[str], seed: int) -> dict[str, str]:
    """Return the split of each utterance, a tenth (at least one) for dev and for test; where speakers are too few."""
    if len(utterances) < 3:
        raise ValueError(f"{len(utterances)} utterances: three splits need at least three")
    order = sorted(utterances)
    random.Random(f"splits {seed}").shuffle(order)
    size = max(1, round(SHARE * len(order)))
    return {name: "test" if at < size else "dev" if at < 2 * size else "train" for at, name in enumerate(order)}
