"""A system of Kaldi in place of our GMMs: language, model, graph and alignments are checked and taken.

Requires: the files of hmm.kaldi, features/net/.
Provides: hmm/lang/, hmm/kaldi/model.h5, graph/kaldi/HCLG.fst, hmm/kaldi/ali.{train,dev}.h5; where a part of train stands
for dev, hmm/kaldi/{train,dev}.tsv.
"""

# Whose alignments are Kaldi's; those of dev may be made by its Gaussians instead.
GIVEN = "train" if KALDI_DEV == "gmm" else "train|dev"


rule adopt_kaldi:
    """Check a system of Kaldi, and take its language, model and decoding graph."""
    input:
        **files.kaldi_system(SHARED),
    output:
        files=multiext(
            results("hmm/lang/"),
            "words.txt",
            "phones.txt",
            "L.fst",
            "L_disambig.fst",
            "topo",
            "lexicon.txt",
        ),
        info=results("hmm/lang/lang.json"),
        model=results("hmm/kaldi/model.h5"),
        graph=results("graph/kaldi/HCLG.fst"),
        report=results("hmm/kaldi/system.json"),
    log:
        results("logs/hmm/kaldi.log"),
    benchmark:
        results("benchmarks/hmm/kaldi.tsv")
    conda:
        "../../envs/bootstrap.yaml"
    params:
        recipe=RECIPE["hmm"],
        dir=SHARED.hmm.kaldi.dir,
        lang=SHARED.hmm.kaldi.lang,
        graph=["--graph", SHARED.hmm.kaldi.graph] if SHARED.hmm.kaldi.graph else [],
        out_dir=subpath(output.info, parent=True),
    message:
        "HMM: take the system of Kaldi"
    shell:
        "python -m unisono adopt-kaldi"
        " --dir {params.dir:q}"
        " --lang {params.lang:q}"
        " {params.graph:q}"
        " --out-model {output.model:q}"
        " --out-lang {params.out_dir:q}"
        " --out-graph {output.graph:q}"
        " --report {output.report:q}"
        " --log {log:q}"


rule adopt_kaldi_alignments:
    """Take Kaldi's alignments of a split."""
    input:
        alignments=lambda wildcards: files.kaldi_alignments(SHARED, source(wildcards.split)),
        model=results("hmm/kaldi/model.h5"),
        table=lambda wildcards: table_of(wildcards.split),
        features=lambda wildcards: feature_shards("net", source(wildcards.split)),
    output:
        alignments=results("hmm/kaldi/ali.{split}.h5"),
        report=results("hmm/kaldi/ali.{split}.json"),
    log:
        results("logs/hmm/kaldi.ali.{split}.log"),
    benchmark:
        results("benchmarks/hmm/kaldi.ali.{split}.tsv")
    wildcard_constraints:
        split=GIVEN,
    conda:
        "../../envs/bootstrap.yaml"
    params:
        recipe=RECIPE["hmm"],
        features=features_told("net"),
        dir=SHARED.hmm.kaldi.dir,
    message:
        "HMM: take Kaldi's alignments of {wildcards.split}"
    shell:
        "python -m unisono adopt-kaldi-alignments"
        " --dir {params.dir:q}"
        " --alignments {input.alignments:q}"
        " --model {input.model:q}"
        " --table {input.table:q}"
        " --features {input.features:q}"
        " --feature-options {params.features:q}"
        " --out {output.alignments:q}"
        " --report {output.report:q}"
        " --log {log:q}"


if KALDI_DEV == "train":

    rule hold_out:
        """Set a seeded tenth of train apart, which stands for dev in training."""
        input:
            results("data/train.tsv"),
        output:
            train=results("hmm/kaldi/train.tsv"),
            dev=results("hmm/kaldi/dev.tsv"),
        log:
            results("logs/hmm/hold_out.log"),
        benchmark:
            results("benchmarks/hmm/hold_out.tsv")
        localrule: True  # less than a job's way through a cluster's queue
        conda:
            "../../envs/corpus.yaml"
        params:
            recipe=RECIPE["hmm"],
            seed=SHARED.hmm.seed,
        message:
            "HMM: a tenth of train stands for dev"
        shell:
            "python -m unisono hold-out"
            " --table {input:q}"
            " --seed {params.seed:q}"
            " --out-train {output.train:q}"
            " --out-dev {output.dev:q}"
            " --log {log:q}"


if KALDI_DEV == "gmm":

    rule align_by_kaldi:
        """Find the best path of states through each utterance of dev with the Gaussians of Kaldi's system."""
        input:
            lang=results("hmm/lang/lang.json"),
            model=results("hmm/kaldi/model.h5"),
            table=results("data/dev.tsv"),
            features=feature_shards("hmm", "dev"),
            cmvn=cmvn_file("hmm", "dev"),
        output:
            alignments=results("hmm/kaldi/ali.dev.h5"),
            report=results("hmm/kaldi/ali.dev.json"),
        log:
            results("logs/hmm/kaldi.ali.dev.log"),
        benchmark:
            results("benchmarks/hmm/kaldi.ali.dev.tsv")
        conda:
            "../../envs/bootstrap.yaml"
        threads: PROCESSES
        params:
            recipe=RECIPE["hmm"],
            options=told("align"),
            features=features_told("hmm"),
            lang_dir=subpath(input.lang, parent=True),
        message:
            "HMM: align dev with Kaldi's Gaussians"
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
