"""Train triphone Gaussian HMMs on a decision tree, from the alignments of monophones."""

import argparse

from unisono.cli import arguments


def register(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    arguments.add_hmm_training(parser, start=True)


def run(args: argparse.Namespace) -> None:
    """Train, write the model and the report."""
    from unisono import console
    from unisono.bootstrap import corpus
    from unisono.files import write_json
    from unisono.hmm.lexicon import load_lang
    from unisono.hmm.model import load_model, save_model
    from unisono.hmm.training import train_tri

    options = arguments.hmm_options(args)
    lang = load_lang(args.lang_dir)
    mono = load_model(args.from_model)
    shards = corpus.load_shards(lang, arguments.feature_reader(args))
    alignments = corpus.load_alignments(args.from_alignments, args.from_model, shards)
    with console.progress("triphones", options.tri.iterations) as advance:
        trained = train_tri(lang, shards, mono, alignments, options, args.processes, corpus.log_iteration(advance))
    save_model(args.out, trained.model)
    write_json(args.report, trained.report)
