"""The files of the report: pictures, tables and the summary, in one folder."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from unisono.files import write_json, write_text
from unisono.score import plots, report, summary, training_pages
from unisono.score.classes import ClassResult
from unisono.score.gather import Gathered
from unisono.score.wer import Counts


def write_report(
    out_dir: Path,
    found: Gathered,
    counts: Mapping[str, Mapping[str, Counts]],
    speakers: Mapping[str, str],
    classes: Sequence[ClassResult],
    seed: int,
) -> None:
    """Write every picture and page of the report into `out_dir`; a folder below it for each run.

    counts: folder of a system -> utterance -> its errors. speakers: utterance -> speaker. classes: the errors of each
    class of speakers. seed: of the bootstrap.
    """
    plots.word_error_rates(out_dir / "wer.svg", [{**r.numbers, "name": r.name} for r in found.results])
    plots.alignment(out_dir / "alignment.svg", found.courses, found.alignments)
    plots.times(out_dir / "time.svg", found.times, {r.name: report.phases(r) for r in found.runs})
    for training in found.runs:
        folder = out_dir / "runs" / training.name
        name = f"run {training.name}"
        rows = training.combined, training.workers
        plots.learning_curve(folder / "learning_curve.svg", name, *rows, training.objective)
        plots.frame_accuracy(folder / "frame_accuracy.svg", name, *rows)
        write_text(folder / "iterations.html", training_pages.iterations_page(training))
        write_text(folder / "ledger.html", training_pages.ledger_page(training))
    write_text(out_dir / "wer.html", report.wer_page(found.results, counts, speakers, seed))
    write_text(out_dir / "speakers.html", report.speakers_page(found.results, classes))
    write_text(out_dir / "confusions.html", report.confusions_page(found.results))
    write_text(out_dir / "corpus.html", report.corpus_page(found.corpus))
    write_text(out_dir / "alignment.html", report.alignment_page(found))
    write_text(out_dir / "time.html", report.time_page(found))
    write_json(out_dir / "summary.json", summary.summarise(found, classes))
    write_text(out_dir / "summary.txt", summary.summary_text(found, classes))
