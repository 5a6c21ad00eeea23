"""What a config will take: seconds of each stage, bytes on the disk, memory. Rough: within a factor of two or three.

The constants were measured on two virtual cores of a server (AMD EPYC), by CPU time of the small and the demo config.
"""

import math
from collections.abc import Mapping
from typing import NamedTuple

from unisono import needs
from unisono.config.config import Config
from unisono.config.corpus import Spoken
from unisono.config.hmm import LdaMlltOptions, MonoOptions, TriOptions
from unisono.config.run import Run
from unisono.config.stack import with_stacks
from unisono.config.study import decoded as decoded_of
from unisono.schedule import worker_range

FRAMES_PER_S = 100
START_S = 3.0  # to start a command that imports torch
COMMAND_S = 1.5  # to start any other command
WARM_S = 0.4  # to start either in the warm interpreter
FEATURES = 0.006  # seconds for a second of speech, each front end
PASS = 0.0007  # of GMM training, for a second of speech
DECODE = 0.015  # of one search, for a second of speech, in a small graph; that of more words costs more:
WORDS_OF_DECODE = 500
SPOKEN_SENTENCE_S = 2.8  # of speech in a sentence of the spoken corpus
BYTES_PER_S = 60_000  # of files, for a second of speech, as the corpus stage asks for
PROCESS_BYTES = 450e6  # of a process that trains, without the model


class Need(NamedTuple):
    """seconds: of each stage, by the clock. iterations: of each run. disk, memory: bytes."""

    seconds: dict[str, float]
    iterations: dict[str, int]
    disk: float
    memory: float


def spoken_seconds(corpus: Spoken) -> dict[str, float]:
    """Return about how much speech the spoken corpus of these settings has in each split."""
    return {s: getattr(corpus.spoken, f"{s}_sentences") * SPOKEN_SENTENCE_S for s in ("train", "dev", "test")}


def recognisable(shared: Config, lexicon: int, text: int) -> int:
    """Return how many words can be recognised at most. lexicon, text: words of the lexicon, of the training text."""
    of_text = getattr(shared.lm, "vocabulary", "lexicon") == "text" and not getattr(shared.corpus, "lm_text", None)
    return min(lexicon, text) if of_text else lexicon


def iterations(run: Run, seconds: float, speeds: int) -> int:
    """Return about how many iterations a run has; `seconds` of training speech, heard at so many speeds."""
    if run.schedule.iterations:
        return run.schedule.iterations
    workers = _workers(run)
    epoch = max(1, round(seconds * FRAMES_PER_S * speeds / (workers * run.parallel.period_frames)))
    return epoch * (run.schedule.epochs or 1)


def need(
    shared: Config,
    runs: Mapping[str, Run],
    seconds: Mapping[str, float],
    cores: int,
    flops: float = needs.FLOPS,
    vocabulary: int = 0,
) -> Need:
    """Predict what the config takes.

    seconds: of speech in each split; flops: of one thread; vocabulary: words of the lexicon, 0 where it is not known.
    """
    runs, warm = with_stacks(runs), shared.resources.warm_interpreter
    command, start = (WARM_S, WARM_S) if warm else (COMMAND_S, START_S)
    speeds = 1 + len(shared.speed_perturbation)
    counts = {name: iterations(run, seconds["train"], speeds) for name, run in runs.items()}
    weights = {name: run.network.weights(shared.features.dim, needs.pdfs(shared)) for name, run in runs.items()}
    found = _stages(shared, runs, seconds, cores, vocabulary, command)
    frames = seconds["train"] * FRAMES_PER_S * speeds
    alone, beside = 0.0, []  # runs of one process each are trained beside each other
    for name, run in runs.items():
        seconds_of_run = _training(run, counts[name], weights[name], frames, cores, flops, start)
        if run.parallel.engine == "virtual":
            beside.append(seconds_of_run)
        else:
            alone += seconds_of_run
    found["train"] = alone + max(sum(beside) / cores, max(beside, default=0.0))
    largest = max(weights.values(), default=0)
    at_once = min(cores, max((_workers(run) for run in runs.values()), default=1))
    of_speech = sum(seconds.values()) * BYTES_PER_S * (1 + speeds) / 2
    disk = of_speech + sum(40 * number for number in weights.values()) + 20e6
    return Need(found, counts, disk, at_once * (PROCESS_BYTES + 24 * largest) + 0.3e9)


def _stages(
    shared: Config, runs: Mapping[str, Run], seconds: Mapping[str, float], cores: int, vocabulary: int, command: float
) -> dict[str, float]:
    """Return the seconds of each stage but training. command: seconds to start one."""
    decode, shards = shared.decode, shared.corpus.shards
    speeds = 1 + len(shared.speed_perturbation)
    speech, train = sum(seconds.values()), seconds["train"]
    passes = sum(gmm.iterations * (1 + gmm.gaussians / 5000) for gmm in _gmms(shared))
    searches = len(decode.acoustic_scales) + len(decode.word_insertion_penalties) + 4
    search = DECODE * (1 + vocabulary / WORDS_OF_DECODE)
    tuned, decoded = _systems(shared, runs)
    wide = min(needs.PROCESSES, cores)
    return {
        "corpus": 2 * command + (0.3 * speech / 10 / wide if shared.corpus.kind == "spoken" else speech / 4000),
        "features": (FEATURES * speech * (1 + speeds) + 6 * shards * command) / cores,
        "hmm": PASS * train * passes / wide + 6 * command,
        "graph": 2 * (len(decode.systems) + 1) * command,
        "frames": command + 0.001 * speech * speeds,
        "plan": 3 * command * len(runs),
        "tune": search * tuned * seconds["dev"] * searches / wide + tuned * command,
        "decode": search * decoded * seconds["test"] / wide + decoded * shards / cores * command,
        "score": decoded * command,
        "report": 2 * command,
    }


def _systems(shared: Config, runs: Mapping[str, Run]) -> tuple[int, int]:
    """Return how many systems are tuned on dev, and how many are decoded on test; a study tunes one for all cells."""
    gmms = len(shared.decode.systems)
    if shared.study is None:
        candidates = sum(len(run.candidates) for run in runs.values() if run.recognises)
        return gmms + candidates, gmms + candidates
    cells = list(decoded_of(shared.study))
    return gmms + bool(cells), gmms + len(cells)


def _gmms(shared: Config) -> list[MonoOptions | TriOptions | LdaMlltOptions]:
    """Return the systems that are trained: each needs those before it."""
    order, wanted = ("mono", "tri", "lda_mllt"), {shared.aligner, *shared.decode.systems}
    last = max((place for place, name in enumerate(order) if name in wanted), default=-1)
    return [getattr(shared.hmm, name) for name in order[: last + 1]]


def _training(run: Run, count: int, weights: int, frames: float, cores: int, flops: float, start: float) -> float:
    frames *= run.schedule.epochs or 1
    workers = 1 if run.parallel.engine == "virtual" else min(_workers(run), cores)
    compute = 6 * weights * frames / (flops * needs.EFFICIENCY) / workers
    jobs = run.parallel.engine == "jobs"
    starts = count * (math.ceil(_workers(run) / cores) + 2) if jobs else 1 + count / run.parallel.iterations_per_job
    return compute + (starts + 2) * start


def _workers(run: Run) -> int:
    return worker_range(run.parallel.workers)[1]
