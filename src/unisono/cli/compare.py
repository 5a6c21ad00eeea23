"""Test whether two systems differ: matched pairs and a paired bootstrap on the same utterances."""

import argparse
import sys


def register(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument("a", metavar="A", help="folder with hyp.txt, or a file of hypotheses in Kaldi text form")
    parser.add_argument("b", metavar="B", help="the same of the other system")
    parser.add_argument("--table", required=True, help="table of the split (transcripts, speakers)")
    parser.add_argument("--seed", type=int, default=1, help="seed of the bootstrap (default 1)")
    parser.add_argument("--out", help="also write the numbers to this JSON file")


def run(args: argparse.Namespace) -> None:
    """Score both, test, print."""
    from unisono.cli.references import read_references
    from unisono.files import write_json
    from unisono.score import comparison, results

    references, speakers = read_references(args.table)
    texts = [results.read_hypotheses(path) for path in (args.a, args.b)]
    found = comparison.compare(references, speakers, *texts, seed=args.seed)
    sys.stdout.write(comparison.format_comparison(found, args.a, args.b))
    if args.out:
        write_json(args.out, {"a": args.a, "b": args.b, **found})
