"""From alignments to triphone contexts: which phones surround each frame, and the same path under another tree."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from unisono.errors import UserError
from unisono.hmm.align import Shard
from unisono.hmm.tree import Node, evaluate
from unisono.hmm.tree_building import LEFT, PHONE, RIGHT, STATE, TreeStats, collect


class TransitionTable(NamedTuple):
    """What each transition-id [ids + 1] means; entry 0 is unused."""

    phone: NDArray[np.int32]
    state: NDArray[np.int32]  # number of the HMM state within the phone
    move: NDArray[np.int32]  # which of the state's transitions
    self_loop: NDArray[np.bool_]
    last: NDArray[np.bool_]  # goes to the end of the phone
    first_ids: dict[tuple[int, int, int], int]  # transition-id of move 0, by phone, state, PDF


def transition_table(model: Any) -> TransitionTable:
    """Read the meaning of all transition-ids from khg.TransitionModel."""
    states = [entry.__getstate__() for entry in model.tuples]  # (phone, HMM state, PDF forward, PDF of the loop)
    numbers = np.array(model.id2state, np.int64)
    first = np.array(model.state2id, np.int64)
    numbers[0] = 1
    ids = np.arange(len(numbers))
    return TransitionTable(
        phone=np.array([entry[0] for entry in states], np.int32)[numbers - 1],
        state=np.array([entry[1] for entry in states], np.int32)[numbers - 1],
        move=(ids - first[numbers]).astype(np.int32),
        self_loop=np.array([False] + [bool(model.is_self_loop(i)) for i in range(1, len(ids))]),
        last=np.array([False] + [bool(model.is_final(i)) for i in range(1, len(ids))]),
        first_ids={tuple(entry[:3]): int(first[number]) for number, entry in enumerate(states, 1)},
    )


def frame_events(table: TransitionTable, ids: NDArray[np.int32], independent: frozenset[int]) -> NDArray[np.int32]:
    """Return (left phone, phone, right phone, state) of each frame of one utterance, [T, 4], from its ids [T].

    Outside the utterance stands 0; phones in `independent` have 0 for both neighbours. Training graphs put the
    self-loops of a state after its way out (Kaldi's reordering), so a phone begins with the first move that is not
    a loop after the one that ended the phone before.
    """
    moves = np.flatnonzero(~table.self_loop[ids])
    if len(moves) == 0 or moves[0] != 0:
        raise ValueError("an alignment begins with a self-loop: it was not made from a reordered graph")
    ends = table.last[ids[moves]]
    starts = moves[np.concatenate([[True], ends[:-1]])]
    segment = np.zeros(len(ids), np.int64)
    segment[starts[1:]] = 1
    segment = np.cumsum(segment)
    phones = table.phone[ids[starts]]
    padded = np.concatenate([[0], phones, [0]]).astype(np.int32)
    alone = np.isin(phones, list(independent))
    left, right = np.where(alone, 0, padded[:-2]), np.where(alone, 0, padded[2:])
    events = np.empty((len(ids), 4), np.int32)
    events[:, LEFT], events[:, PHONE], events[:, RIGHT] = left[segment], phones[segment], right[segment]
    events[:, STATE] = table.state[ids]
    return events


def shard_events(
    shard: Shard, table: TransitionTable, ids: NDArray[np.int32], independent: frozenset[int]
) -> tuple[NDArray[np.int32], NDArray[np.intp]]:
    """Return the events [M, 4] of the aligned frames of a shard and their places in it [M]."""
    events, places = [np.zeros((0, 4), np.int32)], [np.zeros(0, np.intp)]
    for begin, end in zip(shard.offsets[:-1], shard.offsets[1:], strict=True):
        own = ids[begin:end]
        if len(own) and own[0] > 0:
            events.append(frame_events(table, own, independent))
            places.append(np.arange(begin, end))
    return np.concatenate(events), np.concatenate(places)


def shard_stats(shard: Shard, table: TransitionTable, ids: NDArray[np.int32], independent: frozenset[int]) -> TreeStats:
    """Collect the tree's statistics of one shard aligned as `ids` [N], 0 where an utterance failed."""
    events, places = shard_events(shard, table, ids, independent)
    return collect(events, shard.frames[places])


def convert_ids(
    shard: Shard,
    old: TransitionTable,
    new: TransitionTable,
    ids: NDArray[np.int32],
    root: Node,
    independent: frozenset[int],
) -> NDArray[np.int32]:
    """Return the same path, state for state, in the transition-ids of another tree over the same topology, [N]."""
    events, places = shard_events(shard, old, ids, independent)
    converted = np.zeros_like(ids)
    if len(events) == 0:
        return converted
    distinct, where = np.unique(events, axis=0, return_inverse=True)
    first = np.empty(len(distinct), np.int32)
    for number, event in enumerate(distinct.tolist()):
        phone, state = event[PHONE], event[STATE]
        key = (phone, state, evaluate(root, event[:3], state))
        if key not in new.first_ids:
            raise UserError("the alignments do not fit the topology: align anew")
        first[number] = new.first_ids[key]
    converted[places] = first[where.reshape(-1)] + old.move[ids[places]]
    return converted
