"""The pronunciation lexicon as finite-state transducers, for any language and any phone set.

A language directory holds `words.txt` and `phones.txt` (Kaldi symbol tables, <eps> = 0), `L.fst` and
`L_disambig.fst` (phones in, words out, OpenFST), `topo` (HMM topology), `lexicon.txt` (the validated input) and
`lang.json`. With `word_position` the phones in them are variants by position (`positions.py`), and `lang.json` tells
which belong together. Several pronunciations of a word are equally likely.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from unisono.errors import UserError
from unisono.files import atomic_path, read_json, write_json, write_text
from unisono.hmm.libs import kaldifst
from unisono.hmm.positions import position_facts, positioned
from unisono.hmm.topology import topology_text

EPSILON = "<eps>"
WORD_DISAMBIG = "#0"
SENTENCE_MARKS = ("<s>", "</s>")
START, LOOP, SILENCE = 0, 1, 2


class Pronunciation(NamedTuple):
    """One line of the lexicon."""

    word: str
    phones: tuple[str, ...]


class Lang(NamedTuple):
    """A language directory as read back: symbol tables by name, special symbols by number."""

    words: dict[str, int]
    phones: dict[str, int]
    silence_ids: list[int]
    phone_disambig_ids: list[int]
    word_disambig_id: int
    lexicon_fst: Path
    lexicon_disambig_fst: Path
    topology: str
    pronunciations: list[Pronunciation]
    variants: list[list[int]]  # phones that share a root, as they differ in position only; empty without positions
    positions: list[list[int]]  # phones of one position, which a tree may ask for; empty without positions

    @property
    def word_list(self) -> list[str]:
        """Words by number: `word_list[id]`, an empty string where no word has that number."""
        names = [""] * (1 + max(self.words.values()))
        for word, number in self.words.items():
            names[number] = word
        return names


def read_lexicon(path: str | Path) -> list[Pronunciation]:
    """Read `WORD PHONE PHONE …` lines, sorted and without repetitions.

    Raises UserError naming file and line for a line without phones, a reserved symbol, or a file that is not UTF-8.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise UserError(f"{path}: no such file: run the stage that makes it") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 (byte {error.start}): convert it to UTF-8") from None
    found = set()
    for number, line in enumerate(text.split("\n"), 1):
        word, *phones = line.split() or [""]
        if not word:
            continue
        if not phones:
            raise UserError(f"{path}:{number}: {word} has no phones: add them or take the line out")
        _check_symbols(f"{path}:{number}", word, phones)
        found.add(Pronunciation(word, tuple(phones)))
    if not found:
        raise UserError(f"{path}: no pronunciations: give lines of the form WORD  PHONE PHONE ...")
    return sorted(found)


def write_lang(
    directory: str | Path,
    lexicon: Sequence[Pronunciation],
    *,
    silence_phone: str,
    silence_probability: float,
    silence_states: int,
    phone_states: int,
    word_position: bool = False,
) -> None:
    """Write the language directory.

    `silence_probability` in [0, 1) is the chance of silence at the start and after each word; 0 leaves it out.
    Words and phones are numbered in the order of their code points, the silence phone first.
    """
    _check_silence(silence_phone, silence_probability)
    out = Path(directory)
    if word_position:
        lexicon = sorted(entry._replace(phones=positioned(entry.phones, silence_phone)) for entry in lexicon)
    marked, marks = add_disambiguation(lexicon)
    silence_mark = marks + 1
    spoken = sorted({phone for entry in lexicon for phone in entry.phones} - {silence_phone})
    phones = _numbered([EPSILON, silence_phone, *spoken, *(f"#{i}" for i in range(silence_mark + 1))])
    words = _numbered([EPSILON, *sorted({entry.word for entry in lexicon}), WORD_DISAMBIG, *SENTENCE_MARKS])
    _write_fst(out / "L.fst", lexicon_arcs(lexicon, words, phones, silence_phone, silence_probability, None))
    arcs = lexicon_arcs(marked, words, phones, silence_phone, silence_probability, f"#{silence_mark}")
    # The self-loop lets the back-off symbol of the language model pass through the lexicon.
    arcs.append((LOOP, LOOP, phones[WORD_DISAMBIG], words[WORD_DISAMBIG], 0.0))
    _write_fst(out / "L_disambig.fst", arcs)
    spoken_ids, silence_ids = {phone: phones[phone] for phone in spoken}, [phones[silence_phone]]
    write_text(out / "topo", topology_text(silence_ids, list(spoken_ids.values()), silence_states, phone_states))
    write_text(out / "words.txt", _symbol_table(words))
    write_text(out / "phones.txt", _symbol_table(phones))
    write_text(out / "lexicon.txt", "".join(f"{entry.word}  {' '.join(entry.phones)}\n" for entry in lexicon))
    facts = {
        "silence_phone": silence_phone,
        "silence_ids": silence_ids,
        "phone_disambig_ids": [phones[f"#{i}"] for i in range(silence_mark + 1)],
        "word_disambig_id": words[WORD_DISAMBIG],
        "num_phones": len(spoken) + 1,
        "num_words": len(words) - 2 - len(SENTENCE_MARKS),
        "num_pronunciations": len(lexicon),
    }
    write_json(out / "lang.json", facts | (position_facts(spoken_ids) if word_position else {}))


def load_lang(directory: str | Path) -> Lang:
    """Read a language directory. Raises UserError where a file is missing or not as written by `write_lang`."""
    folder = Path(directory)
    facts = read_json(folder / "lang.json")
    try:
        return Lang(
            words=_read_symbols(folder / "words.txt"),
            phones=_read_symbols(folder / "phones.txt"),
            silence_ids=[int(i) for i in facts["silence_ids"]],
            phone_disambig_ids=[int(i) for i in facts["phone_disambig_ids"]],
            word_disambig_id=int(facts["word_disambig_id"]),
            lexicon_fst=folder / "L.fst",
            lexicon_disambig_fst=folder / "L_disambig.fst",
            topology=(folder / "topo").read_text(encoding="utf-8"),
            pronunciations=read_lexicon(folder / "lexicon.txt"),
            variants=[[int(i) for i in group] for group in facts.get("variants", [])],
            positions=[[int(i) for i in group] for group in facts.get("positions", [])],
        )
    except (KeyError, TypeError, ValueError, FileNotFoundError) as error:
        raise UserError(f"{directory}: not a language directory ({error!r}): run the stage lang again") from None


def add_disambiguation(lexicon: Iterable[Pronunciation]) -> tuple[list[Pronunciation], int]:
    """Append #1, #2, … where words sound alike or one is the beginning of another; return the highest number used.

    Without them the composition with a language model could not be made deterministic (Mohri, Pereira and Riley
    2002, section 3.2.2). A pronunciation that is unique and begins no other is left as it is.
    """
    entries = list(lexicon)
    count = Counter(entry.phones for entry in entries)
    beginnings = {phones[:i] for phones in count for i in range(1, len(phones))}
    used: Counter[tuple[str, ...]] = Counter()
    marked = []
    for entry in entries:
        if count[entry.phones] > 1 or entry.phones in beginnings:
            used[entry.phones] += 1
            entry = Pronunciation(entry.word, (*entry.phones, f"#{used[entry.phones]}"))
        marked.append(entry)
    return marked, max(used.values(), default=0)


def lexicon_arcs(
    lexicon: Iterable[Pronunciation],
    words: Mapping[str, int],
    phones: Mapping[str, int],
    silence_phone: str,
    silence_probability: float,
    silence_mark: str | None,
) -> list[tuple[int, int, int, int, float]]:
    """Return the arcs (from, to, phone, word, cost) of the lexicon; state `LOOP` is the final one.

    Each word leaves LOOP and comes back to it, directly or through SILENCE; the costs are -log of the probabilities.
    """
    silent = silence_probability > 0.0
    go, stay = (-math.log(silence_probability) if silent else math.inf), -math.log(1.0 - silence_probability)
    arcs = [(START, LOOP, 0, 0, stay)]
    free = SILENCE
    if silent:
        arcs.append((START, SILENCE, 0, 0, go))
        arcs.append((SILENCE, LOOP if silence_mark is None else SILENCE + 1, phones[silence_phone], 0, 0.0))
        if silence_mark is not None:
            arcs.append((SILENCE + 1, LOOP, phones[silence_mark], 0, 0.0))
        free = SILENCE + 2
    for entry in lexicon:
        state, word = LOOP, words[entry.word]
        for phone in entry.phones[:-1]:
            arcs.append((state, free, phones[phone], word, 0.0))
            state, free, word = free, free + 1, 0
        last = phones[entry.phones[-1]]
        arcs.append((state, LOOP, last, word, stay))
        if silent:
            arcs.append((state, SILENCE, last, word, go))
    return arcs


def _write_fst(path: Path, arcs: Sequence[tuple[int, int, int, int, float]]) -> None:
    lines = [f"{source} {target} {phone} {word} {cost:.9g}" for source, target, phone, word, cost in arcs]
    fst = kaldifst.compile("\n".join([*lines, f"{LOOP} 0", ""]), acceptor=False)
    kaldifst.arcsort(fst, sort_type="olabel")
    with atomic_path(path) as temporary:
        fst.write(str(temporary))


def _check_symbols(where: str, word: str, phones: Iterable[str]) -> None:
    if word in (EPSILON, WORD_DISAMBIG, *SENTENCE_MARKS):
        raise UserError(f"{where}: the word {word} is reserved: rename it")
    for phone in phones:
        if phone.startswith("#") or phone == EPSILON or not phone or phone.split() != [phone]:
            raise UserError(f"{where}: the phone {phone!r} is reserved or not one symbol: rename it")


def _check_silence(phone: str, probability: float) -> None:
    if not 0.0 <= probability < 1.0:
        raise UserError(f"hmm.silence_probability: {probability} is not in [0, 1)")
    _check_symbols("hmm.silence_phone", "", [phone])


def _numbered(symbols: Sequence[str]) -> dict[str, int]:
    return {symbol: number for number, symbol in enumerate(symbols)}


def _symbol_table(symbols: Mapping[str, int]) -> str:
    return "".join(f"{symbol} {number}\n" for symbol, number in symbols.items())


def _read_symbols(path: Path) -> dict[str, int]:
    table = {}
    for line in path.read_text(encoding="utf-8").rstrip("\n").split("\n"):
        symbol, number = line.rsplit(" ", 1)
        table[symbol] = int(number)
    return table
