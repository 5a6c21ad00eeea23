"""Training, engines `virtual` (all workers in one process), `sync` and `async` (MPI ranks): a block is one job.

Requires: frames/, runs/{run}/plan.json, runs/{run}/iterations/init.*.
Provides: runs/{run}/iterations/{iter}.combine.safetensors and {iter}.state.json for the last iteration of each block.
The checkpoints of an interrupted block lie in runs/{run}/state/ and the workers' states of finished blocks in
iterations/; neither is a declared output, so Snakemake leaves them alone and the block goes on where it was.
"""

# What all of them run; ranks through a launcher of MPI.
TRAIN = (
    "-m unisono train"
    " --engine {resources.engine}"
    " --config {input.config:q}"
    " --plan {input.plan:q}"
    " --frames-train {input.train:q}"
    " --frames-dev {input.dev:q}"
    " --constants {input.constants:q}"
    " --first {resources.first}"
    " --last {wildcards.iter:q}"
    " --iterations-dir {params.iterations:q}"
    " --state-dir {params.state_dir:q}"
    " --checkpoint-s {resources.checkpoint_s}"
    " --hang-timeout-s {resources.hang_timeout_s}"
    " --device {resources.device}"
    " --threads {resources.worker_threads}"
    " --log {log:q}"
)


rule train_virtual:
    """Train the iterations of a block in one process, worker after worker."""
    input:
        config=results("runs/{run}/config.json"),
        plan=results("runs/{run}/plan.json"),
        train=results("frames/train.h5"),
        dev=results("frames/dev.h5"),
        constants=constants_of_run,
        combined=before_block("combine.safetensors"),
        state=before_block("state.json"),
    output:
        combined=temp(results("runs/{run}/iterations/{iter}.combine.safetensors")),
        state=results("runs/{run}/iterations/{iter}.state.json"),
    log:
        results("logs/train/{run}/block.{iter}.log"),
    benchmark:
        results("benchmarks/train/{run}.block.{iter}.tsv")
    wildcard_constraints:
        run=runs_with("virtual"),
    conda:
        "../../envs/base.yaml"
    threads: THREADS
    resources:
        **TRAIN_GPU,
        title=title_of_run,
        first=first_of_block,
        worker_threads=THREADS,
        checkpoint_s=CHECKPOINT_S,
        hang_timeout_s=HANG_TIMEOUT_S,
        device=DEVICE,
        engine="virtual",
        mem_mb=memory("train_virtual"),
        runtime=minutes("train_virtual"),
    params:
        recipe=RECIPE["train"],
        iterations=subpath(output.combined, parent=True),
        state_dir=results("runs/{run}/state"),
    message:
        "{resources.title} iterations {resources.first} to {wildcards.iter}, virtual workers"
    shell:
        f"python {TRAIN}"


rule train_sync:
    """Train the iterations of a block on MPI ranks, a worker each."""
    input:
        config=results("runs/{run}/config.json"),
        plan=results("runs/{run}/plan.json"),
        train=results("frames/train.h5"),
        dev=results("frames/dev.h5"),
        constants=constants_of_run,
        combined=before_block("combine.safetensors"),
        state=before_block("state.json"),
    output:
        combined=temp(results("runs/{run}/iterations/{iter}.combine.safetensors")),
        state=results("runs/{run}/iterations/{iter}.state.json"),
    log:
        results("logs/train/{run}/block.{iter}.log"),
    benchmark:
        results("benchmarks/train/{run}.block.{iter}.tsv")
    wildcard_constraints:
        run=runs_with("sync"),
    conda:
        "../../envs/mpi.yaml"
    threads: lambda wildcards: ranks(wildcards) * THREADS  # snakemake takes no more than its --cores
    resources:
        title=title_of_run,
        first=first_of_block,
        worker_threads=THREADS,
        checkpoint_s=CHECKPOINT_S,
        hang_timeout_s=HANG_TIMEOUT_S,
        device=DEVICE,
        engine="sync",
        tasks=ranks,
        # Per rank; without it a cluster would give each rank the `threads` of the whole job.
        cpus_per_task=THREADS,
        mem_mb_per_cpu=memory("train_sync"),
        runtime=minutes("train_sync"),
        mpi="mpirun",
        gpu=gpus_of_ranks("gpu"),
        tasks_per_gpu=gpus_of_ranks("tasks_per_gpu"),
        gres=gpus_of_ranks("gres"),
    params:
        recipe=RECIPE["train"],
        iterations=subpath(output.combined, parent=True),
        state_dir=results("runs/{run}/state"),
    message:
        "{resources.title} iterations {resources.first} to {wildcards.iter}, {resources.tasks} MPI ranks"
    shell:
        f"python -m unisono.launch {{resources.mpi:q}} {{resources.tasks}} python -m mpi4py {TRAIN}"


use rule train_sync as train_async with:
    wildcard_constraints:
        run=runs_with("async"),
    threads: lambda wildcards: (ranks(wildcards) - 1) * THREADS  # the server naps
    resources:
        first=first_of_block,
        worker_threads=THREADS,
        checkpoint_s=CHECKPOINT_S,
        hang_timeout_s=HANG_TIMEOUT_S,
        device=DEVICE,
        engine="async",
        tasks=ranks,
        cpus_per_task=THREADS,
        mem_mb_per_cpu=memory("train_async"),
        runtime=minutes("train_async"),
        mpi="mpirun",
        gpu=gpus_of_ranks("gpu"),
        tasks_per_gpu=gpus_of_ranks("tasks_per_gpu"),
        gres=gpus_of_ranks("gres"),
    message:
        "Run {wildcards.run}: iterations {resources.first} to {wildcards.iter}, a server and workers on {resources.tasks} MPI ranks"
