"""Which files are read where: the input functions of all stages, in the order of the story.

Requires: settings.smk. The files between two iterations of training have a place of their own, iterations.smk.
"""

# Where a study writes, those of papers apart, and what; the pictures last.
STUDY_ROOT = "docs/results/papers" if CLAIMS else "docs/results"
TABLES = ["results.json", "cells.csv", "pairs.csv", "curves.csv", "cost.csv"]
STUDY_FILES = [*TABLES, "curves.svg", "seconds.svg", "final.svg"]
CLAIM_FILES = ["claims.json", "claims.md"]


def feature_shards(frontend, split):
    """Return the feature files of a split, in the order of its shards."""
    return [results(f"features/{frontend}/{split}.{shard}.h5") for shard in SHARDS]


def cmvn_file(frontend, split):
    """Return the normalisation statistics that a split uses; global ones are those of the training set."""
    section = SHARED.features if frontend == "net" else SHARED.hmm.features
    return results(f"features/{frontend}/{'train' if section.cmvn == 'global' else split}.cmvn.h5")


def of_split(named, frontend=""):
    """Return the input function for a split's `feature_shards` or `cmvn_file`; `""`: of the wildcard's front end."""
    return lambda wildcards: named(frontend or wildcards.frontend, wildcards.split)


def given_features(name, flag):
    """Return the params function for a file of Kaldi's data directory; nothing where it is not there or not asked for."""

    def words(wildcards):
        path = files.kaldi_features(SHARED, wildcards.frontend, wildcards.split, name)
        return [flag, path] if path else []

    return words


def start_model(wildcards):
    """Return the model that a run starts from, given or pretrained; nothing for a random start."""
    pretrained = results(f"runs/{wildcards.run}/pretrained.safetensors")
    return pretrained if stack.stack_of(RUNS[wildcards.run]) else files.start_model(RUNS[wildcards.run])


def pretrained_models(wildcards):
    """Return the models that pretrained runs start from. Raises WorkflowError where no run of the config is one."""
    found = [results(f"runs/{run}/pretrained.safetensors") for run in RECOGNISERS if stack.stack_of(RUNS[run])]
    if not found:
        raise WorkflowError("config: initialisation.kind: no run has rbm: nothing is pretrained")
    return found


def constants_of_run(wildcards):
    """Return what a run's network holds fixed: its constants, where it has any, and the layers below an RBM."""
    return [results(path) for path in stack.held(RUNS, wildcards.run)]


def source(split):
    """Return the split of the corpus that a split of training is made of: where a part of train stands for dev, train."""
    return "train" if KALDI_DEV == "train" else split


def table_of(split):
    """Return the utterances of a split of training."""
    return results(f"{'hmm/kaldi' if KALDI_DEV == 'train' else 'data'}/{split}.tsv")


def decoded():
    """Return the folder of every decoded system: GMMs and each candidate of each run, or what the study names."""
    if STUDY:
        return SYSTEMS + list(study.decoded(STUDY))
    return SYSTEMS + [f"runs/{run}/decode/{candidate}" for run in RECOGNISERS for candidate in RUNS[run].candidates]


def tuning(wildcards):
    """Return what chose the setting that a network is decoded at: its own tuning, or the one of the whole study."""
    own = wildcards.get("where") or f"runs/{wildcards.run}/decode/{wildcards.candidate}"
    return results(f"{own if own.startswith('gmm/') or not STUDY else study.tuned_on(STUDY)}/tune.json")


def tuned_flag(wildcards, input):
    """Return how the score takes its tuning: as that of the system itself, or of another one, with no WER on dev."""
    return "--tuned" if input.tuned == results(f"{wildcards.where}/tune.json") else "--tuned-elsewhere"


def chosen(name):
    """Return the input function for a file of the candidate that `final_model` chooses."""
    return lambda wildcards: results(f"runs/{wildcards.run}/decode/{RUNS[wildcards.run].final_model}/{name}")


def study_files(wildcards):
    """Return the results of the study. Raises WorkflowError where the config has none."""
    if not STUDY:
        raise WorkflowError("config: study: missing: this config has no section `study`: see config/studies/")
    # The last one lies where the runs do: without it, as in a clone, what is in docs/results/ is of somebody else's runs.
    written = [*STUDY_FILES, *(CLAIM_FILES if CLAIMS else [])]
    return [*(f"{STUDY_ROOT}/{STUDY.name}/{name}" for name in written), results(f"study/{STUDY.name}.done")]


def paper_files(wildcards):
    """Return the results of a paper's study. Raises WorkflowError where no claims lie beside the config."""
    if not CLAIMS:
        wanted = " or ".join(os.path.relpath(check.claims_file(path)) for path in workflow.configfiles)
        raise WorkflowError(f"config: {wanted}: no such file: a paper's config has its claims beside it")
    return study_files(wildcards)


def typed(wildcards):
    """Return the command that a reader types for the same paper; configs of the project by their place in it."""
    files = [os.path.relpath(path, workflow.basedir) for path in workflow.configfiles]
    return f"snakemake paper --configfile {' '.join(re.sub('^[.][.]/.*/', '', file) for file in files)}"


def run_files(*names, runs=RECOGNISERS):
    """Return these files of every run that makes a recogniser, or of `runs`."""
    return [results(f"runs/{run}/{name}") for run in runs for name in names]
