"""Corpus: recordings, transcripts, lexicon and text as validated tables; training data heard faster and slower.

Requires: nothing (kind spoken), or a corpus folder below corpora_dir.
Provides: data/{train,dev,test}.tsv, data/lexicon.txt, data/lm_text.txt, data/corpus.json; data/perturbed.{tsv,json}.
"""


rule corpus:
    """Check the corpus, or speak it, and write one table per split."""
    input:
        files.corpus_files(SHARED),
    output:
        tables=expand(results("data/{split}.tsv"), split=SPLITS),
        lexicon=results("data/lexicon.txt"),
        lm_text=results("data/lm_text.txt"),
        info=results("data/corpus.json"),
    log:
        results("logs/corpus/corpus.log"),
    benchmark:
        results("benchmarks/corpus/corpus.tsv")
    conda:
        "../../envs/corpus.yaml"
    threads: PROCESSES
    params:
        recipe=RECIPE["corpus"],
        options=told("corpus"),
        corpora_dir=SHARED.corpora_dir,
        features=["--from-features"] if SHARED.features.kind == "kaldi" else [],
        out_dir=subpath(output.info, parent=True),
    message:
        "Corpus: check recordings, transcripts and lexicon"
    shell:
        "python -m unisono corpus"
        " --options {params.options:q}"
        " --corpora-dir {params.corpora_dir:q}"
        " {params.features:q}"
        " --out-dir {params.out_dir:q}"
        " --processes {threads}"
        " --log {log:q}"


rule perturb:
    """Write a table of the training set at other speeds: for the network, never for the GMMs."""
    input:
        results("data/train.tsv"),
    output:
        table=results("data/perturbed.tsv"),
        info=results("data/perturbed.json"),
    log:
        results("logs/corpus/perturb.log"),
    benchmark:
        results("benchmarks/corpus/perturb.tsv")
    localrule: True  # less than a job's way through a cluster's queue
    conda:
        "../../envs/corpus.yaml"
    params:
        recipe=RECIPE["corpus"],
        speeds=SHARED.speed_perturbation,
    message:
        "Corpus: the training set at other speeds"
    shell:
        "python -m unisono perturb"
        " --table {input:q}"
        " --speeds {params.speeds:q}"
        " --out {output.table:q}"
        " --report {output.info:q}"
        " --log {log:q}"
