"""The answer of a finished run in numbers and one sentence each: how good, how sure, what next.

`report/answer.json`:

| key | meaning |
|---|---|
| name | of the config |
| systems | each scored system: folder, name, wer, ci95 (fractions), errors, inserted, words, dev_wer, chosen (a run's
result), edge (of the scales tried, where the best lies there) |
| speakers | the test speakers with the lowest and the highest rate of the best run's result: speaker, words, wer |
| against_gmm | each run's result against the best GMM on dev: run, gmm, difference, ci95 (fractions), p, verdict |
| against_each_other | each run's result against that of the run that is best on dev: the same keys, other for gmm |
| splits | utterances, speakers, words, seconds of each |
| unseen_words | of dev and test: words that the language model's text never has; {} where no text is used |
| set_aside | utterances that could not be used, by split |
| training | each run: iterations, frames, workers, combine, objective_dev, _dev_best, _train, epochs, epochs_best (to
the best dev objective), dropout, rejected, warnings |
| stages | seconds of each, summed over its jobs; seconds, cpu_seconds: of all |
| warnings, next | a sentence each |
"""

from collections.abc import Mapping, Sequence
from typing import Any

from unisono.config.build import complete
from unisono.config.parallel import Ramp
from unisono.desk import advice
from unisono.score.comparison import difference
from unisono.score.gather import Gathered, Result, Run
from unisono.score.summary import edge_of_grid, left_out
from unisono.score.wer import Counts

FEWEST_WORDS = 50  # of a speaker whose own rate says anything

AllCounts = Mapping[str, Mapping[str, Counts]]


def make_answer(found: Gathered, counts: AllCounts, speakers: Mapping[str, str], seed: int) -> dict[str, Any]:
    """Put together `answer.json`.

    counts: folder -> utterance -> errors. speakers: utterance -> speaker.
    """
    chosen = [result for result in found.results if result.chosen]
    gmms = [result for result in found.results if result.folder.startswith("gmm/")]
    best_gmm, best_run = _best(gmms), _best(chosen)
    against_gmm = [
        {"run": _run_of(result), "gmm": best_gmm.name} | _difference(result, best_gmm, counts, speakers, seed)
        for result in chosen
        if best_gmm
    ]
    others = [result for result in chosen if best_run and result.folder != best_run.folder]
    against_each_other = [
        {"run": _run_of(result), "other": _run_of(best_run)} | _difference(result, best_run, counts, speakers, seed)
        for result in others
        if best_run
    ]
    splits = {split: dict(facts) for split, facts in found.corpus.get("splits", {}).items()}
    answer = {
        "name": found.root.resolve().name,
        "systems": [_system(result) for result in found.results],
        "speakers": _extremes(best_run),
        "against_gmm": against_gmm,
        "against_each_other": against_each_other,
        "splits": splits,
        "unseen_words": found.unseen,
        "set_aside": left_out(found.corpus),
        "training": {run.name: _training(run) for run in found.runs if run.recognises},
        "stages": {time.stage: round(time.seconds, 1) for time in found.times},
        "seconds": round(sum(time.seconds for time in found.times), 1),
        "cpu_seconds": round(sum(time.cpu_seconds for time in found.times), 1),
    }
    answer["warnings"] = advice.warnings(answer)
    return answer | {"next": advice.next_steps(answer, str(found.root))}


def _best(results: Sequence[Result]) -> Result | None:
    """Return the best on dev, as test must choose nothing; the first where nothing was tuned."""
    known = [result for result in results if result.numbers["dev_wer"] is not None]
    return min(known, key=lambda result: result.numbers["dev_wer"], default=results[0] if results else None)


def _run_of(result: Result) -> str:
    return result.folder.split("/")[1]


def _difference(a: Result, b: Result, counts: AllCounts, speakers: Mapping[str, str], seed: int) -> dict[str, Any]:
    found = difference(counts[a.folder], counts[b.folder], speakers, seed=seed)
    return {key: found[key] for key in ("difference", "ci95", "p", "verdict")}


def _system(result: Result) -> dict[str, Any]:
    n = result.numbers
    return {
        "folder": result.folder, "name": result.name, "wer": n["wer"], "ci95": n["ci95"], "words": n["words"],
        "errors": n["ins"] + n["del"] + n["sub"], "inserted": n["ins"], "dev_wer": n["dev_wer"],
        "chosen": result.chosen, "edge": edge_of_grid(result.tuned),
    }  # fmt: skip


def _extremes(result: Result | None) -> list[dict[str, Any]]:
    """Return the speakers with the lowest and the highest rate; none where fewer than two have enough words."""
    rows = result.speakers if result else []
    told = [
        {"speaker": row["speaker_id"], "words": int(row["words"]), "wer": float(row["wer"])}
        for row in rows
        if int(row["words"]) >= FEWEST_WORDS
    ]
    told.sort(key=lambda row: row["wer"])
    return [told[0], told[-1]] if len(told) > 1 else []


def _training(run: Run) -> dict[str, Any]:
    last = run.combined[-1] if run.combined else {}
    dev = last.get("objective_dev")
    known = [row for row in run.combined if row.get("objective_dev") is not None]
    best = max(known, key=lambda row: row["objective_dev"], default=None)
    settings = run.settings
    # A run that is told its iterations has no use for epochs.
    corpus = run.ledger.get("corpus_frames") if settings is None or settings.schedule.epochs else None
    return {
        "iterations": len(run.combined),
        "frames": last.get("frames_seen", 0),
        "workers": _workers(settings.parallel.workers) if settings else None,
        "combine": settings.parallel.combine.kind if settings else None,
        "objective_dev": last.get("objective_dev_full") if dev is None else dev,
        "objective_dev_best": best and best["objective_dev"],
        "objective_train": last.get("objective_train"),
        "epochs": last["frames_seen"] / corpus if corpus and last else None,
        "epochs_best": best["frames_seen"] / corpus if corpus and best else None,
        "dropout": getattr(settings.network, "dropout", None) if settings else None,
        "rejected": sum(bool(row.get("rejected")) for row in run.workers),
        "warnings": list(run.warnings),
    }


def _workers(workers: int | Ramp) -> int | dict[str, Any]:
    return workers if isinstance(workers, int) else complete(workers)
