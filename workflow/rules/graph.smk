"""Language model and decoding graph.

Requires: data/, hmm/lang/, hmm/{mono,tri,lda_mllt}/model.h5.
Provides: graph/lm.arpa, graph/{mono,tri,lda_mllt}/HCLG.fst.
"""


rule lm:
    """Estimate an n-gram model from the text, check a given one, or make a word loop."""
    input:
        text=results("data/lm_text.txt"),
        lexicon=results("data/lexicon.txt"),
        arpa=files.given_arpa(SHARED),
    output:
        arpa=results("graph/lm.arpa"),
        report=results("graph/lm.json"),
    log:
        results("logs/graph/lm.log"),
    benchmark:
        results("benchmarks/graph/lm.tsv")
    # Before anything that takes long: a malformed ARPA file is said at once.
    priority: 1
    localrule: True  # less than a job's way through a cluster's queue
    conda:
        "../../envs/bootstrap.yaml"
    params:
        recipe=RECIPE["lm"],
        options=told("lm"),
        arpa=optional_flag("--arpa", "arpa"),
    message:
        "Graph: language model"
    shell:
        "python -m unisono lm"
        " --text {input.text:q}"
        " --lexicon {input.lexicon:q}"
        " --options {params.options:q}"
        " {params.arpa:q}"
        " --out {output.arpa:q}"
        " --report {output.report:q}"
        " --log {log:q}"


rule graph:
    """Compose HMMs, context, lexicon and language model into one decoding graph."""
    input:
        lang=results("hmm/lang/lang.json"),
        arpa=results("graph/lm.arpa"),
        model=results("hmm/{system}/model.h5"),
    output:
        graph=results("graph/{system}/HCLG.fst"),
        report=results("graph/{system}/graph.json"),
    log:
        results("logs/graph/{system}.log"),
    benchmark:
        results("benchmarks/graph/{system}.tsv")
    conda:
        "../../envs/bootstrap.yaml"
    params:
        recipe=RECIPE["graph"],
        lang_dir=subpath(input.lang, parent=True),
    message:
        "Graph: compose for {wildcards.system}"
    shell:
        "python -m unisono graph"
        " --lang-dir {params.lang_dir:q}"
        " --arpa {input.arpa:q}"
        " --model {input.model:q}"
        " --out {output.graph:q}"
        " --report {output.report:q}"
        " --log {log:q}"
