"""How many workers an iteration has, and which files it reads: the chain from one combination to the next.

Requires: settings.smk. One checkpoint, `frames`, counts the frames; how many iterations and workers each run has
follows from it. All other names follow from run, iteration and worker.
"""

from unisono.iterations import block_begin, counted_workers, static_workers
from unisono.schedule import worker_range

BEHIND = 4  # training waits where more models than these have not been evaluated


def workers(run):
    """Return the workers of each iteration of a run; without its frames where the config says how many there are."""
    own, redeal = RUNS[run], "".join(redealt(run))
    if own.schedule.iterations and not redeal:
        return static_workers(own.schedule.iterations, own.parallel.workers)
    frames = counted_frames()
    changed = os.stat(frames).st_mtime_ns
    try:
        return counted_workers(frames, changed, own.schedule, own.parallel, own.minibatch, own.network.unit, redeal)
    except UserError as error:
        raise WorkflowError(f"config: {error}") from None


def counted_frames():
    """Return what counts the frames, once it is there; where this call may not make it (--allowed-rules) it must be."""
    allowed = workflow.dag_settings.allowed_rules
    return (
        results("frames/frames.json") if allowed and "frames" not in allowed else checkpoints.frames.get().output.info
    )


def redealt(run):
    """Return what `unisono redeal` wrote of a run, an unfinished one that goes on with another number of workers."""
    path = results(f"runs/{run}/redeal.json")
    return [path] if os.path.exists(path) else []


def iteration_file(run, iteration, name):
    """Return a file of an iteration; those before iteration 0 are called `init`."""
    return results(f"runs/{run}/iterations/{'init' if iteration < 0 else iteration}.{name}")


def before(name):
    """Return the input function for a file of the iteration before."""
    return lambda wildcards: iteration_file(wildcards.run, int(wildcards.iter) - 1, name)


def worker_state_before(wildcards):
    """Return this worker's optimiser state after the iteration before; nothing for one that has just joined."""
    iteration, job = int(wildcards.iter) - 1, int(wildcards.job)
    if iteration < 0 or job >= workers(wildcards.run)[iteration]:
        return []
    return iteration_file(wildcards.run, iteration, f"{job}.state.safetensors")


def jobs_of(name):
    """Return the input function for the files `name` of all jobs of an iteration."""
    return lambda wildcards: [
        iteration_file(wildcards.run, int(wildcards.iter), f"{job}.{name}")
        for job in range(workers(wildcards.run)[int(wildcards.iter)])
    ]


def first_of_block(wildcards):
    """Return the first iteration of the block that ends with this one."""
    parallel = RUNS[wildcards.run].parallel
    return block_begin(workers(wildcards.run), parallel.workers, parallel.iterations_per_job, int(wildcards.iter))


def before_block(name):
    """Return the input function for a file of the last iteration before a block."""
    return lambda wildcards: iteration_file(wildcards.run, first_of_block(wildcards) - 1, name)


def last(name):
    """Return the input function for a file of the last iteration of a run."""
    return lambda wildcards: iteration_file(wildcards.run, len(workers(wildcards.run)) - 1, name)


def evaluated_apart(run):
    """Say whether jobs of their own evaluate a run's models; else the combination does."""
    return ENGINES[run] == "jobs" and RUNS[run].looks_apart


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


def ranks(wildcards):
    """Return the number of MPI ranks of a run: the workers of its last iteration, and the server of engine async."""
    return worker_range(RUNS[wildcards.run].parallel.workers)[1] + (ENGINES[wildcards.run] == "async")
