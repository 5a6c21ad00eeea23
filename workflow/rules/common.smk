"""The settings of this call, and the functions that rules ask for paths, options and numbers.

Provides: SHARED (settings before training), RUNS (complete settings of each run), RECIPE, `results(path)`,
`options(...)`, and the input functions of the stages. Of our own code only floor 0 is imported, and no file is read
but the schema and plans: Snakemake reads this for every job on a cluster.
"""

import functools
import os
import re
import shlex
from pathlib import Path

import jsonschema
import yaml
from snakemake.exceptions import WorkflowError
from snakemake.io import report as reported

from unisono import sense, study
from unisono.errors import UserError
from unisono.recipe import RECIPE
from unisono.schedule import read_plan, static_workers

SPLITS = ["train", "dev", "test"]
# Of a Kaldi data directory; the first three must be there.
KALDI_FILES = ("wav.scp", "text", "utt2spk", "segments", "spk2gender")
SCHEMA = yaml.safe_load(Path(workflow.basedir, "workflow/schemas/config.schema.yaml").read_text(encoding="utf-8"))


def settings():
    """Return the shared settings and those of each run. Raises UserError where the config is wrong."""
    shared, runs, notes = study.resolve(config, SCHEMA)
    validator = jsonschema.Draft202012Validator(SCHEMA)
    for where, complete in [("", shared), *((f"runs.{name}.", run) for name, run in runs.items())]:
        for error in validator.iter_errors(complete):
            raise UserError(where + study.explain(error))
    study.check(shared)
    for name, run in runs.items():
        try:
            sense.check(run)
        except UserError as error:
            raise UserError(f"runs.{name}.{error}" if config.get("runs") else str(error)) from None
        notes += sense.warnings(run)
    for note in dict.fromkeys(notes):
        logger.warning(f"config: {note}")
    return shared, runs


try:
    SHARED, RUNS = settings()
except UserError as error:
    raise WorkflowError(f"config: {error}") from None

THREADS = SHARED["resources"]["threads_per_worker"]
CHECKPOINT_S = str(SHARED["resources"]["checkpoint_s"])
HANG_TIMEOUT_S = str(SHARED["resources"]["hang_timeout_s"])
SHARDS = range(SHARED["corpus"]["shards"])
SYSTEMS = [f"gmm/{system}" for system in SHARED["decode"]["systems"]]
# Whose tree and alignment the network takes; `dnn`: those of another config's network.
ALIGN = "dnn" if SHARED["hmm"]["align_with"] else SHARED["hmm"]["align"]

# The interpreter that runs snakemake runs the rules, uninstalled; with conda the environment's own comes first.
PYTHON = "" if workflow.deployment_settings.deployment_method else f"{Path(sys.executable).parent}:"
HIDDEN = " CUDA_VISIBLE_DEVICES=" if SHARED["resources"]["device"] == "cpu" else ""
shell.prefix(
    f"export PATH={shlex.quote(PYTHON)}$PATH PYTHONPATH={shlex.quote(workflow.basedir)}/src"
    f" PYTHONNOUSERSITE=1 PYTHONUNBUFFERED=1{HIDDEN}; "
)


wildcard_constraints:
    run=r"[A-Za-z0-9._-]+",
    split="train|dev|test",
    frontend="hmm|net",
    system="mono|tri|lda_mllt|dnn",
    candidate="last|best|ema|polyak",
    shard=r"\d+",
    iter=r"\d+",
    job=r"\d+",


def results(path):
    """Return where `path` of this config's results lies, below the working directory."""
    return f"results/{SHARED['name']}/{path}"


def options(*keys):
    """Return a section of the shared settings (`options("hmm", "features")`) as JSON for a command."""
    return study.compact(functools.reduce(dict.__getitem__, keys, SHARED))


def hmm_options(*unread):
    """Return the `hmm` section as JSON, with what this stage does not read at its default: no rerun for that.

    `lda_mllt` is left out where it is not read; `align_with` always: only the rules read it.
    """
    default = study.fill({}, SCHEMA["properties"]["hmm"], SCHEMA)
    section = {**SHARED["hmm"], **{key: default[key] for key in unread}}
    left_out = {"align_with", *({"lda_mllt"} & set(unread))}
    return study.compact({key: value for key, value in section.items() if key not in left_out})


def gmm_features(wildcards):
    """Return the features that a GMM system sees, as JSON: `lda_mllt` splices and so takes no deltas."""
    section = SHARED["hmm"]["features"]
    return study.compact({**section, "deltas": 0} if wildcards.get("system", "lda_mllt") == "lda_mllt" else section)


# Corpus and features


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
    files = [os.path.join(folder, name) for name in names]
    for file in files:
        if not os.path.exists(file):
            remedy = "say where the corpora lie with --config corpora_dir=FOLDER, or correct corpus.dir"
            raise WorkflowError(f"config: {file}: no such file: {remedy}")
    return files


def feature_section(wildcards):
    """Return the feature settings of a front end, `net` or `hmm`, as JSON."""
    return options("features") if wildcards.frontend == "net" else options("hmm", "features")


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


def recogniser_settings(wildcards):
    """Return the settings that using a recogniser needs, or that say what it is, as JSON."""
    return study.compact({key: SHARED[key] for key in ("features", "hmm", "lm", "decode")})


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
    if not os.path.exists(path):
        raise WorkflowError(f"config: hmm.align_with: {path}: no such file: let that config finish first")
    return path


def hmm_features(wildcards):
    """Return the GMMs' feature files of a split."""
    return feature_shards("hmm", wildcards.split)


def hmm_cmvn(wildcards):
    """Return the GMMs' normalisation statistics of a split."""
    return cmvn_file("hmm", wildcards.split)


def given_arpa(wildcards):
    """Return the ARPA file of `lm: {kind: arpa}`; nothing for other kinds."""
    lm = SHARED["lm"]
    return [os.path.join(SHARED["corpora_dir"], lm["arpa"])] if lm["kind"] == "arpa" else []


# Training


def runs_with(*engines):
    """Return a pattern for the names of the runs with these engines; it matches nothing where there are none."""
    return "|".join(re.escape(name) for name in RUNS if RUNS[name]["parallel"]["engine"] in engines) or "(?!)"


@functools.cache
def workers_of_config(run):
    """Return the workers of each iteration where the config says how many iterations there are."""
    return static_workers(RUNS[run]["schedule"]["iterations"], RUNS[run]["parallel"]["workers"])


@functools.cache
def workers_of_plan(path, changed):
    """Return the workers of each iteration of a plan.json last changed at `changed`."""
    return [iteration.workers for iteration in read_plan(path).iterations]


def workers(run):
    """Return the workers of each iteration of a run; from its plan, unless the config says how many there are."""
    if RUNS[run]["schedule"]["iterations"]:
        return workers_of_config(run)
    path = checkpoints.plan.get(run=run).output[0]
    return workers_of_plan(path, os.stat(path).st_mtime_ns)


def iteration_file(run, iteration, name):
    """Return a file of an iteration; those before iteration 0 are called `init`."""
    return results(f"runs/{run}/iterations/{'init' if iteration < 0 else iteration}.{name}")


def combined_before(wildcards):
    """Return what the iteration before has yielded, for one job or for the combination."""
    return iteration_file(wildcards.run, int(wildcards.iter) - 1, "combine.safetensors")


def state_before(wildcards):
    """Return rate, stop flag and so on after the iteration before."""
    return iteration_file(wildcards.run, int(wildcards.iter) - 1, "state.json")


def worker_state_before(wildcards):
    """Return this worker's optimiser state after the iteration before; nothing for one that has just joined."""
    iteration, job = int(wildcards.iter) - 1, int(wildcards.job)
    if iteration < 0 or job >= workers(wildcards.run)[iteration]:
        return []
    return iteration_file(wildcards.run, iteration, f"{job}.state.safetensors")


def worker_state_flag(wildcards, input):
    """Return the flag that hands the state over, or none."""
    return ["--worker-state", input.worker_state] if input.get("worker_state") else []


def jobs_of(name):
    """Return the input function for the files `name` of all jobs of an iteration."""

    def files(wildcards):
        jobs = range(workers(wildcards.run)[int(wildcards.iter)])
        return [iteration_file(wildcards.run, int(wildcards.iter), f"{job}.{name}") for job in jobs]

    return files


def block_begin(wildcards):
    """Return the first iteration of the block that ends with this one."""
    length = RUNS[wildcards.run]["parallel"]["iterations_per_job"]
    end, begin = int(wildcards.iter), int(wildcards.iter) // length * length
    last = len(workers(wildcards.run)) - 1
    if end != min(begin + length - 1, last):
        raise WorkflowError(f"run {wildcards.run}: no block of iterations ends with {end}")
    return begin


def combined_before_block(wildcards):
    """Return what the block before has yielded."""
    return iteration_file(wildcards.run, block_begin(wildcards) - 1, "combine.safetensors")


def state_before_block(wildcards):
    """Return rate, stop flag and so on after the block before."""
    return iteration_file(wildcards.run, block_begin(wildcards) - 1, "state.json")


def state_dir(wildcards):
    """Return where an interrupted block keeps its checkpoints."""
    return results(f"runs/{wildcards.run}/state")


def ranks(wildcards):
    """Return the number of MPI ranks of a run: the workers of its last iteration."""
    number = RUNS[wildcards.run]["parallel"]["workers"]
    return number if isinstance(number, int) else number["final"]


def last_combined(wildcards):
    """Return what the last iteration of a run has yielded."""
    return iteration_file(wildcards.run, len(workers(wildcards.run)) - 1, "combine.safetensors")


def run_identity(wildcards):
    """Return what decides a run's result, as JSON."""
    return study.compact(study.identity(RUNS[wildcards.run], SCHEMA))


def start_model(wildcards):
    """Return the model that a run starts from; nothing for a random start."""
    initialisation = RUNS[wildcards.run]["initialisation"]
    return [initialisation["path"]] if initialisation["kind"] == "model" else []


def optional_flag(flag, name):
    """Return the params function for a flag that is given only where the input `name` is."""

    def words(wildcards, input):
        return [flag, *input.get(name)] if input.get(name) else []

    return words


# Decoding and report


def candidates(run):
    """Return the models of a run that are decoded: the last, the observers', and the best where it is kept."""
    settings = RUNS[run]
    best = settings["final_model"] == "best" or settings["schedule"]["kind"] == "newbob"
    return [
        "last",
        *(["best"] if best else []),
        *(name for name in ("ema", "polyak") if settings["observers"][name]),
    ]


def decoded():
    """Return the folder of every decoded system: GMMs and each candidate of each run."""
    return SYSTEMS + [f"runs/{run}/decode/{candidate}" for run in RUNS for candidate in candidates(run)]


def test_shards(wildcards):
    """Return the hypotheses of the test set's shards of a system."""
    return [results(f"{wildcards.where}/test.{shard}.hyp") for shard in SHARDS]


def chosen(name):
    """Return the input function for a file of the candidate that `final_model` chooses."""

    def file(wildcards):
        return results(f"runs/{wildcards.run}/decode/{RUNS[wildcards.run]['final_model']}/{name}")

    return file


def aligned_systems():
    """Return the systems whose alignments or training the report may show, in the order of work."""
    wanted = {"mono", "tri", ALIGN, *SHARED["decode"]["systems"]}
    return [system for system in ("mono", "tri", "lda_mllt", "dnn") if system in wanted]


def reported_alignments():
    """Return the reports of the alignments that are made in any case."""
    wanted = {ALIGN, *SHARED["decode"]["systems"]}
    made = [(ALIGN, "train"), (ALIGN, "dev")]
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


def run_files(*names):
    """Return these files of every run."""
    return [results(f"runs/{run}/{name}") for run in RUNS for name in names]
