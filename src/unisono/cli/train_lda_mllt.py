"""Train triphones on spliced features under LDA and MLLT, from the alignments of triphones."""

import argparse

from unisono.cli import arguments


def register(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    arguments.add_hmm_training(parser, start=True)


def run(args: argparse.Namespace) -> None:
    """Train, write the model and the report."""
    from unisono import console
    from unisono.bootstrap import corpus
    from unisono.config.build import complete
    from unisono.errors import UserError
    from unisono.files import write_json
    from unisono.hmm.lda_mllt import train_lda_mllt
    from unisono.hmm.lexicon import load_lang
    from unisono.hmm.model import load_model, save_model

    options = arguments.hmm_options(args)
    if deltas := arguments.feature_options(args).deltas:
        raise UserError(f"--feature-options: deltas {deltas}: splicing takes their place, give deltas 0")
    own, lang = options.lda_mllt, load_lang(args.lang_dir)
    tri = load_model(args.from_model)
    shards = corpus.load_shards(lang, arguments.feature_reader(args))
    alignments = corpus.load_alignments(args.from_alignments, args.from_model, shards)
    with console.progress("LDA+MLLT", own.iterations) as advance:
        trained = train_lda_mllt(
            lang,
            shards,
            tri,
            alignments,
            options,
            complete(arguments.feature_options(args)),
            args.processes,
            corpus.log_iteration(advance),
        )
    for row in trained.report["mllt"]:
        corpus.logger.info("MLLT before iteration %d: gain of %.4f nats per frame", *list(row.values())[::2])
    save_model(args.out, trained.model)
    write_json(args.report, trained.report)
