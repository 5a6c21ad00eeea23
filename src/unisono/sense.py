"""Whether the sections of a run's config make sense together; what does not is refused by name before work starts.

A Snakefile may import this module: it needs the standard library only.
"""

from collections.abc import Mapping
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
    if parallel.period_frames < minibatch:
        raise UserError(
            f"parallel.period_frames: {parallel.period_frames} is less than one optimiser.minibatch of {minibatch}"
            " frames: raise the one or lower the other"
        )
    _check_models(config)


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
