"""Train triphone Gaussian HMMs on a decision tree, from the alignments of monophones."""

import argparse


def register(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    from unisono.bootstrap.corpus import add_training_arguments

    add_training_arguments(parser, start=True)


def run(args: argparse.Namespace) -> None:
    """Run the command."""
    from unisono import console
    from unisono.bootstrap import corpus as hmm_corpus
    from unisono.files import write_json
    from unisono.hmm.lexicon import load_lang
    from unisono.hmm.model import load_model, save_model
    from unisono.hmm.training import train_tri

    options, features = hmm_corpus.read_options(args)
    lang = load_lang(args.lang_dir)
    mono = load_model(args.from_model)
    shards = hmm_corpus.load_shards(args, lang, features)
    alignments = hmm_corpus.load_alignments(args.from_alignments, args.from_model, shards)
    with console.progress("triphones", options.tri.iterations) as advance:
        trained = train_tri(lang, shards, mono, alignments, options, args.processes, hmm_corpus.log_iteration(advance))
    save_model(args.out, trained.model)
    write_json(args.report, trained.report)
