"""The report in numbers (`summary.json`) and the word error rates as a table of plain text (`summary.txt`)."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from unisono.console import columns
from unisono.score.classes import ClassResult
from unisono.score.gather import Gathered, Result, Run

COLUMNS = (
    "system", "dev", "test", "95 % interval", "errors", "words", "ins", "del", "sub", "characters", "95 % interval",
    "LM weight", "penalty",
)  # fmt: skip
SPLITS = ("train", "dev", "test")
CLASS_COLUMNS = ("class of speakers", "system", "test", "95 % interval", "errors", "words", "speakers")


def summarise(gathered: Gathered, classes: Sequence[ClassResult] = ()) -> dict[str, Any]:
    """Put together `summary.json`.

    Fields: systems (wer.json of each, plus folder, name, chosen); classes (of speakers, where they are known: class,
    folder of the system, speakers, words, errors, wer, ci95); runs (name -> iterations, frames, rejected,
    objective_train, objective_dev, frame_accuracy of the last combined model); corpus (splits and unknown_words of
    corpus.json, unseen_words: of dev and test, those that the language model's text never has, quarantined: utterances
    left out of each split); stages (jobs, seconds, cpu_seconds, max_rss_mb).
    """
    corpus = gathered.corpus
    return {
        "systems": [
            {**result.numbers, "folder": result.folder, "name": result.name, "chosen": result.chosen}
            for result in gathered.results
        ],
        "classes": [
            {
                "class": found.speaker_class,
                "folder": found.folder,
                "speakers": found.speakers,
                "words": found.total.words,
                "errors": found.total.errors,
                "wer": found.total.wer,
                "ci95": [found.interval.low, found.interval.high],
            }
            for found in classes
        ],
        "runs": {run.name: _run(run) for run in gathered.runs},
        "corpus": {
            "splits": corpus.get("splits", {}),
            "unknown_words": corpus.get("unknown_words", {}),
            "unseen_words": gathered.unseen,
            "quarantined": left_out(corpus),
        },
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
        rows.append(
            (
                result.name + (" *" if result.chosen else ""),
                _percent(n["dev_wer"]),
                _percent(n["wer"]),
                _interval(n["ci95"]),
                *(f"{count:,}" for count in (n["ins"] + n["del"] + n["sub"], n["words"], n["ins"], n["del"], n["sub"])),
                _percent(n["cer"]),
                _interval(n["cer_ci95"]),
                "–" if n["lm_weight"] is None else f"{n['lm_weight']:.1f}",
                "–" if n["word_insertion_penalty"] is None else f"{n['word_insertion_penalty']:.1f}",
            )
        )
    return rows


def class_rows(results: Sequence[Result], classes: Sequence[ClassResult]) -> list[tuple[str, ...]]:
    """Give one row of text a class of speakers and system, columns as CLASS_COLUMNS; rates in percent."""
    names = {result.folder: result.name + (" *" if result.chosen else "") for result in results}
    return [
        (
            found.speaker_class,
            names[found.folder],
            _percent(found.total.wer),
            f"{100 * found.interval.low:.2f} to {100 * found.interval.high:.2f}",
            *(f"{count:,}" for count in (found.total.errors, found.total.words, found.speakers)),
        )
        for found in classes
    ]


def summary_text(gathered: Gathered, classes: Sequence[ClassResult] = ()) -> str:
    """Format `summary.txt`."""
    lines = ["Word error rate in percent", "", *columns([COLUMNS, *wer_rows(gathered.results)]), ""]
    if classes:
        lines += [*columns([CLASS_COLUMNS, *class_rows(gathered.results, classes)], left=2), ""]
    if any(result.chosen for result in gathered.results):
        lines.append("* the final model of its run")
    lines += [f"interval: {method}" for method in interval_methods(gathered.results)]
    lines += [f"{result.name}: {note}" for result in gathered.results if (note := edge_of_grid(result.tuned))]
    for run in gathered.runs:
        facts = _run(run)
        rejected = f", workers rejected: {facts['rejected']}" if facts["rejected"] else ""
        dev = "unknown" if facts["objective_dev"] is None else f"{facts['objective_dev']:.3f}"
        seen = f"{facts['iterations']} iterations, {facts['frames']:,} frames"
        lines.append(f"run {run.name}: {seen}, dev objective {dev}{rejected}")
        lines += [f"run {run.name}: {line}" for line in run.warnings]
    lines += _corpus_lines(gathered)
    lines.append(f"plots and tables: {gathered.root / 'report'}")
    return "\n".join(lines) + "\n"


def edge_of_grid(tuned: Mapping[str, Any]) -> str:
    """Say so where the outermost acoustic scale tried was the best on dev: a better one may lie beyond."""
    chosen, fewest = tuned.get("acoustic_scale"), dict[float, int]()
    for setting in tuned.get("tried", []):
        scale = setting["acoustic_scale"]
        fewest[scale] = min(setting["errors"], fewest.get(scale, setting["errors"]))
    others = [errors for scale, errors in fewest.items() if scale != chosen]
    if not others or chosen not in (min(fewest), max(fewest)) or min(others) <= fewest[chosen]:
        return ""
    which, key = "smallest" if chosen == min(fewest) else "largest", "gmm_" if tuned["system"] == "gmm" else ""
    return f"the {which} acoustic scale tried, {chosen:g}, was the best on dev: add more to decode.{key}acoustic_scales"


def interval_methods(results: Sequence[Result]) -> list[str]:
    """List how the intervals were made, each way once."""
    return list(dict.fromkeys(result.numbers["ci_method"] for result in results))


def left_out(corpus: Mapping[str, Any]) -> dict[str, int]:
    """Count the utterances of each split that the corpus stage set aside."""
    counts = Counter(entry["split"] for entry in corpus.get("quarantined", []))
    return {split: counts[split] for split in SPLITS}


def _corpus_lines(gathered: Gathered) -> list[str]:
    """Say by how much each split is smaller than it was given, and how many of its words are hard or impossible."""
    lines, corpus = [], gathered.corpus
    aside, unknown, sizes = left_out(corpus), corpus.get("unknown_words", {}), corpus.get("splits", {})
    shown = [f"{split} {n} of {n + sizes[split]['utterances']}" for split, n in aside.items() if n]
    if shown:
        lines.append(f"utterances left out: {', '.join(shown)} (reasons in the report)")
    shown = [f"{split} {unknown[split]} of {sizes[split]['words']}" for split in SPLITS if unknown.get(split)]
    if shown:
        lines.append(f"words not in the lexicon: {', '.join(shown)}")
    shown = [f"{split} {n} of {sizes[split]['words']}" for split, n in gathered.unseen.items() if n]
    if shown:
        lines.append(f"words that the language model's text never has: {', '.join(shown)}")
    return lines


def _run(run: Run) -> dict[str, Any]:
    last = run.combined[-1] if run.combined else {}
    if last.get("objective_dev") is None:  # diagnostics.frames: 0
        last = last | {"objective_dev": last.get("objective_dev_full")}
    return {
        "iterations": len(run.combined),
        "frames": last.get("frames_seen", 0),
        "rejected": sum(bool(row.get("rejected")) for row in run.workers),
        **{field: last.get(field) for field in ("objective_train", "objective_dev", "frame_accuracy")},
    }


def _interval(limits: Sequence[float]) -> str:
    return f"{100 * limits[0]:.2f} to {100 * limits[1]:.2f}"


def _percent(fraction: float | None) -> str:
    return "–" if fraction is None else f"{100 * fraction:.2f}"
