"""The commands lm, graph, tune and decode, one after the other, on features drawn from a small HMM."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch

from tests.support.settings import section
from unisono.config.build import build
from unisono.config.features import FeatureOptions
from unisono.config.network import DnnOptions, InitialisationOptions
from unisono.data.corpus.table import Utterance, write_table
from unisono.data.features.reader import FeatureReader
from unisono.data.sequences import write_sequences
from unisono.hmm import gmm, tree
from unisono.hmm.arcs import read_fst
from unisono.hmm.lexicon import load_lang, read_lexicon, write_lang
from unisono.hmm.model import HmmModel, load_model, save_model, transition_model
from unisono.nn.dnn import Dnn
from unisono.nn.model_file import save_model as save_network
from unisono.recognise.decode import Beam, Searcher, Setting

DIM, SHARDS = 6, 2
FEATURES = {
    "kind": "mfcc", "num_mel_bins": 10, "num_ceps": DIM, "low_freq": 20.0, "high_freq": 0.0, "frame_length_ms": 25.0,
    "frame_shift_ms": 10.0, "use_energy": False, "dither": 0.0, "deltas": 0, "cmvn": "none", "cmvn_variance": False,
}  # fmt: skip
LM = {"kind": "ngram", "order": 2}
DECODE = {
    "beam": 20.0, "tuning_beam": 25.0, "max_active": 7000, "min_active": 200, "acoustic_scales": [0.1, 0.3],
    "gmm_acoustic_scales": [0.05, 0.2], "word_insertion_penalties": [0.5, 1.0], "tune_utterances": 9, "seed": 1,
    "systems": ["mono"],
}  # fmt: skip
WORDS = {"ONE": [2, 3], "TWO": [3, 4], "THREE": [4, 2, 2]}
SENTENCES = ["ONE TWO", "THREE", "TWO TWO ONE", "THREE ONE", "ONE", "TWO THREE ONE"]


def unisono(*arguments, expect=0):
    done = subprocess.run(
        [sys.executable, "-m", "unisono", *map(str, arguments)], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == expect, done.stderr
    return done.stderr


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Make corpus, features, HMM, network; then language model and graph by their commands."""
    path = tmp_path_factory.mktemp("decode")
    (path / "lexicon.txt").write_text("ONE  a b\nTHREE  c a a\nTWO  b c\n")
    (path / "lm_text.txt").write_text("\n".join(SENTENCES) + "\n")
    shape = {"silence_phone": "SIL", "silence_probability": 0.5, "silence_states": 3, "phone_states": 3}
    write_lang(path / "lang", read_lexicon(path / "lexicon.txt"), **shape)
    root, topology = tree.monophone_tree(dict.fromkeys(range(1, 5), 3)), load_lang(path / "lang").topology
    blob = tree.to_kaldi(root, 1, 0)
    model = HmmModel(blob, topology, np.zeros(0, np.float32), gmm.single_gaussians(np.zeros((12, DIM)), np.ones(1)))
    probabilities = np.array(transition_model(model.tree, topology).__getstate__()[-2], np.float32)
    chance = np.random.default_rng(5)
    means = chance.normal(scale=1.5, size=(12, DIM))
    model = HmmModel(blob, topology, probabilities, gmm.single_gaussians(means, np.ones((12, DIM))))
    save_model(path / "model.h5", model)
    for split in ("dev", "test"):
        make_split(path, split, means, chance)
    network = Dnn(build(DnnOptions, NETWORK), DIM, 12)
    start = section(InitialisationOptions, output_gain=1.0)
    vector = network.initial_parameters(start, torch.Generator().manual_seed(2))
    prior = torch.log_softmax(torch.linspace(-1, 1, 12), 0)
    save_network(path / "net.safetensors", network.spec(), network.layout, vector, prior)
    unisono("lm", "--text", path / "lm_text.txt", "--lexicon", path / "lexicon.txt", "--options", json.dumps(LM),
            "--out", path / "lm.arpa", "--report", path / "lm.json")  # fmt: skip
    unisono("graph", "--lang-dir", path / "lang", "--arpa", path / "lm.arpa", "--model", path / "model.h5",
            "--out", path / "HCLG.fst", "--report", path / "graph.json")  # fmt: skip
    return path


NETWORK = {"kind": "dnn", "hidden": [16], "nonlinearity": "tanh", "context": [2, 1], "dropout": 0.0}


def make_split(path, split, means, chance):
    rows, frames = [], {}
    for number in range(12):
        sentence = SENTENCES[number % len(SENTENCES)]
        phones = [1, *(phone for word in sentence.split() for phone in WORDS[word]), 1]
        states = [3 * (phone - 1) + state for phone in phones for state in range(3)]
        ids = np.repeat(states, chance.integers(1, 4, len(states)))
        utt = f"{split}-{number:02d}"
        frames[utt] = (means[ids] + chance.normal(size=(len(ids), DIM))).astype(np.float32)
        rows.append(Utterance(utt, "spk", f"/nowhere/{utt}.wav", 1.0, sentence, sentence, number % SHARDS))
    write_table(path / f"{split}.tsv", rows)
    for shard in range(SHARDS):
        own = [(u.utterance_id, {"frames": frames[u.utterance_id]}) for u in rows if u.shard == shard]
        write_sequences(path / f"{split}.{shard}.h5", own, kind="features", attrs={"dim": DIM})


def flags(path, system, table, features, **more):
    given = {
        "system": system, "table": path / table, "cmvn": path / "none.h5", "feature-options": json.dumps(FEATURES),
        "lang-dir": path / "lang", "hmm-model": path / "model.h5", "graph": path / "HCLG.fst",
        "options": json.dumps(DECODE),
    } | ({"network": path / "net.safetensors"} if system == "dnn" else {}) | more  # fmt: skip
    listed = [part for name, value in given.items() for part in (f"--{name.replace('_', '-')}", value)]
    return [*listed, "--features", *(path / name for name in features)]


@pytest.fixture(scope="module", params=["gmm", "dnn"])
def tuned(request, folder):
    system = request.param
    out, hyp = folder / f"{system}.tune.json", folder / f"{system}.dev.hyp"
    unisono("tune", *flags(folder, system, "dev.tsv", ["dev.0.h5", "dev.1.h5"], out=out, hyp=hyp, processes=2))
    return system, out, hyp


def test_reports_of_model_and_graph(folder):
    assert json.loads((folder / "lm.json").read_text()) == {
        "kind": "ngram", "order": 2, "ngrams": [5, 11], "vocabulary": 3, "words_without_unigram": 0, "dropped_ngrams": 0
    }  # fmt: skip
    graph = json.loads((folder / "graph.json").read_text())
    assert graph["states"] > 20 and graph["arcs"] > graph["states"]
    assert graph["bytes"] == (folder / "HCLG.fst").stat().st_size


def test_tuning_decodes_the_drawn_part_and_keeps_the_best(folder, tuned):
    system, out, hyp = tuned
    found = json.loads(out.read_text())
    assert found["system"] == system and found["utterances"] == 9
    assert len(hyp.read_text().splitlines()) == 9
    assert len(found["tried"]) in ((4,) if system == "gmm" else (5, 6))
    best = min(row["errors"] for row in found["tried"])
    chosen = [
        row for row in found["tried"]
        if all(row[key] == found[key] for key in ("acoustic_scale", "word_insertion_penalty"))
    ]  # fmt: skip
    assert [row["errors"] for row in chosen] == [best] and found["dev_wer"] == best / found["words"]
    assert found["lm_weight"] == pytest.approx(1 / found["acoustic_scale"])
    if system == "gmm":  # the very model that the features were drawn from
        assert found["dev_wer"] < 0.2


def test_tuning_does_not_depend_on_processes(folder, tuned, tmp_path):
    system, out, hyp = tuned
    paths = {"out": tmp_path / "tune.json", "hyp": tmp_path / "dev.hyp"}
    unisono("tune", *flags(folder, system, "dev.tsv", ["dev.0.h5", "dev.1.h5"], processes=1, **paths))
    assert paths["out"].read_bytes() == out.read_bytes() and paths["hyp"].read_bytes() == hyp.read_bytes()


def test_decoding_by_shards(folder, tuned, tmp_path):
    system, out, _ = tuned
    lines = []
    for shard in range(SHARDS):
        paths = {"out": tmp_path / f"{shard}.hyp", "report": tmp_path / f"{shard}.json"}
        unisono("decode", *flags(folder, system, "test.tsv", [f"test.{shard}.h5"], shard=shard, tuned=out, **paths))
        lines += paths["out"].read_text().splitlines()
        assert json.loads(paths["report"].read_text())["utterances"] == 6
    assert sorted(line.split()[0] for line in lines) == [f"test-{number:02d}" for number in range(12)]
    if system == "gmm":
        wrong = sum(line.split()[1:] != SENTENCES[int(line.split()[0][-2:]) % 6].split() for line in lines)
        assert wrong <= 3
    else:
        assert sorted(lines) == literal_network_hypotheses(folder, json.loads(out.read_text()))


def literal_network_hypotheses(folder, setting):
    """Splice frame by frame, apply the layers by numpy, subtract the prior, search."""
    from safetensors.numpy import load_file

    tensors, model, lang = load_file(folder / "net.safetensors"), load_model(folder / "model.h5"), folder / "lang"
    matrices = [name.removesuffix(".weight") for name in tensors if name.endswith(".weight")]
    hidden, output = sorted(matrices, key=lambda name: tensors[f"{name}.weight"].shape[0] != 16)
    reader = FeatureReader(
        folder / "test.tsv", [folder / f"test.{shard}.h5" for shard in range(SHARDS)], folder / "none.h5",
        build(FeatureOptions, FEATURES),
    )  # fmt: skip
    chosen = Setting(setting["acoustic_scale"], setting["word_insertion_penalty"])
    searcher = Searcher(read_fst(folder / "HCLG.fst"), model.id2pdf, [chosen.word_insertion_penalty])
    words, lines = load_lang(lang).word_list, []
    for utterance, frames in reader:
        last = len(frames) - 1
        x = np.array(
            [[frames[min(max(t + k, 0), last)] for k in (-2, -1, 0, 1)] for t in range(len(frames))]
        ).reshape(len(frames), -1)  # fmt: skip
        y = np.tanh(x @ tensors[f"{hidden}.weight"].T + tensors[f"{hidden}.bias"])
        y = y @ tensors[f"{output}.weight"].T + tensors[f"{output}.bias"]
        y = y - np.log(np.exp(y).sum(axis=1, keepdims=True)) - tensors["log_prior"]
        found = searcher.search(y.astype(np.float32), chosen, Beam(20.0, 7000, 200))
        lines.append(" ".join([utterance.utterance_id, *(words[number] for number in found.words)]))
    return lines


def test_mistakes_are_one_line(folder, tmp_path):
    (tmp_path / "tune.json").write_text('{"acoustic_scale": 0.1, "word_insertion_penalty": 0.5}')
    paths = {"out": tmp_path / "h", "report": tmp_path / "r", "shard": 0, "tuned": tmp_path / "tune.json"}
    given = flags(folder, "gmm", "test.tsv", ["test.0.h5"], **paths)
    other = Dnn(build(DnnOptions, NETWORK), DIM, 11)
    save_network(tmp_path / "n", other.spec(), other.layout, torch.zeros(other.layout.size), torch.zeros(11))
    cases = [
        (["--system", "dnn", "--network", tmp_path / "n"], "the network has 11 outputs, the HMM 12 pdfs"),
        (["--system", "dnn"], "--network: missing"),
        (["--tuned", folder / "graph.json"], "not a tune.json"),
        (["--features", folder / "test.1.h5"], "in no feature file given"),
        (["--graph", folder / "model.h5"], "not an OpenFST vector FST"),
        (["--options", '{"beem": 3}'], "--options.beem: unknown key"),
    ]
    for more, message in cases:
        error = unisono("decode", *given, *more, expect=2)
        assert message in error and len(error.strip().splitlines()) == 1, error
    assert not (tmp_path / "h").exists()


@pytest.mark.parametrize(
    ("options", "arpa", "message"),
    [
        ({"kind": "arpa"}, None, "lm.arpa: missing"),
        ({"kind": "arpa"}, "\\data\\\nngram 1=3\n\\1-grams:\n-1 </s>\n-9 <s>\n-1 ZWEI\n\\end\\\n", "shares no word"),
        ({"kind": "arpa"}, "\\data\\\nngram 1=3\n\\1-grams:\n-1 </s>\n", "lm: given.arpa: line 5: the header promises"),
        ({"kind": "ngram", "order": "two"}, None, "--options.order: expected int"),
    ],
)
def test_mistakes_in_language_models(folder, tmp_path, monkeypatch, options, arpa, message):
    monkeypatch.chdir(tmp_path)
    given = ["--arpa", "given.arpa"] if arpa else []
    (tmp_path / "given.arpa").write_text(arpa or "")
    error = unisono("lm", "--text", folder / "lm_text.txt", "--lexicon", folder / "lexicon.txt", "--options",
                    json.dumps(options), "--out", "out.arpa", *given, expect=2)  # fmt: skip
    assert message.removeprefix("lm: ") in error and len(error.strip().splitlines()) == 1, error


@pytest.mark.parametrize("kind", ["ngram", "loop"])
def test_vocabulary_of_the_text(folder, tmp_path, kind):
    """A word of the lexicon that the text lacks has a probability only where the vocabulary is the lexicon's."""
    (tmp_path / "text").write_text("ONE TWO\nTWO\n")
    known = {}
    for vocabulary in ("lexicon", "text"):
        out = tmp_path / f"{vocabulary}.arpa"
        unisono("lm", "--text", tmp_path / "text", "--lexicon", folder / "lexicon.txt", "--options",
                json.dumps({"kind": kind, "vocabulary": vocabulary}), "--out", out,
                "--report", tmp_path / "lm.json")  # fmt: skip
        known[vocabulary] = "THREE" in out.read_text()
        assert json.loads((tmp_path / "lm.json").read_text())["words_without_unigram"] == (vocabulary == "text")
    assert known == {"lexicon": True, "text": False}


def test_word_loop_takes_its_length_from_the_text(folder, tmp_path):
    out = tmp_path / "loop.arpa"
    unisono("lm", "--text", folder / "lm_text.txt", "--lexicon", folder / "lexicon.txt", "--options",
            json.dumps({"kind": "loop"}), "--out", out)  # fmt: skip
    # 6 sentences of 12 words in all: one end in 18 symbols, 12 words shared by 3.
    assert out.read_text().split() == (
        "\\data\\ ngram 1=5 \\1-grams: -0.477121 </s> -99.000000 <s> "
        "-0.653213 ONE -0.653213 THREE -0.653213 TWO \\end\\"
    ).split()  # fmt: skip
