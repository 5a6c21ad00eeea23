"""An unfinished run that goes on with another number of workers: what is left is dealt anew, what is done stays.

`unisono redeal` writes beside the run what is done and the new number; the plan then begins with the iterations that
were done, by as many workers as did them, so ledger, metrics and rates need to know nothing else. Training finds in the
plan where to go on.
"""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from unisono.config.parallel import SERVED
from unisono.engines import checkpoint
from unisono.errors import UserError
from unisono.files import write_json
from unisono.iterations import REDEAL_FORMAT, last_redealt
from unisono.schedule import Plan, read_plan

PLAN = "plan.json"  # in a run's folder of states


def redeal(run_dir: Path, workers: int) -> int:
    """Write `redeal.json` into the folder of a run and return how many iterations stay.

    Raises UserError where there is nothing to go on from, or where the rest cannot be dealt anew.
    """
    state_dir = run_dir / "state"
    found = checkpoint.identities(state_dir)
    if not found:
        raise UserError(
            f"{state_dir}: no such folder of checkpoints: only the engines virtual and sync can deal a run anew"
        )
    folder, known = found[0]
    before, rest = checkpoint.apart_from_workers(known)
    combine = known["config"]["parallel"]["combine"]["kind"]
    if combine in SERVED:
        raise UserError(f"parallel.combine: {combine}: a server's run cannot be dealt anew: go on with its workers")
    plan, sound = read_plan(str(folder / PLAN)), checkpoint.newest_sound(folder)
    last = -1 if sound is None else sound[1]["iteration"]
    if last < 0:
        raise UserError(f"{folder}: no iteration is done: set parallel.workers: {workers} and delete that folder")
    if plan.is_last(last):
        raise UserError(f"{run_dir}: its training is finished: there is nothing left to be dealt anew")
    if not isinstance(before, int):
        raise UserError(f"parallel.workers: from {before} to {workers}: only a number can be dealt anew, not a ramp")
    if before == workers:
        raise UserError(f"--workers: {workers}: the run has that many already: the same snakemake command goes on")
    if plan.dealing == "fixed" and not plan.iterations[last].end_of_epoch:
        raise UserError(
            f"parallel.dealing: fixed deals whole epochs, but {folder} stands after iteration {last}, within one: go on"
            f" with parallel.workers: {before}, or delete {folder} to start anew"
        )
    done = [asdict(iteration) for iteration in plan.iterations[: last + 1]]
    value = {"format": REDEAL_FORMAT, "workers": workers, "run": rest, "done": done}
    write_json(run_dir / "redeal.json", value)
    return last + 1


def check_run(value: dict[str, Any], where: str, config: dict[str, Any], frames: str) -> None:
    """Raise UserError unless `redeal.json` is of the run that is planned, apart from its workers.

    config: the run's. frames: digest of the training frames.
    """
    _, wanted = checkpoint.apart_from_workers({"config": config})
    differing = checkpoint.differences_of(value["run"]["config"], wanted["config"])
    if value["run"]["frames"]["train"] != frames:
        differing.append("the training frames")
    if differing:
        raise UserError(f"{where}: is of another run ({'; '.join(differing)}): delete it to train anew")


def last_done(plan: Plan, workers: Any) -> int:
    """Return the last iteration that another number of workers did before the plan was made anew; -1: none."""
    return last_redealt([iteration.workers for iteration in plan.iterations], workers)


def changes(plan: Plan, workers: Any) -> list[dict[str, int]]:
    """Return each change of the number of workers that was no ramp: {iteration (its first), from, to}."""
    if not isinstance(workers, int):
        return []
    pairs = zip(plan.iterations, plan.iterations[1:], strict=False)
    return [{"iteration": b.iteration, "from": a.workers, "to": b.workers} for a, b in pairs if a.workers != b.workers]


def source(state_dir: Path, plan: Plan, workers: Any) -> Path:
    """Return the checkpoint that a plan which was dealt anew goes on from.

    Raises UserError where it is not there any more.
    """
    last = last_done(plan, workers)
    for file in sorted(state_dir.glob(f"*/{PLAN}"), key=lambda path: path.stat().st_mtime, reverse=True):
        found = checkpoint.newest_sound(file.parent)
        done = read_plan(str(file)).iterations[: last + 1]
        if found and found[1]["iteration"] == last and done == plan.iterations[: last + 1] and len(done) == last + 1:
            return found[0]
    raise UserError(
        f"{state_dir}: no checkpoint of iteration {last}, from which the plan goes on: delete redeal.json and plan.json"
        " to start anew"
    )
