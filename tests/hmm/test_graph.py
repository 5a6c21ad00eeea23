"""HCLG and its search against a literal twin: all word sequences, all silences, Viterbi over each sentence's states.

The twin knows nothing of transducers: it adds up what the model says (language model with back-off, silence
probability, transitions with self-loops at scale 0.1) and takes the least cost over everything that can be said.
"""

import itertools
import math
import subprocess
import sys

import numpy as np
import pytest

from unisono.errors import UserError
from unisono.hmm import arpa, graph, ngram, tree
from unisono.hmm.arcs import Arcs, read_fst
from unisono.hmm.lexicon import load_lang, read_lexicon, write_lang
from unisono.hmm.libs import kaldifst
from unisono.hmm.model import context_dependency, transition_model
from unisono.recognise.decode import Beam, Searcher, Setting, decode, summarise, to_words

# D sounds like A, and A is how B begins: none of it could be made deterministic without disambiguation.
LEXICON = "A  a\nB  a b\nC  b\nC  b b\nD  a\n"
TEXT = [s.split() for s in ("A B", "A A C", "B", "D C", "C A", "D", "A B A", "B B")]
SIL, PHONE_A, PHONE_B = 1, 2, 3
PHONE_STATES, SILENCE_STATES = 2, 4
SILENCE_PROBABILITY = 0.3
WIDE = Beam(1e6, 1_000_000, 200)


def states_of(phone):
    return SILENCE_STATES if phone == SIL else PHONE_STATES


def mono_root():
    return tree.monophone_tree({SIL: SILENCE_STATES, PHONE_A: PHONE_STATES, PHONE_B: PHONE_STATES})


def triphone_root():
    """Ask for the left phone in a's first state and for the right one in b's last."""
    first = tree.Split(0, (0, SIL), tree.Leaf(4), tree.Leaf(5))
    last = tree.Split(2, (PHONE_A,), tree.Leaf(8), tree.Leaf(9))
    children = (
        None,
        tree.state_table(SILENCE_STATES, 0),
        tree.Table(tree.CLASS, (first, tree.Leaf(6))),
        tree.Table(tree.CLASS, (tree.Leaf(7), last)),
    )
    return tree.Table(1, children)


class Toy:
    """A small recogniser: lexicon, language model, tree, graph."""

    def __init__(self, folder, width, order=2, text=TEXT):
        (folder / "lexicon.txt").write_text(LEXICON)
        self.lexicon = read_lexicon(folder / "lexicon.txt")
        write_lang(
            folder / "lang",
            self.lexicon,
            silence_phone="SIL",
            silence_probability=SILENCE_PROBABILITY,
            silence_states=SILENCE_STATES,
            phone_states=PHONE_STATES,
        )
        self.lang = load_lang(folder / "lang")
        self.arpa_path = folder / "lm.arpa"
        arpa.write_arpa(self.arpa_path, ngram.estimate(text, {"A", "B", "C", "D"}, order, "witten_bell"))
        self.lm = arpa.read_arpa(self.arpa_path)
        self.root = mono_root() if width == 1 else triphone_root()
        self.width = width
        dependency = context_dependency(tree.to_kaldi(self.root, width, width // 2))
        transitions = transition_model(dependency, self.lang.topology)
        self.id2pdf = np.array(transitions.transition_id_to_pdf_array(), np.int32)
        self.num_pdfs = int(self.id2pdf.max()) + 1
        self.g = graph.grammar(self.lm, folder / "lang" / "words.txt", self.lang.word_list)
        self.hclg = graph.build(
            read_fst(self.lang.lexicon_disambig_fst),
            self.g,
            self.lang.phone_disambig_ids,
            graph.Context(dependency, transitions, width, width // 2),
        )

    def frames(self, seed, count=7):
        return np.random.default_rng(seed).normal(scale=3.0, size=(count, self.num_pdfs)).astype(np.float32)


@pytest.fixture(scope="module", params=[1, 3], ids=["mono", "triphone"])
def toy(request, tmp_path_factory):
    return Toy(tmp_path_factory.mktemp("toy"), request.param)


def lm_cost(lm, sentence):
    """Return the least cost of a sentence; the graph may back off although the n-gram is listed, so both count."""

    def step(history, word):
        if not history:
            return -lm.grams[0][(word,)].log10_probability
        backoff = lm.grams[len(history) - 1].get(history, arpa.Weights(0.0, 0.0)).log10_backoff
        listed = lm.grams[len(history)].get((*history, word))
        away = -backoff + step(history[1:], word)
        return min(away, -listed.log10_probability) if listed else away

    padded = ("<s>", *sentence, "</s>")
    return math.log(10) * sum(step(padded[i - 1 : i], padded[i]) for i in range(1, len(padded)))


def moves(phone, state):
    """Return {next state: probability} of the topology; the number of states stands for the end."""
    count = states_of(phone)
    if phone != SIL or state == count - 1:
        return {state: 0.75, state + 1: 0.25}
    return {t: 1 / 3 for t in (range(count - 1) if state == 0 else range(1, count))}


def acoustic_cost(toy, phones, scores):
    """Viterbi over the states of a phone string, each path costing its transitions minus its scores."""
    window = [0, *phones, 0]
    contexts = [tuple(window[i - 1 : i + 2]) if toy.width == 3 else (window[i],) for i in range(1, len(window) - 1)]
    best = {(0, 0): 0.0}  # states about to be entered
    for row in scores:
        after = {}
        for (position, state), cost in best.items():
            phone = phones[position]
            cost = cost - row[tree.evaluate(toy.root, contexts[position], state)]
            options = moves(phone, state)
            loop = options.pop(state)
            after[position, state] = min(after.get((position, state), math.inf), cost - 0.1 * math.log(loop))
            for target, probability in options.items():
                there = (position, target) if target < states_of(phone) else (position + 1, 0)
                step = -math.log(probability / (1 - loop)) - 0.1 * math.log(1 - loop)
                after[there] = min(after.get(there, math.inf), cost + step)
        best = {there: cost for there, cost in after.items() if there[0] < len(phones)}
        end = after.get((len(phones), 0), math.inf)
    return end


def brute_force(toy, scores, scale, penalty):
    """Return the least cost of each sentence that fits into the frames."""
    phone_ids = {"a": PHONE_A, "b": PHONE_B}
    sounds = {}
    for entry in toy.lexicon:
        sounds.setdefault(entry.word, []).append([phone_ids[p] for p in entry.phones])
    found = {}
    for length in range(len(scores) // PHONE_STATES + 1):
        for sentence in itertools.product("ABCD", repeat=length):
            base = lm_cost(toy.lm, sentence) + penalty * length
            for variant in itertools.product(*(sounds[word] for word in sentence)):
                for silences in itertools.product((False, True), repeat=length + 1):
                    phones = [SIL] if silences[0] else []
                    cost = base - math.log(SILENCE_PROBABILITY if silences[0] else 1 - SILENCE_PROBABILITY)
                    for sound, silent in zip(variant, silences[1:], strict=True):
                        phones += [*sound, SIL] if silent else sound
                        cost -= math.log(SILENCE_PROBABILITY if silent else 1 - SILENCE_PROBABILITY)
                    if phones and 2 * len(phones) <= len(scores):
                        cost += acoustic_cost(toy, phones, scale * scores)
                        found[sentence] = min(found.get(sentence, math.inf), cost)
    return found


@pytest.mark.parametrize(("scale", "penalty"), [(1.0, 0.0), (0.4, 0.0), (0.4, 2.5), (0.4, -2.0)])
def test_search_finds_what_brute_force_finds(toy, scale, penalty):
    searcher = Searcher(toy.hclg, toy.id2pdf, [penalty])
    for seed in range(5):
        scores = toy.frames(seed, 9)
        costs = brute_force(toy, scores.astype(np.float64), scale, penalty)
        found = searcher.search(scores, Setting(scale, penalty), WIDE)
        assert found.reached_final
        # Determinisation merges weights that differ by less than 1/1024, so nearly equal sentences may change places.
        assert found.cost == pytest.approx(min(costs.values()), abs=5e-3)
        assert costs[tuple(toy.lang.word_list[w] for w in found.words)] == pytest.approx(found.cost, abs=5e-3)
        assert len(costs) > 50


def test_penalty_costs_as_much_as_it_says(toy):
    searcher = Searcher(toy.hclg, toy.id2pdf, [0.0, -3.0, 3.0, 30.0])
    lengths = []
    for penalty in (-3.0, 0.0, 3.0, 30.0):
        found = searcher.search(toy.frames(1, 30), Setting(0.3, penalty), WIDE)
        lengths.append(len(found.words))
        again = Arcs(graph.with_word_penalty(Arcs(toy.hclg), penalty))
        changed = again.weight - Arcs(toy.hclg).weight
        assert np.allclose(changed, np.where(again.output_label != 0, penalty, 0.0), atol=1e-5)
    assert lengths == sorted(lengths, reverse=True) and lengths[0] > lengths[-1]


def test_every_arc_with_a_word_is_met_once_a_word(toy):
    words = Arcs(toy.hclg).output_label
    assert set(words) == {0, *(toy.lang.words[w] for w in "ABCD")}


def test_arcs_read_and_write_the_same_fst(toy):
    arcs = Arcs(toy.hclg)
    assert kaldifst.StdVectorFst.to_str(arcs.to_fst()) == kaldifst.StdVectorFst.to_str(toy.hclg)
    assert arcs.first_arc[-1] == len(arcs.weight) and len(arcs.final) == toy.hclg.num_states


def test_results_do_not_depend_on_processes_or_company(toy):
    searcher = Searcher(toy.hclg, toy.id2pdf, [0.0, 1.0])
    names = [f"u{i:02d}" for i in range(19)]
    settings = [Setting(0.2, 0.0), Setting(0.5, 1.0)]

    def scorer(name):
        return toy.frames(int(name[1:]), 20 + int(name[1:]))

    narrow = Beam(3.0, 30, 2)
    one = decode(searcher, scorer, names, settings, narrow, 1)
    assert decode(searcher, scorer, names, settings, narrow, 3) == one
    assert (
        decode(searcher, scorer, names[5:6], settings[1:], narrow)[settings[1]][names[5]] == one[settings[1]][names[5]]
    )
    assert list(one[settings[0]]) == names


def test_partial_and_empty_hypotheses_are_taken_and_counted(toy):
    searcher = Searcher(toy.hclg, toy.id2pdf, [0.0])
    setting = Setting(1.0, 0.0)
    scores = {"whole": toy.frames(0, 9), "partial": toy.frames(0, 1), "nothing": toy.frames(0, 0)}
    found = decode(searcher, scores.__getitem__, list(scores), [setting], WIDE)[setting]
    # One frame is less than any phone needs, so no sentence is complete.
    assert [found[name].reached_final for name in scores] == [True, False, False]
    assert summarise(found) == {"utterances": 3, "partial": 2, "empty": sum(not h.words for h in found.values())}
    assert to_words(found, toy.lang.word_list)["nothing"] == []


def test_scores_that_are_not_finite_name_the_utterance(toy):
    scores = toy.frames(0)
    scores[3, 2] = np.nan
    with pytest.raises(UserError, match="utterance u1: decode: the log-likelihoods are not finite"):
        decode(Searcher(toy.hclg, toy.id2pdf, [0.0]), lambda _: scores, ["u1"], [Setting(1.0, 0.0)], WIDE)


def test_graph_of_another_model_is_refused(toy):
    with pytest.raises(UserError, match="build the graph anew"):
        Searcher(toy.hclg, toy.id2pdf[:-1], [0.0])


def test_same_inputs_give_the_same_bytes(toy, tmp_path):
    size = graph.write_graph(tmp_path / "first", toy.hclg)
    again = Toy(tmp_path, toy.width)
    assert graph.write_graph(tmp_path / "second", again.hclg) == size
    assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes()
    assert size["bytes"] == (tmp_path / "first").stat().st_size


@pytest.mark.parametrize("word", ["Z", "<eps>", "#0"])
def test_grammar_refuses_words_without_pronunciation(toy, word):
    lm = arpa.Arpa([{(w,): arpa.Weights(-1.0, 0.0) for w in ("<s>", "</s>", "A", word)}])
    with pytest.raises(UserError, match=f"1 words have no pronunciation \\({word}\\)"):
        graph.grammar(lm, toy.lang.lexicon_fst.with_name("words.txt"), toy.lang.word_list)


def test_kaldilm_crashes_only_its_own_process(toy):
    lm = arpa.Arpa([{(w,): arpa.Weights(math.nan, 0.0) for w in ("<s>", "</s>", "A")}])
    with pytest.raises(UserError, match="kaldilm cannot compile it .exit -6."):
        graph.grammar(lm, toy.lang.lexicon_fst.with_name("words.txt"), toy.lang.word_list)


def test_files_that_are_no_graphs(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        read_fst(tmp_path / "none.fst")
    for content in (b"", b"HDF", b"\xd6\xfd\xb2\x7e\xff\xff\xff\xff", b"x" * 500):
        (tmp_path / "bad.fst").write_bytes(content)
        with pytest.raises(UserError, match="not an OpenFST vector FST"):
            read_fst(tmp_path / "bad.fst")


def test_truncated_graph_is_named(toy, tmp_path):
    graph.write_graph(tmp_path / "whole", toy.hclg)
    data = (tmp_path / "whole").read_bytes()
    (tmp_path / "cut").write_bytes(data[: len(data) // 2])
    with pytest.raises(UserError, match="cut: not a whole FST"):
        read_fst(tmp_path / "cut")


def test_wheels_import_in_a_fresh_process_without_hanging():
    code = "from unisono.hmm.libs import kaldifst, kd, khg; print(kaldifst.StdVectorFst().num_states)"
    done = subprocess.run([sys.executable, "-c", code], timeout=60, capture_output=True, text=True)
    assert done.stdout == "0\n", done.stderr
