"""What our own HMM files gained for Kaldi's systems: gaps between numbers, and PDFs without mixtures."""

import numpy as np
import pytest

from unisono.bootstrap.kaldi import write_lang
from unisono.data.kaldi.fst import Fst
from unisono.data.kaldi.lang import KaldiLang, Pronunciation, read_symbols
from unisono.errors import UserError
from unisono.hmm import tree
from unisono.hmm.gmm import Gmms
from unisono.hmm.lexicon import load_lang
from unisono.hmm.model import HmmModel, load_model, save_model

ARCS = np.zeros(1, [("input", "<i4"), ("output", "<i4"), ("weight", "<f4"), ("next", "<i4")])
LEXICON = Fst(0, np.float32([0]), np.int64([0, 1]), ARCS)


def test_a_language_with_gaps_between_its_numbers(tmp_path):
    words = {"<eps>": 0, "ONE": 2, "TWO": 7, "#0": 9}
    phones = {"<eps>": 0, "SIL": 3, "w_B": 5, "ah_E": 8, "#0": 11, "#1": 12}
    spoken = [Pronunciation(7, (5, 8)), Pronunciation(2, (5, 8)), Pronunciation(9, (3,))]
    write_lang(tmp_path, KaldiLang(words, phones, [3], [11, 12], spoken, LEXICON, LEXICON), "<Topology>\n</Topology>\n")
    lang = load_lang(tmp_path)
    assert lang.words == words and lang.phones == phones and lang.word_disambig_id == 9
    assert lang.word_list == ["<eps>", "", "ONE", "", "", "", "", "TWO", "", "#0"]
    assert [entry.word for entry in lang.pronunciations] == ["ONE", "TWO"]
    assert lang.silence_ids == [3] and lang.phone_disambig_ids == [11, 12]


def test_an_hmm_without_mixtures(tmp_path):
    blob = tree.to_kaldi(tree.monophone_tree({1: 3}), 1, 0)
    save_model(tmp_path / "model.h5", HmmModel(blob, "<Topology>", np.zeros(7, np.float32), Gmms.none(3)))
    model = load_model(tmp_path / "model.h5")
    assert model.num_pdfs == 3 and len(model.gmms.weights) == 0
    with pytest.raises(UserError, match="has no mixtures, its acoustic model is a network"):
        model.log_likelihoods(np.zeros((2, 0), np.float32))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("<eps> 0\nA 1\nA 2\n", "line 3: 'A' or 2 is there already"),
        ("<eps> 0\nA 1\nB 1\n", "line 3: 'B' or 1 is there already"),
        ("<eps> 0\nA\n", "line 2: 'A' is not a symbol and its number"),
        ("<eps> 0\nA 99999999\n", "is not a symbol and its number"),
        ("<eps> 0\nA ١\n", "is not a symbol and its number"),
        ("A 1\n", "<eps> 0 is missing"),
        ("<eps> 0\na/b 1\n", "leave out the slash"),
    ],
)
def test_symbol_tables_that_are_none(tmp_path, text, said):
    (tmp_path / "phones.txt").write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=said):
        read_symbols(tmp_path / "phones.txt", phones=True)


def test_words_may_hold_a_slash(tmp_path):
    (tmp_path / "words.txt").write_text("<eps> 0\n\nand/or 4\r\n", encoding="utf-8")
    assert read_symbols(tmp_path / "words.txt") == {"<eps>": 0, "and/or": 4}
