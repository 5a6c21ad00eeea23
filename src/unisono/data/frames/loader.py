"""From slices of the plan to minibatches: windows are loaded by a thread ahead of their use, and gathered in place."""

from collections import OrderedDict
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple, Self, TypeVar

import numpy as np

from unisono.data.frames.order import Order
from unisono.data.frames.resident import Resident
from unisono.data.frames.store import FramesStore
from unisono.data.frames.window import Batch, Window, load_window
from unisono.units import TrainingUnit

_KEPT_ORDERS = 4
B = TypeVar("B", bound=Batch)


class Slice(NamedTuple):
    """Positions begin to end of the order of (epoch, owner); owner is -1 where all workers share one order."""

    epoch: int
    owner: int
    begin: int
    end: int


class Loader:
    """Reads slices of a store; window and positions count units.

    `ahead` windows are loaded in the background; the content never depends on timing.
    owners: int [U], the worker that owns each utterance (`fixed`), or None (`rotating`).
    resident: the store on a device; without it windows are read from the file. pin: a GPU will fetch the windows.
    Memory: at most ahead + 2 windows of frames and their indices.
    """

    def __init__(
        self,
        store: FramesStore,
        unit: TrainingUnit,
        *,
        seed: int,
        window: int,
        owners: np.ndarray | None = None,
        ahead: int = 1,
        resident: Resident | None = None,
        pin: bool = False,
    ) -> None:
        self._store, self._unit, self._seed, self._window, self._ahead = store, unit, seed, window, ahead
        self._units = np.array(unit.count(store.lengths.tolist()), np.int64)
        self._owners, self._resident, self._pin = owners, resident, pin
        self._workers = 0 if owners is None else int(owners.max()) + 1
        self._orders: OrderedDict[tuple[int, int], Order] = OrderedDict()
        self._windows: OrderedDict[tuple[int, int, int], Future[Window]] = OrderedDict()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="loader")

    def __enter__(self) -> Self:
        """Return the loader itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the thread."""
        self.close()

    def close(self) -> None:
        """Stop the thread and forget the windows."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._windows.clear()

    def order(self, epoch: int, owner: int) -> Order:
        """Return the order of an epoch, made once and kept for a while."""
        key = (epoch, owner)
        if key not in self._orders:
            everything = np.arange(len(self._units))
            if self._owners is None:
                order = Order(self._units, everything, self._window, (self._seed, epoch))
            else:
                mine = everything[self._owners == owner]
                order = Order(self._units, mine, self._window, (self._seed, epoch, owner, self._workers))
            self._orders[key] = order
            if len(self._orders) > max(_KEPT_ORDERS, self._workers):
                self._orders.popitem(last=False)
        self._orders.move_to_end(key)
        return self._orders[key]

    def expect(self, part: Slice) -> None:
        """Begin to load the first window of a slice that will be read next."""
        self._request(part, part.begin // self._window)

    def minibatches(self, part: Slice, size: int, buffers: Callable[[int], B]) -> Iterator[tuple[B, int]]:
        """Yield minibatches for positions begin, begin + size, ... of a slice, each with how many frames count.

        buffers(n) gives a batch to fill; the last minibatch may be smaller.
        """
        order = self.order(part.epoch, part.owner)
        if not 0 <= part.begin <= part.end <= len(order):
            raise ValueError(f"slice {part} of an order of {len(order)}")
        for begin in range(part.begin, part.end, size):
            end = min(begin + size, part.end)
            batch, frames = buffers(end - begin), 0
            for window in order.windows(begin, end):
                first, last = order.span(window)
                a, b = max(begin, first), min(end, last)
                loaded = self._request(part, window).result()
                for following in range(window + 1, min(window + 1 + self._ahead, order.windows(0, part.end).stop)):
                    self._request(part, following)
                frames += loaded.gather(a - first, b - first, batch, a - begin)
            yield batch, frames

    def _request(self, part: Slice, window: int) -> Future[Window]:
        key = (part.epoch, part.owner, window)
        if key in self._windows:
            return self._windows[key]
        order = self.order(part.epoch, part.owner)
        future = self._pool.submit(self._load, order, window)
        self._windows[key] = future
        while len(self._windows) > self._ahead + 2:
            self._windows.popitem(last=False)[1].cancel()
        return future

    def _load(self, order: Order, window: int) -> Window:
        if self._resident is not None:
            loaded = self._resident.window(order, window)
        else:
            loaded = load_window(self._store, order, window, self._unit)
        return loaded.pinned() if self._pin else loaded
