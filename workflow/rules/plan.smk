"""Plan: what each run computes, how its iterations fall, where it starts.

Requires: frames/train.h5.
Provides: runs/{run}/config.json, runs/{run}/plan.json, runs/{run}/iterations/init.*.
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
    params:
        options=lambda wildcards: reads.run_told(RUNS[wildcards.run]),
    message:
        "Run {wildcards.run}: settings"
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
    params:
        recipe=RECIPE["plan"],
        redealt=optional_flag("--redealt", "redealt"),
    message:
        "Run {wildcards.run}: plan"
    shell:
        "python -m unisono plan"
        " --config {input.config:q}"
        " --frames {input.frames:q}"
        " {params.redealt:q}"
        " --out {output:q}"
        " --log {log:q}"


rule init_model:
    """Make the model that training starts from: seeded random weights, or a given model."""
    input:
        config=results("runs/{run}/config.json"),
        plan=results("runs/{run}/plan.json"),
        frames=results("frames/train.h5"),
        model=lambda wildcards: files.start_model(RUNS[wildcards.run]),
    output:
        combined=results("runs/{run}/iterations/init.combine.safetensors"),
        state=results("runs/{run}/iterations/init.state.json"),
    log:
        results("logs/plan/{run}.init.log"),
    benchmark:
        results("benchmarks/plan/{run}.init.tsv")
    conda:
        "../../envs/base.yaml"
    params:
        recipe=RECIPE["train"],
        model=optional_flag("--model", "model"),
    message:
        "Run {wildcards.run}: first model"
    shell:
        "python -m unisono init-model"
        " --config {input.config:q}"
        " --plan {input.plan:q}"
        " --frames {input.frames:q}"
        " {params.model:q}"
        " --out {output.combined:q}"
        " --out-state {output.state:q}"
        " --log {log:q}"
