"""Base features (before CMVN and deltas) of one shard of one split, into one Sequences file."""

import argparse


def register(parser: argparse.ArgumentParser) -> None:
    """Add the command's flags."""
    parser.add_argument("--table", required=True, help="utterance table of the split (TSV)")
    parser.add_argument("--shard", type=int, required=True, help="which shard of the table, from 0")
    parser.add_argument("--options", required=True, help="config section features or hmm.features as JSON")
    parser.add_argument("--out", required=True, help="Sequences file to write")


def run(args: argparse.Namespace) -> None:
    """Read each recording of the shard once and write its features."""
    from unisono.data.corpus.audio import change_speed, read_audio
    from unisono.data.corpus.table import read_table
    from unisono.data.features.extract import FeatureOptions, base_features
    from unisono.data.features.reader import KIND
    from unisono.data.sequences import SequenceWriter
    from unisono.errors import UserError
    from unisono.options import from_json

    options = from_json(FeatureOptions, args.options)
    attrs = {"dim": options.base_dim, "frame_shift_s": options.frame_shift_ms / 1000}
    shard_rate = None
    with SequenceWriter(args.out, kind=KIND, attrs=attrs) as writer:
        for utterance in read_table(args.table, args.shard):
            samples, rate = read_audio(utterance.path)
            if shard_rate is None:
                options.check(rate)
            elif rate != shard_rate:
                raise UserError(f"{utterance.path}: {rate} Hz, the rest has {shard_rate} Hz: run the corpus stage anew")
            shard_rate = rate
            if utterance.speed != 1:
                samples = change_speed(samples, utterance.speed)
            writer.add(utterance.utterance_id, frames=base_features(samples, rate, options, utterance.utterance_id))
        writer.attrs["sampling_rate"] = shard_rate or 0
