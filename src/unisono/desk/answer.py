"""The answer of a finished run in numbers and one sentence each: how good, how sure, what next.

`report/answer.json`:

| key | meaning |
|---|---|
| name | of the config |
| systems | each scored system: folder, name, wer, ci95 (fractions), errors, words, dev_wer, chosen (a run's result) |
| against_gmm | each run's result against the best GMM on dev: run, gmm, difference, ci95 (fractions), p |
| against_each_other | each run's result against that of the run that is best on dev: the same keys, other for gmm |
| splits | utterances, speakers, words, seconds of each |
| set_aside | utterances that could not be used, by split |
| training | each run: iterations, frames, workers, combine, objective_dev, _dev_best, _train, rejected, warnings |
| stages | seconds of each, summed over its jobs; seconds, cpu_seconds: of all |
| warnings, next | a sentence each |
"""

from collections.abc import Mapping, Sequence
from typing import Any

from unisono.config.build import complete
from unisono.config.parallel import Ramp
from unisono.desk.words import duration
from unisono.sample_size import too_small
from unisono.score.gather import Gathered, Result, Run
from unisono.score.statistics import bootstrap_difference, matched_pairs
from unisono.score.summary import left_out
from unisono.score.wer import Counts

SIGNIFICANT = 0.05
USELESS = 0.5  # a GMM with more errors a word shows that speech or text is too little
OVERFIT = 0.02  # nats a frame by which dev may fall from its best before we speak of it

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
        "against_gmm": against_gmm,
        "against_each_other": against_each_other,
        "splits": splits,
        "set_aside": left_out(found.corpus),
        "training": {run.name: _training(run) for run in found.runs if run.recognises},
        "stages": {time.stage: round(time.seconds, 1) for time in found.times},
        "seconds": round(sum(time.seconds for time in found.times), 1),
        "cpu_seconds": round(sum(time.cpu_seconds for time in found.times), 1),
    }
    answer["warnings"] = _warnings(answer)
    return answer | {"next": _next(answer, str(found.root))}


def last_lines(answer: Mapping[str, Any], root: str) -> list[str]:
    """Return what stands on the terminal at the end of a run."""
    width = max((len(system["name"]) for system in answer["systems"]), default=0)
    lines = [f"word error rate on {_size(answer['splits'].get('test', {}))}:"]
    for system in answer["systems"]:
        low, high = (100 * limit for limit in system["ci95"])
        mark = " *" if system["chosen"] else ""
        lines.append(f"  {system['name']:<{width}}  {100 * system['wer']:6.2f} %  [{low:.2f}, {high:.2f}]{mark}")
    lines += [sentence(row) for row in [*answer["against_gmm"], *answer["against_each_other"]]]
    lines.append(f"tuned on dev: {_size(answer['splits'].get('dev', {}))}")
    lines += [f"warning: {warning}" for warning in answer["warnings"]]
    lines.append(f"computing time of all jobs: {duration(answer['seconds'])}")
    lines.append(f"report: {root}/report/index.html")
    return lines + [f"next: {step}" for step in answer["next"]]


def sentence(row: Mapping[str, Any]) -> str:
    """Say in words whether a run differs from the GMM, or from another run."""
    other = row["gmm"] if "gmm" in row else f"run {row['other']}"
    low, high = (100 * limit for limit in row["ci95"])
    p = "p < 0.0001" if row["p"] < 1e-4 else f"p = {row['p']:.4f}"
    points = f"{abs(100 * row['difference']):.2f} points"
    numbers = f"95 % interval of the difference [{low:+.2f}, {high:+.2f}], {p}"
    # The normal distribution of the test holds for many utterances, the interval for few, too: both must say so.
    if row["p"] >= SIGNIFICANT or low <= 0 <= high:
        return f"run {row['run']} and {other} do not differ by more than chance: {points}, {numbers}"
    verb = "beats" if row["difference"] < 0 else "is worse than"
    return f"run {row['run']} {verb} {other} by {points}: {numbers}"


def best_system(systems: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """Return of the runs' results the best on dev; the first where nothing was tuned, None where there is none."""
    chosen = [system for system in systems if system["chosen"]]
    known = [system for system in chosen if system["dev_wer"] is not None]
    return min(known, key=lambda system: system["dev_wer"], default=chosen[0] if chosen else None)


def _best(results: Sequence[Result]) -> Result | None:
    """Return the best on dev, as test must choose nothing; the first where nothing was tuned."""
    known = [result for result in results if result.numbers["dev_wer"] is not None]
    return min(known, key=lambda result: result.numbers["dev_wer"], default=results[0] if results else None)


def _run_of(result: Result) -> str:
    return result.folder.split("/")[1]


def _difference(a: Result, b: Result, counts: AllCounts, speakers: Mapping[str, str], seed: int) -> dict[str, Any]:
    ours, theirs = counts[a.folder], counts[b.folder]
    test = matched_pairs(list(ours.values()), [theirs[utterance] for utterance in ours])
    interval = bootstrap_difference(ours, theirs, speakers, seed=seed)
    difference = a.numbers["wer"] - b.numbers["wer"]
    return {"difference": difference, "ci95": [interval.low, interval.high], "p": test.p}


def _system(result: Result) -> dict[str, Any]:
    n = result.numbers
    return {
        "folder": result.folder, "name": result.name, "wer": n["wer"], "ci95": n["ci95"], "words": n["words"],
        "errors": n["ins"] + n["del"] + n["sub"], "dev_wer": n["dev_wer"], "chosen": result.chosen,
    }  # fmt: skip


def _training(run: Run) -> dict[str, Any]:
    last = run.combined[-1] if run.combined else {}
    dev = last.get("objective_dev")
    known = [row["objective_dev"] for row in run.combined if row.get("objective_dev") is not None]
    parallel = run.settings.parallel if run.settings else None
    return {
        "iterations": len(run.combined),
        "frames": last.get("frames_seen", 0),
        "workers": _workers(parallel.workers) if parallel else None,
        "combine": parallel.combine.kind if parallel else None,
        "objective_dev": last.get("objective_dev_full") if dev is None else dev,
        "objective_dev_best": max(known) if known else None,
        "objective_train": last.get("objective_train"),
        "rejected": sum(bool(row.get("rejected")) for row in run.workers),
        "warnings": list(run.warnings),
    }


def _workers(workers: int | Ramp) -> int | dict[str, Any]:
    return workers if isinstance(workers, int) else complete(workers)


def _warnings(answer: Mapping[str, Any]) -> list[str]:
    test, found = answer["splits"].get("test", {}), []
    if small := too_small(int(test.get("words", 0)), int(test.get("speakers", 0))):
        found.append(small)
    for name, run in answer["training"].items():
        best, dev = run["objective_dev_best"], run["objective_dev"]
        if best is not None and dev is not None and best - dev > OVERFIT:
            found.append(
                f"run {name}: the dev objective fell from {best:.2f} to {dev:.2f}: it learns its training set by heart"
            )
        if run["rejected"]:
            found.append(
                f"run {name}: results of workers were left out {run['rejected']} times: lower the learning rate"
            )
        found += [f"run {name}: {line}" for line in run["warnings"]]
    return found


def _next(answer: Mapping[str, Any], root: str) -> list[str]:
    """Say what a user may do now."""
    steps = []
    best = best_system(answer["systems"])
    gmms = [system["wer"] for system in answer["systems"] if system["folder"].startswith("gmm/")]
    if gmms and min(gmms) > USELESS:
        steps.append("even the GMM errs in most words: more speech, or text for the language model (corpus.lm_text)")
    elif any("by heart" in warning for warning in answer["warnings"]):
        steps.append("try network.dropout: 0.2, speed_perturbation: [0.9, 1.1], or fewer epochs")
    elif any(row["difference"] >= 0 for row in answer["against_gmm"]):
        steps.append("the network is not better than the GMM: more epochs, a higher learning rate, or more speech")
    if best:
        steps.append(f"unisono transcribe --system {root}/runs/{best['folder'].split('/')[1]} recording.wav")
    if len(answer["training"]) == 1:
        steps.append("to compare settings, name them below runs: in the config; the same name again is trained over")
    return steps


def _size(facts: Mapping[str, Any]) -> str:
    if not facts:
        return "no utterances"
    speakers = f"{facts['speakers']} speaker{'' if facts['speakers'] == 1 else 's'}"
    return f"{facts['words']:,} words of {speakers}, {facts['seconds'] / 60:.1f} min"
