"""What a server deals to whom, in numbers: slices in the plan's order to whoever asks, and what it has to wait for.

A slice may be dealt once enough pushes are judged: all of the epochs before (a pass ends clean, and newbob decides
there), and of the pushes before a barrier. A bound on staleness holds back who
is so fast that others might become too stale. An iteration of N slices is closed by verdict number (i + 1) N, whichever
slices were judged.
"""

from dataclasses import replace

from unisono.engines.ending import next_rate
from unisono.engines.session import Session
from unisono.engines.state import Dealing, Out, State
from unisono.errors import UserError


class Dealer:
    """Deals the slices of one run."""

    def __init__(self, session: Session) -> None:
        self.workers, self._run, self._plan = session.most_workers, session.run, session.plan
        if any(len(iteration.slices) != self.workers for iteration in self._plan.iterations):
            raise UserError(
                f"parallel.workers: {self.workers}, but the plan has iterations of other numbers: a server cannot go on"
                " with another number of workers: delete the run's folder to start anew"
            )
        self._opens = [0]  # for each iteration: pushes that must be judged before
        for before in self._plan.iterations[:-1]:
            number = before.iteration
            self._opens.append((number + 1) * self.workers if before.end_of_epoch else self._opens[-1])

    def judged(self, state: State) -> int:
        """Return how many pushes were judged."""
        return (state.iteration + 1) * self.workers + len(state.arrived)

    def may_deal(self, state: State) -> bool:
        """Say whether one more slice may be dealt now."""
        dealing, parallel = dealing_of(state), self._run.parallel
        iteration = dealing.dealt // self.workers
        if state.stop or iteration >= len(self._plan.iterations):
            return False
        opens = self._opens[iteration]
        if parallel.barrier_pushes is not None:
            opens = max(opens, dealing.dealt // parallel.barrier_pushes * parallel.barrier_pushes)
        if self.judged(state) < opens:
            return False
        bound = parallel.max_staleness
        # Whoever is out may be overtaken by all others that are out, and by this one.
        return bound is None or all(state.turn - out.start + len(dealing.out) <= bound for out in dealing.out)

    def deal(self, state: State, worker: int) -> tuple[State, Out]:
        """Return the state and the next slice, which goes to a worker."""
        dealing = dealing_of(state)
        iteration, slice_ = divmod(dealing.dealt, self.workers)
        rate = next_rate(self._run, self._plan, iteration - 1, state.rate_scale, state.newbob)
        if rate is None:
            raise ValueError("the run is at its end")
        out = Out(worker=worker, iteration=iteration, slice=slice_, start=state.turn, rate=rate, due=0.0)
        dealt = replace(dealing, dealt=dealing.dealt + 1, out=(*dealing.out, out), events=dealing.events + 1)
        return replace(state, dealing=dealt), out

    def back(self, state: State, worker: int) -> State:
        """Return the state without the slice that a worker brings back."""
        dealing = dealing_of(state)
        (out,) = (out for out in dealing.out if out.worker == worker)
        rest = tuple(other for other in dealing.out if other is not out)
        return replace(state, dealing=replace(dealing, out=rest, clock=out.due, events=dealing.events + 1))


def dealing_of(state: State) -> Dealing:
    """Return what was dealt. Raises UserError for the state of a run without a server."""
    if state.dealing is None:
        raise UserError("parallel.combine: the run was begun without a server: delete its folder to start anew")
    return state.dealing
