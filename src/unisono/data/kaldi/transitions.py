"""Topology and transition model: which states phones have, and what a transition-id stands for.

A transition-id counts, from 1, the ways out of the states in the order of `tuples`, and within a state in the order of
its topology's moves. A self-loop emits the state's self-loop pdf, any other way its forward pdf; they are the same but
in topologies that are no plain HMM (`<Tuples>`, with two pdf classes a state).
"""

import functools
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from unisono.data.kaldi.tokens import Tokens

MOST_PHONES = 2**20  # the highest phone id: tables are as long as that


class State(NamedTuple):
    """One state; a state without pdf classes (-1) emits nothing, and the last one is of that kind.

    `moves`: (number of the next state, probability).
    """

    forward: int
    loop: int
    moves: tuple[tuple[int, float], ...]


class Topology(NamedTuple):
    """The states of each phone: those of `entries[entry_of[phone]]`."""

    entry_of: dict[int, int]
    entries: tuple[tuple[State, ...], ...]

    def states(self, phone: int) -> tuple[State, ...]:
        """Return the states of a phone."""
        return self.entries[self.entry_of[phone]]

    def text(self) -> str:
        """Return Kaldi's text form, probabilities with nine digits."""
        lines = ["<Topology>"]
        for number, states in enumerate(self.entries):
            phones = " ".join(str(phone) for phone in sorted(self.entry_of) if self.entry_of[phone] == number)
            lines += ["<TopologyEntry>", f"<ForPhones> {phones} </ForPhones>"]
            lines += [_state_text(place, state) for place, state in enumerate(states)]
            lines.append("</TopologyEntry>")
        return "\n".join([*lines, "</Topology>", ""])


def _state_text(place: int, state: State) -> str:
    classes = ""
    if state.forward >= 0:
        classes = f"<PdfClass> {state.forward} "
        if state.loop != state.forward:
            classes = f"<ForwardPdfClass> {state.forward} <SelfLoopPdfClass> {state.loop} "
    moves = "".join(f"<Transition> {target} {probability:.9g} " for target, probability in state.moves)
    return f"<State> {place} {classes}{moves}</State>"


class Transitions:
    """A transition model as Kaldi keeps it.

    `tuples` int32 [n, 4]: phone, state, forward pdf, self-loop pdf. `log_probs` float32 [ids + 1], entry 0 unused.
    By transition-id, entry 0 meaning nothing: `tuple_of`, `pdf_of`, `phone_of`, `is_loop`, `is_final`, `ends`.
    """

    def __init__(self, topology: Topology, tuples: NDArray[np.int32], log_probs: NDArray[np.float32]) -> None:
        self.topology, self.tuples, self.log_probs = topology, tuples, log_probs

    @property
    def num_ids(self) -> int:
        """Return the number of transition-ids, which is the highest one."""
        return len(self._table) - 1

    @property
    def num_pdfs(self) -> int:
        """Return the highest pdf and one."""
        return int(self.tuples[:, 2:].max()) + 1

    @functools.cached_property
    def _table(self) -> NDArray[np.int32]:
        """Return a row for each transition-id: tuple, pdf, whether a self-loop, next state (-1: out of the phone)."""
        rows = [(-1, -1, 0, 0)]
        for number, (phone, state, forward, loop) in enumerate(self.tuples.tolist()):
            states = self.topology.states(phone)
            for target, _ in states[state].moves:
                own = target == state
                rows.append((number, loop if own else forward, own, -1 if target == len(states) - 1 else target))
        return np.array(rows, np.int32)

    @property
    def tuple_of(self) -> NDArray[np.int32]:
        """Return the row of `tuples` of each transition-id, [ids + 1]."""
        return self._table[:, 0]

    @property
    def pdf_of(self) -> NDArray[np.int32]:
        """Return the pdf of each transition-id, [ids + 1]."""
        return self._table[:, 1]

    @property
    def phone_of(self) -> NDArray[np.int32]:
        """Return the phone of each transition-id, [ids + 1]."""
        return np.where(self.tuple_of < 0, -1, self.tuples[self.tuple_of, 0])

    @property
    def is_loop(self) -> NDArray[np.bool_]:
        """Say of each transition-id whether it is a self-loop, [ids + 1]."""
        return self._table[:, 2].astype(bool)

    @property
    def is_final(self) -> NDArray[np.bool_]:
        """Say of each transition-id whether it leads into the last state, [ids + 1]."""
        return self._table[:, 3] < 0

    @property
    def ends(self) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Return (phone, state) before and after each transition-id, [ids + 1, 2]; state -1 is out of the phone."""
        source = self.tuples[self.tuple_of, :2]
        return source, np.stack([source[:, 0], self._table[:, 3]], axis=1)

    def phone_lengths(self, ids: NDArray[np.integer]) -> list[tuple[int, int]]:
        """Cut an alignment [T] into (phone, frames): a phone ends after the self-loops of its last state.

        These follow the way out, as graphs are made with Kaldi's reordering.
        """
        found, begin, left = [], 0, False
        loops, finals = self.is_loop[ids], self.is_final[ids]
        for place in range(len(ids)):
            if not loops[place]:
                left = bool(finals[place])
            if place + 1 == len(ids) or (left and not loops[place + 1]):
                found.append((int(self.phone_of[ids[begin]]), place + 1 - begin))
                begin = place + 1
        return found


def read_topology(tokens: Tokens) -> Topology:
    """Read a topology, and check that its states can be gone through."""
    tokens.expect("<Topology>")
    topology = _binary_topology(tokens) if tokens.binary else _text_topology(tokens)
    if not topology.entry_of:
        tokens.fail("a topology without phones")
    for states in topology.entries:
        _check_states(tokens, states)
    return topology


def _binary_topology(tokens: Tokens) -> Topology:
    phones, places = tokens.integers(), tokens.integers()
    count = tokens.integer(least=-1, most=len(tokens.data))
    two = count == -1  # some state has a pdf class of its own for its self-loop
    if two:
        count = tokens.integer(least=0, most=len(tokens.data))
    entries = []
    for _ in range(count):
        states = []
        for _ in range(tokens.integer(least=0, most=len(tokens.data))):
            forward = tokens.integer(least=-1)
            loop = tokens.integer(least=-1) if two else forward
            moves = []
            for _ in range(tokens.integer(least=0, most=len(tokens.data))):
                target = tokens.integer()
                moves.append((target, tokens.real()))
            states.append(State(forward, loop, tuple(moves)))
        entries.append(tuple(states))
    tokens.expect("</Topology>")
    if len(set(phones.tolist())) != len(phones):
        tokens.fail("a phone twice in the topology")
    for phone in phones.tolist():
        if not 0 < phone < len(places) or not 0 <= places[phone] < count:
            tokens.fail(f"phone {phone} without states in the topology")
    return Topology({int(phone): int(places[phone]) for phone in phones}, tuple(entries))


def _text_topology(tokens: Tokens) -> Topology:
    entry_of: dict[int, int] = {}
    entries: list[tuple[State, ...]] = []
    while tokens.expect("<TopologyEntry>", "</Topology>") == "<TopologyEntry>":
        tokens.expect("<ForPhones>")
        while not tokens.skip("</ForPhones>"):
            phone = tokens.integer(least=1, most=MOST_PHONES)
            if phone in entry_of:
                tokens.fail(f"phone {phone} twice in the topology")
            entry_of[phone] = len(entries)
        states: list[State] = []
        while tokens.expect("<State>", "</TopologyEntry>") == "<State>":
            if tokens.integer() != len(states):
                tokens.fail("states that are not counted from 0")
            states.append(_text_state(tokens))
        entries.append(tuple(states))
    return Topology(entry_of, tuple(entries))


def _text_state(tokens: Tokens) -> State:
    forward = loop = -1
    if tokens.skip("<PdfClass>"):
        forward = loop = tokens.integer(least=0)
    elif tokens.skip("<ForwardPdfClass>"):
        forward = tokens.integer(least=0)
        tokens.expect("<SelfLoopPdfClass>")
        loop = tokens.integer(least=0)
    moves = []
    while tokens.expect("<Transition>", "</State>") == "<Transition>":
        target = tokens.integer()
        moves.append((target, tokens.real()))
    return State(forward, loop, tuple(moves))


def _check_states(tokens: Tokens, states: tuple[State, ...]) -> None:
    if len(states) < 2:
        tokens.fail("a phone without states in the topology")
    reached = {0} | {target for state in states for target, _ in state.moves}
    for place, state in enumerate(states):
        last = place == len(states) - 1
        if last != (state.forward < 0) or last == bool(state.moves):
            tokens.fail(f"state {place} of {len(states)} in the topology: only the last one has no pdf and no way out")
        if (state.forward < 0) != (state.loop < 0):
            tokens.fail(f"state {place} in the topology has one pdf class of two")
        targets = [target for target, _ in state.moves]
        if len(set(targets)) != len(targets) or any(not 0 <= target < len(states) for target in targets):
            tokens.fail(f"state {place} in the topology leads to {targets}, states are 0 to {len(states) - 1}")
        if any(not 0 < probability <= 1 for _, probability in state.moves):
            tokens.fail(f"state {place} in the topology has a probability that is not above 0 and up to 1")
        if place not in reached:
            tokens.fail(f"state {place} in the topology cannot be reached")


def read_transitions(tokens: Tokens) -> Transitions:
    """Read a transition model with its topology."""
    tokens.expect("<TransitionModel>")
    topology = read_topology(tokens)
    kind = tokens.expect("<Triples>", "<Tuples>")
    width = 3 if kind == "<Triples>" else 4
    count = tokens.integer(least=1, most=len(tokens.data))
    rows = [[tokens.integer(least=0) for _ in range(width)] for _ in range(count)]
    tokens.expect(kind.replace("<", "</"))
    tuples = np.array([row if width == 4 else [*row, row[2]] for row in rows], np.int32)
    for phone, state, _, _ in rows if width == 4 else [[*row, 0] for row in rows]:
        if phone not in topology.entry_of or not state < len(topology.states(phone)) - 1:
            tokens.fail(f"state {state} of phone {phone} is not in the topology")
    tokens.expect("<LogProbs>")
    log_probs = np.asarray(tokens.vector(), np.float32)
    tokens.expect("</LogProbs>")
    tokens.expect("</TransitionModel>")
    transitions = Transitions(topology, tuples, log_probs)
    if len(log_probs) != transitions.num_ids + 1:
        tokens.fail(f"{len(log_probs)} transition probabilities for {transitions.num_ids} transition-ids")
    if (log_probs > 1e-4).any():
        tokens.fail("a transition probability above 1")
    return transitions
