"""Estimate the language model from text, take a given one, or write a word loop; always an ARPA file."""

import argparse


def register(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument("--text", required=True, help="text, one sentence a line")
    parser.add_argument("--lexicon", required=True, help="pronunciation lexicon: no word outside it is known")
    parser.add_argument("--options", required=True, help="config section lm as JSON")
    parser.add_argument("--arpa", help="the given model where lm.kind is arpa (default: the path in lm.arpa)")
    parser.add_argument("--out", required=True, help="ARPA file to write")
    parser.add_argument("--report", help="JSON to write: numbers of n-grams and words, and what was dropped")


def run(args: argparse.Namespace) -> None:
    """Make the model, write it."""
    import logging

    from unisono.config.build import from_json
    from unisono.config.language import LmOptions
    from unisono.files import write_json
    from unisono.hmm.arpa import write_arpa
    from unisono.hmm.language_model import language_model

    model, report = language_model(from_json(LmOptions, args.options), args.text, args.lexicon, args.arpa)
    write_arpa(args.out, model)
    logging.getLogger("unisono.lm").info("%s", report)
    if args.report:
        write_json(args.report, report)
