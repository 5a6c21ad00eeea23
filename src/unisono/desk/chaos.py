"""Chaos: a training whose processes are killed at seeded moments, and the certificate of what that cost.

Two trainings of one run, in folders of their own below results/NAME/chaos/RUN: `killed`, whose processes are killed,
and `whole`, by the engine `virtual` and left alone, which must end at the same bytes; for engine `async`, whose order
of arrivals is its own, `whole` follows the log of `killed`. The run itself stays as it is. `certificate.json`:

| key | meaning |
|---|---|
| format, engine, workers, seed, cpu | `unisono.chaos/2`; what was trained |
| faults | each kill: victim, the iteration that was saved last, lost_s |
| intervals | checkpoint intervals of the training: one for each iteration |
| kept_s, lost_s, share_kept | seconds of training that count, that had to be done again; 1 - lost_s / kept_s |
| frames_lost | frames of the plan that no worker has trained on |
| equal | whether the final model has the bytes that it must have, by `bytes` or `replay` (compared_by) |
"""

import os
import random
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from unisono.config.build import complete
from unisono.config.check import Settings
from unisono.config.parallel import ResourceOptions
from unisono.config.resolve import RUN_KEYS, merge
from unisono.config.stack import held, with_stacks
from unisono.desk import snakemake
from unisono.desk.ordeal import Fault, Ordeal, Prepared
from unisono.desk.ordeal_blocks import Blocks
from unisono.desk.ordeal_jobs import Jobs
from unisono.desk.settings import changed, read_settings
from unisono.errors import UserError
from unisono.files import read_json, write_json
from unisono.schedule import worker_range

FORMAT = "unisono.chaos/2"


def certify(words: Sequence[str], name: str | None, faults: int, seed: int) -> int:
    """Train under chaos, write and print the certificate; return 0 where nothing was lost, else 1."""
    configs, changes = [word for word in words if "=" not in word], [word for word in words if "=" in word]
    if not configs:
        raise UserError("CONFIG: missing: give the config file of the training that shall be killed")
    settings = read_settings(configs, changes)
    name = _named(settings, name)
    folder = Path("results", settings.shared.name, "chaos", name)
    write_json(folder / "changes.json", _apart(settings, name, changes))
    files = [os.path.abspath(path) for path in (*configs, folder / "changes.json")]
    prepared = _prepare(read_settings(files), f"chaos.{name}", files)
    try:
        certificate: dict[str, Any] = {"seed": seed} | _trained(folder, prepared, files, faults, random.Random(seed))
    finally:
        shutil.rmtree(prepared.folder, ignore_errors=True)
    write_json(folder / "certificate.json", certificate)
    equal = f"{'equal' if certificate['equal'] else 'DIFFERENT'} by {certificate['compared_by']}"
    print(
        f"{len(certificate['faults'])} kills in {certificate['intervals']} checkpoint intervals survived:"
        f" {certificate['share_kept']:.1%} of the training kept, {certificate['frames_lost']} frames lost,"
        f" final model {equal}\n{folder}/certificate.json"
    )
    return 0 if certificate["equal"] and certificate["frames_lost"] == 0 else 1


def _apart(settings: Settings, name: str, changes: Sequence[str]) -> dict[str, Any]:
    """Return the settings of a run of its own, laid over the config: the run as it is there stays as it is."""
    shared = {key: value for key, value in changed(changes).items() if key not in RUN_KEYS}
    own = {key: value for key, value in complete(settings.runs[name]).items() if key in RUN_KEYS}
    run = {
        "runs": {f"chaos.{name}": own},
        "resources": {"warm_interpreter": False, "device": "cpu"},
    }
    return merge(shared, run | ({"study": None} if settings.shared.study else {}))


def _trained(
    folder: Path, prepared: Prepared, files: Sequence[str], faults: int, chance: random.Random
) -> dict[str, Any]:
    """Train twice and return what the certificate says."""
    engine, cores = prepared.run.parallel.engine, len(os.sched_getaffinity(0))
    killed = (
        Jobs(folder / "killed", prepared, files, cores)
        if engine == "jobs"
        else Blocks(folder / "killed", prepared, engine)
    )
    found = killed.under_fire(faults, chance)
    arrival = {"kind": "log", "path": str(killed.log)} if isinstance(killed, Blocks) and engine == "async" else None
    whole = Blocks(folder / "whole", prepared, "virtual", arrival, checkpoint_s=ResourceOptions().checkpoint_s)
    whole.train()
    return _certificate(killed, whole, found)


def _named(settings: Settings, name: str | None) -> str:
    """Return the run that is meant."""
    if name is None and len(settings.runs) > 1:
        raise UserError(f"--run: the config has several: {', '.join(settings.runs)}: name one")
    name = name or next(iter(settings.runs))
    if name not in settings.runs:
        raise UserError(f"--run: {name}: no run of the config: it has {', '.join(settings.runs)}")
    return name


def _prepare(settings: Settings, name: str, files: Sequence[str]) -> Prepared:
    """Let the workflow make frames, plan and first model."""
    root = Path("results", settings.shared.name)
    constants = tuple(held(with_stacks(settings.runs), name))
    prepared = Prepared(root, name, settings.runs[name], settings.shared.resources.threads_per_worker, constants)
    made = [prepared.folder / file for file in ("config.json", "plan.json", "iterations/init.state.json")]
    targets = [str(path) for path in (*made, *(root / path for path in constants))]
    if snakemake.show(snakemake.command(files, len(os.sched_getaffinity(0)), targets, ["--quiet", "all"])):
        raise UserError(f"{made[-1]}: snakemake could not make it: it says why above")
    return prepared


def _certificate(killed: Ordeal, whole: Ordeal, faults: Sequence[Fault]) -> dict[str, Any]:
    """Return what the certificate says."""
    parallel, lost_s = killed.prepared.run.parallel, sum(fault.lost_s for fault in faults)
    return {
        "format": FORMAT, "engine": parallel.engine, "workers": worker_range(parallel.workers)[1],
        "cpu": read_json(killed.results / "final.json")["cpu"], "intervals": killed.last + 1,
        "faults": [fault._asdict() for fault in faults], "kept_s": killed.kept_s, "lost_s": lost_s,
        "share_kept": 1.0 - lost_s / killed.kept_s, "frames_lost": killed.frames_lost(),
        "compared_by": "replay" if parallel.engine == "async" else "bytes", "equal": killed.model() == whole.model(),
    }  # fmt: skip
