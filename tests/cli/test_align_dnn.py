"""adopt-hmm and align-dnn: a network that computes what a GMM does must align as the GMM does; mistakes in one line."""

import json

import numpy as np
import pytest
import torch

from tests.support.settings import section
from unisono.__main__ import main
from unisono.config.network import DnnOptions
from unisono.core.flat import from_tensors
from unisono.data.corpus.table import Utterance, write_table
from unisono.data.sequences import Sequences, write_sequences
from unisono.files import write_json
from unisono.hmm import gmm, tree
from unisono.hmm.lexicon import load_lang, read_lexicon, write_lang
from unisono.hmm.model import HmmModel, load_model, save_model, transition_model
from unisono.nn.dnn import Dnn
from unisono.nn.model_file import save_model as save_network
from unisono.recognise.system import describe

DIM, PDFS = 6, 12
FEATURES = {
    "kind": "mfcc", "num_mel_bins": 10, "num_ceps": DIM, "low_freq": 20.0, "high_freq": 0.0, "frame_length_ms": 25.0,
    "frame_shift_ms": 10.0, "use_energy": False, "dither": 0.0, "deltas": 0, "cmvn": "none", "cmvn_variance": False,
}  # fmt: skip
HMM = {
    "features": FEATURES, "silence_phone": "SIL", "silence_states": 3, "phone_states": 3, "silence_probability": 0.5,
    "mono": {"iterations": 1, "gaussians": 1}, "tri": {"iterations": 1, "leaves": 1, "gaussians": 1}, "align": "tri",
    "beam": 10.0, "retry_beam": 40.0, "acoustic_scale": 0.1, "seed": 1,
}  # fmt: skip
DECODE = {"beam": 13.0, "max_active": 7000, "min_active": 200}
WORDS = {"ONE": [2, 3], "TWO": [3, 4], "THREE": [4, 2, 2]}
SPLITS = {"train": {"utterances": 10}, "dev": {"utterances": 2}}


def gaussian_network(means, prior):
    """Return a network whose log posteriors less the log prior are the log-likelihoods of unit Gaussians, plus c(x)."""
    network = Dnn(
        section(DnnOptions, kind="dnn", hidden=(2 * DIM,), nonlinearity="relu", context=(0, 0), dropout=0.0), DIM, PDFS
    )
    # relu(x) - relu(-x) = x, so the output is linear: log p(x | pdf) = m x - m²/2 + c(x).
    tensors = {
        "hidden1.weight": torch.cat([torch.eye(DIM), -torch.eye(DIM)]),
        "hidden1.bias": torch.zeros(2 * DIM),
        "output.weight": torch.cat([means, -means], dim=1),
        "output.bias": -0.5 * (means**2).sum(dim=1) + prior,
    }
    return network, from_tensors(network.layout, tensors)


@pytest.fixture
def folder(tmp_path):
    """Make language, HMM, features of ten utterances (one too short) and a finished run with its recogniser.json."""
    (tmp_path / "lexicon.txt").write_text("ONE  a b\nTHREE  c a a\nTWO  b c\n")
    shape = {"silence_phone": "SIL", "silence_probability": 0.5, "silence_states": 3, "phone_states": 3}
    write_lang(tmp_path / "lang", read_lexicon(tmp_path / "lexicon.txt"), **shape)
    chance = np.random.default_rng(5)
    means = chance.normal(scale=1.5, size=(PDFS, DIM)).astype(np.float32)
    blob = tree.to_kaldi(tree.monophone_tree(dict.fromkeys(range(1, 5), 3)), 1, 0)
    gmms, topology = gmm.single_gaussians(means, np.ones((PDFS, DIM))), load_lang(tmp_path / "lang").topology
    blank = HmmModel(blob, topology, np.zeros(0, np.float32), gmms)
    log_probs = np.array(transition_model(blank.tree, topology).log_probs, np.float32)
    save_model(tmp_path / "model.h5", HmmModel(blob, topology, log_probs, gmms, FEATURES))
    rows, frames = [], []
    for number in range(10):
        words = [list(WORDS)[i] for i in chance.integers(0, 3, 3)]
        phones = [1, *(phone for word in words for phone in WORDS[word]), 1]
        ids = np.repeat([3 * (p - 1) + s for p in phones for s in range(3)], chance.integers(2, 6, 3 * len(phones)))
        x = (means[ids] + chance.normal(size=(len(ids), DIM))).astype(np.float32)
        rows.append(
            Utterance(
                f"utt{number}", "spk", f"/nowhere/{number}.wav", 1.0, " ".join(words), " ".join(words), number % 2
            )
        )
        frames.append(x[:5] if number == 7 else x)
    write_table(tmp_path / "train.tsv", rows)
    for shard in (0, 1):
        own = [(f"utt{n}", {"frames": frames[n]}) for n in range(10) if n % 2 == shard]
        write_sequences(tmp_path / f"train.{shard}.h5", own, kind="features", attrs={"dim": DIM})
    prior = torch.log_softmax(torch.linspace(-1, 1, PDFS), 0)
    network, vector = gaussian_network(torch.from_numpy(means), prior)
    save_network(tmp_path / "final.safetensors", network.spec(), network.layout, vector, prior)
    (tmp_path / "HCLG.fst").write_bytes(b"not read")
    finish(tmp_path)
    write_json(tmp_path / "corpus.json", {"splits": SPLITS})
    return tmp_path


def finish(path, **changes):
    """Write recogniser.json."""
    settings = {"features": FEATURES, "hmm": HMM, "lm": {}, "decode": DECODE}
    numbers = {"sampling_rate": 8000, "acoustic_scale": 0.1, "word_insertion_penalty": 0.0}
    facts = {"name": "other", "run": "main", "settings": settings, "corpus": SPLITS} | numbers | changes
    names = {"network": "final.safetensors", "hmm": "model.h5", "lang": "lang", "graph": "HCLG.fst"}
    files = {part: str(path / name) for part, name in names.items()}
    write_json(path / "recogniser.json", describe(path, {**files, "cmvn": None}, facts))


def command(name, path, *flags, processes=2, features=FEATURES):
    common = ["--lang-dir", f"{path}/lang", "--table", f"{path}/train.tsv", "--cmvn", f"{path}/none.h5"]
    common += ["--features", f"{path}/train.0.h5", f"{path}/train.1.h5", "--options", json.dumps(HMM)]
    common += ["--feature-options", json.dumps(features), "--processes", str(processes)]
    return main([name, *common, *[flag.format(path) for flag in flags]])


def adopt(path):
    flags = ["--source", path, "--lang-dir", path / "lang", "--corpus", path / "corpus.json", "--out", path / "dnn.h5"]
    return main(["adopt-hmm", *map(str, flags)])


DNN = ("--source", "{}", "--model", "{}/dnn.h5", "--out", "{}/dnn.ali.h5", "--report", "{}/dnn.ali.json")
GMM = ("--model", "{}/model.h5", "--out", "{}/gmm.ali.h5", "--report", "{}/gmm.ali.json")


def test_the_same_model_as_a_network_aligns_alike(folder):
    assert adopt(folder) == 0 and (folder / "dnn.h5").read_bytes() == (folder / "model.h5").read_bytes()
    assert command("align", folder, *GMM) == 0
    assert command("align-dnn", folder, *DNN) == 0
    with Sequences(folder / "gmm.ali.h5") as one, Sequences(folder / "dnn.ali.h5", kind="alignment") as two:
        assert one.utts == two.utts and len(two) == 9 and two.attrs["num_pdfs"] == PDFS
        for name in ("ids", "transition_ids"):
            np.testing.assert_array_equal(one.memmap(name), two.memmap(name))
    reports = [json.loads((folder / f"{kind}.ali.json").read_text()) for kind in ("gmm", "dnn")]
    assert reports[0]["failed"] == reports[1]["failed"] and "too short" in reports[1]["failed"][0]["reason"]
    before = [(folder / f"dnn.ali.{kind}").read_bytes() for kind in ("h5", "json")]
    assert command("align-dnn", folder, *DNN, processes=1) == 0
    assert before == [(folder / f"dnn.ali.{kind}").read_bytes() for kind in ("h5", "json")]


def test_it_is_the_network_that_aligns(folder):
    """Gaussians that know nothing, on the same tree, change nothing."""
    assert adopt(folder) == 0 and command("align-dnn", folder, *DNN) == 0
    with Sequences(folder / "dnn.ali.h5") as store:
        before = np.array(store.memmap("ids"))
    model = load_model(folder / "dnn.h5")
    save_model(folder / "dnn.h5", HmmModel(model.tree_bytes, model.topology, model.transition_log_probs,
               gmm.single_gaussians(np.zeros((PDFS, 3)), np.ones((PDFS, 3)))))  # fmt: skip
    assert command("align-dnn", folder, *DNN) == 0
    with Sequences(folder / "dnn.ali.h5") as store:
        np.testing.assert_array_equal(store.memmap("ids"), before)


def test_another_corpus_lexicon_or_front_end_is_refused(folder, capsys):
    def error():
        return capsys.readouterr().err.strip().splitlines()[-1]

    finish(folder, corpus=SPLITS | {"dev": {"utterances": 3}})
    assert adopt(folder) == 2 and "hmm.align_with: dev is {'utterances': 2} here and {'utterances': 3}" in error()
    finish(folder)
    other = folder / "elsewhere"
    write_lang(other, [*read_lexicon(folder / "lexicon.txt")][:2], silence_phone="SIL", silence_probability=0.5,
               silence_states=3, phone_states=3)  # fmt: skip
    flags = ["--source", folder, "--lang-dir", other, "--corpus", folder / "corpus.json", "--out", folder / "x.h5"]
    assert main(["adopt-hmm", *map(str, flags)]) == 2 and "give both configs the same lexicon" in error()
    assert adopt(folder) == 0
    assert command("align-dnn", folder, *DNN, features=FEATURES | {"low_freq": 30.0}) == 2
    assert "features.low_freq is 30.0 here and 20.0 in" in error()
    (folder / "final.safetensors").write_bytes(b"other")
    assert command("align-dnn", folder, *DNN) == 2 and "final.safetensors: changed since" in error()
