"""What the commands are told: sections of the settings as JSON, numbers, and flags that are not always given.

Requires: settings.smk.
"""

import functools

from unisono import study


def options(*keys):
    """Return a section of the shared settings (`options("hmm", "features")`) as JSON for a command."""
    return study.compact(functools.reduce(dict.__getitem__, keys, SHARED))


def section(name, unread):
    """Return a section of the shared settings with the keys that a stage does not read at their defaults.

    So a change of those does not run the stage again.
    """
    default = study.fill({}, SCHEMA["properties"][name], SCHEMA)
    return {**SHARED[name], **{key: default[key] for key in unread}}


def hmm_section(*unread):
    """Return the `hmm` section; `word_position` is named only where it is on, so that older results stay."""
    found = section("hmm", unread)
    return found if found["word_position"] else {key: found[key] for key in found if key != "word_position"}


def hmm_options(*unread):
    """Return the `hmm` section as JSON, with what this stage does not read at its default.

    `lda_mllt` is left out where it is not read; `align_with` always: only the rules read it.
    """
    left_out = {"align_with", *({"lda_mllt"} & set(unread))}
    return study.compact({key: value for key, value in hmm_section(*unread).items() if key not in left_out})


def tuning_options(*unread):
    """Return the `decode` section as JSON for the choice of scale and penalty on dev."""
    return study.compact(section("decode", ["beam", "systems", *unread]))


def decode_options():
    """Return the `decode` section as JSON for the test set: of it only the search is read."""
    return study.compact(section("decode", set(SHARED["decode"]) - {"beam", "max_active", "min_active"}))


def feature_section(wildcards):
    """Return the feature settings of a front end, `net` or `hmm`, as JSON."""
    return options("features") if wildcards.frontend == "net" else options("hmm", "features")


def gmm_features(wildcards):
    """Return the features that a GMM system sees, as JSON: `lda_mllt` splices and so takes no deltas."""
    section = SHARED["hmm"]["features"]
    return study.compact({**section, "deltas": 0} if wildcards.get("system", "lda_mllt") == "lda_mllt" else section)


def recogniser_settings(wildcards):
    """Return the settings that using a recogniser needs, or that say what it is, as JSON."""
    sections = {key: SHARED[key] for key in ("features", "lm", "decode")}
    return study.compact({**sections, "hmm": hmm_section()})


def optional_flag(flag, name):
    """Return the params function for a flag that is given only where the input `name` is."""

    def words(wildcards, input):
        return [flag, *input.get(name)] if input.get(name) else []

    return words


def run_identity(wildcards):
    """Return what decides a run's result, as JSON."""
    return study.compact(study.identity(RUNS[wildcards.run], SCHEMA))


def worker_state_flag(wildcards, input):
    """Return the flag that hands the state over, or none."""
    return ["--worker-state", input.worker_state] if input.get("worker_state") else []


def tuned_flag(wildcards, input):
    """Return how the score takes its tuning: as that of the system itself, or of another one, with no WER on dev."""
    own = results(f"{wildcards.where}/tune.json")
    return "--tuned" if input.tuned == own else "--tuned-elsewhere"


def state_dir(wildcards):
    """Return where an interrupted block keeps its checkpoints."""
    return results(f"runs/{wildcards.run}/state")


def iterations_dir(wildcards):
    """Return where the numbers of a run's iterations lie."""
    return results(f"runs/{wildcards.run}/iterations")


def ranks(wildcards):
    """Return the number of MPI ranks of a run: the workers of its last iteration."""
    number = RUNS[wildcards.run]["parallel"]["workers"]
    return number if isinstance(number, int) else number["final"]


def cores_of_ranks(wildcards):
    """Return the cores that all ranks of a run keep busy; snakemake takes no more than its --cores."""
    return ranks(wildcards) * THREADS


def final_model(wildcards):
    """Return which of a run's models is its result."""
    return RUNS[wildcards.run]["final_model"]


def aligned_systems():
    """Return the systems whose alignments or training the report may show, in the order of work."""
    wanted = {"mono", "tri", ALIGN, *SHARED["decode"]["systems"]}
    return [system for system in ("mono", "tri", "lda_mllt", "dnn") if system in wanted]
