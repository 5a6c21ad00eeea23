"""What the figures should be, and the table that says whether they are."""

from collections.abc import Mapping
from typing import NamedTuple

from benchmarks.timing import Results


class Target(NamedTuple):
    """At least `limit` where `least`, else at most."""

    least: bool
    limit: float

    def met(self, value: float) -> bool:
        """Say whether a value is on the right side."""
        return value >= self.limit if self.least else value <= self.limit

    def judge(self, value: float) -> str:
        """Return the target in words, and whether it is met."""
        return f"{'at least' if self.least else 'at most'} {self.limit:g}: {'met' if self.met(value) else 'MISSED'}"


TARGETS = {
    "sgd_gemm_fraction": Target(True, 0.95),
    "sgd_over_eager": Target(False, 1.0),
    "sgd_over_compiled": Target(False, 1.0),
    "sgd_full_gemm_fraction": Target(True, 0.93),
    "ng_over_sgd": Target(False, 1.12),
    "ng_gemm_fraction": Target(True, 0.86),
    "rbm_gemm_fraction_512": Target(True, 0.88),
    "rbm_gemm_fraction_100": Target(True, 0.78),
    "lstm_over_torch": Target(True, 0.9),
    "lstm_ng_over_torch": Target(True, 0.8),
    "lstm_products_fraction": Target(True, 0.92),
    "average_share": Target(False, 0.05),
    "observer_share": Target(False, 0.03),
    "data_over_training": Target(True, 500.0),
    "vector_copies": Target(False, 4.0),
    "iteration_overhead_s": Target(False, 1.0),
    "kaldi_float": Target(True, 0.4),
    "kaldi_cm": Target(True, 0.9),
    "kaldi_text": Target(True, 1.0),
    "kaldi_integers": Target(True, 5.0),
}


def table(results: Results, targets: Mapping[str, Target]) -> str:
    """Return lines of key, median, range, target; keys with a target first, then all other numbers."""
    others = [k for k in results if k not in targets and not k.endswith(("_min", "_max", "_note"))]
    lines = [f"{'key':<28}{'median':>12}{'min':>12}{'max':>12}  target"]
    for key in [*(k for k in targets if k in results), *others]:
        value = results[key]
        if isinstance(value, str):
            lines.append(f"{key:<28}  {value}")
            continue
        ends = [results.get(f"{key}_{end}") for end in ("min", "max")]
        shown = "".join(f"{number:>12.4g}" if isinstance(number, int | float) else " " * 12 for number in ends)
        goal = targets[key].judge(value) if key in targets else ""
        lines.append(f"{key:<28}{value:>12.5g}{shown}  {goal}".rstrip())
    return "\n".join(lines)
