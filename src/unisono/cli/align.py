"""Align a split with a trained HMM: transition-ids and PDFs of each frame; utterances that fail are listed."""

import argparse

from unisono.cli import arguments


def register(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    arguments.add_alignment(parser)


def run(args: argparse.Namespace) -> None:
    """Align, write the alignments and the report."""
    from unisono.bootstrap import corpus
    from unisono.files import write_json
    from unisono.hmm.lexicon import load_lang
    from unisono.hmm.model import load_model
    from unisono.hmm.passes import align_corpus

    lang, model = load_lang(args.lang_dir), load_model(args.model)
    shards = corpus.load_shards(lang, arguments.feature_reader(args))
    parts, report = align_corpus(model, lang, shards, arguments.hmm_options(args), args.processes)
    corpus.write_alignments(args.out, model, args.model, shards, parts)
    corpus.log_failures(report)
    write_json(args.report, report)
