"""Lexicons and their transducers."""

import math

import pytest

from unisono.errors import UserError
from unisono.hmm.lexicon import Pronunciation, add_disambiguation, load_lang, read_lexicon, write_lang
from unisono.hmm.libs import kaldifst, khg
from unisono.hmm.topology import topology_text

LINES = "NO  N OW\nKNOW  N OW\nNOTE  N OW T\nA  AH\nA  EY\n"
OPTIONS = {"silence_phone": "SIL", "silence_probability": 0.25, "silence_states": 5, "phone_states": 3}


def lang(folder, text=LINES, **changes):
    (folder / "lexicon.txt").write_text(text, encoding="utf-8")
    write_lang(folder / "lang", read_lexicon(folder / "lexicon.txt"), **(OPTIONS | changes))
    return load_lang(folder / "lang")


def paths(fst_path, words):
    """Return the cheapest cost of every phone string of a word sequence, silences spelt out."""
    lexicon = kaldifst.StdVectorFst.read(str(fst_path))
    kaldifst.arcsort(lexicon, "olabel")
    fst = kaldifst.compose(lexicon, kaldifst.make_linear_acceptor(words))
    kaldifst.connect(fst)
    found = {}

    def walk(state, phones, cost):
        if fst.final(state).value != math.inf:
            found[phones] = min(cost + fst.final(state).value, found.get(phones, math.inf))
        for arc in kaldifst.ArcIterator(fst, state):
            walk(arc.nextstate, phones + ((arc.ilabel,) if arc.ilabel else ()), cost + arc.weight.value)

    walk(fst.start, (), 0.0)
    return found


def test_every_pronunciation_with_optional_silence(tmp_path):
    made = lang(tmp_path)
    names = {number: phone for phone, number in made.phones.items()}
    found = {
        " ".join(names[p] for p in phones): cost for phones, cost in paths(made.lexicon_fst, [made.words["A"]]).items()
    }
    yes, no = -math.log(0.25), -math.log(0.75)
    assert found == pytest.approx(
        {
            f"{before}{phone}{after}": (yes if before else no) + (yes if after else no)
            for phone in ("AH", "EY")
            for before in ("", "SIL ")
            for after in ("", " SIL")
        }
    )


def test_no_silence_where_its_probability_is_zero(tmp_path):
    made = lang(tmp_path, silence_probability=0.0)
    assert paths(made.lexicon_fst, [made.words["NOTE"]]) == {tuple(made.phones[p] for p in ("N", "OW", "T")): 0.0}


def test_disambiguation_marks_homophones_and_beginnings_only():
    entries = [Pronunciation(w, tuple(p.split())) for w, p in (line.split("  ") for line in sorted(LINES.splitlines()))]
    marked, highest = add_disambiguation(entries)
    assert {e.word + " " + " ".join(e.phones) for e in marked} == {
        "A AH",
        "A EY",
        "KNOW N OW #1",
        "NO N OW #2",
        "NOTE N OW T",
    }
    assert highest == 2


def test_the_marked_lexicon_can_be_made_deterministic(tmp_path):
    made = lang(tmp_path)
    fst = kaldifst.StdVectorFst.read(str(made.lexicon_disambig_fst))
    # The wheel returns True where it gave up.
    assert not kaldifst.determinize_star(fst, max_states=1000, use_log=True)
    loops = [
        (arc.ilabel, arc.olabel)
        for state in range(fst.num_states)
        for arc in kaldifst.ArcIterator(fst, state)
        if arc.olabel == made.word_disambig_id
    ]
    assert loops and {ilabel for ilabel, _ in loops} == {made.phones["#0"]}


def test_symbol_tables(tmp_path):
    made = lang(tmp_path)
    assert made.words == {w: n for n, w in enumerate("<eps> A KNOW NO NOTE #0 <s> </s>".split())}
    assert list(made.phones)[:6] == ["<eps>", "SIL", "AH", "EY", "N", "OW"]
    assert made.phone_disambig_ids == [made.phones[f"#{n}"] for n in range(4)]
    assert made.silence_ids == [1] and made.word_list[1] == "A"


def test_another_language_and_phone_set(tmp_path):
    made = lang(tmp_path, "水  ʂ u̯ ə˨˩\nΈλα  ˈe l ɐ\n", silence_phone="pau")
    assert {"水", "Έλα"} < set(made.words) and made.phones["pau"] == 1
    assert len(paths(made.lexicon_fst, [made.words["水"]])) == 4


def test_two_writings_give_the_same_bytes(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        lang(tmp_path / name)
    for path in (tmp_path / "one" / "lang").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / "lang" / path.name).read_bytes()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("A  AH\nB\n", r"lexicon.txt:2: B has no phones"),
        ("A  AH #1\n", r"lexicon.txt:1: the phone '#1' is reserved"),
        ("<eps>  AH\n", r"lexicon.txt:1: the word <eps> is reserved"),
        ("</s>  AH\n", r"the word </s> is reserved"),
        ("\n\n", "no pronunciations"),
    ],
)
def test_bad_lexicons_are_named(tmp_path, text, message):
    with pytest.raises(UserError, match=message):
        lang(tmp_path, text)


def test_not_utf8_and_missing(tmp_path):
    (tmp_path / "lexicon.txt").write_bytes(b"A  \xff\n")
    with pytest.raises(UserError, match="not UTF-8"):
        read_lexicon(tmp_path / "lexicon.txt")
    with pytest.raises(UserError, match="no such file"):
        read_lexicon(tmp_path / "none.txt")
    with pytest.raises(UserError, match="no such file"):
        load_lang(tmp_path)


def test_damaged_language_directory(tmp_path):
    lang(tmp_path)
    (tmp_path / "lang" / "words.txt").write_text("nonsense\n")
    with pytest.raises(UserError, match="not a language directory"):
        load_lang(tmp_path / "lang")


def test_bom_and_carriage_returns_are_read(tmp_path):
    (tmp_path / "lexicon.txt").write_bytes("\ufeffA  AH\r\nB  B IY\r\n".encode())
    assert read_lexicon(tmp_path / "lexicon.txt") == [Pronunciation("A", ("AH",)), Pronunciation("B", ("B", "IY"))]


@pytest.mark.parametrize(("silence", "shortest"), [(1, 1), (2, 2), (3, 3), (5, 3)])
def test_topology(silence, shortest):
    topology = khg.HmmTopology()
    topology.read(topology_text([1], [2, 3], silence, 4))
    topology.check()
    assert topology.phones == [1, 2, 3] and topology.get_phone_to_num_pdf_classes() == [-1, silence, 4, 4]
    assert topology.min_length(1) == shortest and topology.min_length(2) == 4


def test_topology_needs_states():
    with pytest.raises(UserError, match="at least 1"):
        topology_text([1], [2], 5, 0)
