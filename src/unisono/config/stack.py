"""The runs that are derived from `initialisation: {kind: rbm}`: one for each layer, named `rbm.<layer>.<digest>`.

The digest names all settings of the layer's run, the name of the run below among them; neither the widths above nor the
engine. So runs, and cells of a study, that start from the same stack share its runs.
"""

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from unisono.config.build import compact, identity
from unisono.config.network import DnnOptions, Drawn
from unisono.config.parallel import ParallelOptions, Ramp
from unisono.config.rbm import ContrastiveDivergence, RbmNetwork, RbmParallel, RbmStart
from unisono.config.run import Run
from unisono.config.schedule import Fixed
from unisono.config.transform import constants_of
from unisono.errors import UserError

PREFIX = "rbm."
_SEEDS_APART = 1_000_000  # the seed of layer l is the run's and l times this: layers share no chance


@dataclass(frozen=True, kw_only=True)
class LayerParallel(ParallelOptions):
    """How the workers pretrain a layer. dealt_to: of so many shares only the first `workers` are trained on; 0: all."""

    dealt_to: int = 0
    """Shares that the utterances are dealt into."""

    @property
    def shares(self) -> int:
        """Into how many shares `dealing: fixed` deals the utterances."""
        return self.dealt_to or super().shares


@dataclass(frozen=True, kw_only=True)
class LayerRun(Run):
    """The pretraining of one layer."""

    network: RbmNetwork  # pyright: ignore[reportGeneralTypeIssues, reportIncompatibleVariableOverride]
    """The RBM."""
    optimiser: ContrastiveDivergence  # pyright: ignore[reportGeneralTypeIssues, reportIncompatibleVariableOverride]
    """How it is moved."""
    parallel: LayerParallel = LayerParallel()
    """How the workers train it."""

    @property
    def recognises(self) -> bool:
        """Whether the run makes a recogniser."""
        return False

    @property
    def reject_below(self) -> float:
        """No worker is left out for its objective, a squared error."""
        return math.inf


def class_of_run(config: Mapping[str, Any]) -> type[Run]:
    """Return the section that a run's config.json is of."""
    network = config.get("network")
    return LayerRun if isinstance(network, Mapping) and network.get("kind") == "rbm" else Run


def stack_of(run: Run) -> dict[str, LayerRun]:
    """Return the runs that pretrain the layers of a run, by name, the lowest first; none without RBMs."""
    found: dict[str, LayerRun] = {}
    start, network = run.initialisation, run.network
    if not isinstance(start, RbmStart) or not isinstance(network, DnnOptions):
        return found
    below = ""
    for layer in range(1, len(network.hidden) + 1):
        own = _layer_run(run, start, network, network.hidden[:layer], below)
        below = f"{PREFIX}{layer}.{hashlib.sha256(compact(identity(own)).encode()).hexdigest()[:10]}"
        found[below] = own
    return found


def with_stacks(runs: Mapping[str, Run]) -> dict[str, Run]:
    """Return all runs: those of the config and those derived from them; the first that asks gives the engine."""
    derived: dict[str, Run] = {}
    for run in runs.values():
        derived = stack_of(run) | derived
    return {**runs, **dict(sorted(derived.items()))}


def held(runs: Mapping[str, Run], name: str) -> list[str]:
    """Return the files below the results that a run's network holds fixed: its constants, and what an RBM lies on."""
    run, own = runs[name], constants_of(runs[name].network)
    found: list[str] = []
    while isinstance(run, LayerRun) and run.network.below:
        found.insert(0, f"runs/{run.network.below}/final.safetensors")
        run = runs[run.network.below]
    return [f"constants/{own.digest}.safetensors", *found] if own else found


def titles(runs: Mapping[str, Run]) -> dict[str, str]:
    """Return what messages call each run, with the height of the highest stack that a layer belongs to."""
    heights: dict[str, int] = {}
    for run in runs.values():
        stack = list(stack_of(run))
        heights |= {name: max(len(stack), heights.get(name, 0)) for name in stack}
    named = {name: f"Run {name}:" for name in runs}
    return named | {
        name: f"RBM layer {run.network.layer} of {heights.get(name, run.network.layer)},"
        for name, run in runs.items()
        if isinstance(run, LayerRun)
    }


def _layer_run(run: Run, start: RbmStart, network: DnnOptions, widths: tuple[int, ...], below: str) -> LayerRun:
    own = start.gaussian if len(widths) == 1 else start.bernoulli
    return LayerRun(
        network=RbmNetwork(
            kind="rbm", widths=widths, below=below, cd_steps=start.cd_steps, visible=start.visible,
            context=network.context, transform=network.transform,
        ),
        optimiser=ContrastiveDivergence(
            kind="cd", learning_rate=own.learning_rate, minibatch=start.minibatch, weight_decay=start.weight_decay,
            ramp=start.momentum,
        ),
        schedule=Fixed(kind="fixed", epochs=own.epochs),
        parallel=_parallel(run, start.parallel),
        seed=run.seed + _SEEDS_APART * len(widths),
        diagnostics=run.diagnostics,
        data=run.data,
    )  # fmt: skip


def _parallel(run: Run, own: RbmParallel) -> LayerParallel:
    alone = not own.average
    return LayerParallel(
        engine="sync" if run.parallel.engine == "async" else run.parallel.engine,
        iterations_per_job=run.parallel.iterations_per_job,
        max_backoffs=run.parallel.max_backoffs,
        workers=1 if alone else own.workers,
        dealt_to=own.workers if alone and isinstance(own.workers, int) else 0,
        dealing="fixed" if alone else own.dealing,
        combine=own.combine,
        period_frames=own.period_frames,
        carry_state=own.carry_state,
        first_iteration="combine",
        scale_rate_with_workers=False,
    )


def check_start(run: Run) -> None:
    """Refuse a start that does not go with the network: UserError, one line, naming the key and the remedy."""
    start, network = run.initialisation, run.network
    folded = constants_of(network)
    if start.kind == "model" and not start.path:
        raise UserError("initialisation.path: missing: kind model needs the path of a final.safetensors")
    if start.kind == "model" and folded:
        key = "prior_power: 0" if folded.transform.kind == "none" else "transform: none"
        raise UserError(f"network.{key.split(':')[0]}: a model to start from has its own folded in: set {key}")
    if isinstance(start, Drawn) and start.hidden_bias and (start.bias_stddev or network.kind == "lstm"):
        reason = "bias_stddev is given, too" if start.bias_stddev else "an LSTM has none"
        raise UserError(f"initialisation.hidden_bias: {reason}: leave it out")
    if isinstance(start, RbmStart):
        _check_stack(start, network)


def _check_stack(start: RbmStart, network: Any) -> None:
    if network.kind != "dnn" or network.nonlinearity != "sigmoid":
        found = f"nonlinearity {network.nonlinearity}" if network.kind == "dnn" else f"kind {network.kind}"
        raise UserError(
            f"initialisation.kind: rbm pretrains sigmoid layers, network has {found}: set network.kind: dnn and"
            " network.nonlinearity: sigmoid, or another initialisation"
        )
    if network.transform.kind == "lda":
        raise UserError("network.transform: lda: a Gaussian RBM wants variance 1 in each dimension: take normalise")
    momentum = start.momentum
    if momentum.initial > momentum.final:
        raise UserError(
            f"initialisation.momentum: from {momentum.initial:g} to {momentum.final:g}: must not fall: raise final"
        )
    if momentum.ramp_frames < momentum.steps:
        raise UserError(
            f"initialisation.momentum.ramp_frames: {momentum.ramp_frames} is less than a frame for each of"
            f" {momentum.steps} steps: raise it"
        )
    if not start.parallel.average and isinstance(start.parallel.workers, Ramp):
        raise UserError("initialisation.parallel.workers: a number that grows needs average: true: give one number")
