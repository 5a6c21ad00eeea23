"""Scoring: words against transcripts.

Requires: data/test.tsv, the hypotheses of a system's shards.
Provides: <system>/{wer.json,hyp.txt,wer.txt,per_speaker.tsv,confusions.tsv}, runs/{run}/{wer.json,hyp.txt}.
"""


rule score:
    """Count the word errors of a system on test, with a bootstrap interval."""
    input:
        table=results("data/test.tsv"),
        hyps=expand(results("{{where}}/test.{shard}.hyp"), shard=SHARDS),
        tuned=tuning,
    output:
        wer=results("{where}/wer.json"),
        files=multiext(
            results("{where}/"),
            "hyp.txt",
            "wer.txt",
            "per_speaker.tsv",
            "confusions.tsv",
        ),
    log:
        results("logs/score/{where}.log"),
    benchmark:
        results("benchmarks/score/{where}.tsv")
    wildcard_constraints:
        where=r"gmm/\w+|runs/[A-Za-z0-9._-]+/decode/\w+",
    conda:
        "../../envs/base.yaml"
    params:
        recipe=RECIPE["score"],
        tuned_flag=tuned_flag,
        seed=SHARED.seed,
        out_dir=subpath(output.wer, parent=True),
    message:
        "Score: {wildcards.where}"
    shell:
        "python -m unisono score"
        " --table {input.table:q}"
        " --hyp {input.hyps:q} {params.tuned_flag:q} {input.tuned:q}"
        " --system {wildcards.where:q}"
        " --seed {params.seed:q}"
        " --out-dir {params.out_dir:q}"
        " --log {log:q}"


rule choose:
    """Copy the scores of the candidate that `final_model` names to the run."""
    input:
        wer=chosen("wer.json"),
        hyp=chosen("hyp.txt"),
    output:
        wer=results("runs/{run}/wer.json"),
        hyp=results("runs/{run}/hyp.txt"),
    log:
        results("logs/score/{run}.choose.log"),
    benchmark:
        results("benchmarks/score/{run}.choose.tsv")
    localrule: True  # less than a job's way through a cluster's queue
    conda:
        "../../envs/base.yaml"
    params:
        recipe=RECIPE["score"],
        from_dir=subpath(input.wer, parent=True),
        out_dir=subpath(output.wer, parent=True),
    message:
        "Score: result of run {wildcards.run}"
    shell:
        "python -m unisono choose" " --from-dir {params.from_dir:q}" " --out-dir {params.out_dir:q}" " --log {log:q}"
