"""Decoding: from a model and the graph to words.

Requires: graph/, features/, hmm/, runs/{run}/models/.
Provides: gmm/{system}/ and runs/{run}/decode/{candidate}/ with tune.json, dev.hyp and test.{shard}.hyp.
Steps: acoustic scale and word-insertion penalty are chosen on dev, then applied once to test; a study chooses them
once for all its runs.
"""


rule tune_gmm:
    """Choose acoustic scale and word-insertion penalty of a GMM system on dev."""
    input:
        table=results("data/dev.tsv"),
        features=feature_shards("hmm", "dev"),
        cmvn=cmvn_file("hmm", "dev"),
        lang=results("hmm/lang/lang.json"),
        hmm=results("hmm/{system}/model.h5"),
        graph=results("graph/{system}/HCLG.fst"),
    output:
        tuned=results("gmm/{system}/tune.json"),
        hyp=results("gmm/{system}/dev.hyp"),
    log:
        results("logs/decode/gmm.{system}.tune.log"),
    benchmark:
        results("benchmarks/decode/gmm.{system}.tune.tsv")
    conda:
        "../../envs/bootstrap.yaml"
    threads: PROCESSES
    params:
        recipe=RECIPE["decode"],
        options=told("tune-gmm"),
        features=gmm_features_told,
        lang_dir=subpath(input.lang, parent=True),
    message:
        "Decode: tune the {wildcards.system} GMM on dev"
    shell:
        "python -m unisono tune"
        " --system gmm"
        " --table {input.table:q}"
        " --features {input.features:q}"
        " --cmvn {input.cmvn:q}"
        " --feature-options {params.features:q}"
        " --lang-dir {params.lang_dir:q}"
        " --hmm-model {input.hmm:q}"
        " --graph {input.graph:q}"
        " --options {params.options:q}"
        " --processes {threads}"
        " --out {output.tuned:q}"
        " --hyp {output.hyp:q}"
        " --log {log:q}"


rule decode_gmm:
    """Decode one shard of test with a GMM system."""
    input:
        table=results("data/test.tsv"),
        features=results("features/hmm/test.{shard}.h5"),
        cmvn=cmvn_file("hmm", "test"),
        lang=results("hmm/lang/lang.json"),
        hmm=results("hmm/{system}/model.h5"),
        graph=results("graph/{system}/HCLG.fst"),
        tuned=results("gmm/{system}/tune.json"),
    output:
        hyp=results("gmm/{system}/test.{shard}.hyp"),
        report=results("gmm/{system}/test.{shard}.json"),
    log:
        results("logs/decode/gmm.{system}.{shard}.log"),
    benchmark:
        results("benchmarks/decode/gmm.{system}.{shard}.tsv")
    conda:
        "../../envs/bootstrap.yaml"
    params:
        recipe=RECIPE["decode"],
        options=told("decode"),
        features=gmm_features_told,
        lang_dir=subpath(input.lang, parent=True),
    message:
        "Decode: test with the {wildcards.system} GMM, shard {wildcards.shard}"
    shell:
        "python -m unisono decode"
        " --system gmm"
        " --table {input.table:q}"
        " --shard {wildcards.shard:q}"
        " --features {input.features:q}"
        " --cmvn {input.cmvn:q}"
        " --feature-options {params.features:q}"
        " --lang-dir {params.lang_dir:q}"
        " --hmm-model {input.hmm:q}"
        " --graph {input.graph:q}"
        " --options {params.options:q}"
        " --tuned {input.tuned:q}"
        " --out {output.hyp:q}"
        " --report {output.report:q}"
        " --log {log:q}"


rule tune_dnn:
    """Choose acoustic scale and word-insertion penalty of a network on dev."""
    input:
        table=results("data/dev.tsv"),
        features=feature_shards("net", "dev"),
        cmvn=cmvn_file("net", "dev"),
        lang=results("hmm/lang/lang.json"),
        hmm=f"{ALIGNMENTS}/model.h5",
        graph=ALIGN_GRAPH,
        models=results("runs/{run}/models"),
    output:
        tuned=results("runs/{run}/decode/{candidate}/tune.json"),
        hyp=results("runs/{run}/decode/{candidate}/dev.hyp"),
    log:
        results("logs/decode/{run}.{candidate}.tune.log"),
    benchmark:
        results("benchmarks/decode/{run}.{candidate}.tune.tsv")
    conda:
        "../../envs/bootstrap.yaml"
    threads: PROCESSES
    resources:
        **DECODE_GPU,
        device=DECODE_DEVICE,
    params:
        recipe=RECIPE["decode"],
        options=told("tune-dnn"),
        features=features_told("net"),
        lang_dir=subpath(input.lang, parent=True),
    message:
        "Decode: tune run {wildcards.run}, model {wildcards.candidate}, on dev"
    shell:
        "python -m unisono tune"
        " --system dnn"
        " --table {input.table:q}"
        " --features {input.features:q}"
        " --cmvn {input.cmvn:q}"
        " --feature-options {params.features:q}"
        " --lang-dir {params.lang_dir:q}"
        " --hmm-model {input.hmm:q}"
        " --network {input.models:q}/{wildcards.candidate:q}.safetensors"
        " --device {resources.device}"
        " --graph {input.graph:q}"
        " --options {params.options:q}"
        " --processes {threads}"
        " --out {output.tuned:q}"
        " --hyp {output.hyp:q}"
        " --log {log:q}"


rule decode_dnn:
    """Decode one shard of test with a network."""
    input:
        table=results("data/test.tsv"),
        features=results("features/net/test.{shard}.h5"),
        cmvn=cmvn_file("net", "test"),
        lang=results("hmm/lang/lang.json"),
        hmm=f"{ALIGNMENTS}/model.h5",
        graph=ALIGN_GRAPH,
        models=results("runs/{run}/models"),
        tuned=tuning,
    output:
        hyp=results("runs/{run}/decode/{candidate}/test.{shard}.hyp"),
        report=results("runs/{run}/decode/{candidate}/test.{shard}.json"),
    log:
        results("logs/decode/{run}.{candidate}.{shard}.log"),
    benchmark:
        results("benchmarks/decode/{run}.{candidate}.{shard}.tsv")
    conda:
        "../../envs/bootstrap.yaml"
    resources:
        **DECODE_GPU,
        device=DECODE_DEVICE,
    params:
        recipe=RECIPE["decode"],
        options=told("decode"),
        features=features_told("net"),
        lang_dir=subpath(input.lang, parent=True),
    message:
        "Decode: test with run {wildcards.run}, model {wildcards.candidate}, shard {wildcards.shard}"
    shell:
        "python -m unisono decode"
        " --system dnn"
        " --table {input.table:q}"
        " --shard {wildcards.shard:q}"
        " --features {input.features:q}"
        " --cmvn {input.cmvn:q}"
        " --feature-options {params.features:q}"
        " --lang-dir {params.lang_dir:q}"
        " --hmm-model {input.hmm:q}"
        " --network {input.models:q}/{wildcards.candidate:q}.safetensors"
        " --device {resources.device}"
        " --graph {input.graph:q}"
        " --options {params.options:q}"
        " --tuned {input.tuned:q}"
        " --out {output.hyp:q}"
        " --report {output.report:q}"
        " --log {log:q}"
