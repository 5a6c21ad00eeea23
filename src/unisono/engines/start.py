"""How an iteration begins: what each worker sets out with."""

from unisono.config.run import Run
from unisono.engines.state import State
from unisono.engines.store import Vectors, known, take_group
from unisono.engines.worker import Worker


def begin_(run: Run, state: State, before: Vectors, worker: Worker, own: Vectors | None = None) -> None:
    """Set a worker's parameters and optimiser for the iteration after `state`, in place.

    before: the vectors after the last combination; lent. own: what the worker left in a file, where it does not hold it
    itself. Fresh are: every worker with `carry_state: reset`, one that was rejected, one that did nothing in the
    iteration before, as it joins by the ramp. With `average` the momentum is the workers' mean, natural-gradient
    factors stay the worker's own.
    """
    number, optimiser = worker.number, worker.optimiser
    if own is not None and "start" in own.names:
        worker.params.copy_(own.view("start"))
    else:
        worker.params.copy_(before.view(known(before, f"start.{number}", "start")))
    joins = all(outcome.worker != number for outcome in state.workers)
    if run.parallel.carry_state == "reset" or joins or number in state.fresh:
        optimiser.reset()
        return
    passed_on = {n.removeprefix("optimiser."): before.view(n) for n in before.names if n.startswith("optimiser.")}
    if state.shared:
        optimiser.load_state(passed_on)
        return
    if own is not None:
        optimiser.load_state(take_group(own, "optimiser."))
    if passed_on:
        optimiser.load_state(optimiser.state() | passed_on)


def fetch_(run: Run, state: State, before: Vectors, worker: Worker) -> None:
    """Set a worker's parameters and optimiser for a slice that a server deals it, in place.

    Under `elastic` it goes on from its own model, unless it is in `state.fresh`.
    """
    fresh = worker.number in state.fresh
    if fresh or run.parallel.combine.kind != "elastic":
        worker.params.copy_(before.view("model"))
    if fresh or run.parallel.carry_state == "reset":
        worker.optimiser.reset()
