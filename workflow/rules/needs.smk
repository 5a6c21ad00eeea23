"""What the jobs of training ask of a cluster, from the config; locally only `threads` counts.

Requires: settings.smk, iterations.smk. All other rules take the default-resources of profiles/slurm.
"""

import functools

from unisono import needs

# Processes of a command that works on shards beside each other.
PROCESSES = needs.PROCESSES
TRAIN_GPU = needs.gpus(SHARED.resources.train_gpu)
DECODE_GPU = needs.gpus(SHARED.resources.decode_gpu)
# `cuda` demands a GPU of training; what follows takes one where its job has one, unless it asks for one.
DECODE_DEVICE = "auto" if DEVICE == "cuda" and not DECODE_GPU else DEVICE


@functools.cache
def weights(run):
    """Return about how many weights the network of a run has."""
    return RUNS[run].network.weights(SHARED.features.dim, needs.pdfs(SHARED))


def memory(rule):
    """Return the resource function for the megabytes of a job, or of each core of a rank where there are ranks."""

    def megabytes(wildcards, attempt):
        asked = needs.memory_mb(rule, ranks(wildcards), weights(wildcards.run), attempt)
        return -(-asked // THREADS) if rule in ("train_sync", "train_async") else asked

    return megabytes


def minutes(rule):
    """Return the resource function for the minutes of a job."""

    def counted(wildcards, attempt):
        block = rule in ("train_virtual", "train_sync", "train_async")
        iterations = int(wildcards.iter) - first_of_block(wildcards) + 1 if block else 1
        run = RUNS[wildcards.run]
        return needs.minutes(rule, run, weights(wildcards.run), iterations, THREADS, attempt)

    return counted


def gpus_of_ranks(name):
    """Return the resource function for what all ranks of a run ask for; nothing where no GPU is asked for."""

    def asked(wildcards):
        server = ENGINES[wildcards.run] == "async"  # which needs none
        return needs.gpus(SHARED.resources.train_gpu, ranks(wildcards) - server, apart=server).get(name)

    return asked
