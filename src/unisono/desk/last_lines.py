"""What stands on the terminal at the end of a run: the answer in lines that need no page to be understood."""

from collections.abc import Mapping
from typing import Any

from unisono.desk.advice import best_system, far_apart
from unisono.desk.words import duration, speech
from unisono.score import comparison

OBJECTIVE = "mean log-probability of the right state per frame, 0 is perfect"


def last_lines(answer: Mapping[str, Any], root: str) -> list[str]:
    """Return the lines. root: results/<name>."""
    width = max((len(system["name"]) for system in answer["systems"]), default=0)
    lines = [f"word error rate on test, {_size(answer['splits'].get('test', {}))}:"]
    for system in answer["systems"]:
        low, high = (100 * limit for limit in system["ci95"])
        mark = " *" if system["chosen"] else ""
        lines.append(f"  {system['name']:<{width}}  {100 * system['wer']:6.2f} %  [{low:.2f}, {high:.2f}]{mark}")
    lines += _legend(answer)
    lines += [sentence(row) for row in [*answer["against_gmm"], *answer["against_each_other"]]]
    lines += by_speaker(answer)
    for name, run in answer["training"].items():
        if run["objective_dev"] is not None:
            lines.append(f"run {name}: dev objective {run['objective_dev']:.2f} ({OBJECTIVE})")
    lines += [f"warning: {warning}" for warning in answer["warnings"]]
    lines.append(f"computing time of all jobs: {duration(answer['seconds'])}")
    lines.append(f"report: {root}/report/index.html")
    return lines + [f"next: {step}" for step in answer["next"]]


def sentence(row: Mapping[str, Any]) -> str:
    """Say in words whether a run differs from the GMM, or from another run."""
    return comparison.sentence(row, f"run {row['run']}", row["gmm"] if "gmm" in row else f"run {row['other']}")


def by_speaker(answer: Mapping[str, Any]) -> list[str]:
    """Say from where to where the speakers' rates go; nothing where a warning does, or too few are known."""
    if len(answer["speakers"]) < 2 or far_apart(answer):
        return []
    low, high = (f"{100 * row['wer']:.2f} % ({row['speaker']})" for row in answer["speakers"])
    return [f"by speaker: {low} to {high}"]


def _legend(answer: Mapping[str, Any]) -> list[str]:
    best, parts = best_system(answer["systems"]), ["[ ] 95 % interval"]
    if best:
        parts.append("* a run's result")
        if best["name"].count(", ") == 1:
            run, model = best["name"].split(", ")
            parts.append(f"{best['name']}: run {run}, its model {model}")
    if any(system["folder"].startswith("gmm/") for system in answer["systems"]):
        parts.append("GMM: without a network, whose alignment the networks learn from")
    lines = [f"  ({'; '.join(parts)})"]
    if any(system["dev_wer"] is not None for system in answer["systems"]):
        lines.append(f"acoustic scale and word penalty were chosen on dev, {_size(answer['splits'].get('dev', {}))}")
    return lines


def _size(facts: Mapping[str, Any]) -> str:
    if not facts:
        return "no utterances"
    speakers = f"{facts['speakers']} speaker{'' if facts['speakers'] == 1 else 's'}"
    return f"{facts['words']:,} words of {speakers}, {speech(facts['seconds'])}"
