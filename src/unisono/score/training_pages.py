"""The HTML pages of the report about one training run: its models and iterations, its account of frames."""

from typing import Any

from unisono.score.gather import Rows, Run
from unisono.score.pages import Number, decimal, heading, list_of, page, paragraph, table
from unisono.score.report import PHASES


def iterations_page(run: Run) -> str:
    """Give each iteration of the combined model, rejected workers, and each worker's part."""
    combined = [
        [row["iteration"], row.get("epoch"), row["frames_seen"], _rate(row["learning_rate"])]
        + [decimal(row.get(field), 4) for field in ("objective_train", "objective_dev", "objective_dev_full")]
        + [_percent(row["frame_accuracy"])]
        for row in run.combined
    ]
    workers = [
        [row["iteration"], row["worker"], row["frames"], decimal(row["objective_train"], 4)]
        + [_percent(row["frame_accuracy"]), _percent(row.get("limited"))]
        + [decimal(row.get(f"seconds_{phase}")) for phase in PHASES]
        for row in run.workers
    ]
    rejected = [
        {"iteration": row["iteration"], "worker": row["worker"], "reason": row.get("reason", "")}
        for row in run.workers
        if row.get("rejected")
    ]
    return page(
        f"Training run {run.name}",
        paragraph(f"Objective: {run.objective}, higher is better. Frames: seen by all workers."),
        table(("iteration", "epoch", "frames", "rate", "train", "dev", "whole dev", "accuracy %"), combined),
        *([heading("Models that the run ends with"), *_candidates(run.final)] if run.final.get("candidates") else []),
        *([heading("Free energy"), _free_energies(run)] if gaps(run) else []),
        *([heading("Settings that contradict the custom"), *map(paragraph, run.warnings)] if run.warnings else []),
        heading("Rejected workers"),
        list_of(rejected, ("iteration", "worker", "reason")),
        heading("Workers"),
        paragraph(
            "Objective and accuracy on the worker's own slice as it trained; limited: the part of its minibatches "
            "whose step optimiser.max_change has shortened; the times are in seconds."
        ),
        table(("iteration", "worker", "frames", "objective", "accuracy %", "limited %", *PHASES), workers),
    )


def ledger_page(run: Run) -> str:
    """Give the account of the training frames: what each worker saw, and whether the sum is the corpus."""
    fields = ("seen", "discarded", "dropped", "repeated")
    ledger = run.ledger
    if not ledger:
        return page(f"Frame ledger of run {run.name}", paragraph("This run has no ledger.json."))
    workers = sorted(ledger["workers"].items(), key=lambda item: int(item[0]))
    rows = [[name, *(facts[field] for field in fields)] for name, facts in workers]
    sums = {field: sum(facts[field] for _, facts in workers) for field in fields}
    total = ledger.get("total", sums["seen"] + sums["discarded"] + sums["dropped"] - sums["repeated"])
    expected = round(ledger["corpus_frames"] * ledger["epochs"])
    verdict = "they agree" if total == expected else f"a difference of {total - expected:+,}"
    return page(
        f"Frame ledger of run {run.name}",
        table(("worker", *fields), [*rows, ["all", *sums.values()]], [len(rows)]),
        paragraph(
            f"Frames accounted for: {total:,}; corpus times epochs: {ledger['corpus_frames']:,} × {ledger['epochs']:g} "
            f"= {expected:,}: {verdict}. Discarded: read by a worker whose model was not taken."
        ),
    )


def _candidates(final: dict[str, Any]) -> list[str]:
    """Return the table of the models side by side, and what the combined one has cost."""
    named = list(final["candidates"].items())
    rows = [[name, decimal(found["objective_dev"], 4), _percent(found["frame_accuracy"])] for name, found in named]
    chosen = [i for i, (name, _) in enumerate(named) if name == final["final_model"]]
    told = final.get("combined")
    parts = [
        table(("model", "whole dev", "accuracy %"), rows, chosen),
        paragraph("In bold: the result of the run, by final_model. Word error rates stand in the table of systems."),
    ]
    if told:
        parts.append(
            paragraph(
                f"combined: objective {told['objective']:.4f} on {told['frames']:,} training frames, where the mean of"
                f" the models has {told['objective_of_mean']:.4f}; {told['evaluations']} evaluations."
            )
        )
    return parts


def gaps(run: Run) -> Rows:
    """Return the rows that know by how much the free energy of dev frames is above that of train frames."""
    return [row for row in run.combined if row.get("free_energy_gap") is not None]


def _free_energies(run: Run) -> str:
    rows = [[row["iteration"], decimal(row["free_energy_gap"], 3)] for row in gaps(run)]
    return table(("iteration", "dev minus train"), rows) + paragraph(
        "A gap that grows says that the RBM learns its training set by heart."
    )


def _percent(fraction: float | None) -> Number | None:
    return None if fraction is None else decimal(100 * fraction)


def _rate(rate: float | None) -> Number | None:
    return None if rate is None else Number(f"{rate:.3g}")
