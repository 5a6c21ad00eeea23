"""Where natural gradient acts on one matrix of a layout: which estimators there are, and what they are called."""

from collections.abc import Mapping
from typing import NamedTuple, Protocol

from torch import Tensor

from unisono.config.optimiser import OptimiserOptions
from unisono.core.flat import Entry, Layout
from unisono.core.natural_gradient import estimator_for, vector_estimator
from unisono.core.ng_simple import SimpleEstimator
from unisono.core.number import Number


class Estimator(Protocol):
    """One side of one layer: preconditions rows in place and says by which factor to multiply them."""

    def precondition_(self, rows: Tensor, deferred: bool = False) -> Number:
        """Overwrite rows [N, D] by X^ and return gamma."""
        ...

    def updates(self) -> bool:
        """Say whether the next minibatch needs the host: an update of the estimate."""
        ...

    def skip(self) -> None:
        """Count a minibatch that was preconditioned by replaying a captured step."""
        ...

    def state(self) -> dict[str, Tensor]:
        """Return what must survive a checkpoint."""
        ...

    def load_state(self, state: Mapping[str, Tensor], where: str) -> None:
        """Take over what `state` returned; an empty mapping means a fresh start."""
        ...


class Sides(NamedTuple):
    """The estimators of one matrix: of its input rows, which all blocks share, and of each block's outputs.

    A vector has none of inputs: its estimators act on the per-frame products whose sum is its gradient.
    """

    into: Estimator | None
    out: tuple[Estimator, ...]

    def named(self) -> dict[str, Estimator]:
        """Return them by the names that they have in a state."""
        found = {} if self.into is None else {"in": self.into}
        if self.into is not None and len(self.out) == 1:
            return found | {"out": self.out[0]}
        return found | {f"out{block}": side for block, side in enumerate(self.out)}


def sides_of(options: OptimiserOptions, layout: Layout) -> list[Sides | None]:
    """Return the estimators of each matrix, as before the first minibatch; None under `sgd`."""
    return [_sides(options, entry) for entry in layout.entries]


def _sides(options: OptimiserOptions, entry: Entry) -> Sides | None:
    (rows, columns), blocks = entry.shape, entry.blocks
    if options.kind == "sgd":
        return None
    if options.kind == "ng_simple":
        out = tuple(SimpleEstimator(options.ng.alpha) for _ in range(blocks))
        return Sides(None if entry.gradient == "rows" else SimpleEstimator(options.ng.alpha), out)
    if entry.gradient == "rows":
        return Sides(None, tuple(vector_estimator(options.ng, columns) for _ in range(blocks)))
    out = tuple(estimator_for(options.ng, "out", rows // blocks) for _ in range(blocks))
    return Sides(estimator_for(options.ng, "in", columns), out)
