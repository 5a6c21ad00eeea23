"""HMM bootstrap: who says which state when, found by GMMs alone.

Requires: data/, features/hmm/; with hmm.align: kaldi the system of Kaldi and its alignments, and features/net/.
Provides: hmm/lang/, hmm/{mono,tri,lda_mllt,dnn,kaldi}/model.h5; ali.{split}.h5: of train by each, of dev and
perturbed by the last.
Steps: lexicon and topology, flat-start monophones, alignment, decision tree and triphones, alignment; where the config
asks for it: LDA and MLLT with triphones of their own, alignment; or all of this from another config's network, as dnn.
"""


rule train_mono:
    """Train monophone GMMs from a flat start."""
    input:
        lang=results("hmm/lang/lang.json"),
        table=results("data/train.tsv"),
        features=feature_shards("hmm", "train"),
        cmvn=cmvn_file("hmm", "train"),
    output:
        model=results("hmm/mono/model.h5"),
        report=results("hmm/mono/train.json"),
    log:
        results("logs/hmm/mono.log"),
    benchmark:
        results("benchmarks/hmm/mono.tsv")
    conda:
        "../../envs/bootstrap.yaml"
    threads: PROCESSES
    params:
        recipe=RECIPE["hmm"],
        options=told("train-mono"),
        features=features_told("hmm"),
        lang_dir=subpath(input.lang, parent=True),
    message:
        "HMM: train monophones"
    shell:
        "python -m unisono train-mono"
        " --lang-dir {params.lang_dir:q}"
        " --table {input.table:q}"
        " --features {input.features:q}"
        " --cmvn {input.cmvn:q}"
        " --options {params.options:q}"
        " --feature-options {params.features:q}"
        " --processes {threads}"
        " --out {output.model:q}"
        " --report {output.report:q}"
        " --log {log:q}"


rule train_tri:
    """Grow a decision tree on the monophones' alignment and train triphone GMMs."""
    input:
        lang=results("hmm/lang/lang.json"),
        model=results("hmm/mono/model.h5"),
        alignments=results("hmm/mono/ali.train.h5"),
        table=results("data/train.tsv"),
        features=feature_shards("hmm", "train"),
        cmvn=cmvn_file("hmm", "train"),
    output:
        model=results("hmm/tri/model.h5"),
        report=results("hmm/tri/train.json"),
    log:
        results("logs/hmm/tri.log"),
    benchmark:
        results("benchmarks/hmm/tri.tsv")
    conda:
        "../../envs/bootstrap.yaml"
    threads: PROCESSES
    params:
        recipe=RECIPE["hmm"],
        options=told("train-tri"),
        features=features_told("hmm"),
        lang_dir=subpath(input.lang, parent=True),
    message:
        "HMM: train triphones"
    shell:
        "python -m unisono train-tri"
        " --lang-dir {params.lang_dir:q}"
        " --table {input.table:q}"
        " --features {input.features:q}"
        " --cmvn {input.cmvn:q}"
        " --from-model {input.model:q}"
        " --from-alignments {input.alignments:q}"
        " --options {params.options:q}"
        " --feature-options {params.features:q}"
        " --processes {threads}"
        " --out {output.model:q}"
        " --report {output.report:q}"
        " --log {log:q}"


rule train_lda_mllt:
    """Train triphone GMMs on spliced features under LDA and MLLT, from the triphones' alignment."""
    input:
        lang=results("hmm/lang/lang.json"),
        model=results("hmm/tri/model.h5"),
        alignments=results("hmm/tri/ali.train.h5"),
        table=results("data/train.tsv"),
        features=feature_shards("hmm", "train"),
        cmvn=cmvn_file("hmm", "train"),
    output:
        model=results("hmm/lda_mllt/model.h5"),
        report=results("hmm/lda_mllt/train.json"),
    log:
        results("logs/hmm/lda_mllt.log"),
    benchmark:
        results("benchmarks/hmm/lda_mllt.tsv")
    conda:
        "../../envs/bootstrap.yaml"
    threads: PROCESSES
    params:
        recipe=RECIPE["hmm"],
        options=told("train-lda-mllt"),
        features=gmm_features_told,
        lang_dir=subpath(input.lang, parent=True),
    message:
        "HMM: train LDA+MLLT"
    shell:
        "python -m unisono train-lda-mllt"
        " --lang-dir {params.lang_dir:q}"
        " --table {input.table:q}"
        " --features {input.features:q}"
        " --cmvn {input.cmvn:q}"
        " --from-model {input.model:q}"
        " --from-alignments {input.alignments:q}"
        " --options {params.options:q}"
        " --feature-options {params.features:q}"
        " --processes {threads}"
        " --out {output.model:q}"
        " --report {output.report:q}"
        " --log {log:q}"


rule align:
    """Find the best path of states through each utterance of a split."""
    input:
        lang=results("hmm/lang/lang.json"),
        model=results("hmm/{system}/model.h5"),
        table=results("data/{split}.tsv"),
        features=of_split(feature_shards, "hmm"),
        cmvn=of_split(cmvn_file, "hmm"),
    output:
        alignments=results("hmm/{system}/ali.{split}.h5"),
        report=results("hmm/{system}/ali.{split}.json"),
    log:
        results("logs/hmm/{system}.ali.{split}.log"),
    benchmark:
        results("benchmarks/hmm/{system}.ali.{split}.tsv")
    wildcard_constraints:
        system="mono|tri|lda_mllt",
    conda:
        "../../envs/bootstrap.yaml"
    threads: PROCESSES
    params:
        recipe=RECIPE["hmm"],
        options=told("align"),
        features=gmm_features_told,
        lang_dir=subpath(input.lang, parent=True),
    message:
        "HMM: align {wildcards.split} with {wildcards.system}"
    shell:
        "python -m unisono align"
        " --lang-dir {params.lang_dir:q}"
        " --model {input.model:q}"
        " --table {input.table:q}"
        " --features {input.features:q}"
        " --cmvn {input.cmvn:q}"
        " --options {params.options:q}"
        " --feature-options {params.features:q}"
        " --processes {threads}"
        " --out {output.alignments:q}"
        " --report {output.report:q}"
        " --log {log:q}"


rule adopt_hmm:
    """Take tree and transition probabilities of the config whose network aligns."""
    input:
        recogniser=lambda wildcards: files.finished_run(SHARED),
        lang=results("hmm/lang/lang.json"),
        corpus=results("data/corpus.json"),
    output:
        results("hmm/dnn/model.h5"),
    log:
        results("logs/hmm/dnn.log"),
    benchmark:
        results("benchmarks/hmm/dnn.tsv")
    conda:
        "../../envs/bootstrap.yaml"
    params:
        recipe=RECIPE["hmm"],
        source=subpath(input.recogniser, parent=True),
        lang_dir=subpath(input.lang, parent=True),
    message:
        "HMM: tree of the network that aligns"
    shell:
        "python -m unisono adopt-hmm"
        " --source {params.source:q}"
        " --lang-dir {params.lang_dir:q}"
        " --corpus {input.corpus:q}"
        " --out {output:q}"
        " --log {log:q}"


rule align_dnn:
    """Find the best path of states through each utterance of a split with another config's network."""
    input:
        recogniser=lambda wildcards: files.finished_run(SHARED),
        lang=results("hmm/lang/lang.json"),
        model=results("hmm/dnn/model.h5"),
        table=results("data/{split}.tsv"),
        features=of_split(feature_shards, "net"),
        cmvn=of_split(cmvn_file, "net"),
    output:
        alignments=results("hmm/dnn/ali.{split}.h5"),
        report=results("hmm/dnn/ali.{split}.json"),
    log:
        results("logs/hmm/dnn.ali.{split}.log"),
    benchmark:
        results("benchmarks/hmm/dnn.ali.{split}.tsv")
    conda:
        "../../envs/bootstrap.yaml"
    threads: PROCESSES
    resources:
        **DECODE_GPU,
        device=DECODE_DEVICE,
    params:
        recipe=RECIPE["hmm"],
        options=told("align-dnn"),
        features=features_told("net"),
        source=subpath(input.recogniser, parent=True),
        lang_dir=subpath(input.lang, parent=True),
    message:
        "HMM: align {wildcards.split} with another config's network"
    shell:
        "python -m unisono align-dnn"
        " --source {params.source:q}"
        " --lang-dir {params.lang_dir:q}"
        " --model {input.model:q}"
        " --table {input.table:q}"
        " --features {input.features:q}"
        " --cmvn {input.cmvn:q}"
        " --options {params.options:q}"
        " --feature-options {params.features:q}"
        " --device {resources.device}"
        " --processes {threads}"
        " --out {output.alignments:q}"
        " --report {output.report:q}"
        " --log {log:q}"
