"""Unisono: recordings, transcripts and a lexicon become a recogniser, trained by parallel workers.

    snakemake --cores 2                                        the demo, config/config.yaml
    snakemake --cores 8 --configfile config/fsdd.yaml          another config, which stands alone
    snakemake --cores 8 --configfile config/config.yaml mine.yaml      the demo with changes
    snakemake study --cores 8 --configfile config/studies/gossip.yaml  a grid of runs and what it found
    snakemake paper --cores 8 --configfile config/papers/x.yaml        the same for a paper, and its claims judged
    snakemake pretrain --cores 8 --configfile mine.yaml                initialisation: rbm, no further than the stacks

Results lie in results/<name>/ of the working directory, those of a study also in docs/results/<study>/.
"""

import sys

from snakemake.utils import min_version

min_version("9.20")
# A chain of iterations is resolved recursively: 250 of them are too deep for Python's default (snakemake #2420).
sys.setrecursionlimit(20_000)
sys.path.insert(0, f"{workflow.basedir}/src")


# Behind this question, because the keys of a `configfile:` would leak into every other config.
if not workflow.overwrite_configfiles:

    configfile: f"{workflow.basedir}/config/config.yaml"


report: "workflow/report/workflow.rst"


include: "workflow/rules/settings.smk"
include: "workflow/rules/paths.smk"
include: "workflow/rules/iterations.smk"
include: "workflow/rules/needs.smk"
include: "workflow/rules/warm.smk"
include: "workflow/rules/events.smk"
# From recordings to aligned frames,
include: "workflow/rules/corpus.smk"
include: "workflow/rules/features.smk"
include: f"workflow/rules/{'kaldi' if ALIGN == 'kaldi' else 'lang'}.smk"
include: "workflow/rules/hmm.smk"
include: "workflow/rules/graph.smk"
include: "workflow/rules/frames.smk"
# one model from many workers, once per run of the config,
include: "workflow/rules/plan.smk"
include: "workflow/rules/pretrain.smk"
include: "workflow/rules/train_jobs.smk"
include: "workflow/rules/train_mpi.smk"
# and what it is worth.
include: "workflow/rules/decode.smk"
include: "workflow/rules/recogniser.smk"
include: "workflow/rules/score.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/study.smk"


onstart:
    hold_results()
    wait_for_jobs_only()
    warm_up()
    log_elsewhere()


onsuccess:
    if not STUDY and os.path.exists(results("report/answer.json")):
        # By the interpreter of snakemake, which has what the report needs also where the rules run in other environments.
        shell(f"{shlex.quote(sys.executable)} -m unisono answer {shlex.quote(results(''))}")


rule all:
    default_target: True
    input:
        study_files if STUDY else results("report/summary.txt"),
        [] if STUDY else run_files("final.safetensors", "wer.json", "recogniser.json"),


rule study:
    input:
        study_files,


rule paper:
    input:
        paper_files,


rule pretrain:
    input:
        pretrained_models,
