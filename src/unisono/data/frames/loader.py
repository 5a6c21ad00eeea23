"""From slices of the plan to minibatches: windows are loaded by a thread ahead of their use, and gathered in place."""

from collections import OrderedDict
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple, Self

import numpy as np
from torch import Tensor

from unisono.data.frames.order import Order
from unisono.data.frames.resident import Resident
from unisono.data.frames.store import FramesStore, Window, load_window

_KEPT_ORDERS = 4


class Slice(NamedTuple):
    """Positions begin to end of the order of (epoch, owner); owner is -1 where all workers share one order."""

    epoch: int
    owner: int
    begin: int
    end: int


class Loader:
    """Reads slices of a store. `ahead` windows are loaded in the background; the content never depends on timing.

    owners: int [U], the worker that owns each utterance (`fixed`), or None (`rotating`).
    resident: the store on a device; without it windows are read from the file. pin: a GPU will fetch the windows.
    Memory: at most ahead + 2 windows of frames and their indices.
    """

    def __init__(
        self,
        store: FramesStore,
        context: tuple[int, int],
        *,
        seed: int,
        window: int,
        owners: np.ndarray | None = None,
        ahead: int = 1,
        resident: Resident | None = None,
        pin: bool = False,
    ) -> None:
        self._store, self._context, self._seed, self._window, self._ahead = store, context, seed, window, ahead
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
            everything = np.arange(len(self._store.lengths))
            if self._owners is None:
                order = Order(self._store.lengths, everything, self._window, (self._seed, epoch))
            else:
                mine = everything[self._owners == owner]
                order = Order(self._store.lengths, mine, self._window, (self._seed, epoch, owner, self._workers))
            self._orders[key] = order
            if len(self._orders) > max(_KEPT_ORDERS, self._workers):
                self._orders.popitem(last=False)
        self._orders.move_to_end(key)
        return self._orders[key]

    def expect(self, part: Slice) -> None:
        """Begin to load the first window of a slice that will be read next."""
        self._request(part, part.begin // self._window)

    def minibatches(
        self, part: Slice, size: int, buffer: Callable[[int], tuple[Tensor, Tensor]]
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield (x, ids) for positions begin, begin + size, ... of a slice; the last minibatch may be smaller.

        buffer(n) gives the tensors to fill: x float32 [n, input dim] (a network's input buffer), ids int64 [n].
        """
        order = self.order(part.epoch, part.owner)
        if not 0 <= part.begin <= part.end <= len(order):
            raise ValueError(f"slice {part} of an order of {len(order)}")
        for begin in range(part.begin, part.end, size):
            end = min(begin + size, part.end)
            x, ids = buffer(end - begin)
            for window in order.windows(begin, end):
                first, last = order.span(window)
                a, b = max(begin, first), min(end, last)
                loaded = self._request(part, window).result()
                for following in range(window + 1, min(window + 1 + self._ahead, order.windows(0, part.end).stop)):
                    self._request(part, following)
                loaded.gather(a - first, b - first, x[a - begin : b - begin], ids[a - begin : b - begin])
            yield x, ids

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
            loaded = load_window(self._store, order, window, self._context)
        return loaded.pinned() if self._pin else loaded
