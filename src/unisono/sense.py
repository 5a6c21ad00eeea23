"""Whether the sections of a config make sense together; what does not is refused by name before work starts.

A Snakefile may import this module: it needs the standard library only.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from unisono.errors import UserError
from unisono.options import from_dict
from unisono.rates import GOSSIP, ScheduleOptions, check_schedule, scales_with_workers
from unisono.schedule import ParallelOptions, worker_range

_ENGINE_KEYS = ("engine", "iterations_per_job")  # how a run is carried out, not what it computes


def check(config: Mapping[str, Any]) -> None:
    """Refuse a run that makes no sense: UserError, one line, naming the key and the remedy.

    config: a resolved run with the sections optimiser, schedule, parallel, observers, final_model.
    """
    minibatch, rate = config["optimiser"]["minibatch"], config["optimiser"]["learning_rate"]
    schedule = from_dict(ScheduleOptions, config["schedule"], "schedule")
    parallel = parallel_options(config["parallel"])
    check_schedule(schedule, rate)
    _check_workers(parallel)
    _check_combine(parallel)
    history = config["optimiser"]["ng"]["minibatches_history"]
    if history and history <= 1:
        raise UserError(f"optimiser.ng.minibatches_history: {history} is not above 1: give more, or 0 for off")
    if parallel.period_frames < minibatch:
        raise UserError(
            f"parallel.period_frames: {parallel.period_frames} is less than one optimiser.minibatch of {minibatch}"
            " frames: raise the one or lower the other"
        )
    _check_models(config)


def check_given(config: Mapping[str, Any]) -> None:
    """Refuse a config, as it is written, that names a corpus but not its kind: it would train on the demo's."""
    corpus = config.get("corpus")
    if isinstance(corpus, Mapping) and corpus.get("dir") and "kind" not in corpus:
        raise UserError(
            "corpus.kind: missing, and spoken, the default, does not use corpus.dir: say table, kaldi, librispeech or"
            " strings"
        )


def check_shared(shared: Mapping[str, Any]) -> None:
    """Refuse settings before training that do not fit together; those of a run are checked by `check`.

    Raises UserError with the keys concerned and the remedy.
    """
    corpus, lm, features = shared["corpus"], shared["lm"], {"features": shared["features"]}
    if corpus["kind"] != "spoken" and not corpus["dir"]:
        raise UserError(
            f"corpus.dir: missing: corpus.kind {corpus['kind']} needs the corpus's folder below corpora_dir"
        )
    if lm["kind"] == "arpa" and not lm["arpa"]:
        raise UserError("lm.arpa: missing: lm.kind arpa needs the path of an ARPA file below corpora_dir")
    _check_speeds(shared["speed_perturbation"])
    if shared["report"]["classes"] and not shared["report"]["speakers"]:
        raise UserError("report.classes: report.speakers is missing: name the table that has these columns")
    hmm = shared["hmm"]
    if hmm["retry_beam"] <= hmm["beam"]:
        raise UserError(f"hmm.retry_beam: {hmm['retry_beam']} is not above hmm.beam, {hmm['beam']}: make it wider")
    _check_lda(shared)
    other = hmm["align_with"]
    if other and other["name"] == shared["name"]:
        raise UserError(f"hmm.align_with.name: {other['name']}: this config itself: name another, finished one")
    for where, section in {**features, "hmm.features": hmm["features"]}.items():
        if section["kind"] == "mfcc" and section["num_ceps"] > section["num_mel_bins"]:
            raise UserError(
                f"{where}.num_ceps: {section['num_ceps']} is more than num_mel_bins {section['num_mel_bins']}"
            )


def parallel_options(values: Mapping[str, Any]) -> ParallelOptions:
    """Build ParallelOptions from the config's `parallel`, with or without the keys that only say how to run."""
    kept = {key: value for key, value in values.items() if key not in _ENGINE_KEYS}
    if isinstance(kept.get("combine"), str):
        raise UserError(f"parallel.combine: {kept['combine']}: a bare word must be written out as {{kind: ...}} by now")
    return from_dict(ParallelOptions, kept, "parallel")


def warnings(config: Mapping[str, Any]) -> list[str]:
    """Return one line for each setting that runs but contradicts the literature or is not used."""
    found = []
    parallel = parallel_options(config["parallel"])
    rule, scale = parallel.combine.kind, parallel.scale_rate_with_workers
    if scale != "auto" and scale != scales_with_workers("auto", rule):
        found.append(
            f"parallel.scale_rate_with_workers: {scale} contradicts the custom for {rule}"
            f" (auto: {scales_with_workers('auto', rule)})"
        )
    if rule in GOSSIP and parallel.combine.weights == "equal":
        found.append(f"parallel.combine.weights: not used by {rule}: partners always meet half-way")
    return found


def _check_workers(parallel: ParallelOptions) -> None:
    initial, final = worker_range(parallel.workers)
    if not 1 <= initial <= final:
        raise UserError(f"parallel.workers: from {initial} to {final}: must be at least 1 and not shrink")
    if initial != final and parallel.dealing == "fixed":
        raise UserError(
            "parallel.dealing: fixed gives each worker its part once and for all, so parallel.workers cannot grow from"
            f" {initial} to {final}: deal rotating or keep the number"
        )
    if parallel.max_backoffs < 0:
        raise UserError(f"parallel.max_backoffs: {parallel.max_backoffs} must not be negative")
    if parallel.reject_below <= 0:
        raise UserError(f"parallel.reject_below: {parallel.reject_below} must be above 0 (nats per frame)")


def _check_combine(parallel: ParallelOptions) -> None:
    combine, (initial, final) = parallel.combine, worker_range(parallel.workers)
    if combine.kind == "butterfly" and initial != final:
        raise UserError(
            "parallel.combine: butterfly needs a fixed power of two of workers: keep parallel.workers constant"
        )
    if combine.kind == "butterfly" and final & (final - 1):
        raise UserError(f"parallel.combine: butterfly needs a power of two of workers, not {final}: change either")
    if combine.kind in GOSSIP and parallel.carry_state == "average":
        raise UserError(
            f"parallel.carry_state: average needs a sum over all workers, {combine.kind} forms none: carry or reset"
        )
    if combine.block_momentum != "auto" and not 0 <= float(combine.block_momentum) < 1:
        raise UserError(f"parallel.combine.block_momentum: {combine.block_momentum} is not in [0, 1)")
    if combine.block_learning_rate <= 0:
        raise UserError(f"parallel.combine.block_learning_rate: {combine.block_learning_rate} must be above 0")


def _check_models(config: Mapping[str, Any]) -> None:
    observers, final = config["observers"], config["final_model"]
    if final in ("ema", "polyak") and not observers.get(final):
        raise UserError(f"final_model: {final} needs observers.{final}: give it or choose last")
    for name, observer in observers.items():
        if observer and not 0 <= observer["start"] < 1:
            raise UserError(f"observers.{name}.start: {observer['start']} is not a fraction of the run in [0, 1)")
    if observers.get("ema") and not 0 < observers["ema"]["decay"] < 1:
        raise UserError(f"observers.ema.decay: {observers['ema']['decay']} is not in (0, 1)")
    initialisation = config["initialisation"]
    if initialisation["kind"] == "model" and not initialisation.get("path"):
        raise UserError("initialisation.path: kind model needs the path of a final.safetensors")


def _check_speeds(speeds: Sequence[float]) -> None:
    """Refuse a speed that adds nothing, and one whose ratio would need an endless filter."""
    for speed in speeds:
        if round(speed, 2) == 1:
            raise UserError(f"speed_perturbation: {speed} is the training set itself, always heard: leave it out")
        if round(speed, 2) != speed:
            raise UserError(f"speed_perturbation: {speed} has more than two decimals: round it to {speed:.2f}")


def _check_lda(shared: Mapping[str, Any]) -> None:
    """Refuse, hours before LDA would, to keep more dimensions than a spliced frame has."""
    hmm = shared["hmm"]
    own, features = hmm["lda_mllt"], hmm["features"]
    base = features["num_ceps"] if features["kind"] == "mfcc" else features["num_mel_bins"] + features["use_energy"]
    spliced = base * (2 * own["splice"] + 1)
    if "lda_mllt" in (hmm["align"], *shared["decode"]["systems"]) and own["dim"] > spliced:
        raise UserError(
            f"hmm.lda_mllt.dim: {own['dim']} is more than the {spliced} of a spliced frame: lower it or raise splice"
        )
