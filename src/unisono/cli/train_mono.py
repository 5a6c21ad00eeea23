"""Train monophone Gaussian HMMs from a flat start."""

import argparse


def register(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    from unisono.bootstrap.corpus import add_training_arguments

    add_training_arguments(parser, start=False)


def run(args: argparse.Namespace) -> None:
    """Run the command."""
    import json

    from unisono import console
    from unisono.bootstrap import corpus as hmm_corpus
    from unisono.files import write_json
    from unisono.hmm.lexicon import load_lang
    from unisono.hmm.model import save_model
    from unisono.hmm.training import train_mono

    options, features = hmm_corpus.read_options(args)
    lang = load_lang(args.lang_dir)
    shards = hmm_corpus.load_shards(args, lang, features)
    with console.progress("monophones", options.mono.iterations) as advance:
        trained = train_mono(
            lang, shards, options, json.loads(args.feature_options), args.processes, hmm_corpus.log_iteration(advance)
        )
    save_model(args.out, trained.model)
    write_json(args.report, trained.report)
