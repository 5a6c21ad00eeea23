"""A language directory of Kaldi: symbol tables, the lexicon and its transducers, which phones are silence."""

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from unisono.data.kaldi.fst import Fst, read_fst
from unisono.data.kaldi.source import read_lines
from unisono.errors import UserError

MOST_SYMBOLS = 2**24  # lists are as long as the highest number
EPSILON, WORD_DISAMBIG = "<eps>", "#0"
MARKS = ("<s>", "</s>")
_POSITIONS = ("", "_B", "_I", "_E", "_S")


class Pronunciation(NamedTuple):
    """A word with its phones, by number."""

    word: int
    phones: tuple[int, ...]


class KaldiLang(NamedTuple):
    """What a language directory says; the numbers may have gaps."""

    words: dict[str, int]
    phones: dict[str, int]
    silence: list[int]
    disambiguation: list[int]
    pronunciations: list[Pronunciation]
    lexicon: Fst  # L.fst
    lexicon_disambig: Fst  # L_disambig.fst


def read_lang(folder: str | os.PathLike[str]) -> KaldiLang:
    """Read `data/lang`. Raises UserError naming the first file, line or symbol that is missing or does not fit."""
    place = Path(folder)
    words = read_symbols(place / "words.txt")
    phones = read_symbols(place / "phones.txt", phones=True)
    disambiguation = sorted(number for name, number in phones.items() if name.startswith("#"))
    numbers = set(phones.values()) - set(disambiguation) - {0}
    silence = _silence(place / "phones", numbers)
    pronunciations = _align_lexicon(place / "phones" / "align_lexicon.int", set(words.values()), numbers)
    if (place / "lexicon.txt").is_file():
        _check_lexicon(place / "lexicon.txt", phones)
    lexicon, marked = (
        _lexicon(place / name, words, phones, disambiguation if name == "L_disambig.fst" else [])
        for name in ("L.fst", "L_disambig.fst")
    )
    return KaldiLang(words, phones, silence, disambiguation, pronunciations, lexicon, marked)


def read_symbols(path: str | os.PathLike[str], phones: bool = False) -> dict[str, int]:
    """Read a symbol table, `symbol number` a line. Raises UserError naming file and line.

    Symbols and numbers come once each; 0 is <eps>. A name of a phone holds no slash, as files are named by it.
    """
    table: dict[str, int] = {}
    seen: dict[int, str] = {}
    for line, text in enumerate(read_lines(path), 1):
        where = f"{path}: line {line}"
        fields = text.split()
        if not fields:
            continue
        if len(fields) != 2 or not re.fullmatch(r"\d{1,10}", fields[1], re.ASCII) or int(fields[1]) > MOST_SYMBOLS:
            raise UserError(f"{where}: {text[:60]!r} is not a symbol and its number: correct the line")
        name, number = fields[0], int(fields[1])
        if name in table or number in seen:
            raise UserError(f"{where}: {name!r} or {number} is there already: every symbol has a number of its own")
        if phones and "/" in name:
            raise UserError(f"{where}: {name!r} is no name for a phone: leave out the slash")
        table[name], seen[number] = number, name
    if table.get(EPSILON) != 0:
        raise UserError(f"{path}: {EPSILON} 0 is missing: is it a symbol table of Kaldi?")
    return table


def read_numbers(path: str | os.PathLike[str], separator: str | None = None) -> list[int]:
    """Read whole numbers, a line each or separated. Raises UserError naming the file."""
    fields = [field for line in read_lines(path) for field in line.split(separator)]
    if not all(re.fullmatch(r"\d{1,9}", field, re.ASCII) for field in fields):
        raise UserError(f"{path}: not a list of numbers: make the language directory anew")
    return [int(field) for field in fields]


def _silence(folder: Path, phones: set[int]) -> list[int]:
    for name, separator in (("silence.int", None), ("silence.csl", ":")):
        if (folder / name).is_file():
            found = read_numbers(folder / name, separator)
            unknown = sorted(set(found) - phones)
            if unknown:
                raise UserError(f"{folder / name}: phone {unknown[0]} is not in phones.txt: they are of two systems")
            return found
    raise UserError(f"{folder / 'silence.int'}: no such file: make the language directory by utils/prepare_lang.sh")


def _align_lexicon(path: Path, words: set[int], phones: set[int]) -> list[Pronunciation]:
    """Read `word word phone phone ...` by number; lines of <eps>, the optional silence, are left out."""
    if not path.is_file():
        raise UserError(f"{path}: no such file: word times need it: make it by utils/prepare_lang.sh")
    found: list[Pronunciation] = []
    for line, text in enumerate(read_lines(path), 1):
        fields = text.split()
        if len(fields) < 3 or not all(re.fullmatch(r"\d{1,9}", field, re.ASCII) for field in fields):
            raise UserError(f"{path}: line {line}: not a word, a word and phones by number: make it anew")
        numbers = [int(field) for field in fields]
        for number in numbers[:2]:
            if number not in words:
                raise UserError(f"{path}: line {line}: word {number} is not in words.txt: they are of two systems")
        for phone in numbers[2:]:
            if phone not in phones:
                raise UserError(f"{path}: line {line}: phone {phone} is not in phones.txt: add it, or use its own file")
        if numbers[1]:
            found.append(Pronunciation(numbers[1], tuple(numbers[2:])))
    return found


def _check_lexicon(path: Path, phones: dict[str, int]) -> None:
    for line, text in enumerate(read_lines(path), 1):
        for phone in text.split()[1:]:
            if not any(phone + position in phones for position in _POSITIONS) and not _is_number(phone):
                raise UserError(
                    f"{path}: line {line}: phone {phone!r} is not in {path.with_name('phones.txt')}: "
                    "add it, or make the language directory anew"
                )


def _is_number(text: str) -> bool:
    """Say whether a field of a lexicon is a pronunciation's probability."""
    return re.fullmatch(r"[0-9.]+(e-?\d+)?", text, re.ASCII) is not None


def _lexicon(path: Path, words: dict[str, int], phones: dict[str, int], marks: Iterable[int]) -> Fst:
    fst = read_fst(path)
    known = set(phones.values()) - ({n for name, n in phones.items() if name.startswith("#")} - set(marks))
    unknown = sorted(set(map(int, fst.arcs["input"])) - known)
    if unknown:
        raise UserError(f"{path}: phone {unknown[0]} is not in phones.txt: they are of two systems")
    unknown = sorted(set(map(int, fst.arcs["output"])) - set(words.values()))
    if unknown:
        raise UserError(f"{path}: word {unknown[0]} is not in words.txt: they are of two systems")
    return fst
