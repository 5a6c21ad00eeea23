"""Phones that know their place in the word (Kaldi's word-position-dependent phones).

A phone P becomes P_B at the beginning of a word, P_I inside, P_E at the end and P_S where it is the whole word. Silence
stays as it is. The variants of a phone share the root of its tree, and so all PDFs of monophones; triphones may ask
for positions, those of the neighbours and the phone's own (utils/prepare_lang.sh, `shared split` and extra_questions).
"""

from collections.abc import Mapping, Sequence

from unisono.errors import UserError

BEGIN, END, INTERNAL, SINGLE = "_B", "_E", "_I", "_S"


def positioned(phones: Sequence[str], silence_phone: str) -> tuple[str, ...]:
    """Return a pronunciation in the variants of its phones; silence in it counts as a place, but has no variants.

    Raises UserError where a variant would bear the name of silence.
    """
    places = [BEGIN, *[INTERNAL] * (len(phones) - 2), END] if len(phones) > 1 else [SINGLE]
    found = []
    for phone, place in zip(phones, places, strict=True):
        if phone + place == silence_phone:
            raise UserError(f"hmm.silence_phone: {silence_phone} is also the phone {phone} in a word: rename it")
        found.append(phone if phone == silence_phone else phone + place)
    return tuple(found)


def position_facts(ids: Mapping[str, int]) -> dict[str, list[list[int]]]:
    """Return which variants, given with their numbers in rising order, belong together, as lists of numbers.

    `variants`: those of each phone; `positions`: those of each position that occurs.
    """
    variants: dict[str, list[int]] = {}
    positions: dict[str, list[int]] = {}
    for name, number in ids.items():
        phone, place = name[: -len(BEGIN)], name[-len(BEGIN) :]
        variants.setdefault(phone, []).append(number)
        positions.setdefault(place, []).append(number)
    return {"variants": list(variants.values()), "positions": list(positions.values())}
