"""Train monophone Gaussian HMMs from a flat start."""

import argparse

from unisono.cli import arguments


def register(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    arguments.add_hmm_training(parser, start=False)


def run(args: argparse.Namespace) -> None:
    """Train, write the model and the report."""
    from unisono import console
    from unisono.bootstrap import corpus
    from unisono.config.build import complete
    from unisono.files import write_json
    from unisono.hmm.lexicon import load_lang
    from unisono.hmm.model import save_model
    from unisono.hmm.training import train_mono

    options = arguments.hmm_options(args)
    lang = load_lang(args.lang_dir)
    shards = corpus.load_shards(lang, arguments.feature_reader(args))
    with console.progress("monophones", options.mono.iterations) as advance:
        trained = train_mono(
            lang,
            shards,
            options,
            complete(arguments.feature_options(args)),
            args.processes,
            corpus.log_iteration(advance),
        )
    save_model(args.out, trained.model)
    write_json(args.report, trained.report)
