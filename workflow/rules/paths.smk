"""Which files are read where: the input functions of all stages, in the order of the story.

Requires: settings.smk. The files between two iterations of training have a place of their own, iterations.smk.
"""

from snakemake.io import report as reported

# What a study writes; the pictures last.
STUDY_FILES = ["results.json", "cells.csv", "pairs.csv", "curves.csv", "cost.csv", "curves.svg", "final.svg"]


def feature_shards(frontend, split):
    """Return the feature files of a split, in the order of its shards."""
    return [results(f"features/{frontend}/{split}.{shard}.h5") for shard in SHARDS]


def cmvn_file(frontend, split):
    """Return the normalisation statistics that a split uses; global ones are those of the training set."""
    section = SHARED.features if frontend == "net" else SHARED.hmm.features
    return results(f"features/{frontend}/{'train' if section.cmvn == 'global' else split}.cmvn.h5")


def features_of_split(wildcards):
    """Return the feature files of a split, of the front end of the wildcards, or else of GMMs."""
    return feature_shards(wildcards.get("frontend", "hmm"), wildcards.split)


def network_features(wildcards):
    """Return the network's feature files of a split."""
    return feature_shards("net", wildcards.split)


def network_cmvn(wildcards):
    """Return the network's normalisation statistics of a split."""
    return cmvn_file("net", wildcards.split)


def hmm_cmvn(wildcards):
    """Return the GMMs' normalisation statistics of a split."""
    return cmvn_file("hmm", wildcards.split)


def finished_run(wildcards):
    """Return what describes the run of `hmm.align_with`, with all its files."""
    return files.finished_run(SHARED)


def start_model(wildcards):
    """Return the model that a run starts from; nothing for a random start."""
    return files.start_model(RUNS[wildcards.run])


def decoded():
    """Return the folder of every decoded system: GMMs and each candidate of each run, or what the study names."""
    if STUDY:
        return SYSTEMS + list(study.decoded(STUDY))
    return SYSTEMS + [f"runs/{run}/decode/{candidate}" for run in RUNS for candidate in RUNS[run].candidates]


def tuning(wildcards):
    """Return what chose the setting that a network is decoded at: its own tuning, or the one of the whole study."""
    own = wildcards.get("where") or f"runs/{wildcards.run}/decode/{wildcards.candidate}"
    return results(f"{own if own.startswith('gmm/') or not STUDY else study.tuned_on(STUDY)}/tune.json")


def tuned_flag(wildcards, input):
    """Return how the score takes its tuning: as that of the system itself, or of another one, with no WER on dev."""
    own = results(f"{wildcards.where}/tune.json")
    return "--tuned" if input.tuned == own else "--tuned-elsewhere"


def test_shards(wildcards):
    """Return the hypotheses of the test set's shards of a system."""
    return [results(f"{wildcards.where}/test.{shard}.hyp") for shard in SHARDS]


def chosen(name):
    """Return the input function for a file of the candidate that `final_model` chooses."""

    def file(wildcards):
        return results(f"runs/{wildcards.run}/decode/{RUNS[wildcards.run].final_model}/{name}")

    return file


def final_model(wildcards):
    """Return which of a run's models is its result."""
    return RUNS[wildcards.run].final_model


def aligned_systems():
    """Return the systems whose alignments or training the report may show, in the order of work."""
    wanted = {"mono", "tri", ALIGN, *SHARED.decode.systems}
    return [system for system in ("mono", "tri", "lda_mllt", "dnn", "kaldi") if system in wanted]


def reported_alignments():
    """Return the reports of the alignments that are made in any case."""
    wanted = {ALIGN, *SHARED.decode.systems}
    made = [(ALIGN, split) for split in [*LEARNT, "dev"]]
    if "lda_mllt" in wanted:
        made.insert(0, ("tri", "train"))
    if wanted & {"tri", "lda_mllt"}:
        made.insert(0, ("mono", "train"))
    return [results(f"hmm/{system}/ali.{split}.json") for system, split in dict.fromkeys(made)]


def training_pages():
    """Return the plots and tables of each run, marked for Snakemake's report."""
    pages = {
        "learning_curve.svg": "learning curve",
        "frame_accuracy.svg": "frame accuracy",
        "iterations.html": "iterations and workers",
        "ledger.html": "frame ledger",
    }
    return [
        reported(
            results(f"report/runs/{run}/{page}"),
            caption=f"../report/{page.split('.')[0]}.rst",
            category="Training",
            subcategory=run,
            labels={"shows": shows},
        )
        for run in RUNS
        for page, shows in pages.items()
    ]


def study_files(wildcards):
    """Return the results of the study. Raises WorkflowError where the config has none."""
    if not STUDY:
        raise WorkflowError("config: study: missing: this config has no section `study`: see config/studies/")
    # The last one lies where the runs do: without it, as in a clone, what is in docs/results/ is of somebody else's runs.
    return [*(f"docs/results/{STUDY.name}/{name}" for name in STUDY_FILES), results(f"study/{STUDY.name}.done")]


def run_files(*names):
    """Return these files of every run."""
    return [results(f"runs/{run}/{name}") for run in RUNS for name in names]
