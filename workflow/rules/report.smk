"""Report: plots, tables and a summary of all systems of the config.

Requires: the numbers of all stages.
Provides: report/ with summary.txt; `snakemake --report` puts its plots and tables on one page.
"""

WORDS = "Word error rate"
CORPUS = "Corpus and alignment"
TIME = "Time"
# Of each run.
PAGES = {
    "learning_curve.svg": "learning curve",
    "frame_accuracy.svg": "frame accuracy",
    "iterations.html": "iterations and workers",
    "ledger.html": "frame ledger",
}


rule report:
    """Draw the learning curves and tabulate word errors, corpus, alignment and time."""
    input:
        corpus=results("data/corpus.json"),
        speakers=files.speaker_table(SHARED),
        perturbed=results("data/perturbed.json") if len(LEARNT) > 1 else [],
        table=results("data/test.tsv"),
        alignments=[results(f"hmm/{system}/ali.{split}.json") for system, split in SHARED.alignments],
        frames=results("frames/frames.json"),
        runs=run_files("plan.json", "metrics.jsonl", "ledger.json", runs=RUNS) + run_files("wer.json"),
        wers=expand(
            results("{where}/{name}"),
            where=decoded(),
            name=["wer.json", "per_speaker.tsv", "confusions.tsv"],
        ),
    output:
        summary=multiext(results("report/summary"), ".txt", ".json"),
        first_page=multiext(results("report/"), "index.html", "answer.json"),
        wer_plot=report(
            results("report/wer.svg"),
            caption="../report/wer_plot.rst",
            category=WORDS,
            labels={"shows": "word error rates, plot"},
        ),
        wer_table=report(
            results("report/wer.html"),
            caption="../report/wer_table.rst",
            category=WORDS,
            labels={"shows": "word error rates, table"},
        ),
        speakers=report(
            results("report/speakers.html"),
            caption="../report/speakers.rst",
            category=WORDS,
            labels={"shows": "by speaker"},
        ),
        confusions=report(
            results("report/confusions.html"),
            caption="../report/confusions.rst",
            category=WORDS,
            labels={"shows": "most frequent errors"},
        ),
        training=[
            report(
                results(f"report/runs/{run}/{page}"),
                caption=f"../report/{page.split('.')[0]}.rst",
                category="Training",
                subcategory=run,
                labels={"shows": shows},
            )
            for run in RUNS
            for page, shows in PAGES.items()
        ],
        corpus=report(
            results("report/corpus.html"),
            caption="../report/corpus.rst",
            category=CORPUS,
            labels={"shows": "corpus"},
        ),
        alignment_plot=report(
            results("report/alignment.svg"),
            caption="../report/alignment_plot.rst",
            category=CORPUS,
            labels={"shows": "alignment, plot"},
        ),
        alignment_table=report(
            results("report/alignment.html"),
            caption="../report/alignment_table.rst",
            category=CORPUS,
            labels={"shows": "alignment, table"},
        ),
        time_plot=report(
            results("report/time.svg"),
            caption="../report/time_plot.rst",
            category=TIME,
            labels={"shows": "time, plot"},
        ),
        time_table=report(
            results("report/time.html"),
            caption="../report/time_table.rst",
            category=TIME,
            labels={"shows": "time, table"},
        ),
    log:
        results("logs/report/report.log"),
    conda:
        "../../envs/base.yaml"
    params:
        recipe=RECIPE["report"],
        root=subpath(input.corpus, ancestor=2),
        results=decoded(),
        runs=list(RUNS),
        align=SHARED.aligned,
        classes=json.dumps(SHARED.report.classes),
        seed=SHARED.seed,
    message:
        "Report"
    shell:
        "python -m unisono report"
        " --root {params.root:q}"
        " --results {params.results:q}"
        " --runs {params.runs:q}"
        " --align {params.align:q}"
        " --seed {params.seed:q}"
        " --speakers {input.speakers:q}"
        " --classes {params.classes:q}"
        " --perturbed {input.perturbed:q}"
        " --log {log:q}"
