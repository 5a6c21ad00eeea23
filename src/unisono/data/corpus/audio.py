"""WAV and FLAC files: a quick look for the checks, reading as 16-bit-scaled floats, and another speed."""

import os
import struct
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile

from unisono.errors import UserError

_UNKNOWN_SIZE = (0xFFFFFFFF, 0x7FFFFFFF)  # what programs write that stream a WAV without knowing its end
_PLAIN = (1, 3, 6, 7)  # PCM, float, A-law, mu-law: one block a sample, so bytes tell the length
_FLOAT, _EXTENSIBLE = 3, 0xFFFE
_LOUDEST = 1e9  # times full scale: the energies of louder samples overflow float32
_BLOCK = 1 << 14  # samples decoded at once
_FORMATS = ("WAV", "WAVEX", "RF64", "FLAC")


class UnusableAudio(Exception):
    """An audio file that is there but empty, unreadable or truncated; the text is the reason."""


class AudioInfo(NamedTuple):
    """What a header says: sampling rate in Hz, channels, samples per channel."""

    rate: int
    channels: int
    frames: int


def inspect(path: str | os.PathLike[str], parts: bool = False) -> AudioInfo:
    """Check one file: a WAV of whole numbers by its header and size (0.1 ms), anything else by decoding it.

    Every frame of a FLAC has a checksum, so damage anywhere is found; that takes 1/4000 of the time of the speech.
    Samples in floating point must be numbers, unless only `parts` are used, which are checked when they are cut.
    Raises FileNotFoundError, and UnusableAudio with the reason for a file that is empty, not readable or truncated.
    """
    try:
        size = os.stat(path).st_size
        if not os.path.isfile(path):
            raise UnusableAudio("not readable (not a plain file)")
        if size == 0:
            raise UnusableAudio("empty (0 bytes)")
        info = _wav_header(path, size) or _look(path, parts)
    except PermissionError:
        raise UnusableAudio("not readable (permission denied)") from None
    if info.frames == 0:
        raise UnusableAudio("empty (no samples)")
    return info


def read_audio(path: str | os.PathLike[str]) -> tuple[np.ndarray, int]:
    """Read a mono file: float32 [n] in 16-bit units (-32768 to 32767), and the sampling rate in Hz.

    Raises UserError naming the file where it is missing, damaged or not mono.
    """
    try:
        with soundfile.SoundFile(os.fspath(path)) as file:
            rate, channels, announced = file.samplerate, file.channels, file.frames
            parts: list[np.ndarray] = [np.empty((0, channels), np.float32)]
            # In blocks: a damaged header may announce more samples than there is memory for.
            while len(part := file.read(_BLOCK, dtype="float32", always_2d=True)):
                parts.append(part)
    except (soundfile.SoundFileError, OSError) as error:
        raise UserError(f"{path}: not readable as WAV or FLAC ({_reason(error)}): mend it or take it out") from None
    if channels != 1:
        raise UserError(f"{path}: {channels} channels: convert it to one channel")
    samples = np.concatenate(parts)
    if len(samples) != announced:
        raise UserError(f"{path}: {len(samples)} of {announced} samples could be read: mend it or take it out")
    return samples[:, 0] * np.float32(32768), rate


def change_speed(samples: np.ndarray, speed: float) -> np.ndarray:
    """Play faster (speed > 1) or slower: tempo and pitch change together, as with Kaldi's `sox ... speed`.

    samples: float32 [n]; returns float32 [ceil(n / speed)] at the same sampling rate, by SciPy's polyphase filter at
    the exact ratio of `speed` as it is written (0.9: 10 to 9). Audio perturbation: Ko et al., Interspeech 2015.
    """
    from scipy.signal import resample_poly

    ratio = Fraction(str(speed))
    return resample_poly(samples, ratio.denominator, ratio.numerator).astype(np.float32)


def write_flac(path: str | os.PathLike[str], samples: np.ndarray, rate: int) -> None:
    """Write int16 [n] as a FLAC file under a temporary name, then rename it."""
    target = Path(path)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    soundfile.write(temporary, np.ascontiguousarray(samples, dtype=np.int16), rate, format="FLAC", subtype="PCM_16")
    temporary.replace(target)


def keep_only(folder: Path, paths: Iterable[Path]) -> None:
    """Remove all FLAC files of a folder that are not among `paths`: what is left there of another corpus.

    At the end, and not the whole folder at the beginning, because a command that a killed workflow left behind may be
    making the same files that a newer one reads.
    """
    kept = {path.name for path in paths}
    for path in folder.glob("*.flac"):
        if path.name not in kept:
            path.unlink(missing_ok=True)


def _reason(error: Exception) -> str:
    text = str(error)
    return text.rsplit(": ", 1)[-1].strip(" .") or type(error).__name__


def _look(path: str | os.PathLike[str], parts: bool) -> AudioInfo:
    """Let libsndfile read the header, the last sample and then everything."""
    try:
        with soundfile.SoundFile(os.fspath(path)) as file:
            info = AudioInfo(file.samplerate, file.channels, file.frames)
            kind = file.format
            if kind not in _FORMATS:
                raise UnusableAudio(f"not readable ({kind} is neither WAV nor FLAC)")
            try:
                whole = info.frames == 0 or (file.seek(info.frames - 1) >= 0 and len(file.read(1)) == 1)
            except soundfile.SoundFileError:
                whole = False
            damage = _damage(file, parts) if whole else ""
    except (soundfile.SoundFileError, OSError) as error:
        raise UnusableAudio(f"not readable ({_reason(error)})") from None
    if not whole:
        raise UnusableAudio(f"truncated (the end of {info.frames} announced samples is missing)")
    if damage:
        raise UnusableAudio(f"not readable ({damage})")
    return info


def _damage(file: soundfile.SoundFile, parts: bool) -> str:
    """Decode everything; return what is wrong and about where, or an empty string."""
    numbers = file.subtype in ("FLOAT", "DOUBLE") and not parts
    file.seek(0)
    done = 0
    try:
        while len(part := file.read(_BLOCK, dtype="float32" if numbers else "int16")):
            if numbers and not (np.abs(part) < _LOUDEST).all():
                return f"samples are NaN, infinite or enormous after {done / file.samplerate:.1f} s"
            done += len(part)
    except soundfile.SoundFileError as error:
        return f"{_reason(error)} after {done / file.samplerate:.1f} s"
    return "" if done == file.frames else f"{done} of {file.frames} samples could be decoded"


def _wav_header(path: str | os.PathLike[str], size: int) -> AudioInfo | None:
    """Read rate, channels and length of an uncompressed WAV from its chunks; None where libsndfile should look.

    Also None for floating point, after the same check of its length: libsndfile takes the end of a truncated file for
    the end of its samples.
    """
    with open(path, "rb") as file:
        if file.read(4) != b"RIFF" or file.seek(8) != 8 or file.read(4) != b"WAVE":
            return None
        form = None
        while len(head := file.read(8)) == 8:
            name, length = struct.unpack("<4sI", head)
            if name == b"fmt " and length >= 16:
                form = struct.unpack("<HHIIHH8xH", file.read(min(length, 26)).ljust(26, b"\0"))
                file.seek(max(length - 26, 0) + length % 2, 1)
            elif name == b"data":
                return _wav_length(form, length, size - file.tell())
            else:
                file.seek(length + length % 2, 1)
    raise UnusableAudio("truncated (no samples follow the header)")


def _wav_length(form: tuple[int, ...] | None, announced: int, there: int) -> AudioInfo | None:
    if form is None:
        return None
    tag, channels, rate, _, block, _, inner = form
    kind = inner if tag == _EXTENSIBLE else tag
    if kind not in _PLAIN or block == 0:
        return None
    if announced in _UNKNOWN_SIZE:
        announced = there
    if announced > there:
        raise UnusableAudio(f"truncated ({there // block} of {announced // block} samples are there)")
    return None if kind == _FLOAT else AudioInfo(rate, channels, announced // block)
