"""The HTML tables of the report, each a page of its own, made from what `gather` found."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

from unisono.score import comparison
from unisono.score.classes import ClassResult
from unisono.score.gather import Gathered, Result, Run
from unisono.score.pages import Number, decimal, heading, list_of, page, paragraph, table
from unisono.score.summary import CLASS_COLUMNS, COLUMNS, class_rows, interval_methods, left_out, wer_rows
from unisono.score.wer import Counts

PHASES = ("start", "load", "compute", "wait", "average", "write")
ORDER = ("train", "perturbed", "dev", "test")
MOST_CONFUSIONS = 40
UNKNOWN_WORDS = (
    " Not in the lexicon: such words cannot be recognised; training reads them as corpus.unknown_word;"
    " data/missing_words.txt lists them."
)


def wer_page(
    results: Sequence[Result], counts: Mapping[str, Mapping[str, Counts]], speakers: Mapping[str, str], seed: int
) -> str:
    """Give the word error rates, and whether each system differs from each other.

    counts: folder -> utterance -> counts; speakers: utterance -> speaker. Systems are compared where there are two.
    """
    rows = [[row[0], *(Number(cell) for cell in row[1:])] for row in wer_rows(results)]
    parts = [
        table(COLUMNS, rows, [i for i, result in enumerate(results) if result.chosen]),
        paragraph(
            "dev, test, interval: word error rate in percent. * the final model of its run. LM weight = 1 / acoustic "
            "scale; penalty in nats a word; both chosen on dev, applied once to test."
        ),
        *(paragraph(f"Interval: {method}.") for method in interval_methods(results)),
    ]
    if len(results) > 1:
        parts += [
            heading("Is a difference more than chance?"),
            paragraph(f"Two-sided p over utterances. {comparison.RULE} The other pairs may differ by chance."),
            _significance(results, counts, speakers, seed),
        ]
    return page("Word error rates", *parts)


def speakers_page(results: Sequence[Result], classes: Sequence[ClassResult] = ()) -> str:
    """Give the word error rate of each class of speakers, where classes are known, and of each speaker."""
    by_system = [{row["speaker_id"]: row for row in result.speakers} for result in results]
    rows = []
    for speaker in sorted({speaker for found in by_system for speaker in found}):
        words = next(found[speaker]["words"] for found in by_system if speaker in found)
        rates = [decimal(100 * float(found[speaker]["wer"])) if speaker in found else None for found in by_system]
        rows.append([speaker, int(words), *rates])
    columns = ["speaker", "words", *(result.name for result in results)]
    parts = [table(columns, rows)]
    if classes:
        known = [[row[0], row[1], *(Number(cell) for cell in row[2:])] for row in class_rows(results, classes)]
        note = "Intervals: as in the table of word error rates, drawn within the class; those of few speakers are wide."
        parts = [heading("By class"), table(CLASS_COLUMNS, known), paragraph(note), heading("By speaker"), *parts]
    return page("Word error rate by speaker (percent, test)", *parts)


def confusions_page(results: Sequence[Result]) -> str:
    """Give the most frequent errors of each system."""
    parts = []
    for result in results:
        rows = [[row["kind"], int(row["count"]), row["reference"], row["hypothesis"]] for row in result.confusions]
        parts += [heading(result.name), table(("kind", "count", "spoken", "recognised"), rows[:MOST_CONFUSIONS])]
        if len(rows) > MOST_CONFUSIONS:
            parts.append(paragraph(f"… and {len(rows) - MOST_CONFUSIONS:,} more in {result.folder}/confusions.tsv"))
    return page("Most frequent errors (test)", *parts)


def corpus_page(corpus: Mapping[str, Any]) -> str:
    """Give the size of each split, and the utterances that were left out, with reasons."""
    aside, unknown = left_out(corpus), corpus.get("unknown_words", {})
    rows = [
        [split, facts["utterances"], aside.get(split), facts["speakers"], facts["words"], unknown.get(split)]
        + [decimal(facts["seconds"] / 60, 1)]
        for split, facts in sorted(corpus.get("splits", {}).items(), key=lambda item: ORDER.index(item[0]))
    ]
    parts = [
        table(("split", "utterances", "left out", "speakers", "words", "not in the lexicon", "minutes"), rows),
        paragraph(
            "Left out: further utterances, listed below."
            + (UNKNOWN_WORDS if any(unknown.get(split) for split in ORDER) else "")
        ),
        paragraph(f"Sampling rate: {corpus.get('sampling_rate', 'unknown')} Hz."),
        heading("Utterances left out"),
        list_of(corpus.get("quarantined", []), ("utterance_id", "split", "reason")),
    ]
    return page("Corpus", *parts)


def alignment_page(gathered: Gathered) -> str:
    """Give alignment statistics, and each utterance that could not be aligned or had no frames, with reasons."""
    found = [(name, split, r) for name, splits in gathered.alignments.items() for split, r in splits.items()]
    rows = [
        [name, split, r["aligned"], r.get("retried", 0), len(r["failed"]), r["frames"]]
        + [decimal(r["log_likelihood_per_frame"], 3)]
        for name, split, r in found
    ]
    columns = ("model", "split", "aligned", "with the wider beam", "failed", "frames", "log-likelihood per frame")
    failed = [{"model": name, "split": split, **entry} for name, split, r in found for entry in r["failed"]]
    left_out = [
        {"split": split, **entry}
        for split, facts in gathered.frames.items()
        if isinstance(facts, dict)
        for entry in facts.get("left_out", [])
    ]
    return page(
        "Alignment",
        table(columns, rows),
        heading("Utterances that could not be aligned"),
        list_of(failed, ("model", "split", "utterance_id", "reason")),
        heading("Utterances left out of the frames for training"),
        list_of(left_out, ("split", "utterance_id", "reason")),
    )


def time_page(gathered: Gathered) -> str:
    """Give the time of each stage, and what the workers of each run spent theirs on."""
    times = gathered.times
    rows = [
        [t.stage, t.jobs, decimal(t.seconds, 1), decimal(t.cpu_seconds, 1), decimal(t.max_rss_mb, 0)] for t in times
    ]
    whole = [
        "all",
        sum(t.jobs for t in times),
        decimal(sum(t.seconds for t in times), 1),
        decimal(sum(t.cpu_seconds for t in times), 1),
        decimal(max([t.max_rss_mb for t in times], default=0.0), 0),
    ]
    split = [[run.name, *(decimal(value, 1) for value in phases(run).values()), _share(run)] for run in gathered.runs]
    return page(
        "Time",
        table(
            ("stage", "jobs", "seconds by the clock", "seconds of CPU", "largest memory (MB)"),
            [*rows, whole],
            [len(rows)],
        ),
        paragraph("Summed over the jobs of a stage; jobs ran side by side, so the whole took less by the clock."),
        heading("What the workers of each run spent their time on (seconds)"),
        table(("run", *PHASES, "computing %"), split),
    )


def phases(run: Run) -> dict[str, float]:
    """Sum the seconds of each phase over the workers and iterations of a run."""
    return {phase: sum(row.get(f"seconds_{phase}") or 0.0 for row in run.workers) for phase in PHASES}


def _significance(
    results: Sequence[Result], counts: Mapping[str, Mapping[str, Counts]], speakers: Mapping[str, str], seed: int
) -> str:
    """Give a table of p, with a word where two systems differ or are at the edge of it."""
    cells: dict[tuple[str, str], Number] = {}
    for a, b in combinations(results, 2):
        found = comparison.difference(counts[a.folder], counts[b.folder], speakers, seed=seed)
        said = "" if found["verdict"] == "chance" else f" {found['verdict']}"
        cells[a.folder, b.folder] = cells[b.folder, a.folder] = Number(
            comparison.p_of(found).removeprefix("p = ") + said
        )
    rows = [[a.name, *(cells.get((a.folder, b.folder)) for b in results)] for a in results]
    return table(["", *(result.name for result in results)], rows)


def _share(run: Run) -> Number | None:
    spent = phases(run)
    return decimal(100 * spent["compute"] / sum(spent.values()), 1) if sum(spent.values()) else None
