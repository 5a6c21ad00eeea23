"""Test whether two systems differ: matched pairs and a paired bootstrap on the same utterances.

A and B are each a folder with hyp.txt (a run, a GMM system, a decoded candidate) or a file of hypotheses in Kaldi text
form, of ours or not. Both need a line for each utterance of the table, and none for others.
"""

import argparse
from pathlib import Path

EXAMPLES = """examples:
  unisono compare results/mine/runs/a results/mine/runs/b
  unisono compare results/mine/gmm/tri results/mine/runs/main/decode/ema
  unisono compare results/mine/runs/main kaldi-hyp.txt                      # both against results/mine/data/test.tsv
  unisono compare a.txt b.txt --table results/mine/data/test.tsv --out difference.json
"""


def register(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.epilog = EXAMPLES
    parser.add_argument("a", metavar="A", type=Path, help="folder with hyp.txt, or a file of hypotheses")
    parser.add_argument("b", metavar="B", type=Path, help="the same of the other system")
    parser.add_argument(
        "--table",
        type=Path,
        metavar="TSV",
        help="table of the split that was decoded: utterance_id, speaker_id, transcript"
        " (default: data/test.tsv of the results/<name>/ that A or B lies in)",
    )
    parser.add_argument("--seed", type=int, default=1, help="seed of the bootstrap (default 1)")
    parser.add_argument("--out", metavar="JSON", help="also write the numbers to this file")


def run(args: argparse.Namespace) -> None:
    """Score both, test, print."""
    import sys

    from unisono.data.corpus.references import common_table, read_references
    from unisono.files import write_json
    from unisono.score import comparison, results

    table = args.table or common_table([args.a, args.b])
    references, speakers = read_references(table)
    texts = [results.read_hypotheses(path) for path in (args.a, args.b)]
    for path, text in zip((args.a, args.b), texts, strict=True):
        comparison.check_utterances(references, text, str(path), str(table))
    found = comparison.compare(references, speakers, *texts, seed=args.seed)
    sys.stdout.write(comparison.format_comparison(found, str(args.a), str(args.b)))
    if args.out:
        write_json(args.out, {"a": str(args.a), "b": str(args.b), **found})
