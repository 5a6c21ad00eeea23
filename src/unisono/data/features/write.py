"""The base features of a shard of a split, computed from its recordings into a Sequences file or a Kaldi archive."""

import os
from collections.abc import Iterator

import numpy as np

from unisono.config.features import FeatureOptions, KaldiFeatures
from unisono.data.corpus.audio import change_speed, read_audio
from unisono.data.corpus.table import read_table
from unisono.data.features.extract import base_features, check_rate
from unisono.data.features.reader import KIND
from unisono.data.kaldi.archive import Script
from unisono.data.kaldi.write import archive_writer
from unisono.data.sequences import SequenceWriter
from unisono.errors import UserError


def write_features(
    table: str | os.PathLike[str], shard: int | None, options: FeatureOptions, path: str | os.PathLike[str]
) -> None:
    """Read each recording of the shard (None: of all) once and write its base features, float32 [t, options.base_dim].

    Raises UserError for a recording that cannot be read, of another sampling rate than the first, or options that do
    not fit its rate.
    """
    attrs = {"dim": options.base_dim, "frame_shift_s": options.frame_shift_ms / 1000}
    rate = 0
    with SequenceWriter(path, kind=KIND, attrs=attrs) as writer:
        for name, features, rate in _computed(table, shard, options):  # noqa: B007
            writer.add(name, frames=features)
        writer.attrs["sampling_rate"] = rate


def write_archive(
    table: str | os.PathLike[str],
    shard: int | None,
    options: FeatureOptions,
    ark: str | os.PathLike[str],
    scp: str | os.PathLike[str] | None,
) -> None:
    """Write the same as `write_features` as an archive of Kaldi, with its script."""
    with archive_writer(ark, scp) as writer:
        for name, features, _ in _computed(table, shard, options):
            writer.add(name, features)


def write_given(
    table: str | os.PathLike[str],
    shard: int | None,
    options: KaldiFeatures,
    feats: str | os.PathLike[str],
    path: str | os.PathLike[str],
) -> None:
    """Write the features of a script of Kaldi as base features of the shard.

    Raises UserError for an utterance that the script lacks, and for another number of features than the config says.
    """
    script = Script(feats, "matrix")
    attrs = {"dim": options.base_dim, "frame_shift_s": options.frame_shift_ms / 1000, "sampling_rate": 0}
    with SequenceWriter(path, kind=KIND, attrs=attrs) as writer:
        for utterance in read_table(table, shard):
            name = utterance.utterance_id
            if name not in script:
                raise UserError(f"{feats}: no features of utterance {name}: add them")
            value = np.asarray(script[name], np.float32)
            if value.shape[1] != options.base_dim:
                raise UserError(
                    f"{feats}: {name}: {value.shape[1]} numbers a frame, features.numbers says {options.base_dim}: "
                    "correct it"
                )
            writer.add(name, frames=value)


def _computed(
    table: str | os.PathLike[str], shard: int | None, options: FeatureOptions
) -> Iterator[tuple[str, np.ndarray, int]]:
    """Yield utterance id, base features and sampling rate."""
    first_rate = None
    for utterance in read_table(table, shard):
        samples, rate = read_audio(utterance.path)
        if first_rate is None:
            check_rate(options, rate)
            first_rate = rate
        elif rate != first_rate:
            raise UserError(f"{utterance.path}: {rate} Hz, the rest has {first_rate} Hz: run the corpus stage anew")
        if utterance.speed != 1:
            samples = change_speed(samples, utterance.speed)
        yield utterance.utterance_id, base_features(samples, rate, options, utterance.utterance_id), rate
