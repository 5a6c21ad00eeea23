"""How many workers an iteration has, and which files it reads: the chain from one combination to the next.

Requires: settings.smk, flags.smk. Plans are read here, and which engine has made a run; all other names follow from run, iteration and worker.
"""

import functools
import json
import os
from types import SimpleNamespace

from snakemake.exceptions import WorkflowError

from unisono import grid
from unisono.errors import UserError
from unisono.files import read_json
from unisono.schedule import last_redealt, looks_apart, read_plan, static_workers

BEHIND = 4  # training waits where more models than these have not been evaluated


def engine_of(run):
    """Return the engine of a run: the config's, but where a run of these settings is finished the one that made it.

    Engines write the same bytes; to Snakemake they are other rules, and it would train such a run again.
    """
    try:
        final = read_json(results(f"runs/{run}/final.json"))
        same = final["config"] == json.loads(run_identity(SimpleNamespace(run=run)))
        return final["engine"] if same else RUNS[run]["parallel"]["engine"]
    except (OSError, UserError, LookupError, TypeError):  # not there yet, or damaged: it will be made anew
        return RUNS[run]["parallel"]["engine"]


for run in RUNS:
    RUNS[run]["parallel"]["engine"] = engine_of(run)


@functools.cache
def workers_of_config(run):
    """Return the workers of each iteration where the config says how many iterations there are."""
    return static_workers(RUNS[run]["schedule"]["iterations"], RUNS[run]["parallel"]["workers"])


@functools.cache
def workers_of_plan(path, changed):
    """Return the workers of each iteration of a plan.json last changed at `changed`."""
    return [iteration.workers for iteration in read_plan(path).iterations]


def workers(run):
    """Return the workers of each iteration of a run; from its plan, unless the config says how many there are."""
    if RUNS[run]["schedule"]["iterations"] and not os.path.exists(redeal_file(run)):
        return workers_of_config(run)
    path = checkpoints.plan.get(run=run).output[0]
    return workers_of_plan(path, os.stat(path).st_mtime_ns)


def redeal_file(run):
    """Return where `unisono redeal` writes that an unfinished run goes on with another number of workers."""
    return results(f"runs/{run}/redeal.json")


def redealt(wildcards):
    """Return what deals the rest of a run anew; nothing where nobody asked for it."""
    path = redeal_file(wildcards.run)
    return [path] if os.path.exists(path) else []


def engine_of_run(wildcards):
    """Return the engine that trains a run."""
    return RUNS[wildcards.run]["parallel"]["engine"]


def iteration_file(run, iteration, name):
    """Return a file of an iteration; those before iteration 0 are called `init`."""
    return results(f"runs/{run}/iterations/{'init' if iteration < 0 else iteration}.{name}")


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
    length = RUNS[wildcards.run]["parallel"]["iterations_per_job"]
    end, begin = int(wildcards.iter), int(wildcards.iter) // length * length
    last = len(workers(wildcards.run)) - 1
    if end != min(begin + length - 1, last):
        raise WorkflowError(f"run {wildcards.run}: no block of iterations ends with {end}")
    done = last_redealt(workers(wildcards.run), RUNS[wildcards.run]["parallel"]["workers"]) + 1
    return 0 if begin <= done <= end else begin


def combined_before_block(wildcards):
    """Return what the block before has yielded."""
    return iteration_file(wildcards.run, block_begin(wildcards) - 1, "combine.safetensors")


def state_before_block(wildcards):
    """Return rate, stop flag and so on after the block before."""
    return iteration_file(wildcards.run, block_begin(wildcards) - 1, "state.json")


def last_combined(wildcards):
    """Return what the last iteration of a run has yielded."""
    return iteration_file(wildcards.run, len(workers(wildcards.run)) - 1, "combine.safetensors")


def last_state(wildcards):
    """Return the numbers after the last iteration of a run."""
    return iteration_file(wildcards.run, len(workers(wildcards.run)) - 1, "state.json")


def evaluated_apart(run):
    """Say whether jobs of their own evaluate a run's models; else the combination does."""
    settings = RUNS[run]
    keeps_best = grid.keeps_best(settings["final_model"], settings["schedule"]["kind"])
    return settings["parallel"]["engine"] == "jobs" and looks_apart(settings["diagnostics"]["frames"], keeps_best)


def evaluated_before(wildcards):
    """Return what a worker waits for so that models that are still to be evaluated do not pile up."""
    iteration = int(wildcards.iter) - 1 - BEHIND
    if iteration < 0 or not evaluated_apart(wildcards.run):
        return []
    return iteration_file(wildcards.run, iteration, "diagnostics.json")


def diagnostics_of_run(wildcards):
    """Return the diagnostics of all iterations, where jobs of their own find them."""
    if not evaluated_apart(wildcards.run):
        return []
    return [iteration_file(wildcards.run, i, "diagnostics.json") for i in range(len(workers(wildcards.run)))]
