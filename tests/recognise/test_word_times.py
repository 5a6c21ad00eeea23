"""Cutting phones into words: silence, several pronunciations, words that sound alike."""

import itertools

import hypothesis.strategies as st
from hypothesis import given

from unisono.recognise.word_times import Segment, WordTime, cut_words

SIL = 1
LEXICON = {10: [(2, 3)], 11: [(3,), (3, 2)], 12: [(2,)], 13: [(SIL, 4)], 14: [(2, 3, 2)]}


def segments(phones):
    ends = list(itertools.accumulate(2 + number % 3 for number in range(len(phones))))
    return [Segment(p, b, e) for p, b, e in zip(phones, [0, *ends], ends, strict=False)]


def cut(phones, words):
    return cut_words(segments(phones), words, LEXICON, frozenset({SIL}))


def test_silence_belongs_to_no_word():
    assert cut([SIL, 2, 3, SIL, 2, SIL], [10, 12]) == [WordTime(10, 2, 9), WordTime(12, 11, 14)]
    assert cut([2, 3], [10]) == [WordTime(10, 0, 5)]
    assert cut([SIL], []) == []


def test_ambiguous_words_are_cut_so_that_all_fit():
    # 11 may be (3) or (3, 2), and only one leaves a whole word over.
    assert [word.word for word in cut([3, 2, 2, 3], [11, 10]) or []] == [11, 10]
    assert cut([3, 2, 3], [11, 10]) == [WordTime(11, 0, 2), WordTime(10, 2, 9)]
    assert cut([3, 2, 2, 3], [11, 10]) == [WordTime(11, 0, 5), WordTime(10, 5, 11)]
    # The silence that a word begins with is its own.
    assert cut([2, SIL, 4], [12, 13]) == [WordTime(12, 0, 2), WordTime(13, 2, 9)]


def test_what_does_not_fit():
    assert cut([2, 3], [12]) is None
    assert cut([2], [10]) is None
    assert cut([2, SIL, SIL, 2], [12, 12]) is None, "never two silences in a row"
    assert cut([], []) == []


@given(st.lists(st.tuples(st.sampled_from(sorted(LEXICON)), st.integers(0, 1), st.booleans()), max_size=12))
def test_any_sentence_is_cut_into_its_words(sentence):
    phones, words = [], []
    for word, choice, silence in sentence:
        words.append(word)
        phones += LEXICON[word][choice % len(LEXICON[word])]
        phones += [SIL] if silence else []
    found = cut(phones, words)
    assert found is not None and [time.word for time in found] == words
    assert all(a.begin < a.end <= b.begin for a, b in itertools.pairwise(found))
    spans = segments(phones)
    for time in found:
        own = tuple(s.phone for s in spans if time.begin <= s.begin and s.end <= time.end)
        assert own in LEXICON[time.word]
