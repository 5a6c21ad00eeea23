"""The language: phones, words and HMM topology, from the lexicon.

Requires: data/lexicon.txt.
Provides: hmm/lang/.
"""


rule lang:
    """Turn the lexicon into symbol tables, lexicon transducers and HMM topology."""
    input:
        lexicon=results("data/lexicon.txt"),
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
    log:
        results("logs/hmm/lang.log"),
    benchmark:
        results("benchmarks/hmm/lang.tsv")
    localrule: True  # less than a job's way through a cluster's queue
    conda:
        "../../envs/bootstrap.yaml"
    params:
        recipe=RECIPE["lang"],
        options=told("lang"),
        out_dir=subpath(output.info, parent=True),
    message:
        "HMM: lexicon and topology"
    shell:
        "python -m unisono lang"
        " --lexicon {input.lexicon:q}"
        " --options {params.options:q}"
        " --out-dir {params.out_dir:q}"
        " --log {log:q}"
