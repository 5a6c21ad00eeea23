"""The embedded corpus: sentences of a small grammar spoken by espeak-ng, the same bytes each time.

Voices and sentences of dev and test occur neither in training nor in the text for the language model. Each voice
speaks its sentences in a fresh process (see `unisono.data.corpus.spoken_voice`); resampling is scipy's resample_poly.
The speech gets a pause at either end and noise at a level drawn for each utterance, so that the task is not trivial.
"""

import dataclasses
import fractions
import json
import multiprocessing.pool
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
from scipy.signal import lfilter, resample_poly

from unisono.config.corpus import SpokenSize
from unisono.data.corpus import spoken_voice
from unisono.data.corpus.audio import keep_only, write_flac
from unisono.data.corpus.lexicon import write_lexicon
from unisono.data.corpus.sources import Source, SourceRow
from unisono.data.corpus.spoken_english import ENGLISH
from unisono.data.corpus.spoken_mandarin import MANDARIN
from unisono.errors import UserError
from unisono.files import write_text

_PAUSE_S = (0.12, 0.30)
_SNR_DB = (-3.0, 7.0)  # speech with its pauses against noise
_COLOUR = 0.85  # the noise is first-order autoregressive: stronger at low frequencies, as in rooms
_PEAK = (6000.0, 16000.0)
_TIMEOUT_S = 600


@dataclasses.dataclass(frozen=True, slots=True)
class Voice:
    """A speaker: espeak-ng voice with variant, words a minute, pitch and pitch range (0 to 100)."""

    speaker_id: str
    name: str
    rate: int
    pitch: int
    range: int


LANGUAGES = {"english": ENGLISH, "mandarin": MANDARIN}
VOICES = {  # variants, behind the name of the language's voice
    "train": (
        Voice("m1", "+m1", 160, 50, 50),
        Voice("f1", "+f1", 155, 50, 50),
        Voice("m4", "+m4", 175, 45, 60),
        Voice("f4", "+f4", 165, 55, 50),
        Voice("plain", "", 150, 50, 40),
        Voice("annie", "+Annie", 150, 50, 50),
        Voice("m2", "+m2", 145, 55, 45),
        Voice("f2", "+f2", 175, 45, 55),
        Voice("m7", "+m7", 165, 50, 50),
        Voice("linda", "+linda", 160, 50, 50),
        Voice("michael", "+Michael", 155, 50, 50),
        Voice("andrea", "+Andrea", 160, 50, 50),
        Voice("m5", "+m5", 170, 55, 50),
        Voice("steph", "+steph", 165, 50, 50),
    ),
    "dev": (
        Voice("m6", "+m6", 160, 50, 50),
        Voice("f5", "+f5", 165, 50, 50),
        Voice("alex", "+Alex", 155, 50, 50),
        Voice("hugo", "+Hugo", 165, 50, 50),
    ),
    "test": (
        Voice("m3", "+m3", 165, 50, 50),
        Voice("f3", "+f3", 155, 50, 50),
        Voice("aunty", "+aunty", 160, 50, 50),
        Voice("belinda", "+belinda", 170, 45, 50),
        Voice("denis", "+Denis", 160, 50, 50),
        Voice("gene", "+Gene", 150, 50, 50),
        Voice("edward", "+edward", 160, 50, 50),
        Voice("adam", "+adam", 165, 50, 50),
    ),
}


def speak(options: SpokenSize, seed: int, out_dir: Path, processes: int) -> Source:
    """Write `audio/`, and `spoken/lexicon.txt` and `spoken/lm_text.txt` under `out_dir`.

    `processes` children speak at a time; each voice has its own, so the bytes do not depend on the number. Raises
    UserError where espeakng-loader is not installed or an option is out of range.
    """
    library, data = _espeak()
    tasks, text = plan(options, seed)
    audio_dir = (out_dir / "audio").resolve()
    audio_dir.mkdir(parents=True, exist_ok=True)

    def work(task: tuple[str, Voice, list[str]]) -> list[SourceRow]:
        split, voice, texts = task
        return _speak_voice(library, data, voice, split, texts, audio_dir, options.sampling_rate)

    with multiprocessing.pool.ThreadPool(max(1, processes)) as pool:
        rows = [row for part in pool.imap(work, tasks) for row in part]
    keep_only(audio_dir, (row.path for row in rows))
    own = out_dir / "spoken"
    lexicon: dict[str, list[tuple[str, ...]]] = {}
    for word, phones in LANGUAGES[options.language].pronunciations():
        lexicon.setdefault(word, []).append(phones)
    write_lexicon(own / "lexicon.txt", lexicon)
    write_text(own / "lm_text.txt", "".join(sentence + "\n" for sentence in text))
    return Source(rows, own / "lexicon.txt", own / "lm_text.txt")


def plan(options: SpokenSize, seed: int) -> tuple[list[tuple[str, Voice, list[str]]], list[str]]:
    """Deal different sentences to splits and voices.

    Returns a list of (split, voice, sentences) and the text for the language model: the training sentences and
    `lm_sentences` more that nobody speaks.
    """
    counts = {split: getattr(options, f"{split}_sentences") for split in VOICES}
    language = LANGUAGES[options.language]
    drawn = language.sentences(seed, sum(counts.values()) + options.lm_sentences)
    tasks, begin = [], 0
    for split, voices in VOICES.items():
        number = getattr(options, f"{split}_voices")
        if not 1 <= number <= len(voices):
            raise UserError(f"corpus.spoken.{split}_voices: {number}: choose 1 to {len(voices)}")
        if counts[split] < number:
            raise UserError(
                f"corpus.spoken.{split}_sentences: {counts[split]}: give each of {number} voices at least one"
            )
        texts = drawn[begin : begin + counts[split]]
        begin += counts[split]
        named = [dataclasses.replace(voice, name=language.voice + voice.name) for voice in voices[:number]]
        tasks += [(split, voice, texts[i::number]) for i, voice in enumerate(named)]
    return tasks, drawn[: options.train_sentences] + drawn[begin:]


def _espeak() -> tuple[str, str]:
    try:
        import espeakng_loader
    except ImportError:
        raise UserError(
            "corpus.kind spoken: espeakng-loader is not installed: pip install 'unisono[demo]', or choose another kind"
        ) from None
    return str(espeakng_loader.get_library_path()), str(espeakng_loader.get_data_path())


def _speak_voice(
    library: str, data: str, voice: Voice, split: str, texts: list[str], audio_dir: Path, rate: int
) -> list[SourceRow]:
    """Let one child speak all sentences of a voice, and write them as FLAC."""
    names = [f"{voice.speaker_id}_{number:04d}" for number in range(len(texts))]
    seeds = [zlib.crc32(name.encode()) & 0x7FFFFFFF for name in names]
    task = {
        "library": library,
        "data": data,
        "voice": voice.name,
        "rate": voice.rate,
        "pitch": voice.pitch,
        "range": voice.range,
        "sentences": [[seed, text.lower() + "."] for seed, text in zip(seeds, texts, strict=True)],
    }
    command = [sys.executable, "-I", spoken_voice.__file__]
    child = subprocess.run(
        command, input=json.dumps(task).encode(), capture_output=True, timeout=_TIMEOUT_S, check=False
    )
    if child.returncode != 0:
        last = (child.stderr.decode(errors="replace").strip().splitlines() or [f"exit {child.returncode}"])[-1]
        raise UserError(f"espeak-ng voice {voice.name}: {last}: install espeakng-loader as the lock file says")
    (source_rate,), place, rows = struct.unpack_from("<i", child.stdout), 4, []
    for name, text in zip(names, texts, strict=True):
        (count,) = struct.unpack_from("<i", child.stdout, place)
        samples = np.frombuffer(child.stdout, "<i2", count, place + 4)
        place += 4 + 2 * count
        path = audio_dir / f"{name}.flac"
        write_flac(path, _finish(samples, source_rate, rate, name), rate)
        rows.append(SourceRow(name, voice.speaker_id, split, path, text, f"spoken {name}"))
    return rows


def _finish(samples: np.ndarray, source_rate: int, rate: int, name: str) -> np.ndarray:
    """Resample int16 [n] from source_rate to rate (Hz), set a loudness, add pauses and noise; all seeded by name."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    if len(samples) == 0:
        raise UserError(f"espeak-ng spoke nothing for {name}: install espeakng-loader as the lock file says")
    ratio = fractions.Fraction(rate, source_rate)
    speech = np.asarray(resample_poly(samples.astype(np.float64), ratio.numerator, ratio.denominator))
    speech *= rng.uniform(*_PEAK) / max(1.0, float(np.abs(speech).max()))
    before, after = (int(rng.uniform(*_PAUSE_S) * rate) for _ in range(2))
    whole = np.concatenate([np.zeros(before), speech, np.zeros(after)])
    noise = np.asarray(lfilter([1.0], [1.0, -_COLOUR], rng.normal(0.0, 1.0, len(whole))))
    level = np.sqrt((whole**2).mean() / (noise**2).mean()) * 10 ** (-rng.uniform(*_SNR_DB) / 20)
    whole += level * noise
    return np.rint(np.clip(whole, -32768, 32767)).astype(np.int16)
