"""Training, engines `virtual` (one process), `sync` and `async` (MPI ranks): a block of iterations is one job.

Requires: frames/, runs/{run}/plan.json, runs/{run}/iterations/init.*.
Provides: runs/{run}/iterations/{iter}.combine.safetensors and {iter}.state.json for the last iteration of each block.
The checkpoints of an interrupted block lie in runs/{run}/state/ and the workers' states of finished blocks in
iterations/; neither is a declared output, so Snakemake leaves them alone and the block goes on where it was.
"""


rule train_virtual:
    """Train the iterations of a block in one process, worker after worker."""
    input:
        config=results("runs/{run}/config.json"),
        plan=results("runs/{run}/plan.json"),
        train=results("frames/train.h5"),
        dev=results("frames/dev.h5"),
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
        first=first_of_block,
        worker_threads=THREADS,
        checkpoint_s=CHECKPOINT_S,
        hang_timeout_s=HANG_TIMEOUT_S,
        device=DEVICE,
        mpi="",
        launcher="python",
        engine="virtual",
    params:
        recipe=RECIPE["train"],
        iterations=subpath(output.combined, parent=True),
        state_dir=results("runs/{run}/state"),
    message:
        "Run {wildcards.run}: iterations {resources.first} to {wildcards.iter}, virtual workers"
    shell:
        # For Open MPI in a container or on a laptop: allow root, and more ranks than cores. Others do not read these.
        "export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1"
        " PRTE_MCA_rmaps_default_mapping_policy=slot:oversubscribe PRTE_MCA_hwloc_default_binding_policy=none; "
        "{resources.mpi} {resources.launcher} -m unisono train"
        " --engine {resources.engine}"
        " --config {input.config:q}"
        " --plan {input.plan:q}"
        " --frames-train {input.train:q}"
        " --frames-dev {input.dev:q}"
        " --first {resources.first}"
        " --last {wildcards.iter:q}"
        " --iterations-dir {params.iterations:q}"
        " --state-dir {params.state_dir:q}"
        " --checkpoint-s {resources.checkpoint_s}"
        " --hang-timeout-s {resources.hang_timeout_s}"
        " --device {resources.device}"
        " --threads {resources.worker_threads}"
        " --log {log:q}"


use rule train_virtual as train_sync with:
    wildcard_constraints:
        run=runs_with("sync"),
    conda:
        "../../envs/mpi.yaml"
    threads: lambda wildcards: ranks(wildcards) * THREADS  # snakemake takes no more than its --cores
    resources:
        first=first_of_block,
        worker_threads=THREADS,
        checkpoint_s=CHECKPOINT_S,
        hang_timeout_s=HANG_TIMEOUT_S,
        device=DEVICE,
        tasks=ranks,
        # Per rank; without it a cluster would give each rank the `threads` of the whole job.
        cpus_per_task=THREADS,
        mpi="mpirun",
        # A rank that raises ends them all.
        launcher=lambda wildcards: f"-n {ranks(wildcards)} python -m mpi4py",
        engine="sync",
    message:
        "Run {wildcards.run}: iterations {resources.first} to {wildcards.iter}, {resources.tasks} MPI ranks"


use rule train_virtual as train_async with:
    wildcard_constraints:
        run=runs_with("async"),
    conda:
        "../../envs/mpi.yaml"
    threads: lambda wildcards: (ranks(wildcards) - 1) * THREADS  # the server naps
    resources:
        first=first_of_block,
        worker_threads=THREADS,
        checkpoint_s=CHECKPOINT_S,
        hang_timeout_s=HANG_TIMEOUT_S,
        device=DEVICE,
        tasks=ranks,
        cpus_per_task=THREADS,
        mpi="mpirun",
        launcher=lambda wildcards: f"-n {ranks(wildcards)} python -m mpi4py",
        engine="async",
    message:
        "Run {wildcards.run}: iterations {resources.first} to {wildcards.iter}, {resources.tasks} MPI ranks with the server"
