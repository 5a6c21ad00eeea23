"""Draw and tabulate what a finished pipeline found, into report/ below its root.

Writes index.html, the first page, with its numbers in answer.json; summary.txt and summary.json; plots (SVG) and tables
(HTML) of word errors, corpus, alignment and time; a folder for each run with curves, iterations and ledger.
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
    parser.add_argument("--seed", required=True, type=int, help="seed of the bootstrap intervals of the classes")
    parser.add_argument("--perturbed", nargs="*", default=[], help="perturbed.json, where the config asks for it")


def run(args: argparse.Namespace) -> None:
    """Read everything, then write every picture and page."""
    import json

    from unisono.data.corpus.references import read_references
    from unisono.data.corpus.speaker_classes import read_classes
    from unisono.desk.answer import make_answer
    from unisono.desk.page import first_page
    from unisono.files import read_json, write_json, write_text
    from unisono.score import plots, report, results, summary, wer
    from unisono.score.classes import by_class
    from unisono.score.gather import gather

    found = gather(args.root, args.results, args.runs, args.align, args.perturbed)
    out_dir = Path(args.root) / "report"
    references, speakers = read_references(str(Path(args.root) / "data" / "test.tsv"))
    counts = {
        r.folder: wer.evaluate(references, results.read_hypotheses(Path(args.root) / r.folder)).counts
        for r in found.results
    }
    groupings = read_classes(found.corpus, args.speakers, json.loads(args.classes))
    classes = by_class(groupings, counts, speakers, seed=args.seed)

    plots.word_error_rates(out_dir / "wer.svg", [{**r.numbers, "name": r.name} for r in found.results])
    plots.alignment(out_dir / "alignment.svg", found.courses, found.alignments)
    plots.times(out_dir / "time.svg", found.times, {r.name: report.phases(r) for r in found.runs})
    for training in found.runs:
        folder = out_dir / "runs" / training.name
        name = f"run {training.name}"
        plots.learning_curve(folder / "learning_curve.svg", name, training.combined, training.workers)
        plots.frame_accuracy(folder / "frame_accuracy.svg", name, training.combined, training.workers)
        write_text(folder / "iterations.html", report.iterations_page(training))
        write_text(folder / "ledger.html", report.ledger_page(training))
    write_text(out_dir / "wer.html", report.wer_page(found.results, counts))
    write_text(out_dir / "speakers.html", report.speakers_page(found.results, classes))
    write_text(out_dir / "confusions.html", report.confusions_page(found.results))
    write_text(out_dir / "corpus.html", report.corpus_page(found.corpus))
    write_text(out_dir / "alignment.html", report.alignment_page(found))
    write_text(out_dir / "time.html", report.time_page(found))
    paths = {run.name: Path(args.root) / "runs" / run.name / "config.json" for run in found.runs}
    configs = {name: read_json(path) if path.exists() else {} for name, path in paths.items()}
    answer = make_answer(found, counts, speakers, configs, args.seed)
    write_json(out_dir / "answer.json", answer)
    write_text(out_dir / "index.html", first_page(answer, {run.name: run.combined for run in found.runs}))
    write_json(out_dir / "summary.json", summary.summarise(found, classes))
    write_text(out_dir / "summary.txt", summary.summary_text(found, classes))
