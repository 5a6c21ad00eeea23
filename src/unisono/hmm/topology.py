"""HMM topologies in Kaldi's text form: which states a phone has and where each may go.

By construction the PDF class of a state is its number, and every state can last any number of frames.
"""

from collections.abc import Sequence

from unisono.errors import UserError

# Kaldi's scales of the transition probabilities, in training graphs and decoding graphs.
TRANSITION_SCALE = 1.0
SELF_LOOP_SCALE = 0.1


def topology_text(silence_ids: Sequence[int], phone_ids: Sequence[int], silence_states: int, phone_states: int) -> str:
    """Return the topology of all phones as Kaldi writes it (utils/gen_topo.pl).

    A phone is a chain of `phone_states` states, each staying with probability 3/4. Silence starts in its first
    state, moves freely among the middle ones and leaves through the last, so it can be as short as three frames
    and yet model sounds of several kinds; with fewer than three states it is a chain as well.
    """
    if phone_states < 1 or silence_states < 1:
        raise UserError("hmm: phone_states and silence_states must be at least 1")
    text = ["<Topology>"]
    if phone_ids:
        text += _entry(phone_ids, [_chain_state(state) for state in range(phone_states)])
    if silence_ids:
        kind = _chain_state if silence_states < 3 else lambda state: _free_state(state, silence_states)
        text += _entry(silence_ids, [kind(state) for state in range(silence_states)])
    return "\n".join([*text, "</Topology>", ""])


def _entry(ids: Sequence[int], states: Sequence[Sequence[tuple[int, float]]]) -> list[str]:
    lines = ["<TopologyEntry>", f"<ForPhones> {' '.join(map(str, ids))} </ForPhones>"]
    for state, targets in enumerate(states):
        moves = " ".join(f"<Transition> {target} {probability:.9g}" for target, probability in targets)
        lines.append(f"<State> {state} <PdfClass> {state} {moves} </State>")
    return [*lines, f"<State> {len(states)} </State>", "</TopologyEntry>"]


def _chain_state(state: int) -> list[tuple[int, float]]:
    return [(state, 0.75), (state + 1, 0.25)]


def _free_state(state: int, count: int) -> list[tuple[int, float]]:
    if state == count - 1:
        return _chain_state(state)
    targets = range(0, count - 1) if state == 0 else range(1, count)
    return [(target, 1.0 / (count - 1)) for target in targets]
