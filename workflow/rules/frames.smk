"""Frames: features and pdf_ids of all training utterances, unspliced and flat.

Requires: features/net/, the alignments of hmm.align or hmm.align_with.
Provides: frames/{train,dev}.h5, frames/frames.json; a checkpoint: how many iterations a run has follows from the count.
"""

ALIGNMENTS = results(f"hmm/{ALIGN}")
ALIGN_GRAPH = results(f"graph/{ALIGN}/HCLG.fst")


checkpoint frames:
    """Join features and alignment into the two stores that training reads: train (with perturbed) and dev."""
    input:
        train_table=[table_of(split) for split in LEARNT],
        train_features=[file for split in LEARNT for file in feature_shards("net", split)],
        train_cmvn=[cmvn_file("net", split) for split in LEARNT],
        train_alignment=expand(f"{ALIGNMENTS}/ali.{{split}}.h5", split=LEARNT),
        train_alignment_report=expand(f"{ALIGNMENTS}/ali.{{split}}.json", split=LEARNT),
        dev_table=table_of("dev"),
        dev_features=feature_shards("net", source("dev")),
        dev_cmvn=cmvn_file("net", source("dev")),
        dev_alignment=f"{ALIGNMENTS}/ali.dev.h5",
        dev_alignment_report=f"{ALIGNMENTS}/ali.dev.json",
    output:
        train=results("frames/train.h5"),
        dev=results("frames/dev.h5"),
        info=results("frames/frames.json"),
    log:
        results("logs/frames/frames.log"),
    benchmark:
        results("benchmarks/frames/frames.tsv")
    conda:
        "../../envs/base.yaml"
    params:
        recipe=RECIPE["frames"],
        features=features_told("net"),
        dtype=SHARED.data.dtype,
    message:
        "Frames: join features and alignment"
    shell:
        "python -m unisono frames"
        " --train-table {input.train_table:q}"
        " --train-features {input.train_features:q}"
        " --train-cmvn {input.train_cmvn:q}"
        " --train-alignment {input.train_alignment:q}"
        " --train-alignment-report {input.train_alignment_report:q}"
        " --dev-table {input.dev_table:q}"
        " --dev-features {input.dev_features:q}"
        " --dev-cmvn {input.dev_cmvn:q}"
        " --dev-alignment {input.dev_alignment:q}"
        " --dev-alignment-report {input.dev_alignment_report:q}"
        " --feature-options {params.features:q}"
        " --dtype {params.dtype:q}"
        " --out-train {output.train:q}"
        " --out-dev {output.dev:q}"
        " --out-info {output.info:q}"
        " --log {log:q}"
