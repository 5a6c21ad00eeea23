"""Draw and tabulate what a finished pipeline found, into report/ below its root.

Writes the first page (index.html) with its numbers (answer.json), summary.txt, summary.json, plots (SVG) and tables
(HTML) of word errors, corpus, alignment and time, and a folder for each run with its learning curves, iterations and
frame ledger.
"""

import argparse
from pathlib import Path


def register(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument("--root", required=True, help="folder of the results, results/<name>")
    parser.add_argument("--results", required=True, nargs="+", help="folders with wer.json, relative to the root")
    parser.add_argument("--runs", required=True, nargs="+", help="names of the training runs")
    parser.add_argument("--align", required=True, nargs="+", help="HMM systems whose alignments are shown, as mono tri")
    parser.add_argument("--speakers", nargs="*", default=[], help="table of speakers, where the config names one")
    parser.add_argument("--classes", default="{}", help="its columns that make classes, as JSON (report.classes)")
    parser.add_argument("--seed", required=True, type=int, help="seed of the bootstrap intervals")
    parser.add_argument("--perturbed", nargs="*", default=[], help="perturbed.json, where the config asks for it")


def run(args: argparse.Namespace) -> None:
    """Read everything, then write every picture and page."""
    import json

    from unisono.data.corpus.references import read_references
    from unisono.data.corpus.speaker_classes import read_classes
    from unisono.desk.answer import make_answer
    from unisono.desk.page import first_page
    from unisono.files import write_json, write_text
    from unisono.score import results, wer
    from unisono.score.classes import by_class
    from unisono.score.gather import gather
    from unisono.score.report_files import write_report

    found = gather(args.root, args.results, args.runs, args.align, args.perturbed)
    references, speakers = read_references(str(Path(args.root) / "data" / "test.tsv"))
    counts = {
        r.folder: wer.evaluate(references, results.read_hypotheses(Path(args.root) / r.folder)).counts
        for r in found.results
    }
    groupings = read_classes(found.corpus, args.speakers, json.loads(args.classes))
    classes = by_class(groupings, counts, speakers, seed=args.seed)
    out_dir = Path(args.root) / "report"
    write_report(out_dir, found, counts, speakers, classes, args.seed)
    answer = make_answer(found, counts, speakers, args.seed)
    write_json(out_dir / "answer.json", answer)
    write_text(
        out_dir / "index.html", first_page(answer, {run.name: run.combined for run in found.runs if run.recognises})
    )
