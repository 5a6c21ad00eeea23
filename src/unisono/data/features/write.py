"""The base features of one shard of a split, computed from its recordings into one Sequences file."""

import os

from unisono.config.features import FeatureOptions
from unisono.data.corpus.audio import change_speed, read_audio
from unisono.data.corpus.table import read_table
from unisono.data.features.extract import base_features, check_rate
from unisono.data.features.reader import KIND
from unisono.data.sequences import SequenceWriter
from unisono.errors import UserError


def write_features(
    table: str | os.PathLike[str], shard: int, options: FeatureOptions, path: str | os.PathLike[str]
) -> None:
    """Read each recording of the shard once and write its base features, float32 [t, options.base_dim].

    Raises UserError for a recording that cannot be read, of another sampling rate than the first, or options that do
    not fit its rate.
    """
    attrs = {"dim": options.base_dim, "frame_shift_s": options.frame_shift_ms / 1000}
    shard_rate = None
    with SequenceWriter(path, kind=KIND, attrs=attrs) as writer:
        for utterance in read_table(table, shard):
            samples, rate = read_audio(utterance.path)
            if shard_rate is None:
                check_rate(options, rate)
            elif rate != shard_rate:
                raise UserError(f"{utterance.path}: {rate} Hz, the rest has {shard_rate} Hz: run the corpus stage anew")
            shard_rate = rate
            if utterance.speed != 1:
                samples = change_speed(samples, utterance.speed)
            writer.add(utterance.utterance_id, frames=base_features(samples, rate, options, utterance.utterance_id))
        writer.attrs["sampling_rate"] = shard_rate or 0
