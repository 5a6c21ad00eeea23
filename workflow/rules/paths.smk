"""Which files are read where: the input functions of all stages, in the order of the story.

Requires: settings.smk. The files between two iterations of training have a place of their own, iterations.smk.
"""

import os

from snakemake.exceptions import WorkflowError
from snakemake.io import report as reported

from unisono import grid

# What a study writes; the pictures last.
STUDY_FILES = ["results.json", "cells.csv", "pairs.csv", "curves.csv", "cost.csv", "curves.svg", "final.svg"]
# Of a Kaldi data directory; the first three must be there.
KALDI_FILES = ("wav.scp", "text", "utt2spk", "segments", "spk2gender")


# Corpus and features


def present(key, file, remedy):
    """Return the path of a file that the config names. Raises WorkflowError, one line, where there is none."""
    if not os.path.exists(file):
        raise WorkflowError(f"config: {key}: {file}: no such file: {remedy}")
    return file


def corpus_files(wildcards):
    """Return the files of a recorded corpus; the spoken one needs none."""
    corpus = SHARED["corpus"]
    if corpus["kind"] == "spoken":
        return []
    folder = os.path.join(SHARED["corpora_dir"], corpus["dir"])
    tables = {"table": ["table"], "strings": ["table", "strings"]}.get(corpus["kind"], [])
    names = [corpus[name] for name in [*tables, "lexicon", "lm_text", "phones"] if corpus[name]]
    if corpus["kind"] == "kaldi":
        for split in SPLITS:
            parts = [os.path.join(corpus["kaldi"][split], part) for part in KALDI_FILES]
            names += parts[:3] + [part for part in parts[3:] if os.path.exists(os.path.join(folder, part))]
    if os.path.isdir(folder):
        remedy = f"correct the key below corpus that names it, or corpus.dir; {folder} is there"
    else:
        remedy = "say where the corpora lie with --config corpora_dir=FOLDER, or correct corpus.dir"
    return [present("corpus", os.path.join(folder, name), remedy) for name in names]


def is_number(text):
    """Return whether a table's field can be read as a number."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def speaker_table(wildcards):
    """Return the table of speakers whose columns are classes in the report; nothing where none is named."""
    table = SHARED["report"]["speakers"]
    if not table:
        return []
    path = os.path.join(SHARED["corpora_dir"], SHARED["corpus"]["dir"], table)
    present("report.speakers", path, "the path is read below corpus.dir")
    # The report reads the table after hours of training; what it would refuse there is seen now.
    with open(path, encoding="utf-8-sig", errors="replace") as lines:
        heading, *rows = [[field.strip() for field in line.split("\t")] for line in lines] or [[]]
    for column, border in {"speaker_id": "each", **SHARED["report"]["classes"]}.items():
        if column not in heading:
            raise WorkflowError(
                f"config: report.speakers: {path}: line 1: column {column!r} is missing: it has {', '.join(heading)}"
            )
        at = heading.index(column)
        for number, row in enumerate(rows, start=2):
            if border != "each" and not is_number("".join(row[at : at + 1])) and any(row):
                raise WorkflowError(
                    f"config: report.speakers: {path}: line {number}: {column} is no number: correct it, "
                    f"or set report.classes.{column}: each"
                )
    return [path]


def feature_shards(frontend, split):
    """Return the feature files of a split, in the order of its shards."""
    return [results(f"features/{frontend}/{split}.{shard}.h5") for shard in SHARDS]


def cmvn_file(frontend, split):
    """Return the normalisation statistics that a split uses; global ones are those of the training set."""
    section = SHARED["features"] if frontend == "net" else SHARED["hmm"]["features"]
    return results(f"features/{frontend}/{'train' if section['cmvn'] == 'global' else split}.cmvn.h5")


def global_cmvn(wildcards):
    """Return the training set's statistics where the network's features are normalised by those; else nothing."""
    return [cmvn_file("net", "train")] if SHARED["features"]["cmvn"] == "global" else []


def features_of_split(wildcards):
    """Return the feature files of a front end and split."""
    return feature_shards(wildcards.frontend, wildcards.split)


def network_features(wildcards):
    """Return the network's feature files of a split."""
    return feature_shards("net", wildcards.split)


def network_cmvn(wildcards):
    """Return the network's normalisation statistics of a split."""
    return cmvn_file("net", wildcards.split)


def finished_run(wildcards):
    """Return what describes the run of `hmm.align_with`, with all its files. Raises WorkflowError where it is not."""
    other = SHARED["hmm"]["align_with"]
    path = f"results/{other['name']}/runs/{other['run']}/recogniser.json"
    return present("hmm.align_with", path, "let that config finish first")


def hmm_features(wildcards):
    """Return the GMMs' feature files of a split."""
    return feature_shards("hmm", wildcards.split)


def hmm_cmvn(wildcards):
    """Return the GMMs' normalisation statistics of a split."""
    return cmvn_file("hmm", wildcards.split)


def given_arpa(wildcards):
    """Return the ARPA file of `lm: {kind: arpa}`; nothing for other kinds."""
    lm = SHARED["lm"]
    if lm["kind"] != "arpa":
        return []
    return [present("lm.arpa", os.path.join(SHARED["corpora_dir"], lm["arpa"]), "the path is read below corpora_dir")]


# Training, beside its iterations


def start_model(wildcards):
    """Return the model that a run starts from; nothing for a random start."""
    initialisation = RUNS[wildcards.run]["initialisation"]
    return [initialisation["path"]] if initialisation["kind"] == "model" else []


def decoded():
    """Return the folder of every decoded system: GMMs and each candidate of each run, or what the study names."""
    if STUDY:
        return SYSTEMS + list(grid.decoded(STUDY))
    return SYSTEMS + [f"runs/{run}/decode/{candidate}" for run in RUNS for candidate in grid.candidates(RUNS[run])]


def tuning(wildcards):
    """Return what chose the setting that a network is decoded at: its own tuning, or the one of the whole study."""
    own = wildcards.get("where") or f"runs/{wildcards.run}/decode/{wildcards.candidate}"
    return results(f"{own if own.startswith('gmm/') or not STUDY else grid.tuned_on(STUDY)}/tune.json")


def test_shards(wildcards):
    """Return the hypotheses of the test set's shards of a system."""
    return [results(f"{wildcards.where}/test.{shard}.hyp") for shard in SHARDS]


def chosen(name):
    """Return the input function for a file of the candidate that `final_model` chooses."""

    def file(wildcards):
        return results(f"runs/{wildcards.run}/decode/{RUNS[wildcards.run]['final_model']}/{name}")

    return file


def reported_alignments():
    """Return the reports of the alignments that are made in any case."""
    wanted = {ALIGN, *SHARED["decode"]["systems"]}
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
    return [*(f"docs/results/{STUDY['name']}/{name}" for name in STUDY_FILES), results(f"study/{STUDY['name']}.done")]


def run_files(*names):
    """Return these files of every run."""
    return [results(f"runs/{run}/{name}") for run in RUNS for name in names]


def check_files():
    """Refuse a config that names a file which is not there: some are needed only after hours of work."""
    corpus_files(None)
    given_arpa(None)
    speaker_table(None)
    if SHARED["hmm"]["align_with"]:
        finished_run(None)
    for run in RUNS.values():
        path = run["initialisation"]["path"]
        # A model that this config makes itself is not there yet.
        if path and not os.path.normpath(path).startswith(results("runs/")):
            present("initialisation.path", path, "the path is read from the working directory")


check_files()
