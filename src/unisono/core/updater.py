"""What changes parameters in training, as networks and workers see it."""

from collections.abc import Mapping
from typing import Protocol

from torch import Tensor

from unisono.core.number import Number
from unisono.core.products import Products


class Updater(Protocol):
    """What a network hands the parts of a minibatch to; an `Optimiser`, or a `core.gradient.Gradient`."""

    def begin(self, params: Tensor, rate: Number, products: Products, frames: int | Tensor | None = None) -> None:
        """Start a minibatch on the flat vector `params` [P] with `rate` per summed gradient."""
        ...

    def layer_(self, index: int, x: Tensor, error: Tensor) -> None:
        """Take in one layer's part; may overwrite it."""
        ...

    def rows_(self, index: int, block: int, products: Tensor) -> None:
        """Take in one vector's part, the per-frame products of its gradient; may overwrite it."""
        ...

    def finish_(self) -> int | Tensor:
        """End the minibatch; return 1 where a step was limited."""
        ...


class Trainer(Protocol):
    """What a worker owns beside its parameters: what a minibatch does to them, with a state that is saved.

    `version` changes whenever a step will use other storage or other constants than the one before.
    """

    @property
    def version(self) -> int:
        """Name what the next step uses."""
        ...

    def begin_task(self, max_change_scale: float, seen: int, workers: int) -> None:
        """Go on in a slice. seen: frames that all workers have trained on before; `workers` train in this iteration."""
        ...

    def reset(self) -> None:
        """Forget everything."""
        ...

    def state(self) -> dict[str, Tensor]:
        """Return, on the CPU, what the next minibatch depends on; to be written or copied before it."""
        ...

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Take over a state. Raises UserError for a state of another network or another kind."""
        ...

    def is_static(self) -> bool:
        """Say whether the next minibatch is the same work as any other such, without a decision of the host."""
        ...

    def skip(self) -> None:
        """Count a minibatch that was done by replaying a captured step."""
        ...
