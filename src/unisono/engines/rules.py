"""Combine rules: what becomes of the workers' models at the end of an iteration, as a pattern and pure functions.

Pattern `sum`: the weighted mean of the accepted workers goes through `step`. Pattern `pair`: each worker meets its
partner half-way and goes on from there; the model is then the equal mean over workers. Pattern `server`: the server's
model takes in one worker at a time. To add a rule, write its function in `core` and name it in `rule_for`.
"""

from collections.abc import Callable
from typing import Literal, NamedTuple

from torch import Tensor

from unisono.config.parallel import Addition, Bmuf, CombineOptions, Elastic
from unisono.core import bmuf, flat, gossip, server

RuleState = dict[str, Tensor]
How = Literal["adopt", "add", "exchange"]


class Taking(NamedTuple):
    """How a server takes in a worker.

    how: staleness -> what the worker hands over: its model, which becomes the server's (adopt); what it has learned
    (add); its model, which it gets back changed (exchange). into_: changes the server's model [P], the rule's state
    and, for an exchange, the piece in place; part: where in the vectors the piece lies.
    """

    how: Callable[[int], How]
    into_: Callable[[Tensor, RuleState, slice, Tensor, How], None]


class CombineRule(NamedTuple):
    """A combine rule for a given number of workers.

    init: model [P] -> state, before the first combination. step (sum): state, start [P] of the workers, their mean
    [P] -> state, model [P], next start [P]; it may use up state and mean. None: the mean is the model and the start.
    partner (pair): worker, round -> the worker that it meets, or None. taking: only of pattern `server`.
    """

    pattern: Literal["sum", "pair", "server"]
    init: Callable[[Tensor], RuleState]
    step: Callable[[RuleState, Tensor, Tensor], tuple[RuleState, Tensor, Tensor]] | None
    partner: Callable[[int, int], int | None]
    taking: Taking | None = None


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
    if isinstance(options, Addition):
        init = _zero_velocity if options.momentum else _stateless
        return CombineRule("server", init, None, _nobody, _addition(options))
    if isinstance(options, Elastic):
        return CombineRule("server", _stateless, None, _nobody, _elastic(options))
    kind = options.kind
    return CombineRule("pair", _stateless, None, lambda worker, turn: gossip.partner(kind, worker, turn, workers))


def vectors_sent(options: CombineOptions, workers: int) -> tuple[float, float]:
    """Return how many parameter vectors each rank sends per combination: for the rule, and for the mean looked at.

    Pattern `sum`: 2 (N - 1) / N. Each rank adds up one N-th of the vector, so it sends the N - 1 parts that others add
    up, and then the sum of its own part to N - 1 others. Pattern `pair`: 1, one's own vector to one partner; the mean
    over workers, which observers and diagnostics look at and no worker goes on from, costs a `sum` on top. Pattern
    `server`: 1, to the server, which sends as many back.
    """
    share, pattern = 2 * (workers - 1) / workers, rule_for(options, workers).pattern
    if pattern == "server":
        return (1.0, 0.0)
    return (share, 0.0) if pattern == "sum" else (float(workers > 1), share)


def _stateless(model: Tensor) -> RuleState:
    return {}


def _zero_delta(model: Tensor) -> RuleState:
    return {"delta": flat.zeros(len(model), model.dtype)}


def _zero_velocity(model: Tensor) -> RuleState:
    return {"velocity": flat.zeros(len(model), model.dtype)}


def _addition(options: Addition) -> Taking:
    """Return how a server adds differences."""

    def into_(model: Tensor, state: RuleState, part: slice, piece: Tensor, how: How) -> None:
        if how == "adopt":
            model[part].copy_(piece)
            return
        velocity = state["velocity"][part] if options.momentum else None
        server.add_(model[part], piece, options.factor, options.momentum, velocity)

    adopts = server.adopts
    return Taking(lambda stale: "adopt" if adopts(stale, options.factor, options.momentum) else "add", into_)


def _elastic(options: Elastic) -> Taking:
    """Return how server and worker draw each other nearer."""

    def into_(model: Tensor, state: RuleState, part: slice, piece: Tensor, how: How) -> None:
        server.exchange_(model[part], piece, options.factor)

    return Taking(lambda stale: "exchange", into_)


def _nobody(worker: int, turn: int) -> None:
    return None
