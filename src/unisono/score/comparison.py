"""Two systems on the same utterances: which errs less, and could that be chance."""

from collections.abc import Mapping
from typing import Any

from unisono.errors import UserError
from unisono.score import statistics
from unisono.score.characters import evaluate_characters
from unisono.score.wer import Counts, Words, add_up, evaluate

VERDICTS = {"differ": "more than chance", "chance": "no more than chance"}  # at the edge: who says what
RULE = (
    "More than chance: p of the matched-pairs test is under 0.05 and the 95 % interval of the difference leaves out 0. "
    "At the edge: only one of the two."
)


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


def difference(
    counts_a: Mapping[str, Counts], counts_b: Mapping[str, Counts], speakers: Mapping[str, str], *, seed: int
) -> dict[str, Any]:
    """Test whether A and B, counted over the same utterances, differ: JSON-able numbers.

    difference: WER of A minus that of B; ci95: its interval (fractions); ci_method; z (null where infinite), p and
    segments of the matched pairs; verdict.
    """
    test = statistics.matched_pairs(list(counts_a.values()), [counts_b[utterance] for utterance in counts_a])
    interval = statistics.bootstrap_difference(counts_a, counts_b, speakers, seed=seed)
    ci95 = [interval.low, interval.high]
    return {
        "difference": add_up(counts_a.values()).wer - add_up(counts_b.values()).wer,
        "ci95": ci95,
        "ci_method": interval.method,
        "z": test.z if abs(test.z) != float("inf") else None,
        "p": test.p,
        "segments": test.segments,
        "verdict": statistics.verdict(test.p, ci95),
    }


def better_or_worse(found: Mapping[str, Any], a: str, b: str) -> str:
    """Say by how much A is better or worse than B: `a is 2.00 points better than b`."""
    points = 100 * found["difference"]
    if points == 0:
        return f"{a} has the error rate of {b}"
    return f"{a} is {abs(points):.2f} points {'better' if points < 0 else 'worse'} than {b}"


def sentence(found: Mapping[str, Any], a: str, b: str) -> str:
    """Say who is better, how sure that is, and whether it is more than chance; the interval in the sentence's sense."""
    limits = [100 * limit for limit in found["ci95"]]
    low, high = limits if found["difference"] > 0 else [0.0 - limit for limit in reversed(limits)]
    return f"{better_or_worse(found, a, b)}, 95 % interval [{low:.2f}, {high:.2f}], {p_of(found)}: {in_words(found)}"


def in_words(found: Mapping[str, Any]) -> str:
    """Return the verdict as words."""
    if found["verdict"] in VERDICTS:
        return VERDICTS[found["verdict"]]
    pro, con = ("p", "the interval") if found["p"] < statistics.SIGNIFICANT else ("the interval", "p")
    return f"at the edge of chance ({pro} says that they differ, {con} does not)"


def p_of(found: Mapping[str, Any]) -> str:
    """Return p as text."""
    return "p < 0.0001" if found["p"] < 1e-4 else f"p = {found['p']:.4f}"


def compare(
    references: Mapping[str, Words],
    speakers: Mapping[str, str],
    hypotheses_a: Mapping[str, Words],
    hypotheses_b: Mapping[str, Words],
    *,
    seed: int,
) -> dict[str, Any]:
    """Score both systems and test the difference.

    Returns JSON-able numbers: wer_a, wer_b, errors_a, errors_b, those of `difference`, and of characters cer_a, cer_b,
    cer_difference and its interval cer_difference_ci95.  Raises UserError as `evaluate` does.
    """
    a, b = evaluate(references, hypotheses_a), evaluate(references, hypotheses_b)
    return {
        "wer_a": a.total.wer,
        "wer_b": b.total.wer,
        "errors_a": a.total.errors,
        "errors_b": b.total.errors,
        **difference(a.counts, b.counts, speakers, seed=seed),
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
    low, high = (100 * limit for limit in found["ci95"])
    cer_low, cer_high = (100 * limit for limit in found["cer_difference_ci95"])
    z = "infinite" if found["z"] is None else f"{found['z']:.2f}"
    return (
        f"A  {100 * found['wer_a']:6.2f} %  {found['errors_a']:6d} errors  {name_a}\n"
        f"B  {100 * found['wer_b']:6.2f} %  {found['errors_b']:6d} errors  {name_b}\n"
        f"A - B  {100 * found['difference']:+.2f} %, 95 % interval [{low:+.2f}, {high:+.2f}] ({found['ci_method']})\n"
        f"Characters: A {100 * found['cer_a']:.2f} %, B {100 * found['cer_b']:.2f} %, A - B"
        f" {100 * found['cer_difference']:+.2f} %, 95 % interval [{cer_low:+.2f}, {cer_high:+.2f}]\n"
        f"Matched pairs over {found['segments']} utterances: z = {z}, {p_of(found)}, two-sided.\n"
        f"{better_or_worse(found, 'A', 'B')}: {in_words(found)}.\n{RULE}\n"
    )
