"""Align a split with the network of another config's finished run; utterances that fail are listed."""

import argparse


def register(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    from unisono.bootstrap.corpus import add_arguments

    add_arguments(parser)
    parser.add_argument("--source", required=True, help="folder of the finished run, with recogniser.json")
    parser.add_argument("--model", required=True, help="model.h5 that was taken from it")
    parser.add_argument("--out", required=True, help="alignments to write, Sequences format")
    parser.add_argument("--report", required=True, help="JSON to write: counts, and failures with their reasons")


def run(args: argparse.Namespace) -> None:
    """Align by log p(pdf | x) - log p(pdf) in the place of the mixtures; `--feature-options` are the network's."""
    import json

    from unisono.bootstrap import corpus as hmm_corpus
    from unisono.data.features.reader import FeatureReader
    from unisono.errors import UserError
    from unisono.files import write_json
    from unisono.hmm.lexicon import load_lang
    from unisono.hmm.model import load_model
    from unisono.hmm.passes import align_corpus
    from unisono.recognise import acoustics
    from unisono.recognise.system import read_system

    options, features = hmm_corpus.read_options(args)
    system, model = read_system(args.source), load_model(args.model)
    theirs, own = system.facts["settings"]["features"], json.loads(args.feature_options)
    for key in own:
        if own[key] != theirs.get(key):
            raise UserError(
                f"hmm.align_with: features.{key} is {own[key]} here and {theirs.get(key)} in {args.source}: "
                "give both configs the same features"
            )
    lang = load_lang(args.lang_dir)
    shards = hmm_corpus.load_shards(args, lang, features)
    reader = FeatureReader(args.table, args.features, args.cmvn, features)
    scorer = acoustics.network_scorer(str(system.network), args.threads, reader, model.num_pdfs)
    parts, report = align_corpus(model, lang, shards, options, args.processes, scorer)
    for row in report["failed"]:
        hmm_corpus.logger.warning("%s: not aligned: %s", row["utterance_id"], row["reason"])
    hmm_corpus.write_alignments(args.out, model, args.model, shards, parts)
    write_json(args.report, report)
