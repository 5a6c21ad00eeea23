"""Base features (before CMVN and deltas) of one shard of one split, into one Sequences file or a Kaldi archive."""

import argparse


def register(parser: argparse.ArgumentParser) -> None:
    """Add the command's flags."""
    parser.add_argument("--table", required=True, help="utterance table of the split (TSV)")
    parser.add_argument("--shard", type=int, help="which shard of the table, from 0 (default: all)")
    parser.add_argument("--options", required=True, help="config section features or hmm.features as JSON")
    parser.add_argument("--format", choices=("h5", "ark"), default="h5", help="h5: Sequences (default); ark: Kaldi's")
    parser.add_argument("--out", required=True, help="Sequences file or archive to write")
    parser.add_argument("--scp", metavar="FILE", help="with --format ark: the archive's script, too")


def run(args: argparse.Namespace) -> None:
    """Read each recording of the shard once and write its features."""
    from unisono.data.corpus.table import read_table
    from unisono.data.features.extract import FeatureOptions
    from unisono.data.features.reader import KIND
    from unisono.data.features.table import features_of_table
    from unisono.data.kaldi.write import archive_writer
    from unisono.data.sequences import SequenceWriter
    from unisono.errors import UserError
    from unisono.options import from_json

    options = from_json(FeatureOptions, args.options)
    table = read_table(args.table, args.shard)
    if args.format == "ark":
        with archive_writer(args.out, args.scp) as writer:
            for name, features, _ in features_of_table(table, options):
                writer.add(name, features)
        return
    if args.scp:
        raise UserError("--scp: goes with --format ark")
    attrs = {"dim": options.base_dim, "frame_shift_s": options.frame_shift_ms / 1000}
    shard_rate = 0
    with SequenceWriter(args.out, kind=KIND, attrs=attrs) as writer:
        for name, features, shard_rate in features_of_table(table, options):
            writer.add(name, frames=features)
        writer.attrs["sampling_rate"] = shard_rate
