"""The settings of this call, checked: what the config says, and what follows from it for every rule.

Provides: SHARED (what all runs share), RUNS (each run by its name, with those that pretrain layers), RECOGNISERS (the
names of those that make a recogniser), `results(path)`, `told(command)` and the like (what
the commands are told, as JSON), the constraints of wildcards. Of our own code only floor 0 is imported, and no file is
read but the config and those that it names: Snakemake reads this for every job on a cluster.
"""

import json
import os
import re
import shlex
from pathlib import Path

from snakemake.exceptions import WorkflowError

from unisono import lock
from unisono.config import check, files, reads, stack, study, transform
from unisono.config.build import complete
from unisono.errors import UserError
from unisono.recipe import RECIPE

SPLITS = list(files.SPLITS)


try:
    SETTINGS = check.settings(config, workflow.configfiles)
    CLAIMS = check.claims(workflow.configfiles, SETTINGS)
except UserError as error:  # one line, which names the key
    raise WorkflowError(f"config: {error}") from None
SHARED, RUNS, NOTES = SETTINGS
# The runs that pretrain layers, derived from those of the config, are runs like any other but for what is made of them.
RUNS = stack.with_stacks(RUNS)
RECOGNISERS = [name for name, run in RUNS.items() if run.recognises]
TITLES = stack.titles(RUNS)
for note in NOTES:
    logger.warning(f"config: {note}")
# Values that must not run a stage again, such as these, reach the shell as `resources`, and as text: Snakemake cuts a
# number to an integer there.
THREADS = SHARED.resources.threads_per_worker
DEVICE = SHARED.resources.device
CHECKPOINT_S = str(SHARED.resources.checkpoint_s)
HANG_TIMEOUT_S = str(SHARED.resources.hang_timeout_s)
CONSTANTS = {own.digest: own.told for run in RUNS.values() if (own := transform.constants_of(run.network))}
ENGINES = {name: files.engine_of(SHARED, name, run) for name, run in RUNS.items()}
SHARDS = range(SHARED.corpus.shards)
STUDY = SHARED.study
SYSTEMS = [f"gmm/{system}" for system in SHARED.decode.systems]
# Whose tree and alignment the network takes; `dnn`: those of another config's network.
ALIGN = SHARED.aligner
# With alignments of Kaldi: whose frames stand for dev in training.
KALDI_DEV = files.kaldi_dev(SHARED)
# The splits whose frames the network learns from.
LEARNT = SHARED.learnt

# The interpreter that runs snakemake runs the rules, uninstalled; with conda the environment's own comes first.
PYTHON = "" if workflow.deployment_settings.deployment_method else f"{Path(sys.executable).parent}:"
HIDDEN = " CUDA_VISIBLE_DEVICES=" if DEVICE == "cpu" else ""
PREFIX = (
    f"export PATH={shlex.quote(PYTHON)}$PATH PYTHONPATH={shlex.quote(workflow.basedir)}/src"
    f" PYTHONNOUSERSITE=1 PYTHONUNBUFFERED=1{HIDDEN}; "
)
shell.prefix(PREFIX)


wildcard_constraints:
    run=r"[A-Za-z0-9._-]+",
    split="train|perturbed|dev|test",
    frontend="hmm|net",
    system="mono|tri|lda_mllt|dnn",
    candidate=r"[A-Za-z0-9._-]+",
    shard=r"\d+",
    iter=r"\d+",
    job=r"\d+",
    constants=r"[0-9a-f]+",


def results(path):
    """Return where `path` of this config's results lies, below the working directory."""
    return f"results/{SHARED.name}/{path}"


def hold_results():
    """Keep other snakemakes from making the same results at the same time, until this one ends."""
    try:
        lock.hold(results(".lock"))
    except (UserError, OSError) as error:
        raise WorkflowError(str(error)) from None


def wait_for_jobs_only():
    """Choose jobs when one has ended, and not once a second for each that ever has: a fifth of a core in a large study."""
    if workflow.local_exec:
        workflow.scheduler.job_rate_limiter = None


def runs_with(*engines):
    """Return a pattern for the names of the runs with these engines; it matches nothing where there are none."""
    return "|".join(re.escape(name) for name in RUNS if ENGINES[name] in engines) or "(?!)"


# What the commands are told.


def told(command):
    """Return the keys that a command reads, as JSON."""
    return reads.told(command, SHARED)


def features_told(frontend, command=""):
    """Return the params function for the features of a front end as a command reads them; `""`: the wildcard's."""
    return lambda wildcards: reads.features_told(SHARED, frontend or wildcards.frontend, command)


def gmm_features_told(wildcards):
    """Return the features that a GMM system sees, as JSON."""
    return reads.features_told(SHARED, "hmm", system=wildcards.get("system", "lda_mllt"))


def title_of_run(wildcards):
    """Return what messages call a run."""
    return TITLES[wildcards.run]


def optional_flag(flag, name):
    """Return the params function for a flag that is given only where the input `name` is."""

    def words(wildcards, input):
        given = input.get(name)
        return [flag, *([given] if isinstance(given, str) else given)] if given else []

    return words
