"""Features: filterbanks or cepstra of each shard, and normalisation statistics of each split.

Requires: data/{split}.tsv; for features of Kaldi feats.scp, and perhaps cmvn.scp, of the data directories.
Provides: features/{frontend}/{split}.{shard}.h5 and {split}.cmvn.h5; front end `net` for the network, `hmm` for GMMs.
"""


rule features:
    """Compute base features of one shard of a split: before normalisation and deltas."""
    input:
        table=results("data/{split}.tsv"),
    output:
        results("features/{frontend}/{split}.{shard}.h5"),
    log:
        results("logs/features/{frontend}/{split}.{shard}.log"),
    benchmark:
        results("benchmarks/features/{frontend}.{split}.{shard}.tsv")
    conda:
        "../../envs/base.yaml"
    params:
        recipe=RECIPE["features"],
        options=features_told("", "features"),
        given=given_features("feats.scp", "--feats"),
    message:
        "Features for {wildcards.frontend}: {wildcards.split}, shard {wildcards.shard}"
    shell:
        "python -m unisono features"
        " --table {input.table:q}"
        " --shard {wildcards.shard:q}"
        " --options {params.options:q}"
        " {params.given:q}"
        " --out {output:q}"
        " --log {log:q}"


rule cmvn:
    """Sum features and their squares per speaker, or over the whole split."""
    input:
        table=results("data/{split}.tsv"),
        features=of_split(feature_shards),
    output:
        results("features/{frontend}/{split}.cmvn.h5"),
    log:
        results("logs/features/{frontend}/{split}.cmvn.log"),
    benchmark:
        results("benchmarks/features/{frontend}.{split}.cmvn.tsv")
    localrule: True  # less than a job's way through a cluster's queue
    conda:
        "../../envs/base.yaml"
    params:
        recipe=RECIPE["features"],
        options=features_told("", "cmvn"),
        given=given_features("cmvn.scp", "--kaldi"),
    message:
        "Features for {wildcards.frontend}: mean and variance of {wildcards.split}"
    shell:
        "python -m unisono cmvn"
        " --table {input.table:q}"
        " --features {input.features:q}"
        " --options {params.options:q}"
        " {params.given:q}"
        " --out {output:q}"
        " --log {log:q}"
