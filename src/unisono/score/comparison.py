"""Two systems on the same utterances: which errs less, and could that be chance."""

from collections.abc import Mapping
from typing import Any

from unisono.errors import UserError
from unisono.score import statistics
from unisono.score.characters import evaluate_characters
from unisono.score.wer import Words, add_up, evaluate


def check_utterances(references: Mapping[str, Words], hypotheses: Mapping[str, Words], name: str, table: str) -> None:
    """Refuse hypotheses `name` that are not of exactly the utterances of `table`.

    A decoder that gives up counts as deletions where one system is scored; here it is far more likely that the table
    is another one than that was decoded, and two systems on other utterances cannot be compared at all.
    """
    for ids, others, what in (
        (references, hypotheses, f"of {len(references)} utterances of {table} have no hypothesis"),
        (hypotheses, references, f"of {len(hypotheses)} hypotheses are of utterances that {table} lacks"),
    ):
        if lacking := sorted(utterance for utterance in ids if utterance not in others):
            raise UserError(
                f"{name}: {len(lacking)} {what}, the first {lacking[0]}: give the table of the split that was decoded,"
                " such as --table results/<name>/data/test.tsv (an id alone on its line is an empty hypothesis)"
            )


def compare(
    references: Mapping[str, Words],
    speakers: Mapping[str, str],
    hypotheses_a: Mapping[str, Words],
    hypotheses_b: Mapping[str, Words],
    *,
    seed: int,
) -> dict[str, Any]:
    """Score both systems and test the difference.

    Returns JSON-able numbers: wer_a, wer_b, difference (A minus B, fractions), difference_ci95, ci_method, segments,
    errors_a, errors_b, z (null where infinite), p (two-sided, matched pairs); cer_a, cer_b, cer_difference and its
    interval cer_difference_ci95, of characters.  Raises UserError as `evaluate` does.
    """
    a, b = evaluate(references, hypotheses_a), evaluate(references, hypotheses_b)
    test = statistics.matched_pairs(list(a.counts.values()), list(b.counts.values()))
    interval = statistics.bootstrap_difference(a.counts, b.counts, speakers, seed=seed)
    return {
        "wer_a": a.total.wer,
        "wer_b": b.total.wer,
        "difference": a.total.wer - b.total.wer,
        "difference_ci95": [interval.low, interval.high],
        "ci_method": interval.method,
        "segments": test.segments,
        "errors_a": test.errors_a,
        "errors_b": test.errors_b,
        "z": test.z if abs(test.z) != float("inf") else None,
        "p": test.p,
        **_characters(references, speakers, hypotheses_a, hypotheses_b, seed=seed),
    }


def _characters(
    references: Mapping[str, Words],
    speakers: Mapping[str, str],
    hypotheses_a: Mapping[str, Words],
    hypotheses_b: Mapping[str, Words],
    *,
    seed: int,
) -> dict[str, Any]:
    """Return the character error rates, their difference and its interval."""
    a, b = (evaluate_characters(references, hypotheses) for hypotheses in (hypotheses_a, hypotheses_b))
    cer_a, cer_b = (add_up(counts.values()).wer for counts in (a, b))
    interval = statistics.bootstrap_difference(a, b, speakers, seed=seed)
    return {
        "cer_a": cer_a,
        "cer_b": cer_b,
        "cer_difference": cer_a - cer_b,
        "cer_difference_ci95": [interval.low, interval.high],
    }


def format_comparison(found: Mapping[str, Any], name_a: str, name_b: str) -> str:
    """Put a comparison into words, percent with two decimals."""
    low, high = (100 * limit for limit in found["difference_ci95"])
    cer_low, cer_high = (100 * limit for limit in found["cer_difference_ci95"])
    z = "infinite" if found["z"] is None else f"{found['z']:.2f}"
    p = "p < 0.0001" if found["p"] < 1e-4 else f"p = {found['p']:.4f}"
    verdict = "differ" if found["p"] < 0.05 else "do not differ significantly"
    return (
        f"A  {100 * found['wer_a']:6.2f} %  {found['errors_a']:6d} errors  {name_a}\n"
        f"B  {100 * found['wer_b']:6.2f} %  {found['errors_b']:6d} errors  {name_b}\n"
        f"A - B  {100 * found['difference']:+.2f} %, 95 % interval [{low:+.2f}, {high:+.2f}] ({found['ci_method']})\n"
        f"Characters: A {100 * found['cer_a']:.2f} %, B {100 * found['cer_b']:.2f} %, A - B"
        f" {100 * found['cer_difference']:+.2f} %, 95 % interval [{cer_low:+.2f}, {cer_high:+.2f}]\n"
        f"Matched pairs over {found['segments']} utterances: z = {z}, {p}, two-sided: "
        f"the systems {verdict} at 5 %.\n"
    )
