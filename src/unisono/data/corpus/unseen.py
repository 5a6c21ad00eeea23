"""How many of the words that were said the text of the language model never has: such words are seldom recognised."""

from collections.abc import Iterable, Mapping

MANY = 0.05  # of the words; more deserve a warning


def unseen(transcripts: Iterable[str], text: Iterable[str]) -> float:
    """Return which part of the words of some transcripts, each as often as it was said, is in no line of a text."""
    known = {word for line in text for word in line.split()}
    said = [word for line in transcripts for word in line.split()]
    return sum(word not in known for word in said) / max(1, len(said))


def sentence(shares: Mapping[str, float]) -> str:
    """Say how many words of each split are unseen. shares: `unseen` of each."""
    parts = " and ".join(f"{100 * share:.1f} % of the words of {split}" for split, share in shares.items())
    return f"{parts} never occur in the language model's text"
