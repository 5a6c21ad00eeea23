"""Phones by their position in the word: variants, what they share, and what a tree may ask."""

import itertools
import json

import numpy as np
import pytest

from unisono.errors import UserError
from unisono.hmm import tree_building as tb
from unisono.hmm.lexicon import load_lang, read_lexicon, write_lang
from unisono.hmm.libs import khg
from unisono.hmm.model import context_dependency
from unisono.hmm.positions import position_facts, positioned
from unisono.hmm.training import flat_model, phone_states
from unisono.hmm.tree import evaluate, leaves, monophone_tree, to_kaldi

SIL, A_B, A_E, A_S, C_B, C_E = range(1, 7)
STATES = dict.fromkeys(range(1, 7), 3)
VARIANTS = [[A_B, A_E, A_S], [C_B, C_E]]
POSITIONS = [[A_B, C_B], [A_E, C_E], [A_S]]
SHAPE = {"silence_phone": "SIL", "silence_probability": 0.5, "silence_states": 5, "phone_states": 3}


@pytest.mark.parametrize(
    ("phones", "expected"),
    [
        ("A", "A_S"),
        ("A C", "A_B C_E"),
        ("A C A", "A_B C_I A_E"),
        ("A A C A", "A_B A_I C_I A_E"),
        ("SIL", "SIL"),
        ("A SIL C", "A_B SIL C_E"),
        ("SIL A C", "SIL A_I C_E"),
    ],
)
def test_variants_of_short_and_long_words(phones, expected):
    assert positioned(phones.split(), "SIL") == tuple(expected.split())


def test_a_variant_that_would_be_silence_is_refused():
    with pytest.raises(UserError, match="hmm.silence_phone: X_E is also the phone X in a word: rename it"):
        positioned(["A", "X"], "X_E")


def test_facts_group_names_that_hold_underscores():
    ids = {"A_B": 1, "A_B_B": 2, "A_B_S": 3, "A_E": 4}
    assert position_facts(ids) == {"variants": [[1, 4], [2, 3]], "positions": [[1, 2], [3], [4]]}


def make_lang(folder, word_position):
    folder.mkdir()
    (folder / "lexicon.txt").write_text("HM  SIL\nI  A\nAC  A C\nACA  A C A\nASC  A SIL C\nOH  A\n")
    write_lang(folder / "lang", read_lexicon(folder / "lexicon.txt"), **SHAPE, word_position=word_position)
    return load_lang(folder / "lang")


def test_language_directory(tmp_path):
    plain, made = make_lang(tmp_path / "plain", False), make_lang(tmp_path / "made", True)
    assert plain.variants == plain.positions == []
    facts = json.loads((tmp_path / "plain/lang/lang.json").read_text())
    assert not {"variants", "positions"} & set(facts), "without positions nothing new is written"
    assert list(made.phones)[:8] == ["<eps>", "SIL", "A_B", "A_E", "A_S", "C_E", "C_I", "#0"]
    assert made.silence_ids == plain.silence_ids == [1] and made.words == plain.words
    assert made.variants == [[2, 3, 4], [5, 6]] and made.positions == [[2], [3, 5], [4], [6]]
    spelt = {entry.word: " ".join(entry.phones) for entry in made.pronunciations}
    assert spelt["HM"] == "SIL" and spelt["ASC"] == "A_B SIL C_E" and spelt["I"] == spelt["OH"] == "A_S"
    assert len(made.phone_disambig_ids) == len(plain.phone_disambig_ids), "homophones are still told apart"


def test_monophones_share_their_pdfs(tmp_path):
    lang = make_lang(tmp_path / "lang", True)
    states = phone_states(lang)
    root = monophone_tree(states, lang.variants)
    assert leaves(root.children[2]) == leaves(root.children[3]) == leaves(root.children[4]) == [5, 6, 7]
    assert leaves(root.children[5]) == leaves(root.children[6]) == [8, 9, 10]
    wheel = khg.monophone_context_dependency_shared([[1], *lang.variants], [-1, *states.values()])
    for phone, count in states.items():
        for state in range(count):
            assert wheel.compute([phone], state) == (True, evaluate(root, (phone,), state))
    model = flat_model(lang, [tiny_shard()], {})
    assert model.num_pdfs == 11 == wheel.num_pdfs and set(model.id2pdf[1:]) == set(range(11))


def tiny_shard():
    from unisono.hmm.align import Shard

    return Shard(["u"], [[1]], np.random.default_rng(0).normal(size=(9, 2)).astype(np.float32), np.array([0, 9]))


def stats_by_position(effect):
    """Return statistics in which any position follows any other, so that none can be told by its neighbours.

    `effect(left, phone)` is the mean of one dimension in the first state.
    """
    rng = np.random.default_rng(3)
    events, frames = [], []
    for left, phone, right, state in itertools.product((0, A_B, A_E, C_E), STATES, (0, A_B, A_E, C_E), range(3)):
        if phone != SIL:
            mean = [4.0 * state, 3.0 * (phone in (C_B, C_E)), effect(left, phone) if state == 0 else 0.0]
            events += [(left, phone, right, state)] * 60
            frames.append(rng.normal(mean, 1.0, (60, 3)))
    events += [(0, SIL, 0, state) for state in range(3)]
    frames.append(np.full((3, 3), -9.0))
    return tb.collect(np.array(events, np.int32), np.concatenate(frames).astype(np.float32))


def pdfs(root, phone, left=A_E):
    return [evaluate(root, (left, phone, C_B), state) for state in range(3)]


def test_the_tree_asks_for_the_own_position():
    stats = stats_by_position(lambda left, phone: 6.0 * (phone in (A_E, C_E)))
    root, sums = tb.build(stats, STATES, [SIL], 60, VARIANTS, POSITIONS)
    assert pdfs(root, A_B) == pdfs(root, A_S), "variants share a root and are split only where the data say so"
    assert pdfs(root, A_E)[0] != pdfs(root, A_B)[0] and pdfs(root, A_E)[1:] == pdfs(root, A_B)[1:]
    assert len(sums) == len(set(leaves(root)))
    blind, _ = tb.build(stats, STATES, [SIL], 60, VARIANTS)
    assert pdfs(blind, A_E) == pdfs(blind, A_B), "without the questions the variants are one phone"
    wheel = context_dependency(to_kaldi(root, 3, 1))
    for left in range(7):
        for phone in STATES:
            for state in range(3):
                assert wheel.compute([left, phone, C_E], state) == (True, evaluate(root, (left, phone, C_E), state))


def test_the_tree_asks_for_the_position_of_a_neighbour():
    stats = stats_by_position(lambda left, phone: 6.0 * (left in (A_E, C_E)))
    root, _ = tb.build(stats, STATES, [SIL], 60, VARIANTS, POSITIONS)
    assert pdfs(root, A_B, A_E)[0] == pdfs(root, A_B, C_E)[0] != pdfs(root, A_B, A_B)[0] == pdfs(root, A_B, 0)[0]


def test_automatic_questions_keep_variants_together():
    stats = stats_by_position(lambda left, phone: 6.0 * (phone in (A_E, C_E)))
    asked = tb.make_questions(stats, 3, VARIANTS, POSITIONS)
    assert asked.own == asked.phones[-3:] == [tuple(group) for group in POSITIONS]
    clusters = asked.phones[:-3]
    assert {(SIL,), *map(tuple, VARIANTS)} < set(clusters)
    assert all(len(set(group) & set(cluster)) in (0, len(group)) for group in VARIANTS for cluster in clusters)


def test_variants_without_frames_share_their_states():
    states = STATES | {7: 3, 8: 3}
    stats = stats_by_position(lambda left, phone: 0.0)
    root, sums = tb.build(stats, states, [SIL], 60, [*VARIANTS, [7, 8]], POSITIONS)
    assert root.children[7] == root.children[8] and len(set(leaves(root.children[7]))) == 3
    assert len(sums) == len(set(leaves(root)))
