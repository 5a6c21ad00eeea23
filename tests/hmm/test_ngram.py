"""The n-gram estimator against numbers worked out by hand, and against a published model of a real text."""

import itertools
import math

import pytest

from unisono.errors import UserError
from unisono.hmm import arpa, ngram

# "a b", "a c": bigram counts <s>a 2, ab 1, ac 1, b</s> 1, c</s> 1; d is in the vocabulary and not in the text.
TEXT = [["a", "b"], ["a", "c"]]
WORDS = {"a", "b", "c", "d"}


def p(model: arpa.Arpa, history: str, word: str) -> float:
    return 10.0 ** model.log10_probability(history.split(), word)


def test_witten_bell_by_hand():
    model = ngram.estimate(TEXT, WORDS, 2, "witten_bell")
    # Unigrams: a 2, b 1, c 1, </s> 2: N = 6, T = 4, |V| = 5, so lambda = 4/10 and the floor is 4/10 * 1/5 = 0.08.
    assert p(model, "", "a") == pytest.approx(2 / 10 + 0.08)
    assert p(model, "", "b") == pytest.approx(1 / 10 + 0.08)
    assert p(model, "", "d") == pytest.approx(0.08)
    # History a: N = 2, T = 2, so lambda = 1/2.
    assert p(model, "a", "b") == pytest.approx(1 / 4 + 0.5 * 0.18)
    assert p(model, "a", "</s>") == pytest.approx(0.5 * 0.28)
    # History <s>: N = 2, T = 1.
    assert p(model, "<s>", "a") == pytest.approx(2 / 3 + 0.28 / 3)


def test_kneser_ney_by_hand():
    model = ngram.estimate(TEXT, WORDS, 2, "kneser_ney")
    # Bigrams: n1 = 4, n2 = 1, D = 4/6. Words before a: 1, b: 1, c: 1, </s>: 2, so D1 = 3/(3 + 2) = 0.6, N = 5, T = 4.
    floor = 0.6 * 4 / 5 / 5
    assert p(model, "", "a") == pytest.approx(0.4 / 5 + floor)
    assert p(model, "", "</s>") == pytest.approx(1.4 / 5 + floor)
    assert p(model, "", "d") == pytest.approx(floor)
    # History a: N = 2, T = 2: lambda = (4/6) * 2/2.
    assert p(model, "a", "b") == pytest.approx((1 - 4 / 6) / 2 + 4 / 6 * (0.08 + floor))
    assert p(model, "a", "d") == pytest.approx(4 / 6 * floor)


def test_kneser_ney_trigram_counts_of_sentence_starts_by_hand():
    # Nothing stands before <s>, so the bigram "<s> a" keeps its count of the text (3) where "a b" has its one context.
    model = ngram.estimate([["a", "b"]] * 3 + [["c"]], {"a", "b", "c"}, 3, "kneser_ney")
    # Bigrams: <s>a 3, <s>c 1, ab 1, b</s> 1, c</s> 1: no count of two, so D2 = 1/2. Unigrams: before a, b, c one
    # word each, before </s> two: D1 = 3/5, N = 5, T = 4, |V| = 4, floor 0.6 * 4 / 5 / 4 = 0.12.
    assert p(model, "<s>", "a") == pytest.approx(2.5 / 4 + 0.5 * 2 / 4 * (0.4 / 5 + 0.12))


@pytest.mark.parametrize("smoothing", ["witten_bell", "kneser_ney"])
@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_every_history_sums_to_one(smoothing, order, tmp_path):
    text = [list(s) for s in ("abcab", "bca", "aab", "c", "abca", "bbbb")]
    model = ngram.estimate(text, set("abcde"), order, smoothing)
    arpa.write_arpa(tmp_path / "lm.arpa", model)
    for lm, tolerance in ((model, 1e-12), (arpa.read_arpa(tmp_path / "lm.arpa"), 1e-5)):
        for n in range(4):
            for history in itertools.product("abcde", repeat=n):
                for start in ((), ("<s>",)):
                    total = sum(10.0 ** lm.log10_probability((*start, *history), w) for w in lm.words())
                    assert total == pytest.approx(1.0, abs=tolerance), (start, history)


def test_perplexity_by_hand():
    model = ngram.loop({"a", "b"}, 0.5)
    # Each word 1/4, each end 1/2: (4 * 4 * 2) ** (1/3) for "a b".
    found = arpa.perplexity(model, [["a", "b"]])
    assert found == (pytest.approx(32 ** (1 / 3)), 2, 1)
    with pytest.raises(UserError, match="does not know the word 'x'"):
        arpa.perplexity(model, [["x"]])


def test_loop_is_uniform_and_ends_as_told():
    model = ngram.loop({"a", "b", "c"}, ngram.end_probability([["a", "b", "c"], ["a", "b", "c", "a", "b"]]))
    assert p(model, "a", "</s>") == pytest.approx(2 / 10)
    assert p(model, "<s>", "b") == p(model, "a b", "b") == pytest.approx(0.8 / 3)
    with pytest.raises(UserError, match="end_probability"):
        ngram.loop({"a"}, 1.0)


def test_orders_longer_than_the_text_are_left_out():
    assert ngram.estimate([["a"]], {"a"}, 5, "kneser_ney").order == 3


def test_text_is_checked_against_the_vocabulary(tmp_path):
    path = tmp_path / "text"
    path.write_text("a b\n\n  \nz a y\n")
    with pytest.raises(UserError, match=r"text: 2 words are not in the lexicon \(y, z\)"):
        ngram.read_text(path, {"a", "b"})
    path.write_text("\n")
    with pytest.raises(UserError, match="no sentences"):
        ngram.read_text(path, {"a"})
    path.write_bytes(b"a \xff")
    with pytest.raises(UserError, match="not UTF-8"):
        ngram.read_text(path, {"a"})
    with pytest.raises(UserError, match="'<s>' has a meaning of its own"):
        ngram.estimate([["<s>"]], {"<s>"}, 2, "witten_bell")


def test_our_kneser_ney_is_the_model_of_speechocean762(corpora_dir, tmp_path):
    folder = corpora_dir / "speechocean762"
    vocabulary = {line.split()[0] for line in (folder / "lexicon.txt").read_text().splitlines()}
    text = ngram.read_text(folder / "lm_text.txt", vocabulary)
    arpa.write_arpa(tmp_path / "lm.arpa", ngram.estimate(text, vocabulary, 3, "kneser_ney"))
    ours, theirs = arpa.read_arpa(tmp_path / "lm.arpa"), arpa.read_arpa(folder / "lm3.arpa")
    rows = [line.split("\t") for line in (folder / "utterances.tsv").read_text().splitlines()]
    for split, published in (("dev", 83.4), ("test", 104.9)):
        sentences = [row[4].split() for row in rows if row[5] == split]
        assert arpa.perplexity(ours, sentences).value == pytest.approx(published, rel=0.01)
    for our_level, their_level in zip(ours.grams, theirs.grams, strict=True):
        assert our_level.keys() == their_level.keys()
        for gram, weights in their_level.items():
            assert our_level[gram] == pytest.approx(weights, abs=2e-6)


def test_discount_where_the_formula_breaks_down():
    assert ngram.discount(ngram.Counter({("a",): 3, ("b",): 2})) == 0.5
    assert ngram.discount(ngram.Counter({("a",): 1, ("b",): 1})) == 0.5
    assert math.isclose(ngram.discount(ngram.Counter({("a",): 1, ("b",): 2})), 1 / 3)
