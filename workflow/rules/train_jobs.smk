"""Training, engine `jobs`: one job per worker and iteration, one combination after them; vectors travel in files.

A job beside the next iterations evaluates the combined model on the diagnostic frames; none waits for it.

Requires: frames/, runs/{run}/plan.json, runs/{run}/iterations/init.*.
Provides: runs/{run}/iterations/{iter}.*, and for all engines runs/{run}/final.safetensors, models/, metrics.jsonl.
"""


rule train_job:
    """Train one worker over its slice of one iteration."""
    input:
        config=results("runs/{run}/config.json"),
        plan=results("runs/{run}/plan.json"),
        frames=results("frames/train.h5"),
        constants=constants_of_run,
        combined=before("combine.safetensors"),
        state=before("state.json"),
        worker_state=worker_state_before,
        evaluated=evaluated_before,
    output:
        model=temp(results("runs/{run}/iterations/{iter}.{job}.model.safetensors")),
        state=temp(results("runs/{run}/iterations/{iter}.{job}.state.safetensors")),
        stats=temp(results("runs/{run}/iterations/{iter}.{job}.json")),
    log:
        results("logs/train/{run}/{iter}.{job}.log"),
    benchmark:
        results("benchmarks/train/{run}.{iter}.{job}.tsv")
    wildcard_constraints:
        run=runs_with("jobs"),
    priority: 1  # as the combination: before any evaluation, and before what comes after training
    conda:
        "../../envs/base.yaml"
    threads: THREADS
    resources:
        **TRAIN_GPU,
        title=title_of_run,
        worker_threads=THREADS,
        device=DEVICE,
        mem_mb=memory("train_job"),
        runtime=minutes("train_job"),
    params:
        recipe=RECIPE["train"],
        worker_state=optional_flag("--worker-state", "worker_state"),
    message:
        "{resources.title} iteration {wildcards.iter}, worker {wildcards.job}"
    shell:
        "python -m unisono train-job"
        " --config {input.config:q}"
        " --plan {input.plan:q}"
        " --frames {input.frames:q}"
        " --constants {input.constants:q}"
        " --iteration {wildcards.iter:q}"
        " --job {wildcards.job:q}"
        " --combined {input.combined:q}"
        " --state {input.state:q}"
        " {params.worker_state:q}"
        " --out-model {output.model:q}"
        " --out-state {output.state:q}"
        " --out-stats {output.stats:q}"
        " --device {resources.device}"
        " --threads {resources.worker_threads}"
        " --log {log:q}"


rule combine:
    """Combine the workers' models of an iteration."""
    input:
        config=results("runs/{run}/config.json"),
        plan=results("runs/{run}/plan.json"),
        train=results("frames/train.h5"),
        dev=results("frames/dev.h5"),
        constants=constants_of_run,
        combined=before("combine.safetensors"),
        state=before("state.json"),
        models=jobs_of("model.safetensors"),
        worker_states=jobs_of("state.safetensors"),
        stats=jobs_of("json"),
    output:
        combined=temp(results("runs/{run}/iterations/{iter}.combine.safetensors")),
        state=results("runs/{run}/iterations/{iter}.state.json"),
    log:
        results("logs/train/{run}/{iter}.combine.log"),
    benchmark:
        results("benchmarks/train/{run}.{iter}.combine.tsv")
    wildcard_constraints:
        run=runs_with("jobs"),
    priority: 1
    conda:
        "../../envs/base.yaml"
    threads: THREADS
    resources:
        **TRAIN_GPU,
        title=title_of_run,
        worker_threads=THREADS,
        device=DEVICE,
        mem_mb=memory("combine"),
        runtime=minutes("combine"),
    params:
        recipe=RECIPE["train"],
    message:
        "{resources.title} combine iteration {wildcards.iter}"
    shell:
        "python -m unisono combine"
        " --config {input.config:q}"
        " --plan {input.plan:q}"
        " --frames-train {input.train:q}"
        " --frames-dev {input.dev:q}"
        " --constants {input.constants:q}"
        " --iteration {wildcards.iter:q}"
        " --combined {input.combined:q}"
        " --state {input.state:q}"
        " --models {input.models:q}"
        " --worker-states {input.worker_states:q}"
        " --stats {input.stats:q}"
        " --out {output.combined:q}"
        " --out-state {output.state:q}"
        " --device {resources.device}"
        " --threads {resources.worker_threads}"
        " --log {log:q}"


rule diagnose:
    """Evaluate a combined model on fixed subsets of train and dev, at the end of an epoch on all of dev."""
    input:
        config=results("runs/{run}/config.json"),
        plan=results("runs/{run}/plan.json"),
        train=results("frames/train.h5"),
        dev=results("frames/dev.h5"),
        constants=constants_of_run,
        combined=results("runs/{run}/iterations/{iter}.combine.safetensors"),
        state=results("runs/{run}/iterations/{iter}.state.json"),
    output:
        results("runs/{run}/iterations/{iter}.diagnostics.json"),
    log:
        results("logs/train/{run}/{iter}.diagnose.log"),
    benchmark:
        results("benchmarks/train/{run}.{iter}.diagnose.tsv")
    wildcard_constraints:
        run=runs_with("jobs"),
    conda:
        "../../envs/base.yaml"
    threads: THREADS
    resources:
        **TRAIN_GPU,
        title=title_of_run,
        worker_threads=THREADS,
        device=DEVICE,
        mem_mb=memory("diagnose"),
        runtime=minutes("diagnose"),
    params:
        recipe=RECIPE["train"],
    message:
        "{resources.title} evaluate iteration {wildcards.iter}"
    shell:
        "python -m unisono diagnose"
        " --config {input.config:q}"
        " --plan {input.plan:q}"
        " --frames-train {input.train:q}"
        " --frames-dev {input.dev:q}"
        " --constants {input.constants:q}"
        " --combined {input.combined:q}"
        " --state {input.state:q}"
        " --out {output:q}"
        " --device {resources.device}"
        " --threads {resources.worker_threads}"
        " --log {log:q}"


rule finish:
    """Choose the final model, add the prior, and count the frames of all iterations."""
    input:
        config=results("runs/{run}/config.json"),
        plan=results("runs/{run}/plan.json"),
        train=results("frames/train.h5"),
        dev=results("frames/dev.h5"),
        constants=constants_of_run,
        combined=last("combine.safetensors"),
    output:
        model=results("runs/{run}/final.safetensors"),
        info=results("runs/{run}/final.json"),
        ledger=results("runs/{run}/ledger.json"),
        models=directory(results("runs/{run}/models")),
    log:
        results("logs/train/{run}/finish.log"),
    benchmark:
        results("benchmarks/train/{run}.finish.tsv")
    conda:
        "../../envs/base.yaml"
    threads: THREADS
    resources:
        **TRAIN_GPU,
        title=title_of_run,
        worker_threads=THREADS,
        device=DEVICE,
        engine=lambda wildcards: ENGINES[wildcards.run],
        mem_mb=memory("finish"),
    params:
        recipe=RECIPE["train"],
        iterations=subpath(input.combined, parent=True),
    message:
        "{resources.title} final model"
    shell:
        "python -m unisono finish"
        " --config {input.config:q}"
        " --plan {input.plan:q}"
        " --frames-train {input.train:q}"
        " --frames-dev {input.dev:q}"
        " --constants {input.constants:q}"
        " --combined {input.combined:q}"
        " --iterations-dir {params.iterations:q}"
        " --models-dir {output.models:q}"
        " --out {output.model:q}"
        " --out-info {output.info:q}"
        " --ledger {output.ledger:q}"
        " --engine {resources.engine}"
        " --device {resources.device}"
        " --threads {resources.worker_threads}"
        " --log {log:q}"
        # The workers' last states, which the engines virtual and sync leave behind.
        " && rm -f {params.iterations:q}/*.state.safetensors"


rule metrics:
    """Put the numbers of all iterations together: what each worker did, how good each combined model is."""
    input:
        plan=results("runs/{run}/plan.json"),
        state=last("state.json"),
        diagnostics=diagnostics_of_run,
        ended=results("runs/{run}/ledger.json"),
    output:
        results("runs/{run}/metrics.jsonl"),
    log:
        results("logs/train/{run}/metrics.log"),
    benchmark:
        results("benchmarks/train/{run}.metrics.tsv")
    conda:
        "../../envs/base.yaml"
    resources:
        title=title_of_run,
    params:
        recipe=RECIPE["train"],
        iterations=subpath(input.state, parent=True),
    message:
        "{resources.title} metrics"
    shell:
        "python -m unisono metrics"
        " --plan {input.plan:q}"
        " --iterations-dir {params.iterations:q}"
        " --out {output:q}"
        " --log {log:q}"
        # The models that rule finish combined: it reads them again where Snakemake was killed before it noted that it ended.
        " && rm -f {params.iterations:q}/*.kept.safetensors"
