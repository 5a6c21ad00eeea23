"""The public originals of fsdd and speechocean762, turned into the folders that the ready-made configs use.

Tables, lexicons and texts lie in `tables/` beside this file (licences and attribution: tables/README.md), recordings do
not: they are read from where the user unpacked them, cut and rounded as `conversion.tsv` says, and written as FLAC.
The checksum of each result tells whether it equals, sample for sample, the recordings that our figures were made with.
"""

import gzip
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np

from unisono.data.corpus.audio import UnusableAudio, inspect, read_audio, write_flac
from unisono.data.corpus.text import short_list
from unisono.errors import UserError
from unisono.files import atomic_path
from unisono.processes import map_shards

TABLES = Path(__file__).parent / "tables"
# Name of the corpus -> sampling rate in Hz, and the folders of --from in which its recordings may lie.
ORIGINALS = {"fsdd": (8000, ("recordings", ".")), "speechocean762": (16000, (".", "speechocean762"))}
_INNER = ("samples.tsv", "conversion.tsv")  # tables that only the conversion reads


class Part(NamedTuple):
    """One recording to make: samples `begin` to `begin + length` of `source`, its lowest `bits` rounded away."""

    utterance_id: str
    source: Path
    target: Path
    rate: int
    source_s: float | None
    begin: int
    length: int
    bits: int
    crc32: str


class Converted(NamedTuple):
    """What was made: recordings, seconds, and the ids of those that differ from ours."""

    recordings: int
    seconds: float
    different: list[str]


def convert_corpus(name: str, source: Path, corpora_dir: Path, processes: int = 1, tables: Path = TABLES) -> Converted:
    """Turn the original of corpus `name` in the folder `source` into the folder `corpora_dir`/`name`.

    The tables are written last, so an interrupted import leaves no corpus that looks whole. Raises UserError naming
    a recording that is missing, damaged, or not the one that the tables were made from.
    """
    parts = plan(name, source, corpora_dir / name, tables)
    for folder in sorted({part.target.parent for part in parts}):
        folder.mkdir(parents=True, exist_ok=True)
    crcs = map_shards(lambda index: make(parts[index]), len(parts), processes)
    for path in sorted((tables / name).iterdir()):
        if path.name.removesuffix(".gz") not in _INNER:
            with atomic_path(corpora_dir / name / path.name.removesuffix(".gz")) as temporary:
                temporary.write_bytes(_content(path))
    different = [part.utterance_id for part, crc in zip(parts, crcs, strict=True) if crc != part.crc32]
    return Converted(len(parts), sum(part.length / part.rate for part in parts), different)


def plan(name: str, source: Path, target: Path, tables: Path = TABLES) -> list[Part]:
    """List what is to be made; all sources are there, or a UserError names the first that is not."""
    if name not in ORIGINALS:
        raise UserError(f"{name}: no such public corpus: known are {', '.join(ORIGINALS)}")
    rate, places = ORIGINALS[name]
    rows = _rows(tables, name, "utterances.tsv")
    samples = {row["utterance_id"]: row for row in _rows(tables, name, "samples.tsv")}
    changes = {row["utterance_id"]: row for row in _conversion(tables, name, rows)}
    first = changes[rows[0]["utterance_id"]]["source_file"]
    base = next((source / place for place in places if (source / place / first).exists()), source / places[0])
    parts = []
    for row in rows:
        utt, change = row["utterance_id"], changes[row["utterance_id"]]
        seconds = change.get("source_duration_s")
        parts.append(
            Part(
                utterance_id=utt,
                source=base / change["source_file"],
                target=target / row["path"],
                rate=rate,
                source_s=None if seconds is None else float(seconds),
                begin=round(float(change.get("trim_start_s", 0)) * rate),
                length=int(samples[utt]["samples"]),
                bits=int(change.get("dropped_bits", 0)),
                crc32=samples[utt]["crc32"],
            )
        )
    if missing := [str(part.source) for part in parts if not part.source.is_file()]:
        raise UserError(
            f"--from {source}: {len(missing)} of {len(parts)} recordings are missing: {short_list(missing, 2)}: "
            "give the folder of the unpacked original, see docs/own-data.md"
        )
    return parts


def make(part: Part) -> str:
    """Write one recording; return the CRC-32 of its samples (16 bits, little-endian) as 8 hexadecimal digits."""
    try:
        info = inspect(part.source)
    except UnusableAudio as error:
        raise UserError(f"{part.source}: {error}: fetch the original anew") from None
    expected = part.length if part.source_s is None else part.source_s * part.rate
    # Durations in the table have three decimals.
    if info.rate != part.rate or abs(info.frames - expected) > 0.0006 * part.rate * (part.source_s is not None):
        raise UserError(
            f"{part.source}: {info.frames} samples at {info.rate} Hz, expected {expected:.0f} at {part.rate} Hz: "
            "this is another release of the corpus than the one in docs/own-data.md"
        )
    samples = convert(read_audio(part.source)[0], part.begin, part.length, part.bits)
    write_flac(part.target, samples, part.rate)
    return f"{zlib.crc32(samples.astype('<i2').tobytes()):08x}"


def convert(samples: np.ndarray, begin: int, length: int, bits: int) -> np.ndarray:
    """Return int16 [length]: the samples from `begin` on, rounded to multiples of 2^bits, halves to even ones.

    samples: float32 [n] in 16-bit units, n >= begin + length.
    """
    step = np.float32(1 << bits)
    return np.clip(np.rint(samples[begin : begin + length] / step) * step, -32768, 32767).astype(np.int16)


def _conversion(tables: Path, name: str, rows: list[dict[str, str]]) -> list[dict[str, str]]:
    if name != "fsdd":
        return _rows(tables, name, "conversion.tsv")
    # SPEAKER_DIGIT_INDEX here, DIGIT_SPEAKER_INDEX.wav with an index without leading zero in the original.
    names = [(row["utterance_id"], *row["utterance_id"].split("_")) for row in rows]
    return [{"utterance_id": utt, "source_file": f"{digit}_{who}_{int(i)}.wav"} for utt, who, digit, i in names]


def _rows(tables: Path, name: str, file: str) -> list[dict[str, str]]:
    path = next(path for path in (tables / name / f"{file}.gz", tables / name / file) if path.exists())
    heading, *lines = _content(path).decode().splitlines()
    return [dict(zip(heading.split("\t"), line.split("\t"), strict=True)) for line in lines]


def _content(path: Path) -> bytes:
    return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
