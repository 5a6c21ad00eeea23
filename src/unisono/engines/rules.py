"""Combine rules: what becomes of the workers' models at the end of an iteration, as a pattern and pure functions.

Pattern `sum`: the weighted mean of the accepted workers goes through `step`. Pattern `pair`: each worker meets its
partner half-way and goes on from there; the model is then the equal mean over workers. To add a rule of either pattern,
write its function in `core` and name it in `rule_for`.
"""

from collections.abc import Callable
from typing import Literal, NamedTuple

from torch import Tensor

from unisono.config.parallel import Bmuf, CombineOptions
from unisono.core import bmuf, flat, gossip

RuleState = dict[str, Tensor]


class CombineRule(NamedTuple):
    """A combine rule for a given number of workers.

    init: model [P] -> state, before the first combination. step (sum): state, start [P] of the workers, their mean
    [P] -> state, model [P], next start [P]; it may use up state and mean. None: the mean is the model and the start.
    partner (pair): worker, round -> the worker that it meets, or None.
    """

    pattern: Literal["sum", "pair"]
    init: Callable[[Tensor], RuleState]
    step: Callable[[RuleState, Tensor, Tensor], tuple[RuleState, Tensor, Tensor]] | None
    partner: Callable[[int, int], int | None]


def rule_for(options: CombineOptions, workers: int) -> CombineRule:
    """Return the rule that the config names, for `workers` workers."""
    if options.kind == "mean":
        return CombineRule("sum", _stateless, None, _nobody)
    if isinstance(options, Bmuf):
        given, nesterov = options.block_momentum, options.kind == "bmuf_nesterov"
        eta = bmuf.default_momentum(workers) if given == "auto" else given

        def step(state: RuleState, start: Tensor, mean: Tensor) -> tuple[RuleState, Tensor, Tensor]:
            done = bmuf.bmuf_step(start, state["delta"], mean, eta, options.block_learning_rate, nesterov)
            return {"delta": done.delta}, done.model, done.start

        return CombineRule("sum", _zero_delta, step, _nobody)
    kind = options.kind
    return CombineRule("pair", _stateless, None, lambda worker, turn: gossip.partner(kind, worker, turn, workers))


def vectors_sent(options: CombineOptions, workers: int) -> tuple[float, float]:
    """Return how many parameter vectors each rank sends per combination: for the rule, and for the mean looked at.

    Pattern `sum`: 2 (N - 1) / N. Each rank adds up one N-th of the vector, so it sends the N - 1 parts that others add
    up, and then the sum of its own part to N - 1 others. Pattern `pair`: 1, one's own vector to one partner; the mean
    over workers, which observers and diagnostics look at and no worker goes on from, costs a `sum` on top.
    """
    share = 2 * (workers - 1) / workers
    return (share, 0.0) if rule_for(options, workers).pattern == "sum" else (float(workers > 1), share)


def _stateless(model: Tensor) -> RuleState:
    return {}


def _zero_delta(model: Tensor) -> RuleState:
    return {"delta": flat.zeros(len(model), model.dtype)}


def _nobody(worker: int, turn: int) -> None:
    return None
