"""Align a split with a trained HMM: transition-ids and PDFs of each frame; utterances that fail are listed."""

import argparse


def register(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    from unisono.bootstrap.corpus import add_arguments

    add_arguments(parser)
    parser.add_argument("--model", required=True, help="model.h5 to align with")
    parser.add_argument("--out", required=True, help="alignments to write, Sequences format")
    parser.add_argument("--report", required=True, help="JSON to write: counts, and failures with their reasons")


def run(args: argparse.Namespace) -> None:
    """Run the command."""
    from unisono.bootstrap import corpus as hmm_corpus
    from unisono.files import write_json
    from unisono.hmm.lexicon import load_lang
    from unisono.hmm.model import load_model
    from unisono.hmm.passes import align_corpus

    options, features = hmm_corpus.read_options(args)
    lang = load_lang(args.lang_dir)
    model = load_model(args.model)
    shards = hmm_corpus.load_shards(args, lang, features)
    parts, report = align_corpus(model, lang, shards, options, args.processes)
    for row in report["failed"]:
        hmm_corpus.logger.warning("%s: not aligned: %s", row["utterance_id"], row["reason"])
    hmm_corpus.write_alignments(args.out, model, args.model, shards, parts)
    write_json(args.report, report)
