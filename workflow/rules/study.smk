"""Study: what the runs of a grid found, as numbers and pictures.

Requires: runs/{run}/ of each cell and seed; runs/{run}/decode/{candidate}/wer.json of those named in study.decode.
Provides: docs/results/{study}/ below the working directory, or docs/results/papers/{study}/ where the config has claims,
beside a page written by hand, which is left alone;
study/{study}.done says that these are the results of the runs beside it.
"""


rule study_results:
    """Gather the runs of a study: each cell over its seeds, pairs of cells, plots."""
    input:
        runs=run_files("config.json", "plan.json", "final.json", "final.safetensors", "metrics.jsonl") if STUDY else [],
        wers=expand(results("{where}/wer.json"), where=decoded() if STUDY else []),
        table=results("data/test.tsv"),
    output:
        expand("{folder}/{{study}}/{name}", folder=STUDY_ROOT, name=STUDY_FILES),
        done=touch(results("study/{study}.done")),
    log:
        results("logs/study/{study}.log"),
    wildcard_constraints:
        study=re.escape(STUDY.name) if STUDY else "(?!)",
    conda:
        "../../envs/base.yaml"
    params:
        recipe=RECIPE["study"],
        # Not sorted: the order of the axes names the cells.
        study=json.dumps(complete(STUDY), ensure_ascii=False) if STUDY else "",
        seed=SHARED.seed,
        root=subpath(input.table, ancestor=2),
        out_dir=subpath(output[0], parent=True),
    message:
        "Study {wildcards.study}: results"
    shell:
        "python -m unisono study"
        " --study {params.study:q}"
        " --seed {params.seed:q}"
        " --root {params.root:q}"
        " --out-dir {params.out_dir:q}"
        " --log {log:q}"


rule paper_claims:
    """Set a paper's claims against what its study measured."""
    input:
        found=f"{STUDY_ROOT}/{{study}}/results.json",
        cost=f"{STUDY_ROOT}/{{study}}/cost.csv",
    output:
        json=f"{STUDY_ROOT}/{{study}}/claims.json",
        table=f"{STUDY_ROOT}/{{study}}/claims.md",
    log:
        results("logs/study/{study}.claims.log"),
    wildcard_constraints:
        study=re.escape(STUDY.name) if CLAIMS else "(?!)",
    conda:
        "../../envs/base.yaml"
    params:
        recipe=RECIPE["claims"],
        claims=json.dumps(complete(CLAIMS), ensure_ascii=False) if CLAIMS else "",
        typed=typed,
    message:
        "Study {wildcards.study}: claims"
    shell:
        "python -m unisono claims"
        " --claims {params.claims:q}"
        " --results {input.found:q}"
        " --cost {input.cost:q}"
        " --typed {params.typed:q}"
        " --out {output.table:q}"
        " --out-json {output.json:q}"
        " --log {log:q}"
