"""The frame ledger: what became of every frame that the plan dealt out (docs/file-formats.md)."""

from collections.abc import Iterable
from itertools import chain
from typing import Any, Protocol

from unisono.errors import UserError
from unisono.schedule import Plan

KEYS = ("seen", "discarded", "dropped", "repeated")


class Done(Protocol):
    """What became of one slice: `engines.records.Outcome`."""

    iteration: int
    slice: int
    worker: int
    units: int
    frames: int
    discarded: int


def ledger(plan: Plan, iterations: Iterable[Iterable[Done]]) -> dict[str, Any]:
    """Count frames by worker over the iterations that ran.

    iterations: what became of the slices of each iteration in order, none for those after an early stop. For each
    worker: seen (trained on, and in the model or its history), discarded (trained on by a worker that was left out),
    dropped (never read), repeated (read again). seen + discarded + dropped over all workers is what the plan dealt in
    the iterations that ran: corpus frames x epochs in a whole run.
    With a server an iteration's outcomes may be of slices of its neighbours; they are counted where they belong.
    Raises UserError unless each slice was read once and as a whole, and each whole epoch has all frames of the corpus.
    """
    ran = [found for outcomes in iterations if (found := list(outcomes))]
    dealt: dict[int, list[Done]] = {number: [] for number in range(len(ran))}
    for outcome in chain.from_iterable(ran):
        dealt.setdefault(outcome.iteration, []).append(outcome)
    counts: dict[int, dict[str, int]] = {}
    epochs: dict[int, int] = {}  # frames of each
    for number, outcomes in dealt.items():
        done, epoch = sorted(outcomes, key=lambda outcome: outcome.slice), plan.iterations[number].epoch
        slices = plan.iterations[number].slices
        if [outcome.slice for outcome in done] != list(range(len(slices))):
            raise UserError(
                f"ledger: iteration {number}: slices {[outcome.slice for outcome in done]} were read, the plan has"
                f" {len(slices)}: delete the run's folder and start anew"
            )
        for outcome, (begin, end) in zip(done, slices, strict=True):
            own = counts.setdefault(outcome.worker, dict.fromkeys(KEYS, 0))
            if outcome.units != end - begin:
                raise UserError(
                    f"ledger: iteration {number}: worker {outcome.worker} read {outcome.units} units, the plan"
                    f" dealt {end - begin}: delete the run's folder and start anew"
                )
            own["discarded"] += outcome.discarded
            own["seen"] += outcome.frames - outcome.discarded
            epochs[epoch] = epochs.get(epoch, 0) + outcome.frames
        if plan.iterations[number].end_of_epoch:
            for worker, frames in enumerate(plan.dropped, start=len(slices)):
                counts.setdefault(worker, dict.fromkeys(KEYS, 0))["dropped"] += frames
        if plan.iterations[number].end_of_epoch and epochs[epoch] != plan.frames:
            raise UserError(
                f"ledger: epoch {epoch} has {epochs[epoch]} frames, the corpus {plan.frames}: delete the run's folder"
                " and start anew"
            )
    return {
        "workers": {str(worker): counts[worker] for worker in sorted(counts)},
        "corpus_frames": plan.frames + sum(plan.dropped),
        "epochs": sum(epochs.values()) / plan.frames,
        "iterations": len(ran),
    }
