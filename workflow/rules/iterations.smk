"""How many workers an iteration has, and which files it reads: the chain from one combination to the next.

Requires: settings.smk. Plans and states are read here; all other names follow from run, iteration and worker.
"""

import functools
import os

from snakemake.exceptions import WorkflowError

from unisono.errors import UserError
from unisono.files import read_json
from unisono.schedule import last_redealt, read_plan, static_workers, worker_range

BEHIND = 4  # training waits where more models than these have not been looked at


@functools.cache
def workers_of_config(run):
    """Return the workers of each iteration where the config says how many iterations there are."""
    return static_workers(RUNS[run].schedule.iterations, RUNS[run].parallel.workers)


@functools.cache
def workers_of_plan(path, changed):
    """Return the workers of each iteration of a plan.json last changed at `changed`."""
    return [iteration.workers for iteration in read_plan(path).iterations]


def workers(run):
    """Return the workers of each iteration of a run; from its plan, unless the config says how many there are."""
    if RUNS[run].schedule.iterations and OTHER_WORKERS == "refuse":
        return workers_of_config(run)
    path = checkpoints.plan.get(run=run).output[0]
    return workers_of_plan(path, os.stat(path).st_mtime_ns)


def iteration_file(run, iteration, name):
    """Return a file of an iteration; those before iteration 0 are called `init`."""
    return results(f"runs/{run}/iterations/{'init' if iteration < 0 else iteration}.{name}")


def state_dir(wildcards):
    """Return where an interrupted block keeps its checkpoints."""
    return results(f"runs/{wildcards.run}/state")


def iterations_dir(wildcards):
    """Return where the numbers of a run's iterations lie."""
    return results(f"runs/{wildcards.run}/iterations")


def ranks(wildcards):
    """Return the number of MPI ranks of a run: the workers of its last iteration."""
    return worker_range(RUNS[wildcards.run].parallel.workers)[1]


def cores_of_ranks(wildcards):
    """Return the cores that all ranks of a run keep busy; snakemake takes no more than its --cores."""
    return ranks(wildcards) * THREADS


def worker_state_flag(wildcards, input):
    """Return the flag that hands the state over, or none."""
    return ["--worker-state", input.worker_state] if input.get("worker_state") else []


def combined_before(wildcards):
    """Return what the iteration before has yielded, for one job or for the combination."""
    return iteration_file(wildcards.run, int(wildcards.iter) - 1, "combine.safetensors")


def state_before(wildcards):
    """Return rate, stop flag and so on after the iteration before."""
    return iteration_file(wildcards.run, int(wildcards.iter) - 1, "state.json")


def worker_state_before(wildcards):
    """Return this worker's optimiser state after the iteration before; nothing for one that has just joined."""
    iteration, job = int(wildcards.iter) - 1, int(wildcards.job)
    if iteration < 0 or job >= workers(wildcards.run)[iteration]:
        return []
    return iteration_file(wildcards.run, iteration, f"{job}.state.safetensors")


def jobs_of(name):
    """Return the input function for the files `name` of all jobs of an iteration."""

    def files(wildcards):
        jobs = range(workers(wildcards.run)[int(wildcards.iter)])
        return [iteration_file(wildcards.run, int(wildcards.iter), f"{job}.{name}") for job in jobs]

    return files


def block_begin(wildcards):
    """Return the first iteration of the block that ends with this one.

    Where another number of workers takes over, all that was done before belongs to the block that goes on from it.
    """
    length = RUNS[wildcards.run].parallel.iterations_per_job
    end, begin = int(wildcards.iter), int(wildcards.iter) // length * length
    last = len(workers(wildcards.run)) - 1
    if end != min(begin + length - 1, last):
        raise WorkflowError(f"run {wildcards.run}: no block of iterations ends with {end}")
    done = last_redealt(workers(wildcards.run), RUNS[wildcards.run].parallel.workers) + 1
    return 0 if begin <= done <= end else begin


def other_workers(wildcards):
    """Return what to do about an unfinished run of another number of workers; `jobs` keeps no state of its own."""
    return "ignore" if RUNS[wildcards.run].parallel.engine == "jobs" else OTHER_WORKERS


def combined_before_block(wildcards):
    """Return what the block before has yielded."""
    return iteration_file(wildcards.run, block_begin(wildcards) - 1, "combine.safetensors")


def state_before_block(wildcards):
    """Return rate, stop flag and so on after the block before."""
    return iteration_file(wildcards.run, block_begin(wildcards) - 1, "state.json")


def last_combined(wildcards):
    """Return what the last iteration of a run has yielded."""
    return iteration_file(wildcards.run, len(workers(wildcards.run)) - 1, "combine.safetensors")


@functools.cache
def diagnosed_apart(run, iteration):
    """Say whether a job of its own looks at an iteration's model: under `jobs`, unless its state is there and says all.

    Then another engine made it, or an older version; its model may be gone, and it must not be made anew for this.
    """
    if iteration < 0 or RUNS[run].parallel.engine != "jobs" or not RUNS[run].diagnostics.frames:
        return False
    try:
        return read_json(iteration_file(run, iteration, "state.json"))["diagnostics"] is None
    except (OSError, UserError, LookupError, TypeError):  # not there yet; what is no state will be made anew
        return True


def earlier_training(wildcards):
    """Return what a new plan does with the states of an earlier training: `jobs` would take them for the new one's.

    On a cluster each job asks `diagnosed_apart` anew, and must be told the same. Where the number of iterations is
    known without a plan it is asked before there is one, so they stay.
    """
    run = RUNS[wildcards.run]
    return "remove" if run.parallel.engine == "jobs" and not run.schedule.iterations else "keep"


def when_to_diagnose(wildcards):
    """Return what the combination is told about the diagnostic frames."""
    return "later" if diagnosed_apart(wildcards.run, int(wildcards.iter)) else "now"


def looked_at_before(wildcards):
    """Return what a worker waits for so that models that are still to be looked at do not pile up."""
    iteration = int(wildcards.iter) - 1 - BEHIND
    if not diagnosed_apart(wildcards.run, iteration):
        return []
    return iteration_file(wildcards.run, iteration, "diagnostics.json")


def diagnostics_of_run(wildcards):
    """Return the diagnostics of all iterations that jobs of their own look at."""
    iterations = range(len(workers(wildcards.run)))
    return [
        iteration_file(wildcards.run, i, "diagnostics.json") for i in iterations if diagnosed_apart(wildcards.run, i)
    ]
