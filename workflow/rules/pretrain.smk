"""Pretraining: each layer's RBM is a run of its own, rbm.{layer}.{digest}; what joins a finished stack is here.

Requires: runs/rbm.*/final.safetensors, frames/train.h5.
Provides: runs/{run}/pretrained.safetensors, the model that training starts from. `snakemake pretrain` stops there.
"""


rule join_stack:
    """Make the model that training starts from: the layers of a stack of RBMs below a random output layer."""
    input:
        config=results("runs/{run}/config.json"),
        frames=results("frames/train.h5"),
        layers=lambda wildcards: [
            results(f"runs/{layer}/final.safetensors") for layer in stack.stack_of(RUNS[wildcards.run])
        ],
    output:
        results("runs/{run}/pretrained.safetensors"),
    log:
        results("logs/pretrain/{run}.log"),
    benchmark:
        results("benchmarks/pretrain/{run}.tsv")
    localrule: True  # less than a job's way through a cluster's queue
    conda:
        "../../envs/base.yaml"
    params:
        recipe=RECIPE["train"],
    message:
        "Run {wildcards.run}: join the pretrained layers"
    shell:
        "python -m unisono join-stack"
        " --config {input.config:q}"
        " --frames {input.frames:q}"
        " --layers {input.layers:q}"
        " --out {output:q}"
        " --log {log:q}"
