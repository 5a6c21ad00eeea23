"""Align a split with the network of another config's finished run; utterances that fail are listed."""

import argparse

from unisono.cli import arguments


def register(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    arguments.add_alignment(parser)
    arguments.add_device(parser)
    parser.add_argument("--source", required=True, help="folder of the finished run, with recogniser.json")


def run(args: argparse.Namespace) -> None:
    """Align by log p(pdf | x) - log p(pdf) in the place of the mixtures; `--feature-options` are the network's."""
    from unisono.bootstrap import corpus
    from unisono.files import write_json
    from unisono.hmm.lexicon import load_lang
    from unisono.hmm.model import load_model
    from unisono.hmm.passes import align_corpus
    from unisono.recognise import acoustics, adopt
    from unisono.recognise.system import read_system

    system, model, lang = read_system(args.source), load_model(args.model), load_lang(args.lang_dir)
    adopt.check_features(system, arguments.feature_options(args))
    reader = arguments.feature_reader(args)
    shards = corpus.load_shards(lang, reader)
    device = arguments.device_of(args)
    scorer = acoustics.network_scorer(system.network, args.threads, reader, model.num_pdfs, device=device)
    parts, report = align_corpus(model, lang, shards, arguments.hmm_options(args), args.processes, scorer)
    corpus.write_alignments(args.out, model, args.model, shards, parts)
    corpus.log_failures(report)
    write_json(args.report, report)
