"""The end of a run: candidate models, the chosen one with its provenance, and the ledger."""

import platform
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

from unisono import __version__
from unisono.data.frames.ledger import ledger
from unisono.engines import constants, redeal
from unisono.engines.combined import combine
from unisono.engines.comm import Alone
from unisono.engines.evaluate import Evaluator
from unisono.engines.metrics import read_states
from unisono.engines.prior import log_prior
from unisono.engines.session import Session
from unisono.engines.state import State
from unisono.engines.store import COMBINE, Folder, PathLike, Stored, known
from unisono.errors import UserError
from unisono.files import write_json
from unisono.nn.model_file import save_model
from unisono.recipe import RECIPE

LIBRARIES = ("torch", "numpy", "h5py", "safetensors")


class Outputs(NamedTuple):
    """Where the results of a run go."""

    models_dir: Path
    model: Path
    info: Path
    ledger: Path


def finish(session: Session, *, combined: PathLike, iterations_dir: Path, engine: str, out: Outputs) -> None:
    """Write all that is left of a run but its metrics. Raises UserError where an iteration is missing."""
    run, network = session.run, session.network
    states = read_states(session.plan, Folder(iterations_dir))
    vectors = Stored(combined, COMBINE, session.layout, states[-1].iteration)
    evaluator, objectives, told = Evaluator(session, Alone()), {}, {}
    for name, key in _candidates(session, states[-1]).items():
        if name == "combined":
            vector, told["combined"] = combine(session, Folder(iterations_dir))
        else:
            vector = vectors.take(known(vectors, key))
        found = evaluator.evaluate(vector, iteration=states[-1].iteration, whole_dev=True)
        objectives[name] = {
            "objective_dev": found["objective_dev_full"],
            "frame_accuracy": found["frame_accuracy_full"],
        }
        # The evaluator has bound the network.
        prior = log_prior(run.prior, network, session.train) if network.classifies else None
        paths = [out.models_dir / f"{name}.safetensors", *([out.model] if name == run.final_model else [])]
        for path in paths:
            save_model(path, network.spec(), network.layout, network.folded(vector), prior)
    write_json(out.ledger, ledger(session.plan, [state.workers for state in states]))
    write_json(out.info, _provenance(session, states, objectives) | {"engine": engine} | told)


def _candidates(session: Session, last: State) -> dict[str, str]:
    """Return the candidate models and under which name each lies in the store."""
    if session.run.keeps_best and last.best is None:
        raise UserError("final_model: best: no epoch ended with a finite objective on dev: lower the rate")
    own = {"last": "model", "best": "best"}
    return {name: own.get(name, f"observer.{name}") for name in session.run.candidates}


def _provenance(session: Session, states: Sequence[State], objectives: dict[str, Any]) -> dict[str, Any]:
    plan, done = session.plan, [state for state in states if state.workers]
    rejected = [outcome for state in done for outcome in state.workers if outcome.rejected]
    return {
        "version": __version__,
        "recipe": RECIPE,
        "config": session.config,
        "libraries": {name: metadata.version(name) for name in LIBRARIES} | {"python": platform.python_version()},
        "cpu": cpu_model(),
        "devices": sorted({outcome.device for state in done for outcome in state.workers}),
        "constants": constants.digest_of(session.constants),
        "frames_digest": {"train": session.train.digest, "dev": session.dev_frames().digest},
        "iterations": len(done),
        "redealt": redeal.changes(plan, session.run.parallel.workers),
        "stopped_early": len(done) < len(plan.iterations),
        "parameters": session.layout.parameters(),
        "final_model": session.run.final_model,
        "candidates": objectives,
        "best": states[-1].best,
        "rejected": [{"iteration": o.iteration, "worker": o.worker, "reason": o.reason} for o in rejected],
    }


def cpu_model() -> str:
    """Return the processor's name as the system gives it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        name = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "")
    except OSError:
        name = ""
    return name or platform.processor() or platform.machine()
