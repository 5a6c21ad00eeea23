"""What belongs to the recogniser of a run, for using it: `unisono transcribe` and `unisono export` read this.

Requires: runs/{run}/final.safetensors and the tuning of the model chosen, hmm/, graph/, data/corpus.json.
Provides: runs/{run}/recogniser.json.
"""


rule recogniser:
    """Write down the files and settings that make up the recogniser of a run."""
    input:
        network=results("runs/{run}/final.safetensors"),
        tuned=chosen("tune.json"),
        hmm=f"{ALIGNMENTS}/model.h5",
        lang=results("hmm/lang/lang.json"),
        graph=ALIGN_GRAPH,
        cmvn=cmvn_file("net", "train") if SHARED.features.cmvn == "global" else [],
        corpus=results("data/corpus.json"),
    output:
        results("runs/{run}/recogniser.json"),
    log:
        results("logs/decode/{run}.recogniser.log"),
    benchmark:
        results("benchmarks/decode/{run}.recogniser.tsv")
    localrule: True  # less than a job's way through a cluster's queue
    conda:
        "../../envs/base.yaml"
    params:
        recipe=RECIPE["decode"],
        settings=reads.recogniser_told(SHARED),
        name=SHARED.name,
        final_model=lambda wildcards: RUNS[wildcards.run].final_model,
        lang_dir=subpath(input.lang, parent=True),
        cmvn=optional_flag("--cmvn", "cmvn"),
    message:
        "Run {wildcards.run}: recogniser"
    shell:
        "python -m unisono recogniser"
        " --network {input.network:q}"
        " --tuned {input.tuned:q}"
        " --hmm-model {input.hmm:q}"
        " --lang-dir {params.lang_dir:q}"
        " --graph {input.graph:q}"
        " {params.cmvn:q}"
        " --corpus {input.corpus:q}"
        " --settings {params.settings:q}"
        " --name {params.name:q}"
        " --run {wildcards.run:q}"
        " --final-model {params.final_model:q}"
        " --out {output:q}"
        " --log {log:q}"
