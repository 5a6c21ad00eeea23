"""Statistics for cepstral mean and variance normalisation of one split, from its base features."""

import argparse


def register(parser: argparse.ArgumentParser) -> None:
    """Add the command's flags."""
    parser.add_argument("--table", required=True, help="utterance table of the split (TSV)")
    parser.add_argument("--features", required=True, nargs="+", help="feature files of all its shards")
    parser.add_argument("--options", required=True, help="config section features or hmm.features as JSON")
    parser.add_argument("--kaldi", metavar="FILE", help="statistics of Kaldi to take, by speaker: cmvn.scp")
    parser.add_argument("--out", required=True, help="statistics file to write")


def run(args: argparse.Namespace) -> None:
    """Sum the statistics in table order."""
    from unisono.config.build import from_json
    from unisono.config.features import FeatureOptions
    from unisono.data.features import cmvn
    from unisono.data.features.kaldi import read_statistics
    from unisono.data.features.reader import BaseReader
    from unisono.errors import UserError

    options = from_json(FeatureOptions, args.options)
    reader = BaseReader(args.table, args.features, options)
    if args.kaldi:
        found = read_statistics(args.kaldi, options.base_dim)
        lacking = sorted({u.speaker_id for u in reader.utterances} - set(found))
        if lacking:
            raise UserError(f"{args.kaldi}: no statistics of speaker {lacking[0]}: compute them by Kaldi anew")
        cmvn.write_statistics(args.out, found, options.base_dim)
        return
    pairs = ((u.speaker_id, reader.base(u.utterance_id)) for u in reader.utterances)
    cmvn.write_statistics(args.out, cmvn.statistics(pairs, options.cmvn), options.base_dim)
