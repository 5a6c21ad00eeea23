"""Systems that Kaldi trained: read, checked, and decoded as Kaldi decodes them."""

import shutil

import numpy as np
import pytest

from tests.kaldi.golden import IO, cases, first_system
from unisono.__main__ import main
from unisono.bootstrap.kaldi import hmm_model, write_graph, write_lang
from unisono.data.features.extract import add_deltas
from unisono.data.kaldi.archive import Script, parts, read_all, read_archive
from unisono.data.kaldi.fst import read_fst
from unisono.data.kaldi.gmm import read_model
from unisono.data.kaldi.system import Misfit, check_alignment, read_system
from unisono.data.kaldi.tokens import read_tokens
from unisono.data.kaldi.transitions import read_topology
from unisono.data.kaldi.tree import read_tree
from unisono.errors import UserError
from unisono.hmm import arcs
from unisono.hmm.lexicon import load_lang
from unisono.hmm.model import load_model
from unisono.recognise.decode import Beam, Searcher, Setting
from unisono.recognise.word_times import WordAligner

SYSTEMS = cases("*/tree")
BEAM = Beam(13.0, 7000, 200)
SCALE = 0.1


@pytest.fixture(scope="module")
def adopted(tmp_path_factory):
    """From a system's folder to one with our files of it, by the command."""
    made = {}

    def adopt(source):
        if source not in made:
            out = made[source] = tmp_path_factory.mktemp(source.name)
            flags = {"dir": source, "lang": IO / "lang", "out-model": out / "model.h5", "out-lang": out / "lang"}
            flags |= {"out-graph": out / "HCLG.fst", "report": out / "report.json"}
            assert main(["adopt-kaldi", *(f"--{key}={value}" for key, value in flags.items())]) == 0
        return made[source]

    return adopt


def integers(path):
    return dict(read_archive(path, "integers"))


@pytest.mark.parametrize("tree", SYSTEMS)
def test_binary_and_text_are_the_same_model(tree):
    folder = tree.parent
    (transitions, mixtures), (text, text_mixtures) = (
        read_model(folder / name) for name in ("final.mdl", "final_text.mdl")
    )
    assert transitions.topology == text.topology and np.array_equal(transitions.tuples, text.tuples)
    np.testing.assert_allclose(transitions.log_probs, text.log_probs, rtol=1e-6, atol=1e-6)
    for found, expected in zip(text_mixtures, mixtures, strict=True):
        np.testing.assert_allclose(found, expected, rtol=2e-6, atol=2e-6)
    assert read_tree(tree) == read_tree(folder / "tree_text")
    assert b"\0B" + read_tree(tree).binary == tree.read_bytes()
    assert read_topology(read_tokens(IO / "lang/topo")) == transitions.topology


@pytest.mark.parametrize("tree", SYSTEMS)
def test_transition_ids_mean_what_kaldi_says(tree):
    transitions, _ = read_model(tree.with_name("final.mdl"))
    pdfs, phones = integers(tree.with_name("ali_pdf.txt")), integers(tree.with_name("ali_phones_per_frame.txt"))
    lines = tree.with_name("ali_phone_lengths.txt").read_text().splitlines()
    lengths = {line.split()[0]: line.split(maxsplit=1)[1] for line in lines}
    count = 0
    for utt, ids in read_all(parts(tree.with_name("ali.*.gz")), "integers"):
        check_alignment(transitions, ids)
        assert np.array_equal(transitions.pdf_of[ids], pdfs[utt])
        assert np.array_equal(transitions.phone_of[ids], phones[utt])
        assert " ; ".join(f"{phone} {n}" for phone, n in transitions.phone_lengths(ids)) == lengths[utt].strip()
        count += 1
    assert count == len(pdfs)


@pytest.mark.parametrize("graph", cases("*/HCLG.fst"))
def test_const_and_vector_graphs_are_the_same(graph, tmp_path):
    const, vector = read_fst(graph), read_fst(graph.with_name("HCLG_vector.fst"))
    for found, expected in zip(const, vector, strict=True):
        assert np.array_equal(found, expected)
    write_graph(tmp_path / "HCLG.fst", const)
    seen = arcs.Arcs(arcs.read_fst(tmp_path / "HCLG.fst"))
    assert np.array_equal(seen.weight, const.arcs["weight"]) and np.array_equal(seen.next_state, const.arcs["next"])
    lines = [line.split() for line in graph.with_name("HCLG.fst.txt").read_text().splitlines()]
    assert sum(len(line) >= 4 for line in lines) == len(const.arcs)
    assert sum(len(line) <= 2 for line in lines) == np.isfinite(const.final).sum()


@pytest.mark.parametrize("path", cases("lang/*.fst"))
def test_lexicon_and_grammar_are_read(path):
    lines = path.with_name(f"{path.name}.txt").read_text().splitlines()
    assert len(read_fst(path).arcs) == sum(len(line.split()) >= 4 for line in lines)


@pytest.mark.parametrize("loglikes", cases("decode/*_loglikes.scp"))
def test_mixtures_give_kaldis_log_likelihoods(loglikes, adopted):
    model = load_model(adopted(IO / loglikes.stem.removesuffix("_loglikes")) / "model.h5")
    features = Script(IO / "feats/cmvned.scp", "matrix")
    if model.dim != 3 * next(iter(features.values())).shape[1]:
        pytest.skip("a golden system of Kaldi on other features than deltas")
    for utt, expected in Script(loglikes, "matrix").items():
        found = model.log_likelihoods(add_deltas(features[utt], 2))
        # Pdfs that were never seen lie near -5e5, where float32 cancels.
        limit = np.where(expected < -1e5, 0.5, 1e-3 + 1e-5 * np.abs(expected))
        assert (np.abs(found - expected) <= limit).all()


@pytest.mark.parametrize("words", cases("decode/*_words.int"))
def test_decoding_kaldis_log_likelihoods_gives_kaldis_words_and_times(words, adopted):
    name = words.stem.removesuffix("_words")
    folder, scores = IO / name, IO / f"decode/{name}_loglikes.ark"
    if not folder.is_dir():  # a network, decoded on the graph of the system that its model was made from
        network, scores = read_model(IO / f"nnet3/{name}.mdl")[0], IO / f"nnet3/{name}.out_priors.ark"
        folders = [tree.parent for tree in IO.glob("*/tree")]
        folder = next(f for f in folders if np.array_equal(read_model(f / "final.mdl")[0].tuples, network.tuples))
    mine = adopted(folder)
    model, lang = load_model(mine / "model.h5"), load_lang(mine / "lang")
    searcher, aligner = Searcher(arcs.read_fst(mine / "HCLG.fst"), model.id2pdf, (0.0,)), WordAligner(model, lang)
    expected, lines = integers(words), []
    for utt, loglikes in read_archive(scores, "matrix"):
        found = searcher.search(loglikes, Setting(SCALE, 0.0), BEAM)
        assert found.reached_final and list(found.words) == expected[utt].tolist()
        for time in aligner(utt, found.words, np.float32(SCALE) * loglikes):
            seconds = f"{time.begin / 100:.3f} {(time.end - time.begin) / 100:.3f}"
            lines.append(f"{utt} 1 {seconds} {lang.word_list[time.word]}")
    assert lines == [line.strip() for line in (IO / f"decode/{name}.ctm").read_text().splitlines()]


@first_system
def test_parts_of_two_systems_are_named(tmp_path):
    for part, said in (("tree", "tree: 144 pdfs, .*final.mdl has 67"), ("HCLG.fst", "transition-id 332, the model's")):
        folder = tmp_path / part
        shutil.copytree(IO / "mono", folder)
        (folder / part).chmod(0o644)
        shutil.copyfile(IO / "tri" / part, folder / part)
        with pytest.raises(UserError, match=said):
            read_system(folder, IO / "lang")
    mono, tri = (read_system(IO / name, IO / "lang") for name in ("mono", "tri"))
    with pytest.raises(UserError, match="does not give the transition-ids of final.mdl"):
        hmm_model(mono._replace(tree=tri.tree), "mono")
    for transitions, others in ((mono.transitions, "tri"), (tri.transitions, "mono")):
        for _, ids in read_all(parts(IO / others / "ali.*.gz"), "integers"):
            with pytest.raises(Misfit):
                check_alignment(transitions, ids)


def copy_of_lang(folder):
    shutil.copytree(IO / "lang", folder / "lang")
    for path in [folder / "lang", *(folder / "lang").rglob("*")]:
        path.chmod(0o755)
    return folder / "lang"


@first_system
@pytest.mark.parametrize(
    ("file", "change", "said"),
    [
        ("words.txt", ("\nZERO 12\n", "\n"), "word 12 is not in words.txt"),
        ("phones.txt", ("Z 21", "ZZ 21"), "phone 'Z' is not in .*phones.txt"),
        ("phones.txt", ("\nZ 21\n", "\n"), "phone 21 is not in phones.txt"),
        ("phones/align_lexicon.int", ("3 3 7 16", "3 3 7 99"), "line 4: phone 99 is not in phones.txt"),
        ("phones/align_lexicon.int", ("3 3 7 16", "33 33 7 16"), "line 4: word 33 is not in words.txt"),
        ("phones/silence.int", ("1\n", "77\n"), "phone 77 is not in phones.txt"),
    ],
)
def test_parts_of_a_language_that_do_not_fit_are_named(tmp_path, file, change, said):
    lang = copy_of_lang(tmp_path)
    text = (lang / file).read_text()
    assert change[0] in text
    (lang / file).write_text(text.replace(*change))
    with pytest.raises(UserError, match=said):
        read_system(IO / "mono", lang)


@first_system
def test_a_graph_of_another_words_txt_is_named(tmp_path):
    lang = copy_of_lang(tmp_path)
    for name in ("lexicon.txt", "phones/align_lexicon.int"):
        (lang / name).unlink(missing_ok=True)
    (lang / "phones/align_lexicon.int").write_text("3 3 7 16\n")
    text = (lang / "words.txt").read_text()
    (lang / "words.txt").write_text(
        text.replace("ZERO 12", "XXXX 12").replace("#0 13", "ZERO 13").replace("XXXX", "#0")
    )
    with pytest.raises(UserError, match="HCLG.fst: word 12 is #0 in .*words.txt: the graph was made with another"):
        read_system(IO / "mono", lang)
    (tmp_path / "graph").mkdir()
    shutil.copyfile(IO / "mono/HCLG.fst", tmp_path / "graph/HCLG.fst")
    (tmp_path / "graph/words.txt").write_text("<eps> 0\nONE 1\n")
    with pytest.raises(UserError, match=r"graph.words\.txt: not the words of"):
        read_system(IO / "mono", IO / "lang", tmp_path / "graph")


@pytest.mark.parametrize(
    "path",
    cases("hostile/topo*", "hostile/tree*", "hostile/fst*", "hostile/gmm*", "hostile/*.mdl", "hostile/phones*.txt"),
)
def test_hostile_parts_of_systems_are_refused_in_one_line(path):
    from unisono.data.kaldi.lang import read_symbols

    readers = {"topo": lambda p: read_topology(read_tokens(p)), "tree": read_tree, "fst_": read_fst}
    readers["phon"] = lambda p: read_symbols(p, phones=True)
    with pytest.raises(UserError) as caught:
        readers.get(path.name[:4], read_model)(path)
    assert str(caught.value).startswith(str(path)) and "\n" not in str(caught.value) and len(str(caught.value)) < 500


@first_system
def test_an_alignment_with_an_unknown_id_is_refused():
    transitions, _ = read_model(IO / "mono/final.mdl")
    with pytest.raises(Misfit, match="transition-id 1000000, the model has 1 to 150"):
        check_alignment(transitions, integers(IO / "hostile/ali_unknown_transition_id.ark")["utt1"])


@first_system
def test_a_written_language_is_read_by_ours(tmp_path):
    system = read_system(IO / "mono", IO / "lang")
    write_lang(tmp_path, system.lang, system.transitions.topology.text())
    lang = load_lang(tmp_path)
    assert lang.words == system.lang.words and lang.phones == system.lang.phones and lang.silence_ids == [1, 2]
    assert ("ZERO", ("Z", "IH", "R", "OW")) in [tuple(entry) for entry in lang.pronunciations]
    assert len(lang.pronunciations) == len(system.lang.pronunciations)
