"""Train triphones on spliced features under LDA and MLLT, from the alignments of triphones."""

import argparse


def register(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    from unisono.bootstrap.corpus import add_training_arguments

    add_training_arguments(parser, start=True)


def run(args: argparse.Namespace) -> None:
    """Run the command."""
    import json

    from unisono import console
    from unisono.bootstrap import corpus as hmm_corpus
    from unisono.errors import UserError
    from unisono.files import write_json
    from unisono.hmm.lda_mllt import lda_mllt_options, train_lda_mllt
    from unisono.hmm.lexicon import load_lang
    from unisono.hmm.model import load_model, save_model

    options, features = hmm_corpus.read_options(args)
    if features.deltas:
        raise UserError(f"--feature-options: deltas {features.deltas}: splicing takes their place, give deltas 0")
    own, lang = lda_mllt_options(options), load_lang(args.lang_dir)
    tri = load_model(args.from_model)
    shards = hmm_corpus.load_shards(args, lang, features)
    alignments = hmm_corpus.load_alignments(args.from_alignments, args.from_model, shards)
    with console.progress("LDA+MLLT", own.iterations) as advance:
        trained = train_lda_mllt(
            lang,
            shards,
            tri,
            alignments,
            options,
            json.loads(args.feature_options),
            args.processes,
            hmm_corpus.log_iteration(advance),
        )
    for row in trained.report["mllt"]:
        hmm_corpus.logger.info("MLLT before iteration %d: gain of %.4f nats per frame", *list(row.values())[::2])
    save_model(args.out, trained.model)
    write_json(args.report, trained.report)
