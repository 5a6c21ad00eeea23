"""Base features (before CMVN and deltas) of one shard of one split, into one Sequences file or a Kaldi archive."""

import argparse


def register(parser: argparse.ArgumentParser) -> None:
    """Add the command's flags."""
    parser.add_argument("--table", required=True, help="utterance table of the split (TSV)")
    parser.add_argument("--shard", type=int, help="which shard of the table, from 0 (default: all)")
    parser.add_argument("--options", required=True, help="config section features or hmm.features as JSON")
    parser.add_argument("--format", choices=("h5", "ark"), default="h5", help="h5: Sequences (default); ark: Kaldi's")
    parser.add_argument("--out", required=True, help="Sequences file or archive to write")
    parser.add_argument("--feats", metavar="SCP", help="of kind kaldi: the split's feats.scp")
    parser.add_argument("--scp", metavar="FILE", help="with --format ark: the archive's script, too")


def run(args: argparse.Namespace) -> None:
    """Compute and write."""
    from unisono.config.build import from_json
    from unisono.config.features import FeatureOptions, KaldiFeatures
    from unisono.data.features.write import write_archive, write_features, write_given
    from unisono.errors import UserError

    options = from_json(FeatureOptions, args.options)
    if isinstance(options, KaldiFeatures) != bool(args.feats):
        raise UserError("--feats: goes with features of kind kaldi, and they need it")
    if args.format == "ark" and args.feats:
        raise UserError("--format ark: these features are in an archive already")
    if args.format == "ark":
        write_archive(args.table, args.shard, options, args.out, args.scp)
    elif args.scp:
        raise UserError("--scp: goes with --format ark")
    elif isinstance(options, KaldiFeatures):
        write_given(args.table, args.shard, options, args.feats, args.out)
    else:
        write_features(args.table, args.shard, options, args.out)
