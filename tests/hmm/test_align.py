"""Alignment against the enumeration of every path, flat start, and the reasons of failures."""

import itertools

import numpy as np
import pytest

from unisono.errors import UserError
from unisono.hmm import gmm
from unisono.hmm.align import Aligner, MinimumFrames, compile_graphs, equal_align, obstacle, transcript_ids
from unisono.hmm.lexicon import load_lang, read_lexicon, write_lang
from unisono.hmm.model import HmmModel, transition_model
from unisono.hmm.training import phone_states
from unisono.hmm.tree import monophone_tree, to_kaldi
from unisono.hmm.triphones import frame_events, transition_table

LEXICON = "AB  a b\nAB  b\nC  c\n"
SCALE = 0.1


@pytest.fixture(scope="module")
def lang(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lang")
    (folder / "lexicon.txt").write_text(LEXICON)
    write_lang(
        folder / "lang",
        read_lexicon(folder / "lexicon.txt"),
        silence_phone="SIL",
        silence_probability=0.0,
        silence_states=5,
        phone_states=2,
    )
    return load_lang(folder / "lang")


def make_model(lang, seed):
    """Random Gaussians, random self-loops of the two-state phones."""
    rng = np.random.default_rng(seed)
    states = phone_states(lang)
    tree = to_kaldi(monophone_tree(states), 1, 0)
    count = sum(states.values())
    gmms = gmm.single_gaussians(rng.normal(size=(count, 2)), rng.uniform(0.3, 2, (count, 2)))
    blank = HmmModel(tree, lang.topology, np.zeros(0, np.float32), gmms)
    wheel = transition_model(blank.tree, lang.topology)
    table = transition_table(wheel)
    log_probs = np.array(wheel.log_probs, np.float32)
    for (phone, _, _), first in table.first_ids.items():
        if phone not in lang.silence_ids:
            stay = rng.uniform(0.2, 0.8)
            log_probs[first : first + 2] = np.log([stay, 1 - stay])
    return HmmModel(tree, lang.topology, log_probs, gmms)


def enumerate_best(model, lang, words, frames):
    """Try every pronunciation and every way to cut the frames into its states; return (cost terms, states)."""
    scores = model.log_likelihoods(frames)
    table = transition_table(model.transition_model)
    pdf_of = {key[:2]: key[2] for key in table.first_ids}
    first = {key[:2]: number for key, number in table.first_ids.items()}
    spellings = [[e.phones for e in lang.pronunciations if e.word == word] for word in words]
    best = (-np.inf, None)
    for phones in itertools.product(*spellings):
        states = [(lang.phones[p], s) for spelling in phones for p in spelling for s in range(2)]
        for cuts in itertools.combinations(range(1, len(frames)), len(states) - 1):
            borders = [0, *cuts, len(frames)]
            path = [state for state, a, b in zip(states, borders, borders[1:], strict=False) for _ in range(a, b)]
            total = SCALE * sum(scores[t, pdf_of[state]] for t, state in enumerate(path))
            for state, a, b in zip(states, borders, borders[1:], strict=False):
                stay, leave = model.transition_log_probs[first[state] : first[state] + 2]
                total += 0.1 * ((b - a - 1) * stay + leave)
            best = max(best, (float(total), path), key=lambda pair: pair[0])
    return best


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("words", [["C"], ["AB"], ["C", "AB"]])
def test_viterbi_is_the_best_of_all_paths(lang, seed, words):
    model = make_model(lang, seed)
    frames = np.random.default_rng(100 + seed).normal(size=(9, 2)).astype(np.float32)
    ids = transcript_ids(lang, {"u": words})["u"]
    (graph,) = compile_graphs(model, lang, [ids])
    found = Aligner(model, 200.0, 400.0, SCALE)(graph, "u", frames)
    total, path = enumerate_best(model, lang, words, frames)
    table = transition_table(model.transition_model)
    assert [(int(table.phone[i]), int(table.state[i])) for i in found.ids] == path
    assert found.log_likelihood * SCALE == pytest.approx(total, abs=1e-3) and not found.retried
    # The graph is as it was: a second alignment gives the same.
    np.testing.assert_array_equal(Aligner(model, 200.0, 400.0, SCALE)(graph, "u", frames).ids, found.ids)


def test_flat_start_is_a_path_of_the_transcript_and_repeats(lang):
    model = make_model(lang, 0)
    words = transcript_ids(lang, {"u": ["C", "AB"]})["u"]
    (graph,) = compile_graphs(model, lang, [words])
    ids = equal_align(graph, "u", 40, 1)
    np.testing.assert_array_equal(ids, equal_align(graph, "u", 40, 1))
    table = transition_table(model.transition_model)
    phones = [phone for phone, _ in itertools.groupby(table.phone[ids])]
    c, a, b = (lang.phones[p] for p in "cab")
    assert phones in ([c, a, b], [c, b]) and len(ids) == 40
    lengths = [len(list(run)) for _, run in itertools.groupby(zip(table.phone[ids], table.state[ids], strict=True))]
    assert max(lengths) - min(lengths) <= 40 // len(lengths)
    seeds = {equal_align(graph, "u", 40, seed).tobytes() for seed in range(20)}
    assert len(seeds) > 1
    assert equal_align(graph, "u", 3, 1) is None


def test_reasons(lang):
    model, minimum = make_model(lang, 0), MinimumFrames(lang)
    c, ab = lang.words["C"], lang.words["AB"]
    assert minimum([c, ab]) == 4  # two states of c, two of the shorter pronunciation
    frames = np.zeros((10, 2), np.float32)
    assert obstacle(model, minimum, [c, ab], frames) == ""
    assert obstacle(model, minimum, [c, ab], frames[:3]) == "too short: 3 frames, its transcript needs at least 4"
    assert "too short: 0 frames" in obstacle(model, minimum, [c], frames[:0])
    assert obstacle(model, minimum, [], frames) == "its transcript is empty"
    frames[4, 1] = np.nan
    assert obstacle(model, minimum, [c], frames) == "its features are not finite"
    with pytest.raises(UserError, match="5 dimensions, but the HMM was trained on 2"):
        obstacle(model, minimum, [c], np.zeros((10, 5), np.float32))


def test_no_path_within_the_beam_is_said(lang):
    model = make_model(lang, 1)
    words = transcript_ids(lang, {"u": ["C"] * 60})["u"]
    (graph,) = compile_graphs(model, lang, [words])
    # Every frame sits on the mean of the first state: a narrow search hardly leaves it and never reaches the end.
    # (Kaldi's decoder always keeps 20 states, so it takes a long transcript.)
    first = min(
        pdf for (phone, state, pdf) in transition_table(model.transition_model).first_ids if phone == lang.phones["c"]
    )
    frames = np.tile(model.gmms.means[first], (150, 1))
    narrow = Aligner(model, 0.01, 0.02, 1.0)(graph, "u", frames)
    assert narrow.ids is None and "no path within the beam 0.01 nor 0.02" in narrow.reason
    retried = Aligner(model, 0.01, 1e6, 1.0)(graph, "u", frames)
    wide = Aligner(model, 1e5, 1e6, 1.0)(graph, "u", frames)
    assert retried.retried and not wide.retried
    np.testing.assert_array_equal(retried.ids, wide.ids)


def test_unknown_words_are_listed_at_once(lang):
    with pytest.raises(UserError, match="2 words of the transcripts are not in the lexicon: X Z: add"):
        transcript_ids(lang, {"u": ["AB", "Z"], "v": ["X", "Z"]})
    for word in ("<s>", "#0", "<eps>"):
        with pytest.raises(UserError, match="not in the lexicon"):
            transcript_ids(lang, {"u": [word]})


def test_a_phone_outside_the_phone_set_is_named(lang):
    broken = lang._replace(phones={p: n for p, n in lang.phones.items() if p != "c"})
    with pytest.raises(UserError, match="C: phone c is not in the phone set"):
        MinimumFrames(broken)


def test_triphone_contexts_of_a_path(lang):
    model = make_model(lang, 2)
    words = transcript_ids(lang, {"u": ["C", "C", "AB"]})["u"]
    (graph,) = compile_graphs(model, lang, [words])
    frames = np.random.default_rng(5).normal(size=(25, 2)).astype(np.float32)
    ids = Aligner(model, 200.0, 400.0, SCALE)(graph, "u", frames).ids
    _, path = enumerate_best_phones(model, ids)
    events = frame_events(transition_table(model.transition_model), ids, frozenset([lang.phones["b"]]))
    # The same phone twice in a row is two phones; b is context independent here.
    b = lang.phones["b"]
    padded = [0, *[phone for phone, _ in path], 0]
    expected = []
    for number, (phone, states) in enumerate(path):
        left, right = (0, 0) if phone == b else (padded[number], padded[number + 2])
        expected += [[left, phone, right, state] for state in states]
    assert events.tolist() == expected and [phone for phone, _ in path][:2] == [lang.phones["c"]] * 2


def enumerate_best_phones(model, ids):
    """Cut a path of left-to-right phones where the state falls back: (phone, states) one after the other."""
    table = transition_table(model.transition_model)
    path, last = [], None
    for i in ids:
        phone, state = int(table.phone[i]), int(table.state[i])
        if last is None or phone != last[0] or state < last[1]:
            path.append((phone, []))
        path[-1][1].append(state)
        last = (phone, state)
    return len(path), path


def test_beams_that_make_no_sense(lang):
    with pytest.raises(UserError, match="retry_beam: 10 is not above hmm.beam, 20"):
        Aligner(make_model(lang, 0), 20.0, 10.0, 0.1)
