"""The report in numbers (`summary.json`) and the word error rates as a table of plain text (`summary.txt`)."""

from collections.abc import Sequence
from typing import Any

from unisono.score.gather import Gathered, Result, Run

COLUMNS = ("system", "dev", "test", "95 % interval", "errors", "words", "ins", "del", "sub", "LM weight", "penalty")


def summarise(gathered: Gathered) -> dict[str, Any]:
    """Put together `summary.json`.

    Fields: systems (wer.json of each, plus folder, name, chosen); runs (name -> iterations, frames, rejected,
    objective_train, objective_dev, frame_accuracy of the last combined model); corpus (splits of corpus.json and the
    number of quarantined utterances); stages (jobs, seconds, cpu_seconds, max_rss_mb).
    """
    corpus = gathered.corpus
    return {
        "systems": [
            {**result.numbers, "folder": result.folder, "name": result.name, "chosen": result.chosen}
            for result in gathered.results
        ],
        "runs": {run.name: _run(run) for run in gathered.runs},
        "corpus": {"splits": corpus.get("splits", {}), "quarantined": len(corpus.get("quarantined", []))},
        "stages": {
            time.stage: {
                "jobs": time.jobs,
                "seconds": round(time.seconds, 2),
                "cpu_seconds": round(time.cpu_seconds, 2),
                "max_rss_mb": round(time.max_rss_mb, 1),
            }
            for time in gathered.times
        },
    }


def wer_rows(results: Sequence[Result]) -> list[tuple[str, ...]]:
    """Give one row of text a system, columns as COLUMNS; rates in percent, a dash where nothing was tuned."""
    rows = []
    for result in results:
        n = result.numbers
        low, high = n["ci95"]
        rows.append(
            (
                result.name + (" *" if result.chosen else ""),
                _percent(n["dev_wer"]),
                _percent(n["wer"]),
                f"{100 * low:.2f} to {100 * high:.2f}",
                *(f"{count:,}" for count in (n["ins"] + n["del"] + n["sub"], n["words"], n["ins"], n["del"], n["sub"])),
                "–" if n["lm_weight"] is None else f"{n['lm_weight']:.1f}",
                "–" if n["word_insertion_penalty"] is None else f"{n['word_insertion_penalty']:.1f}",
            )
        )
    return rows


def summary_text(gathered: Gathered) -> str:
    """Format `summary.txt`."""
    lines = ["Word error rate in percent", "", *_columns([COLUMNS, *wer_rows(gathered.results)]), ""]
    if any(result.chosen for result in gathered.results):
        lines.append("* the final model of its run")
    lines += [f"interval: {method}" for method in interval_methods(gathered.results)]
    for run in gathered.runs:
        facts = _run(run)
        rejected = f", workers rejected: {facts['rejected']}" if facts["rejected"] else ""
        dev = "unknown" if facts["objective_dev"] is None else f"{facts['objective_dev']:.3f}"
        seen = f"{facts['iterations']} iterations, {facts['frames']:,} frames"
        lines.append(f"run {run.name}: {seen}, dev objective {dev}{rejected}")
    quarantined = len(gathered.corpus.get("quarantined", []))
    if quarantined:
        lines.append(f"left out of the corpus: {quarantined} (reasons in the report)")
    lines.append(f"plots and tables: {gathered.root / 'report'}")
    return "\n".join(lines) + "\n"


def interval_methods(results: Sequence[Result]) -> list[str]:
    """List how the intervals were made, each way once."""
    return list(dict.fromkeys(result.numbers["ci_method"] for result in results))


def _run(run: Run) -> dict[str, Any]:
    last = run.combined[-1] if run.combined else {}
    return {
        "iterations": len(run.combined),
        "frames": last.get("frames_seen", 0),
        "rejected": sum(bool(row.get("rejected")) for row in run.workers),
        **{field: last.get(field) for field in ("objective_train", "objective_dev", "frame_accuracy")},
    }


def _percent(fraction: float | None) -> str:
    return "–" if fraction is None else f"{100 * fraction:.2f}"


def _columns(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [row[0].ljust(widths[0])] + [cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True)]
        lines.append("  ".join(cells).rstrip())
    lines.insert(1, "-" * max(map(len, lines)))
    return lines
