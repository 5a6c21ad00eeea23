"""The corpus stage: validated utterance tables, lexicon, text for the language model, and statistics."""

import argparse


def register(parser: argparse.ArgumentParser) -> None:
    """Add the command's flags."""
    parser.add_argument("--options", required=True, help="config section corpus as JSON")
    parser.add_argument("--corpora-dir", required=True, help="folder that holds the folder corpus.dir")
    parser.add_argument("--out-dir", required=True, help="folder for the tables (and for generated audio)")
    parser.add_argument("--processes", type=int, default=1, help="processes for checks and speaking")


def run(args: argparse.Namespace) -> None:
    """Build the corpus and say what it holds."""
    from pathlib import Path

    from unisono.data.corpus import CorpusOptions, build
    from unisono.options import from_json

    options = from_json(CorpusOptions, args.options)
    facts = build(options, Path(args.corpora_dir), Path(args.out_dir), args.processes)
    for split, numbers in facts["splits"].items():
        print(
            f"{split}: {numbers['utterances']} utterances, {numbers['speakers']} speakers, "
            f"{numbers['words']} words, {numbers['seconds'] / 60:.1f} minutes"
        )
    for entry in facts["quarantined"]:
        print(f"set aside: {entry['utterance_id']} ({entry['split']}): {entry['reason']}")
