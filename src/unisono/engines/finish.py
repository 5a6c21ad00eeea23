"""The end of a run: candidate models, the chosen one with its provenance, metrics and ledger, each by one writer."""

import json
import os
import platform
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from unisono import __version__
from unisono.data.frames.ledger import ledger
from unisono.data.frames.store import FramesStore
from unisono.engines import redeal
from unisono.engines.combine import observer_names
from unisono.engines.comm import Alone
from unisono.engines.diagnose import with_diagnostics
from unisono.engines.evaluate import Evaluator
from unisono.engines.prior import log_prior
from unisono.engines.run import Run, make_network
from unisono.engines.state import Combined, State, load_combined, read_state
from unisono.errors import UserError
from unisono.files import write_json, write_text
from unisono.nn.model_file import save_model
from unisono.recipe import RECIPE
from unisono.schedule import Plan

LIBRARIES = ("torch", "numpy", "h5py", "safetensors")


class Outputs(NamedTuple):
    """Where the results of a run go."""

    models_dir: Path
    model: Path
    info: Path
    metrics: Path
    ledger: Path


def finish(
    run: Run,
    config: dict[str, Any],
    plan: Plan,
    train: FramesStore,
    dev: FramesStore,
    *,
    combined_path: str | os.PathLike[str],
    iterations_dir: Path,
    out: Outputs,
) -> None:
    """Write all that is left of a run. Raises UserError where an iteration is missing."""
    states = [read_state(iterations_dir / f"{number}.state.json") for number in range(len(plan.iterations))]
    if [state.iteration for state in states] != list(range(len(states))):
        raise UserError(f"{iterations_dir}: state files of other iterations than their names say: train again")
    states = [with_diagnostics(state, iterations_dir) for state in states]
    network = make_network(run, train)
    combined = load_combined(combined_path, states[-1], observer_names(run), network.layout)
    candidates = _candidates(run, combined)
    evaluator = Evaluator(run, network, train, dev, Alone())
    objectives, priors = {}, {}
    for name, vector in candidates.items():
        found = evaluator.evaluate(vector, whole_dev=True)
        objectives[name] = {
            "objective_dev": found["objective_dev_full"],
            "frame_accuracy": found["frame_accuracy_full"],
        }
        priors[name] = log_prior(run.prior, network, train)  # the evaluator has bound the network
        save_model(out.models_dir / f"{name}.safetensors", network.spec(), network.layout, vector, priors[name])
    write_json(out.ledger, ledger(plan, [state.workers for state in states]))
    write_text(out.metrics, "".join(json.dumps(row, sort_keys=True) + "\n" for row in metrics_rows(plan, states)))
    write_json(out.info, _provenance(run, config, plan, states, objectives, train, dev, network.layout.parameters()))
    save_model(out.model, network.spec(), network.layout, candidates[run.final_model], priors[run.final_model])


def metrics_rows(plan: Plan, states: Sequence[State]) -> list[dict[str, Any]]:
    """Return the lines of metrics.jsonl: each iteration's workers, then the combined model (worker null)."""
    rows = []
    for iteration, state in zip(plan.iterations, states, strict=True):
        if not state.workers:
            continue
        common = {"iteration": iteration.iteration, "epoch": iteration.epoch}
        seconds = ("seconds_start", "seconds_load", "seconds_compute", "seconds_wait", "seconds_write")
        for record in state.workers:
            row = {key: record[key] for key in ("worker", "frames", "frame_accuracy", "learning_rate", "rejected")}
            row["limited"] = record.get("limited")  # not counted in iterations of an older version
            row |= {"objective_train": record["objective"], "objective_dev": None, "seconds_average": None}
            if record["reason"]:
                row["reason"] = record["reason"]
            rows.append(common | row | {key: record[key] for key in seconds})
        rows.append(
            common
            | dict.fromkeys(seconds)
            | (state.diagnostics or {})
            | {
                "worker": None,
                "frames": sum(record["frames"] for record in state.workers),
                "limited": _limited(state.workers),
                "learning_rate": state.workers[0]["learning_rate"],
                "rejected": all(record["rejected"] for record in state.workers),
                "seconds_average": state.seconds.get("average"),
                "seconds_evaluate": state.seconds.get("evaluate"),
            }
        )
    return rows


def _limited(records: Sequence[dict[str, Any]]) -> float | None:
    """Return which part of all workers' minibatches was limited; None where that is not known."""
    counts = [(record["minibatches"], record.get("limited")) for record in records if record["minibatches"]]
    known = [(steps, limited) for steps, limited in counts if limited is not None]
    if len(known) < len(counts) or not known:
        return None
    return sum(steps * limited for steps, limited in known) / sum(steps for steps, _ in known)


def _candidates(run: Run, combined: Combined) -> dict[str, Tensor]:
    found = {"last": combined.model, **combined.observers}
    if run.keeps_best:
        if combined.best is None:
            raise UserError("final_model: best: no epoch ended with a finite objective on dev: lower the rate")
        found["best"] = combined.best
    return found


def _provenance(
    run: Run,
    config: dict[str, Any],
    plan: Plan,
    states: Sequence[State],
    objectives: dict[str, Any],
    train: FramesStore,
    dev: FramesStore,
    parameters: int,
) -> dict[str, Any]:
    done = [state for state in states if state.workers]
    return {
        "version": __version__,
        "recipe": RECIPE,
        "config": config,
        "libraries": {name: metadata.version(name) for name in LIBRARIES} | {"python": platform.python_version()},
        "cpu": cpu_model(),
        "devices": sorted({record.get("device", "cpu") for state in done for record in state.workers}),
        "frames_digest": {"train": train.digest, "dev": dev.digest},
        "iterations": len(done),
        "redealt": redeal.changes(plan, run.parallel.workers),
        "stopped_early": len(done) < len(plan.iterations),
        "parameters": parameters,
        "final_model": run.final_model,
        "candidates": objectives,
        "best": states[-1].best,
        "rejected": [
            {"iteration": state.iteration, "worker": record["worker"], "reason": record["reason"]}
            for state in done
            for record in state.workers
            if record["rejected"]
        ],
    }


def cpu_model() -> str:
    """Return the processor's name as the system gives it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        name = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "")
    except OSError:
        name = ""
    return name or platform.processor() or platform.machine()
