"""How a worker begins an iteration: its parameters, and which optimiser state it goes on with."""

from collections.abc import Mapping

from torch import Tensor

from unisono.core.optimiser import Optimiser
from unisono.data.frames.loader import Slice
from unisono.engines.run import Run
from unisono.engines.state import Combined, State
from unisono.engines.worker import Task
from unisono.schedule import Plan


def task_of(plan: Plan, state: State, worker: int) -> Task:
    """Return a worker's task in the iteration after `state`."""
    iteration = plan.iterations[state.iteration + 1]
    begin, end = iteration.slices[worker]
    owner = worker if plan.dealing == "fixed" else -1
    if state.learning_rate is None:
        raise ValueError("the run is at its end")
    part = Slice(iteration.epoch, owner, begin, end)
    return Task(iteration.iteration, part, iteration.minibatch, state.learning_rate, iteration.max_change_scale)


def begin_(
    run: Run,
    plan: Plan,
    state: State,
    combined: Combined,
    worker: int,
    params: Tensor,
    optimiser: Optimiser,
    own: Mapping[str, Tensor] | None = None,
) -> None:
    """Set parameters and optimiser for the iteration after `state`, in place.

    own: the worker's optimiser state of the iteration before where it comes from a file; None where `optimiser` holds
    it. Fresh are: every worker with `carry_state: reset`, one that was rejected, one that joins by the ramp. With
    `average` the momentum is the workers' mean, natural-gradient factors stay the worker's own.
    """
    params.copy_(combined.start_of(worker))
    before = plan.iterations[state.iteration].workers if state.iteration >= 0 else 0
    if run.parallel.carry_state == "reset" or worker >= before or worker in state.fresh:
        optimiser.reset()
    elif state.shared:
        optimiser.load_state(combined.optimiser)
    else:
        if own is not None:
            optimiser.load_state(own)
        if combined.optimiser:
            optimiser.load_state(optimiser.state() | combined.optimiser)
