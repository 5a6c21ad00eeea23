"""Archives (`ark`) and scripts (`scp`) of matrices, vectors and whole numbers.

    for key, matrix in read_archive("feats.ark", "matrix"): ...
    script = Script("feats.scp", "matrix"); script["utt1"]; len(script)
    for utt, ids in read_all(parts("exp/tri/ali.*.gz"), "integers"): ...

An entry of an archive is its key, a space and a value (`values.py`), without anything between two. A line of a script
is a key and the place of a value: path, then `:byte`, then rows and columns `[first:last]` or
`[first:last,first:last]`, both counted from 0 and taken with their last; an axis that is `:` is whole. Commands and
standard input are refused.
At any time one value is in memory.
"""

import glob
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple, NoReturn

from numpy.typing import NDArray

from unisono.data.kaldi.ranges import Range, cut, parse_range
from unisono.data.kaldi.source import Source, read_lines
from unisono.data.kaldi.values import Kind, read_value
from unisono.errors import UserError

LONGEST_KEY = 1024
_LINE = re.compile(r"(\S+)[ \t]+(.*\S)[ \t]*")
_PLACE = re.compile(r"(.+?)(?::(\d+))?(\[[^\[\]]*\])?", re.DOTALL)


def read_archive(path: str | os.PathLike[str], kind: Kind) -> Iterator[tuple[str, NDArray]]:
    """Yield key and value of each entry, in the order of the file, which may be gzip.

    Values as `values.read_value` returns them. Raises UserError naming file, key and byte.
    """
    with Source(path) as source:
        while (key := _read_key(source)) is not None:
            source.key = key
            yield key, read_value(source, kind)


def _read_key(source: Source) -> str | None:
    source.key = None
    key, letter = source.read_word(LONGEST_KEY)
    if len(key) == LONGEST_KEY:
        source.fail(f"no key within {LONGEST_KEY} bytes", "is it a Kaldi archive?")
    if not key:
        return None
    try:
        name = key.decode()
    except UnicodeDecodeError:
        source.fail(f"key {key[:40]!r} is not UTF-8", "rename it")
    if not letter:
        source.fail(f"key {name[:40]!r} without a value")
    if letter == b"\n":  # a value of no numbers: its line ends here
        source.put_back(letter)
    return name


class Entry(NamedTuple):
    """One line of a script."""

    line: int
    path: Path
    offset: int | None  # None: the file is one value without a key
    range: Range | None


class Script(Mapping[str, NDArray]):
    """The values that a script names, read when asked for; keys in the order of the file.

    A relative path is taken from the script's folder or, where no such file is there, from the nearest folder above
    it that has one, last from the working directory. The archive that was read last stays open.
    """

    def __init__(self, path: str | os.PathLike[str], kind: Kind) -> None:
        """Read the script, no values yet. Raises UserError naming file and line."""
        self.path = Path(path)
        self.kind: Kind = kind
        self._source: Source | None = None
        self._folders: dict[str, Path] = {}
        self._entries: dict[str, Entry] = {}
        for number, line in enumerate(read_lines(self.path), 1):
            if not line.strip():
                continue
            key, entry = self._parse(number, line)
            known = self._entries.setdefault(key, entry)
            if known._replace(line=number) != entry:
                self._refuse(number, f"{key!r} is there already (line {known.line}), with another place: keep one")

    def __len__(self) -> int:
        """Return the number of keys."""
        return len(self._entries)

    def __iter__(self) -> Iterator[str]:
        """Iterate over the keys."""
        return iter(self._entries)

    def __contains__(self, key: object) -> bool:
        """Say whether a key is here."""
        return key in self._entries

    def __getitem__(self, key: str) -> NDArray:
        """Read a value. Raises KeyError for a key that is not here, UserError for a value that cannot be read."""
        entry = self._entries[key]
        source = self._open(entry)
        source.key = key
        if entry.offset is not None:
            source.seek(entry.offset)
        value = read_value(source, self.kind)
        if entry.range is None:
            return value
        if self.kind == "integers":
            self._refuse(entry.line, f"{key!r}: a range of whole numbers: give the whole value")
        try:
            return cut(value, entry.range, f"{self.path}: line {entry.line}: {key!r}")
        except ValueError as error:
            self._refuse(entry.line, f"{key!r}: {error}: correct the range")

    def close(self) -> None:
        """Close the archive that was read last."""
        if self._source is not None:
            self._source.close()
        self._source = None

    def _open(self, entry: Entry) -> Source:
        if self._source is None or self._source.path != entry.path or entry.offset is None:
            self.close()
            try:
                self._source = Source(entry.path)
            except UserError as error:
                self._refuse(entry.line, str(error))
        assert self._source is not None
        return self._source

    def _parse(self, number: int, line: str) -> tuple[str, Entry]:
        found = _LINE.fullmatch(line.lstrip(" \t"))
        if found is None:
            self._refuse(number, "a key and the place of its value are needed: complete the line")
        key, place = found.groups()
        parts = _PLACE.fullmatch(place)
        assert parts is not None  # any text that is not empty matches
        path, offset, span = parts.groups()
        if path.startswith("|") or path.rstrip().endswith("|"):
            self._refuse(
                number, f"{key!r} is a command, and data is never executed: run it yourself and name its output"
            )
        if not path.isprintable():
            self._refuse(number, f"{key!r}: {path!r} is no path: write the scp anew")
        if path == "-":
            self._refuse(number, f"{key!r} is standard input: write it to a file and name that")
        if offset is not None and len(offset) > 18:
            self._refuse(number, f"{key!r}: byte {offset} is beyond the end of any file: write the scp anew")
        try:
            parsed = parse_range(span) if span else None
        except ValueError as error:
            self._refuse(number, f"{key!r}: {error}: correct the range")
        return key, Entry(number, self._resolve(path), None if offset is None else int(offset), parsed)

    def _resolve(self, path: str) -> Path:
        if path not in self._folders:
            self._folders[path] = nearest(self.path.parent, path)
        return self._folders[path]

    def _refuse(self, number: int, what: str) -> NoReturn:
        raise UserError(f"{self.path}: line {number}: {what}") from None


def nearest(folder: Path, path: str) -> Path:
    """Return a relative path as it lies in the nearest folder at or above `folder`, else as it is."""
    if Path(path).is_absolute() or "\0" in path:
        return Path(path)
    above = folder.absolute()
    for place in (above, *above.parents):
        if os.path.exists(place / path):
            return place / path
    return Path(path)


def parts(pattern: str | os.PathLike[str]) -> list[Path]:
    """Return the files of a pattern such as `exp/tri/ali.*.gz`, by their numbers. Raises UserError where none is."""
    found = [Path(name) for name in glob.glob(os.fspath(pattern))]
    if not found:
        raise UserError(f"{pattern}: no such files: give an archive, a script or a pattern of archives")
    return sorted(found, key=lambda path: [int(d) if d.isdigit() else d for d in re.split(r"(\d+)", path.name)])


def read_all(paths: Iterable[str | os.PathLike[str]], kind: Kind) -> Iterator[tuple[str, NDArray]]:
    """Yield the entries of several archives and scripts (`*.scp`). Raises UserError for a key that comes twice."""
    seen: dict[str, Path] = {}
    for path in map(Path, paths):
        entries = Script(path, kind).items() if path.suffix == ".scp" else read_archive(path, kind)
        for key, value in entries:
            if key in seen:
                raise UserError(f"{path}: {key!r} is there already ({seen[key]}): keep one")
            seen[key] = path
            yield key, value
