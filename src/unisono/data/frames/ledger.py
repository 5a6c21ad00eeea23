"""The frame ledger: what became of every frame that the plan dealt out (design.md 5)."""

from collections.abc import Iterable, Mapping
from typing import Any

from unisono.errors import UserError
from unisono.schedule import Plan

KEYS = ("seen", "discarded", "dropped", "repeated")


def ledger(plan: Plan, iterations: Iterable[Iterable[Mapping[str, Any]]]) -> dict[str, Any]:
    """Count frames by worker over the iterations that ran.

    iterations: the workers' records of each iteration in order, none for those after an early stop. For each worker:
    seen (trained on, and in the model or its history), discarded (trained on by a worker that was left out), dropped
    (never read), repeated (read again). seen + discarded + dropped over all workers is what the plan dealt in the
    iterations that ran: corpus frames x epochs in a whole run.
    Raises UserError where a worker did not read exactly its slices.
    """
    counts: dict[int, dict[str, int]] = {}
    ran = dealt = 0
    for number, records in enumerate(iterations):
        records = list(records)
        if not records:
            continue
        ran += 1
        for record, (begin, end) in zip(records, plan.iterations[number].slices, strict=True):
            own = counts.setdefault(record["worker"], dict.fromkeys(KEYS, 0))
            if record["frames"] != end - begin:
                raise UserError(
                    f"ledger: iteration {number}: worker {record['worker']} read {record['frames']} frames, the plan"
                    f" dealt {end - begin}: delete the run's folder and start anew"
                )
            own["discarded"] += record["discarded"]
            own["seen"] += record["frames"] - record["discarded"]
            dealt += end - begin
    return {
        "workers": {str(worker): counts[worker] for worker in sorted(counts)},
        "corpus_frames": plan.units,
        "epochs": dealt / plan.units,
        "iterations": ran,
    }
