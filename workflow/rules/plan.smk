"""Plan: what each run computes, how its iterations fall, where it starts.

Requires: frames/train.h5.
Provides: runs/{run}/config.json, runs/{run}/plan.json, runs/{run}/iterations/init.*, constants/.
"""


rule configure:
    """Write what decides the result of a run."""
    output:
        results("runs/{run}/config.json"),
    log:
        results("logs/plan/{run}.configure.log"),
    benchmark:
        results("benchmarks/plan/{run}.configure.tsv")
    localrule: True  # less than a job's way through a cluster's queue
    conda:
        "../../envs/base.yaml"
    resources:
        title=title_of_run,
    params:
        options=lambda wildcards: reads.run_told(RUNS[wildcards.run]),
    message:
        "{resources.title} settings"
    shell:
        "python -m unisono configure" " --options {params.options:q}" " --out {output:q}" " --log {log:q}"


rule plan:
    """Cut each epoch into iterations, and these into slices for the workers."""
    input:
        config=results("runs/{run}/config.json"),
        frames=results("frames/train.h5"),
        redealt=lambda wildcards: redealt(wildcards.run),
    output:
        results("runs/{run}/plan.json"),
    log:
        results("logs/plan/{run}.plan.log"),
    benchmark:
        results("benchmarks/plan/{run}.plan.tsv")
    conda:
        "../../envs/base.yaml"
    resources:
        title=title_of_run,
    params:
        recipe=RECIPE["plan"],
        redealt=optional_flag("--redealt", "redealt"),
    message:
        "{resources.title} plan"
    shell:
        "python -m unisono plan"
        " --config {input.config:q}"
        " --frames {input.frames:q}"
        " {params.redealt:q}"
        " --out {output:q}"
        " --log {log:q}"


rule constants:
    """Estimate what a network holds fixed: the transform of its input, scales of its softmax's input."""
    input:
        frames=results("frames/train.h5"),
    output:
        results("constants/{constants}.safetensors"),
    log:
        results("logs/plan/constants.{constants}.log"),
    benchmark:
        results("benchmarks/plan/constants.{constants}.tsv")
    conda:
        "../../envs/base.yaml"
    threads: THREADS
    resources:
        worker_threads=THREADS,
    params:
        recipe=RECIPE["plan"],
        options=lambda wildcards: CONSTANTS[wildcards.constants],
    message:
        "Constants {wildcards.constants}: input transform, scales by priors"
    shell:
        "python -m unisono constants"
        " --options {params.options:q}"
        " --frames {input.frames:q}"
        " --out {output:q}"
        " --threads {resources.worker_threads}"
        " --log {log:q}"


rule init_model:
    """Make the model that training starts from: seeded random weights, or a given model."""
    input:
        config=results("runs/{run}/config.json"),
        plan=results("runs/{run}/plan.json"),
        frames=results("frames/train.h5"),
        constants=constants_of_run,
        model=start_model,
    output:
        combined=results("runs/{run}/iterations/init.combine.safetensors"),
        state=results("runs/{run}/iterations/init.state.json"),
    log:
        results("logs/plan/{run}.init.log"),
    benchmark:
        results("benchmarks/plan/{run}.init.tsv")
    conda:
        "../../envs/base.yaml"
    resources:
        title=title_of_run,
    params:
        recipe=RECIPE["train"],
        model=optional_flag("--model", "model"),
    message:
        "{resources.title} first model"
    shell:
        "python -m unisono init-model"
        " --config {input.config:q}"
        " --plan {input.plan:q}"
        " --frames {input.frames:q}"
        " --constants {input.constants:q}"
        " {params.model:q}"
        " --out {output.combined:q}"
        " --out-state {output.state:q}"
        " --log {log:q}"
