"""What Kaldi's programs printed about its own files, against what is read from these files."""

import re

import numpy as np
import pytest

from tests.kaldi.golden import IO, cases
from unisono.bootstrap.kaldi import hmm_model, write_lang
from unisono.data.kaldi.archive import Script, parts, read_all, read_archive
from unisono.data.kaldi.fst import read_fst
from unisono.data.kaldi.gmm import read_model
from unisono.data.kaldi.lang import read_lang, read_numbers, read_symbols
from unisono.data.kaldi.networks import read_stack
from unisono.data.kaldi.nnet3 import read_nnet3
from unisono.data.kaldi.system import check_alignment, read_system
from unisono.data.kaldi.tokens import read_tokens
from unisono.data.kaldi.transitions import read_transitions
from unisono.data.kaldi.tree import read_tree
from unisono.errors import UserError
from unisono.hmm.lexicon import load_lang
from unisono.recognise.word_times import WordAligner, cut_words


def phone_names():
    return {number: name for name, number in read_symbols(IO / "lang/phones.txt").items()}


def lines_of(path):
    return [line.split() for line in path.read_text(encoding="utf-8").splitlines()]


def numbers_in(path):
    """Return `name number` lines of a summary; of a name that comes twice the last."""
    found = {}
    for line in path.read_text().splitlines():
        pair = re.fullmatch(r"([\w -]+?):? (-?[0-9.e+-]+)", line)
        if pair:
            found[pair[1]] = float(pair[2])
    return found


def alignments(folder):
    return dict(read_all(parts(folder / "ali.*.gz"), "integers"))


@pytest.mark.parametrize("text", cases("*/transition_model_text"))
def test_transition_models_by_themselves(text):
    tokens = read_tokens(text)
    found, expected = read_transitions(tokens), read_model(text.with_name("final.mdl"))[0]
    assert tokens.at_end and found.topology == expected.topology and np.array_equal(found.tuples, expected.tuples)
    np.testing.assert_allclose(found.log_probs, expected.log_probs, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("text", cases("*/show-transitions.txt"))
def test_transition_ids_are_as_kaldi_shows_them(text):
    transitions, names = read_model(text.with_name("final.mdl"))[0], phone_names()
    state, count = [], 0
    for line in text.read_text().splitlines():
        head = re.match(r"Transition-state \d+: phone = (\S+) hmm-state = (\d+) (?:pdf|forward-pdf) = (\d+)", line)
        if head:
            state = [head[1], int(head[2]), int(head[3])]
            continue
        shown = re.match(r" Transition-id = (\d+) p = (\S+) .*\[(self-loop|\d+ -> (\d+))\]", line)
        assert shown is not None
        number, target = int(shown[1]), shown[4]
        phone, own, forward, _ = transitions.tuples[transitions.tuple_of[number]].tolist()
        assert [names[phone], own, forward] == state
        assert np.exp(transitions.log_probs[number]) == pytest.approx(float(shown[2]), rel=2e-5)
        assert transitions.is_loop[number] == (target is None)
        if target is not None:
            last = len(transitions.topology.states(phone)) - 1
            assert transitions.ends[1][number, 1] == (-1 if int(target) == last else int(target))
        count += 1
    assert count == transitions.num_ids


@pytest.mark.parametrize("text", cases("*/info.txt"))
def test_counts_of_models_and_trees(text):
    folder, said = text.parent, numbers_in(text)
    (transitions, mixtures), tree = read_model(folder / "final.mdl"), read_tree(folder / "tree")
    assert said["num-pdfs"] == tree.num_pdfs == said["number of pdfs"] == transitions.num_pdfs
    assert said["context-width"] == tree.width and said["central-position"] == tree.central
    assert said["number of transition-ids"] == transitions.num_ids
    assert said["number of transition-states"] == len(transitions.tuples)
    assert said["number of phones"] == len(transitions.topology.entry_of)
    assert said["number of gaussians"] == len(mixtures.weights) and said["feature dimension"] == mixtures.means.shape[1]


@pytest.mark.parametrize("text", cases("*/ali_phones_sym.txt"))
def test_phones_of_alignments(text):
    folder, names = text.parent, phone_names()
    transitions, found = read_model(folder / "final.mdl")[0], alignments(folder)
    for utt, *phones in lines_of(text):
        assert [names[phone] for phone, _ in transitions.phone_lengths(found[utt])] == phones
    times = []
    for utt, ids in found.items():
        begin = 0
        for phone, frames in transitions.phone_lengths(ids):
            times.append([utt, "1", f"{begin / 100:.3f}", f"{frames / 100:.3f}", str(phone)])
            begin += frames
    assert times == lines_of(folder / "ali_phones.ctm")


@pytest.mark.parametrize("text", cases("*/show-alignments.txt"))
def test_alignments_are_cut_as_kaldi_shows_them(text):
    transitions, names = read_model(text.with_name("final.mdl"))[0], phone_names()
    found = alignments(text.parent)
    for line in filter(str.strip, text.read_text().splitlines()):
        utt, rest = line.split(maxsplit=1)
        if "[" not in rest:  # the names of the phones, below the alignment
            assert rest.split() == [names[phone] for phone, _ in transitions.phone_lengths(found[utt])]
            continue
        blocks = [list(map(int, block.split())) for block in re.findall(r"\[([\d ]+)\]", rest)]
        assert sum(blocks, []) == found[utt].tolist()
        assert [len(block) for block in blocks] == [frames for _, frames in transitions.phone_lengths(found[utt])]


@pytest.mark.parametrize("ctm", cases("*/ali_words.ctm"))
def test_words_of_alignments(ctm, tmp_path):
    """Which frames are which word's, by the lexicon alone."""
    system = read_system(ctm.parent, IO / "lang")
    write_lang(tmp_path, system.lang, system.transitions.topology.text())
    lang = load_lang(tmp_path)
    aligner = WordAligner(hmm_model(system, ctm.parent), lang)
    spoken: dict = {}
    for entry in system.lang.pronunciations:
        spoken.setdefault(entry.word, []).append(entry.phones)
    words, found = dict(read_archive(IO / "lang/text_train.int", "integers")), []
    for utt, ids in alignments(ctm.parent).items():
        silence = frozenset(lang.silence_ids)
        for time in cut_words(aligner.segments(ids), words[utt].tolist(), spoken, silence):
            begin, length = f"{time.begin / 100:.3f}", f"{(time.end - time.begin) / 100:.3f}"
            found.append([utt, "1", begin, length, lang.word_list[time.word]])
    assert found == lines_of(ctm)


@pytest.mark.parametrize("path", cases("*/HCLG.fst", "lang/*.fst"))
def test_transducers_are_as_fstprint_prints_them(path):
    fst, printed = read_fst(path), lines_of(path.with_name(f"{path.name}.txt"))
    states = np.repeat(np.arange(len(fst.final)), np.diff(fst.first))
    arcs = zip(states, fst.arcs["next"], fst.arcs["input"], fst.arcs["output"], fst.arcs["weight"], strict=True)
    ours = sorted([*map(int, arc[:4]), float(f"{arc[4]:.9g}")] for arc in arcs)
    theirs = sorted([*map(int, line[:4]), float((*line, 0)[4])] for line in printed if len(line) >= 4)
    assert ours == theirs
    finals = {int(line[0]): float((*line, 0)[1]) for line in printed if len(line) <= 2}
    assert finals == {n: float(f"{value:.9g}") for n, value in enumerate(fst.final) if np.isfinite(value)}
    assert int(printed[0][0]) == fst.start


@pytest.mark.parametrize("text", cases("lang/phones/align_lexicon.txt"))
def test_the_language_in_numbers_and_in_names(text):
    lang = read_lang(IO / "lang")
    words, phones = ({n: name for name, n in table.items()} for table in (lang.words, lang.phones))
    spelled = [[words[e.word], words[e.word], *(phones[p] for p in e.phones)] for e in lang.pronunciations]
    assert spelled == [line for line in lines_of(text) if line[0] != "<eps>"]
    transcripts = dict(read_archive(IO / "lang/text_train.int", "integers"))
    for utt, *spoken in lines_of(IO / "lang/text_train"):
        assert [words[number] for number in transcripts[utt].tolist()] == spoken
    for path in text.parent.glob("*.csl"):
        if path.with_suffix(".int").exists():
            assert read_numbers(path, ":") == read_numbers(path.with_suffix(".int"))
    assert lang.silence == read_numbers(text.with_name("silence.int"))
    assert lang.disambiguation == read_numbers(text.with_name("disambig.int"))


@pytest.mark.parametrize("path", cases("nnet3/*.mdl", "nnet3/*.raw"))
def test_numbers_of_parameters(path):
    network = read_nnet3(path)
    stem = re.sub("_text$", "", path.stem)
    names = [f"{stem}_mdl.info.txt"] if path.suffix == ".mdl" else [f"{stem}.info.txt"]
    said = {key: value for name in names if (path.parent / name).exists()
            for key, value in numbers_in(path.with_name(name)).items()}  # fmt: skip
    if not said:
        pytest.skip("Kaldi said nothing about a golden network")
    trained = ("LinearParams", "BiasParams", "Params", "Offsets")
    learns = [c for c in network.network.components if c.get("LearningRate") is not None]
    assert said["num-parameters"] == sum(f.value.size for c in learns for f in c.fields if f.name in trained)
    if network.context is not None:
        assert network.context == (said["left-context"], said["right-context"])
        assert said["prior-sum"] == pytest.approx(network.priors.sum(), rel=1e-5)
        assert said["prior-dimension"] == len(network.priors) == network.transitions.num_pdfs
        assert said["prior-min"] == pytest.approx(network.priors.min(), rel=1e-5)


@pytest.mark.parametrize("path", cases("nnet1/*.info.txt"))
def test_nnet1_is_as_kaldi_says(path):
    stack = read_stack(path.with_name(path.name.replace(".info.txt", ".nnet")))
    text = path.read_text()
    assert stack.offsets == tuple(map(int, re.search(r"frame_offsets \[([-\d ]+)\]", text)[1].split()))
    said = re.findall(r"linearity \( min (\S+), max (\S+),", text)
    layers = [step for step in stack.steps if hasattr(step, "weight")]
    for (least, most), step in zip(said, layers, strict=True):
        assert float(least) == pytest.approx(step.weight.min(), rel=1e-4)
        assert float(most) == pytest.approx(step.weight.max(), rel=1e-4)


@pytest.mark.parametrize("path", cases("feats/spliced_part.ark"))
def test_spliced_frames(path):
    script = Script(path.with_name("cmvned.scp"), "matrix")
    frames = script[next(iter(script))]
    for expected in dict(read_archive(path, "matrix")).values():
        count, reach = len(expected), expected.shape[1] // frames.shape[1] // 2
        places = np.arange(count)[:, None] + np.arange(-reach, reach + 1)
        assert np.array_equal(frames[:count][places.clip(0, count - 1)].reshape(count, -1), expected)


@pytest.mark.parametrize("path", cases("decode/*_ali.txt"))
def test_paths_of_kaldis_decoder_are_alignments(path):
    name = path.stem.removesuffix("_ali")
    model = IO / name / "final.mdl" if (IO / name).is_dir() else IO / f"nnet3/{name}.mdl"
    transitions = read_model(model)[0]
    for _, ids in read_archive(path, "integers"):
        check_alignment(transitions, ids)


@pytest.mark.parametrize("path", cases("decode/*_lat.ark"))
def test_lattices_are_refused(path):
    for kind in ("matrix", "vector", "integers"):
        with pytest.raises(UserError, match=r"_lat\.ark: '.*': byte \d+: .* where "):
            list(read_archive(path, kind))
