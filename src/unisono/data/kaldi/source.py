"""Bytes of a file that others wrote: regular files only, plain or gzip, never more than is there or allowed."""

import gzip
import os
import stat
import zlib
from pathlib import Path
from typing import IO, NoReturn, Self

from unisono.errors import UserError

# Of one value that is compressed or has no end of its own: what it claims is not believed before it has been read.
LONGEST = 256 * 2**20
# Of a model, tree or graph: these are read whole.
LARGEST_FILE = 8 * 2**30
BLANKS = b" \t\r\n"
_BLOCK = 2**20
_GZIP = b"\x1f\x8b"


class Source:
    """An open file with its place; every reading says beforehand how much it wants.

    `plain`: the file itself lies in `file`, and one may seek. Errors name the file, the key that was read last
    (`key`) and the byte.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Open a regular file. Raises UserError where it is none, is missing or not readable."""
        self.path = Path(path)
        self.key: str | None = None
        self._again = b""
        self._raw = _open(self.path)
        self._size = os.fstat(self._raw.fileno()).st_size
        head = self._raw.peek(2)[:2]  # type: ignore[attr-defined]
        self.plain = head != _GZIP
        if self.plain and self.path.suffix == ".gz":
            self._raw.close()
            raise UserError(f"{self.path}: not a gzip file, in spite of its name: compress or rename it")
        self.file: IO[bytes] = self._raw if self.plain else gzip.GzipFile(fileobj=self._raw)  # type: ignore[assignment]

    def __enter__(self) -> Self:
        """Return the source itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        self.close()

    def close(self) -> None:
        """Close the file."""
        self.file.close()
        self._raw.close()

    def fail(self, reason: str, remedy: str = "write the file anew") -> NoReturn:
        """Raise UserError naming the file, the key and the byte."""
        key = "" if self.key is None else f"{self.key!r}: "
        raise UserError(f"{self.path}: {key}byte {self.tell()}: {reason}: {remedy}") from None

    def tell(self) -> int:
        """Return the place in the (decompressed) bytes."""
        return self.file.tell()

    def seek(self, place: int) -> None:
        """Go to a byte of a plain file. Raises UserError beyond its end, and in a compressed file."""
        if not self.plain:
            self.fail("a compressed file has no places to begin at", "gunzip it and write the scp anew")
        if place >= self._size:
            key = "" if self.key is None else f"{self.key!r}: "
            raise UserError(
                f"{self.path}: {key}byte {place} is beyond the end of the file, {self._size} bytes: write the scp anew"
            )
        self.file.seek(place)

    def require(self, count: int) -> None:
        """Raise UserError unless `count` more bytes can be there."""
        if self.plain and count > self._size - self.tell():
            self.fail(f"cut off: {count} bytes are claimed, {self._size - self.tell()} are left")
        if not self.plain and count > LONGEST:
            self.fail(f"a value of {count} bytes in a gzip file, at most {LONGEST} are read", "gunzip it")

    def read(self, count: int) -> bytes:
        """Return exactly `count` bytes."""
        self.require(count)
        if self.plain:
            return self.file.read(count)
        blocks, left = [], count
        while left:
            block = self._read_some(min(left, _BLOCK))
            if not block:
                self.fail(f"cut off: {count} bytes are claimed, {count - left} are left")
            blocks.append(block)
            left -= len(block)
        return b"".join(blocks)

    def read_byte(self) -> bytes:
        """Return the next byte, or none at the end."""
        if self._again:
            letter, self._again = self._again, b""
            return letter
        return self.file.read(1) if self.plain else self._read_some(1)

    def read_word(self, room: int) -> tuple[bytes, bytes]:
        """Return the letters up to a blank, or `room` of them, and the blank; blanks before them are passed over."""
        if self.plain and not self._again:
            seen = self.file.peek(room)  # type: ignore[attr-defined]
            end = seen.find(b" ", 0, room)
            word = seen[:end]
            if end > 0 and word.split() == [word]:  # a loop over the bytes would take longer than many a value
                self.file.seek(end + 1, os.SEEK_CUR)
                return word, b" "
        letter = self.read_byte()
        while letter and letter in BLANKS:
            letter = self.read_byte()
        word = bytearray()
        while letter and letter not in BLANKS and len(word) < room:
            word += letter
            letter = self.read_byte()
        return bytes(word), letter

    def put_back(self, letter: bytes) -> None:
        """Let `read_byte`, which must come next, return this byte."""
        self._again = letter

    def read_line(self, room: int) -> bytes:
        """Return the rest of the line with its end; at most `room` bytes of it."""
        try:
            return self.file.readline(room)
        except (OSError, EOFError, zlib.error) as error:
            self.fail(f"not readable as gzip ({error})")

    def read_all(self, limit: int = LARGEST_FILE) -> bytes:
        """Return what is left. Raises UserError where that is more than `limit` (compressed: LONGEST) bytes."""
        if self.plain:
            if self._size > limit:
                self.fail(f"{self._size} bytes, at most {limit} are read", "is it the right file?")
            return self.file.read()
        blocks, count = [], 0
        while block := self._read_some(_BLOCK):
            blocks.append(block)
            count += len(block)
            if count > min(limit, LONGEST):
                self.fail(f"more than {min(limit, LONGEST)} bytes when unpacked", "gunzip it, or is it the right file?")
        return b"".join(blocks)

    def _read_some(self, count: int) -> bytes:
        try:
            return self.file.read(count)
        except (OSError, EOFError, zlib.error) as error:
            self.fail(f"not readable as gzip ({error})")


def read_whole(path: str | os.PathLike[str]) -> bytes:
    """Return all bytes of a regular file, unpacked where it is gzip."""
    with Source(path) as source:
        return source.read_all()


def read_lines(path: str | os.PathLike[str]) -> list[str]:
    """Return the lines of a text file, UTF-8, without their ends. Raises UserError naming file and line."""
    data = read_whole(path)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UserError(f"{path}: line {line}: not UTF-8: is it the right file?") from None
    lines = text.replace("\r\n", "\n").split("\n")
    return lines[:-1] if lines[-1] == "" else lines


def _open(path: Path) -> IO[bytes]:
    try:
        # A pipe would wait for its other end; without O_NONBLOCK it would do so before we can see what it is.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"{path}: no such file: give the path of a file that is there") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{str(path)[:200]!r}: not readable ({error}): check the path and its permissions") from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise UserError(f"{path}: not a regular file: only plain files are read, no devices, folders or pipes")
    return os.fdopen(descriptor, "rb")
