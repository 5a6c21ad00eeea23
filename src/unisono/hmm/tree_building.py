"""Growing a triphone tree (Young, Odell and Woodland 1994, as Kaldi's build-tree does it).

Statistics are sums over the frames of each event (left, phone, right, state). The likelihood of a set of events
under one diagonal Gaussian is -n/2 (Σ_d log v_d + D (1 + log 2π)), with v floored at VARIANCE_FLOOR. Questions are
sets of phones from bottom-up clustering; the leaf whose best question gains most is split next, and at the end
leaves of one phone whose merging loses less than the last split gained become one. Phones that differ only in their
position in the word share a root; then a set of all phones of one position is a question, too.
"""

import heapq
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from unisono.hmm.tree import CLASS, Leaf, Node, Split, Table, shared_roots, state_table

VARIANCE_FLOOR = 0.01
MIN_GAIN = 300.0  # nats that a split must gain (Kaldi: build-tree --thresh)
LEFT, PHONE, RIGHT, STATE = range(4)  # columns of the events


class TreeStats(NamedTuple):
    """Statistics of E different events in lexical order."""

    events: NDArray[np.int32]  # [E, 4]: left, phone, right, state
    sums: NDArray[np.float64]  # [E, 1 + 2 D]: frames, sum of x, sum of x^2


class Questions(NamedTuple):
    """Sets of values that may be asked for, by position."""

    phones: list[tuple[int, ...]]
    states: list[tuple[int, ...]]
    own: list[tuple[int, ...]]  # of the phone itself, where several share a root


def collect(events: NDArray[np.integer], frames: NDArray[np.floating]) -> TreeStats:
    """Sum the frames [T, D] by their events [T, 4]; T may be 0, as in a shard in which nothing was aligned."""
    if not len(events):
        return TreeStats(np.zeros((0, 4), np.int32), np.zeros((0, 1 + 2 * frames.shape[1])))
    distinct, where = np.unique(events, axis=0, return_inverse=True)
    where = where.reshape(-1)
    order = np.argsort(where, kind="stable")
    starts = np.searchsorted(where[order], np.arange(len(distinct)))
    sums = np.empty((len(distinct), 1 + 2 * frames.shape[1]))
    sums[:, 0] = np.bincount(where, minlength=len(distinct))
    for event, rows in enumerate(np.split(order, starts[1:])):
        x = frames[rows].astype(np.float64)
        sums[event, 1:] = np.concatenate([x.sum(axis=0), (x * x).sum(axis=0)])
    return TreeStats(distinct.astype(np.int32), sums)


def merge(parts: Sequence[TreeStats]) -> TreeStats:
    """Add statistics in the order given."""
    events, where = np.unique(np.concatenate([part.events for part in parts]), axis=0, return_inverse=True)
    where = where.reshape(-1)
    sums = np.zeros((len(events), parts[0].sums.shape[1]))
    begin = 0
    for part in parts:
        sums[where[begin : begin + len(part.events)]] += part.sums
        begin += len(part.events)
    return TreeStats(events, sums)


def likelihood(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the log-likelihood of each row of statistics [..., 1 + 2 D] under its own Gaussian; 0 for no frames."""
    dim = (sums.shape[-1] - 1) // 2
    count = sums[..., 0]
    safe = np.maximum(count, 1.0e-10)[..., None]
    means = sums[..., 1 : 1 + dim] / safe
    variances = np.maximum(sums[..., 1 + dim :] / safe - means * means, VARIANCE_FLOOR)
    return -0.5 * count * (np.log(variances).sum(axis=-1) + dim * (1.0 + np.log(2.0 * np.pi)))


def phone_questions(stats: TreeStats, state: int, variants: Sequence[Sequence[int]] = ()) -> list[tuple[int, ...]]:
    """Cluster the phones bottom-up by their frames of one state; each cluster met on the way is a question.

    The phones of each set in `variants` stay together.
    """
    chosen = stats.events[:, STATE] == state
    seen = set(np.unique(stats.events[chosen, PHONE]).tolist())
    clusters = [group for group in shared_roots(seen, variants) if seen & set(group)]
    sums = [stats.sums[chosen & np.isin(stats.events[:, PHONE], group)].sum(axis=0) for group in clusters]
    questions = list(clusters)
    while len(clusters) > 2:
        one, two, _ = _cheapest_pair(np.stack(sums))
        clusters[one], sums[one] = tuple(sorted(clusters[one] + clusters[two])), sums[one] + sums[two]
        del clusters[two], sums[two]
        questions.append(clusters[one])
    return sorted(set(questions))


def make_questions(
    stats: TreeStats, states: int, variants: Sequence[Sequence[int]] = (), positions: Sequence[Sequence[int]] = ()
) -> Questions:
    """Make the questions: phone clusters by the middle state, the states up to any number, and the `positions`."""
    own = [tuple(group) for group in positions]
    phones = phone_questions(stats, states // 2, variants) + own
    return Questions(phones, [tuple(range(n)) for n in range(1, states)], own)


def build(
    stats: TreeStats,
    states: Mapping[int, int],
    fixed: Sequence[int],
    max_leaves: int,
    variants: Sequence[Sequence[int]] = (),
    positions: Sequence[Sequence[int]] = (),
) -> tuple[Table, NDArray[np.float64]]:
    """Build the tree; return its root and the statistics of each PDF [P, 1 + 2 D].

    `states` is the number of states by phone id. Phones in `fixed` (silence) have one PDF for each state whatever
    the context, and so have phones without any frames. The others share one root for all states of a phone, and the
    phones of each set in `variants` share it, too; `positions` are further questions, for any phone of a triphone.
    `max_leaves` counts all leaves before merging; there are never fewer than the roots need.
    """
    seen = set(np.unique(stats.events[:, PHONE]).tolist())
    groups = shared_roots(states, variants)
    grown = [group for group in groups if seen & set(group) and group[0] not in fixed]
    size = {group: states[group[0]] for group in groups}
    count = sum(size[group] for group in groups if group not in grown)
    asked = Questions([], [], [])
    if grown:
        asked = make_questions(stats, max(size[group] for group in grown), variants, positions)
    roots = {group: _Grown(stats, np.flatnonzero(np.isin(stats.events[:, PHONE], group)), asked) for group in grown}
    last_gain = _grow(list(roots.values()), max_leaves - count)
    children: list[Node | None] = [None] * (max(states) + 1)
    sums: list[NDArray[np.float64]] = []
    for group in groups:
        if group in roots:
            leaves = roots[group].leaves()
            merged, totals = _merge_leaves([leaf.total for leaf in leaves], last_gain)
            root = roots[group].node({id(leaf): len(sums) + g for leaf, g in zip(leaves, merged, strict=True)})
        else:
            root = state_table(size[group], len(sums))
            own = np.isin(stats.events[:, PHONE], group)
            totals = [stats.sums[own & (stats.events[:, STATE] == s)].sum(axis=0) for s in range(size[group])]
        for phone in group:
            children[phone] = root
        sums += totals
    return Table(PHONE, tuple(children)), np.stack(sums)


class _Grown:
    """A node while the tree grows: its events, their sum, and the best question for them."""

    def __init__(self, stats: TreeStats, rows: NDArray[np.intp], asked: Questions) -> None:
        self._stats, self._rows, self._asked = stats, rows, asked
        self.total = stats.sums[rows].sum(axis=0)
        self.gain, self._position, self._values = 0.0, CLASS, ()
        self._children: tuple[_Grown, _Grown] | None = None
        self._find_question()

    def _find_question(self) -> None:
        # Position CLASS stands in column STATE of the events, the phones in the columns of their own number.
        events, sums = self._stats.events[self._rows], self._stats.sums[self._rows]
        whole = float(likelihood(self.total))
        for position, column, sets in (
            (CLASS, STATE, self._asked.states),
            (LEFT, LEFT, self._asked.phones),
            (RIGHT, RIGHT, self._asked.phones),
            (PHONE, PHONE, self._asked.own),
        ):
            if not sets:
                continue
            masks = np.stack([np.isin(events[:, column], values) for values in sets]).astype(np.float64)
            yes = masks @ sums
            gains = likelihood(yes) + likelihood(self.total - yes)
            counts = yes[:, 0]
            gains = np.where((counts > 0.5) & (counts < self.total[0] - 0.5), gains - whole, 0.0)
            best = int(np.argmax(gains))
            if gains[best] > self.gain:
                self.gain, self._position, self._values = float(gains[best]), position, sets[best]

    def split(self) -> "tuple[_Grown, _Grown]":
        """Ask the best question."""
        column = STATE if self._position == CLASS else self._position
        yes = np.isin(self._stats.events[self._rows, column], self._values)
        self._children = (
            _Grown(self._stats, self._rows[yes], self._asked),
            _Grown(self._stats, self._rows[~yes], self._asked),
        )
        return self._children

    def leaves(self) -> "list[_Grown]":
        """Return the ends below, from left to right."""
        if self._children is None:
            return [self]
        return [leaf for child in self._children for leaf in child.leaves()]

    def node(self, numbers: Mapping[int, int]) -> Node:
        """Return the finished tree; `numbers` gives the PDF by the identity of the leaf."""
        if self._children is None:
            return Leaf(numbers[id(self)])
        yes, no = (child.node(numbers) for child in self._children)
        return Split(self._position, tuple(self._values), yes, no)


def _grow(roots: "list[_Grown]", max_leaves: int) -> float:
    """Split the leaf with the largest gain until there are `max_leaves`; return the gain of the last split."""
    queue = [(-root.gain, number, root) for number, root in enumerate(roots)]
    heapq.heapify(queue)
    count, made, last = len(roots), len(roots), MIN_GAIN
    while queue and count < max_leaves and -queue[0][0] >= MIN_GAIN:
        gain, _, leaf = heapq.heappop(queue)
        last = -gain
        for child in leaf.split():
            heapq.heappush(queue, (-child.gain, made, child))
            made += 1
        count += 1
    return last


def _cheapest_pair(sums: NDArray[np.float64]) -> tuple[int, int, float]:
    one, two = np.triu_indices(len(sums), 1)
    own = likelihood(sums)
    losses = own[one] + own[two] - likelihood(sums[one] + sums[two])
    best = int(np.argmin(losses))
    return int(one[best]), int(two[best]), float(losses[best])


def _merge_leaves(totals: list[NDArray[np.float64]], threshold: float) -> tuple[list[int], list[NDArray[np.float64]]]:
    """Merge the two most alike leaves while that loses less than `threshold`; return groups by leaf, and their sums."""
    groups = [[leaf] for leaf in range(len(totals))]
    sums = list(totals)
    while len(groups) > 1:
        one, two, loss = _cheapest_pair(np.stack(sums))
        if loss >= threshold:
            break
        groups[one], sums[one] = groups[one] + groups[two], sums[one] + sums[two]
        del groups[two], sums[two]
    group_of = {leaf: number for number, group in enumerate(groups) for leaf in group}
    return [group_of[leaf] for leaf in range(len(totals))], sums
