"""Reading Kaldi's archives, checks included, against kaldiio, which checks nothing."""

import io
from collections.abc import Callable
from pathlib import Path

import kaldiio
import kaldiio.matio
import numpy as np

from benchmarks.setting import Size
from benchmarks.timing import Results, paired, pinned, put, ratio
from unisono.data.kaldi.archive import read_archive
from unisono.data.kaldi.values import Kind
from unisono.data.kaldi.write import archive_writer

FORMS: dict[str, Kind] = {"float": "matrix", "cm": "matrix", "text": "matrix", "integers": "integers"}


def measure(folder: Path, size: Size) -> Results:
    """Return kaldi_float, kaldi_cm, kaldi_text and kaldi_integers: our speed over kaldiio's."""
    results: Results = {}
    utterances = 20 if size.blocks < 5 else 200
    for form, kind in FORMS.items():
        path = folder / f"{form}.ark"
        _write(path, form, utterances)
        with pinned():
            variants: dict[str, Callable[[], object]] = {
                "ours": lambda path=path, kind=kind: _drain(read_archive(path, kind)),
                "kaldiio": lambda path=path: _drain(kaldiio.load_ark(str(path))),
            }
            seconds = paired(variants, max(size.blocks, 3))
        put(results, f"kaldi_{form}", ratio(seconds["kaldiio"], seconds["ours"]))
    return results


def _drain(entries: object) -> None:
    for _ in entries:  # type: ignore[attr-defined]
        pass


def _write(path: Path, form: str, utterances: int) -> None:
    """Write utterances of six seconds: 40 features a frame, or one number."""
    generator = np.random.default_rng(1)
    values = {f"speaker-{n % 10}-utterance-{n:05d}": generator.normal(0, 10, (600, 40)) for n in range(utterances)}
    values = {name: value.astype(np.float32) for name, value in values.items()}
    if form == "integers":
        with archive_writer(path) as writer:
            for name, value in values.items():
                writer.add(name, np.abs(100 * value[:, 0]).astype(np.int32))
    elif form == "text":
        with open(path, "wb") as file:
            for name, value in list(values.items())[:20]:
                text = io.BytesIO()
                kaldiio.matio.write_array_ascii(text, value, ".7g")
                file.write(f"{name} ".encode() + text.getvalue())
    else:
        kaldiio.save_ark(str(path), values, compression_method=2 if form == "cm" else None)
