"""The settings of this call, checked: what the config says, and what follows from it for every rule.

Provides: SHARED (settings before training), RUNS (complete settings of each run), `results(path)`, the constraints of
wildcards. Of our own code only floor 0 is imported, and no file is read but the schema and the config: Snakemake reads
this for every job on a cluster.
"""

import os
import re
import shlex
from pathlib import Path

import jsonschema
import yaml
from snakemake.exceptions import WorkflowError

from unisono import grid, lock, sense, study
from unisono.errors import UserError
from unisono.recipe import RECIPE

SPLITS = ["train", "dev", "test"]
SCHEMA = yaml.safe_load(Path(workflow.basedir, "workflow/schemas/config.schema.yaml").read_text(encoding="utf-8"))


def check_keys(path):
    """Refuse a config with a key twice in one mapping: YAML readers take the last one without a word."""
    try:
        nodes = [yaml.compose(Path(path).read_bytes(), Loader=yaml.SafeLoader)]
    except yaml.YAMLError:
        return  # JSON need not be YAML, and anything else was refused when Snakemake read it
    for node in nodes:  # which grows; an alias is the node that it names once more
        lines = {}
        pairs = node.value if isinstance(node, yaml.MappingNode) else []
        for key, _ in pairs:
            name, line = str(key.value), key.start_mark.line + 1
            if name in lines:
                raise UserError(f"{path}: line {line}: {name} stands already in line {lines[name]}: remove one")
            lines[name] = line
        below = node.value if isinstance(node, yaml.SequenceNode) else [value for _, value in pairs]
        nodes += [value for value in below if value not in nodes]


def check_writable(folder):
    """Refuse a folder of results that cannot be made or written to; Snakemake would end with a traceback."""
    place = Path(folder)
    while not os.path.lexists(place) and place != place.parent:
        place = place.parent
    if not (place.is_dir() and os.access(place, os.W_OK | os.X_OK)):
        raise UserError(f"name: {folder}: cannot be written: {place} is no folder, or one that you may not write to")


def settings():
    """Return the shared settings and those of each run. Raises UserError where the config is wrong."""
    for path in workflow.configfiles:
        check_keys(path)
    sense.check_given(config)
    shared, runs, notes = study.resolve(config, SCHEMA)
    validator = jsonschema.Draft202012Validator(SCHEMA)
    places = {name: study.place(config, name) for name in runs}
    for where, complete in [("", shared), *((places[name], run) for name, run in runs.items())]:
        for error in validator.iter_errors(complete):
            raise UserError(where + study.explain(error))
    sense.check_shared(shared)
    for name, run in runs.items():
        try:
            sense.check(run)
        except UserError as error:
            raise UserError(f"{places[name]}{error}") from None
        notes += sense.warnings(run)
    if shared["study"]:
        grid.check(shared["study"], runs)
    for note in dict.fromkeys(notes):
        logger.warning(f"config: {note}")
    check_writable(f"results/{shared['name']}")
    return shared, runs


try:
    SHARED, RUNS = settings()
except UserError as error:
    raise WorkflowError(f"config: {error}") from None

THREADS = SHARED["resources"]["threads_per_worker"]
CHECKPOINT_S = str(SHARED["resources"]["checkpoint_s"])
HANG_TIMEOUT_S = str(SHARED["resources"]["hang_timeout_s"])
DEVICE = SHARED["resources"]["device"]
# What the plan does over an unfinished run of another number of workers.
OTHER_WORKERS = "redeal" if SHARED["resources"]["redeal"] else "refuse"
SHARDS = range(SHARED["corpus"]["shards"])
# The grid that the runs come from, null where there is none.
STUDY = SHARED["study"]
SYSTEMS = [f"gmm/{system}" for system in SHARED["decode"]["systems"]]
# Whose tree and alignment the network takes; `dnn`: those of another config's network.
ALIGN = "dnn" if SHARED["hmm"]["align_with"] else SHARED["hmm"]["align"]
# The splits whose frames the network learns from.
LEARNT = ["train", "perturbed"] if SHARED["speed_perturbation"] else ["train"]

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
    candidate="last|best|ema|polyak",
    shard=r"\d+",
    iter=r"\d+",
    job=r"\d+",


def results(path):
    """Return where `path` of this config's results lies, below the working directory."""
    return f"results/{SHARED['name']}/{path}"


def hold_results():
    """Keep other snakemakes from making the same results at the same time, until this one ends."""
    try:
        lock.hold(results(".lock"))
    except (UserError, OSError) as error:
        raise WorkflowError(str(error)) from None


def runs_with(*engines):
    """Return a pattern for the names of the runs with these engines; it matches nothing where there are none."""
    return "|".join(re.escape(name) for name in RUNS if RUNS[name]["parallel"]["engine"] in engines) or "(?!)"
