"""An unfinished run that goes on with another number of workers: what is left is dealt anew, what is done stays.

The plan then begins with the iterations that were done, by as many workers as did them, so ledger, metrics and rates
need to know nothing else. The command `plan` makes it where `resources.redeal` says so; training finds in the plan
where to go on.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from unisono.engines import checkpoint
from unisono.errors import UserError
from unisono.schedule import Iteration, Plan, last_redealt, read_plan

PLAN = "plan.json"


def plan_for(
    state_dir: Path, config: dict[str, Any], frames: str, redeal: bool
) -> tuple[Plan | None, tuple[Iteration, ...]]:
    """Return a plan to keep, or the iterations that stay, from what this run trained last in its folder of states.

    config: the run's, with the number of workers that is wanted now. frames: digest of the training frames. A plan
    that was dealt anew for this number is kept. Iterations stay where that run is unfinished and differs in its number
    of workers alone. Raises UserError there unless `redeal` says to go on, or where the rest cannot be dealt anew.
    """
    for folder, other in checkpoint.identities(state_dir):
        identity = other | {"config": config, "frames": other["frames"] | {"train": frames}}
        (before, same), (now, wanted) = checkpoint.apart_from_workers(other), checkpoint.apart_from_workers(identity)
        if same == wanted and (folder / PLAN).exists():
            break
    else:
        return None, ()
    plan = read_plan(str(folder / PLAN))
    if before == now:
        return (plan if last_done(plan, now) >= 0 else None), ()
    if not redeal:
        checkpoint.check_workers(folder, other, identity)
        return None, ()
    found = checkpoint.newest_sound(folder)
    if found is None or found[1]["iteration"] < 0 or plan.is_last(found[1]["iteration"]):
        return None, ()
    done = plan.iterations[: found[1]["iteration"] + 1]
    if not (isinstance(before, int) and isinstance(now, int)):
        raise UserError(f"parallel.workers: from {before} to {now}: only a number can be dealt anew, not a ramp")
    if plan.dealing == "fixed" and not done[-1].end_of_epoch:
        raise UserError(
            f"parallel.dealing: fixed deals whole epochs, but {found[0]} is of iteration {done[-1].iteration}, within"
            f" one: go on with parallel.workers: {before}, or delete {folder} to start anew"
        )
    return None, done


def last_done(plan: Plan, workers: Any) -> int:
    """Return the last iteration that another number of workers did before the plan was made anew; -1: none."""
    return last_redealt([iteration.workers for iteration in plan.iterations], workers)


def changes(plan: Plan, workers: Any) -> list[dict[str, int]]:
    """Return each change of the number of workers that was no ramp: {iteration (its first), from, to}."""
    pairs: Sequence = (
        () if not isinstance(workers, int) else list(zip(plan.iterations, plan.iterations[1:], strict=False))
    )
    return [{"iteration": b.iteration, "from": a.workers, "to": b.workers} for a, b in pairs if a.workers != b.workers]


def source(state_dir: Path, plan: Plan, workers: Any) -> Path | None:
    """Return the checkpoint that a plan which was dealt anew goes on from; None for any other plan.

    Raises UserError where it is not there any more.
    """
    last = last_done(plan, workers)
    if last < 0:
        return None
    for file in sorted(state_dir.glob(f"*/{PLAN}"), key=lambda path: path.stat().st_mtime, reverse=True):
        found = checkpoint.newest_sound(file.parent)
        done = read_plan(str(file)).iterations[: last + 1]
        if found and found[1]["iteration"] == last and done == plan.iterations[: last + 1] and len(done) == last + 1:
            return found[0]
    raise UserError(
        f"{state_dir}: no checkpoint of iteration {last}, from which the plan goes on: delete plan.json to start anew"
    )
