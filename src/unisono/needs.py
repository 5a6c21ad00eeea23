"""What a job asks of a cluster: memory, minutes, GPUs. From config and plan, rough, with a margin.

Vectors are float32 vectors of all parameters; how many each command holds was measured (docs/results/engines.md).
"""

import math
import re
from typing import Any

from unisono.config.config import Config
from unisono.config.run import Run
from unisono.schedule import worker_range

PROCESSES = 8  # of a command that works on shards beside each other; a cluster's profile caps it (max-threads)
MONO_PDFS = 120
FLOPS = 2e10  # of one thread, where nothing was measured
EFFICIENCY = 0.5  # of the rate of matrix products in training
_PROCESS_MB = 1200  # with torch, windows of frames and activations; twice what was measured
_LEAST_MINUTES, _MOST_MINUTES = 30, 1440  # training is cut at any point and goes on where it was
_MARGIN = 4.0  # of the time


def pdfs(shared: Config) -> int:
    """Return about how many pdf_ids the alignment has."""
    # Of a tree that another config or Kaldi made nothing is known here.
    tree = shared.hmm.lda_mllt if shared.aligner == "lda_mllt" else shared.hmm.tri
    return MONO_PDFS if shared.aligner == "mono" else tree.leaves


def memory_mb(rule: str, workers: int, weights: int, attempt: int = 1) -> int:
    """Return the megabytes of a job of training; of `train_sync` and `train_async`: of one rank."""
    vectors = {"train_job": 5, "diagnose": 3, "train_sync": 12, "train_virtual": 2 * workers + 12}.get(rule, 12)
    return attempt * (_PROCESS_MB + math.ceil(vectors * 4 * weights / 1e6))


def minutes(rule: str, run: Run, weights: int, iterations: int, threads: int, attempt: int = 1) -> int:
    """Return the minutes of a job of training over so many iterations, four times what they should take."""
    slices = worker_range(run.parallel.workers)[1] if rule == "train_virtual" else 1
    frames = iterations * slices * run.parallel.period_frames
    seconds = 6 * weights * frames / (FLOPS * EFFICIENCY * threads)
    return min(attempt * (_LEAST_MINUTES + math.ceil(_MARGIN * seconds / 60)), _MOST_MINUTES)


def gpus(words: str, ranks: int = 1, *, apart: bool = False) -> dict[str, Any]:
    """Return the resources that ask for GPUs. words: "", `gpu=N` or `gres=NAME:...:N`, as in `resources.train_gpu`.

    `gpu=N` is meant for each rank; `gres` counts on each node, so it is passed on as it is.
    apart: there is one more rank, which needs none.
    """
    found = re.fullmatch(r"(?:gpu=(\d+)|gres=(\S+))?", words)
    if not words or not found:
        return {}
    if found[1]:
        each: dict[str, Any] = {"gpu": int(found[1]) * ranks}
        return {**each, "tasks_per_gpu": 0 if apart else 1} if ranks > 1 or apart else each
    return {"gres": found[2]}
