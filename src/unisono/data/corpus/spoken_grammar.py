"""A language of the embedded corpus: a small grammar, its words and how they are pronounced."""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from unisono.errors import UserError


@dataclass(frozen=True, slots=True)
class Language:
    """A grammar, its lexicon, and the espeak-ng voice that speaks it.

    forms: rows of words and of classes <...>. classes: the words of each. lexicon: entries of a word and its phones,
    one a line or between bars.
    """

    voice: str
    forms: Sequence[str]
    classes: Mapping[str, str]
    lexicon: str

    def pronunciations(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        """Yield (word, phones), several for some words."""
        for entry in self.lexicon.strip().replace("\n", "|").split("|"):
            word, *phones = entry.split()
            yield word, tuple(phones)

    def sentences(self, seed: int, number: int) -> list[str]:
        """Draw `number` different sentences, in upper case where the script has cases, in the order drawn.

        Raises UserError where so many do not come within ten times as many draws.
        """
        decks = _Decks(seed, self)
        found: dict[str, None] = {}
        for _ in range(10 * number):
            if len(found) == number:
                break
            found.setdefault(decks.sentence())
        if len(found) < number:
            raise UserError(f"corpus.spoken: {number} sentences in all are more than the grammar gives: ask for fewer")
        return list(found)


class _Decks:
    """Words of each class in shuffled order, anew when they are used up, so that all are about equally frequent."""

    def __init__(self, seed: int, language: Language) -> None:
        self.rng, self.language = random.Random(seed), language
        self.decks: dict[str, list[str]] = {}

    def draw(self, name: str, taken: list[str]) -> str:
        """Return the next word of a class that is not in the sentence yet."""
        deck = self.decks.setdefault(name, [])
        if all(word in taken for word in deck):
            fresh = self.language.classes[name].split()
            self.rng.shuffle(fresh)
            deck.extend(fresh)
        word = next(word for word in deck if word not in taken)
        deck.remove(word)
        return word

    def sentence(self) -> str:
        """Draw one sentence."""
        words: list[str] = []
        for part in self.rng.choice(self.language.forms).split():
            words.append(self.draw(part[1:-1], words) if part.startswith("<") else part)
        return " ".join(words).upper()
