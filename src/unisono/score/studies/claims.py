"""A paper's claims against what its study measured: claims.json, and claims.md with a row for each.

What is measured is a sum over systems with the claim's weights, formed seed by seed, as runs of one seed start from the
same weights and read the same order. Its interval is Student's t over the seeds. The verdict:

| verdict | the interval lies |
|---|---|
| shown | wholly on the side of `value` that is expected; for equality within `margin` of it |
| contradicted | wholly on the other side; for equality wholly outside |
| not shown | otherwise, and where a run has no finite value or there is one seed |
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from unisono.config.claims import SOURCES, TIMED, Claim, Claims, split_system
from unisono.score.studies.cells import Numbers
from unisono.score.studies.findings import over_seeds

# Metric -> unit in the table, factor, decimals.
UNITS = {
    "objective_dev": ("nats", 1.0, 3),
    "frame_accuracy": ("% of frames", 100.0, 2),
    "wer": ("% WER", 100.0, 2),
    "cer": ("% CER", 100.0, 2),
    "averaging_share": ("% of time", 100.0, 1),
    "modelled_speedup": ("times", 1.0, 2),
    "frames_per_s": ("frames/s", 1.0, 0),
}


def evaluate(claims: Claims, results: Numbers, timing: Mapping[str, Mapping[str, Sequence[float | None]]]) -> Numbers:
    """Return claims.json: every claim with what was measured and its verdict.

    results: results.json of the study; timing: of each cell the values of the timed metrics, one for each seed.
    """
    rows = [_row(name, claim, results, timing) for name, claim in claims.claims.items()]
    return {
        **{"paper": claims.paper, "study": results["study"], "seeds": results["seeds"], "cpu": results["cpu"]},
        "claims": rows,
    }


def verdict(claim: Claim, found: Numbers) -> str:
    """Return what the interval of a measured sum says about a claim; see the module."""
    if found["mean"] is None or not found["ci95"]:
        return "not shown"
    low, high = (limit - claim.value for limit in found["ci95"])
    if claim.expected == "equal":
        inside, outside = -claim.margin < low and high < claim.margin, low > claim.margin or high < -claim.margin
        return "shown" if inside else "contradicted" if outside else "not shown"
    below, above = high < 0, low > 0
    if claim.expected == "below":
        below, above = above, below
    return "shown" if above else "contradicted" if below else "not shown"


def _row(name: str, claim: Claim, results: Numbers, timing: Mapping[str, Any]) -> Numbers:
    row: Numbers = {
        "name": name, "claim": claim.claim, "stands": claim.stands, "certainty": claim.certainty,
        "published": claim.published, "published_value": claim.published_value, "metric": claim.metric,
    }  # fmt: skip
    if claim.cannot is not None:
        return row | {"verdict": "cannot be tested here", "why": claim.cannot}
    if claim.shown is not None:
        values = {system: over_seeds(_values(system, claim.metric, results, timing)) for system in claim.shown}
        return row | {"verdict": None, "shown": values}
    weights = claim.measured or {}
    found = _sum(weights, claim.metric, results, timing)
    row |= {"systems": weights, "expected": claim.expected, "value": claim.value, "margin": claim.margin}
    published = claim.published_value
    distance = None if published is None or found["mean"] is None else found["mean"] - published
    row |= {"measured": found, "difference": distance}
    if claim.metric not in ("wer", "cer") and all(_is_decoded(system, results) for system in weights):
        row["wer"] = _sum(weights, "wer", results, timing)
    if "wer" in (claim.metric, *row):
        row["matched_pairs_p"] = _matched_pairs(weights, results)
    return row | {"verdict": verdict(claim, found)}


def _sum(weights: Mapping[str, float], metric: str, results: Numbers, timing: Mapping[str, Any]) -> Numbers:
    """Return the weighted sum over systems of each seed, with mean and interval; None where a term is."""
    terms = [_values(system, metric, results, timing) for system in weights]
    sums: list[float | None] = []
    for values in zip(*terms, strict=True):
        known = [weight * value for weight, value in zip(weights.values(), values, strict=True) if value is not None]
        sums.append(math.fsum(known) if len(known) == len(terms) else None)
    return over_seeds(sums)


def _values(system: str, metric: str, results: Numbers, timing: Mapping[str, Any]) -> Sequence[float | None]:
    cell, candidate, epochs = split_system(system)
    if metric in TIMED:
        return timing[cell][metric]
    if epochs is not None:
        return results["cells"][cell]["epochs"][metric][epochs - 1]["values"]
    return results["cells"][cell]["candidates"][candidate][metric]["values"]


def _matched_pairs(weights: Mapping[str, float], results: Numbers) -> float | None:
    """Return p of the matched-pairs test over the utterances of all seeds; None where not two systems are compared."""
    if sorted(weights.values()) != [-1.0, 1.0]:
        return None
    systems = {split_system(system)[:2] for system in weights}
    for pair in results["pairs"]:
        if {(pair["cell_a"], pair["candidate_a"]), (pair["cell_b"], pair["candidate_b"])} == systems:
            return pair["wer_difference"]["p"]
    return None


def _is_decoded(system: str, results: Numbers) -> bool:
    cell, candidate, epochs = split_system(system)
    return epochs is None and "wer" in results["cells"][cell]["candidates"][candidate]


def table(found: Numbers, command: str, cost: Sequence[Mapping[str, Any]]) -> str:
    """Return claims.md. cost: the rows of cost.csv."""
    hours = {step: sum(row[f"{step}_cpu_s"] or 0 for row in cost) / 3600 for step in ("train", "tune", "decode")}
    spent = ", ".join(f"{step} {value:.2f}" for step, value in hours.items())
    seeds = ", ".join(map(str, found["seeds"]))
    lines = [
        f"# {found['paper']}: claims", "",
        f"Command: `{command}`. Seeds {seeds}; CPU {', '.join(found['cpu'])}; hours of CPU: {spent}.", "",
        "Measured: mean and 95 % interval over seeds, paired by seed. Source of a claim:"
        f" {', '.join(f'{word} ({letter})' for letter, word in SOURCES.items())}.", "",
        "| claim | published | measured | difference | verdict |", "|---|---|---|---|---|",
        *(_line(row) for row in found["claims"]),
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def _line(row: Numbers) -> str:
    said = f"{row['claim']} ({row['stands']}; {row['certainty']})"
    if "why" in row:
        measured, word = "–", f"{row['verdict']}: {row['why']}"
    elif "shown" in row:
        measured = "; ".join(f"{system} {_interval(row['metric'], n)}" for system, n in row["shown"].items())
        word = "no verdict"
    else:
        systems = " ".join(f"{'+' if w > 0 else '−'} {'' if abs(w) == 1 else f'{abs(w):g} '}{s}"
                           for s, w in row["systems"].items())  # fmt: skip
        measured = f"{systems.removeprefix('+ ')} = {_interval(row['metric'], row['measured'], sign=True)}"
        if "wer" in row:
            measured += f"; WER {_interval('wer', row['wer'], sign=True)}"
        if row.get("matched_pairs_p") is not None:
            measured += f"; matched pairs over all seeds: p = {row['matched_pairs_p']:.2g}"
        word = row["verdict"] + _expected(row)
        word += "" if row["measured"]["ci95"] else ": a run without a finite value, or one seed"
    difference = "–"
    if row.get("difference") is not None:
        difference = _number(row["metric"], row["difference"], sign=True)
    cells = (said, row["published"] or "not known", measured, difference, word)
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"


def _expected(row: Numbers) -> str:
    """Say what a sum is held against, where that is not 0."""
    equal, metric = row["expected"] == "equal", row["metric"]
    limits = [("within", row["margin"])] * equal + [("to" if equal else "", row["value"])] * bool(row["value"])
    words = [f"{word} {_number(metric, limit, sign=False)} {UNITS[metric][0]}".strip() for word, limit in limits]
    return f" ({' '.join([row['expected'], *words])})" if words else ""


def _interval(metric: str, numbers: Numbers, *, sign: bool = False) -> str:
    if numbers["mean"] is None:
        return "no value"
    limits = f" [{', '.join(_number(metric, x, sign=sign) for x in numbers['ci95'])}]" if numbers["ci95"] else ""
    return f"{_number(metric, numbers['mean'], sign=sign)}{limits} {UNITS[metric][0]}"


def _number(metric: str, value: float, *, sign: bool) -> str:
    _, factor, decimals = UNITS[metric]
    return f"{factor * value:{'+' if sign else ''}.{decimals}f}".replace("-", "−")
