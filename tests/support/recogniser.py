"""A small recogniser of tones: each phone is a tone of its own, so that words and their times are known exactly."""

import json

import numpy as np
import torch

from tests.support.settings import section
from unisono.__main__ import main
from unisono.config.build import build
from unisono.config.features import FeatureOptions
from unisono.config.network import DnnOptions
from unisono.data.corpus.audio import write_flac
from unisono.data.corpus.table import Utterance, write_table
from unisono.data.features.recordings import RecordingFeatures, read_recordings
from unisono.files import write_json
from unisono.hmm import gmm, tree
from unisono.hmm.lexicon import load_lang, read_lexicon, write_lang
from unisono.hmm.model import HmmModel, save_model, transition_model
from unisono.hmm.training import phone_states
from unisono.nn.dnn import Dnn
from unisono.nn.model_file import save_model as save_network

RATE = 8000
FEATURES = {
    "kind": "fbank", "num_mel_bins": 12, "low_freq": 100.0, "high_freq": 0.0, "frame_length_ms": 25.0,
    "frame_shift_ms": 10.0, "use_energy": False, "dither": 0.0, "deltas": 1, "cmvn": "speaker", "cmvn_variance": True,
}  # fmt: skip
LM = {"kind": "loop", "end_probability": 0.3}
DECODE = {
    "beam": 40.0, "tuning_beam": 40.0, "max_active": 7000, "min_active": 200, "acoustic_scales": [1.0],
    "gmm_acoustic_scales": [1.0], "word_insertion_penalties": [1.0], "tune_utterances": None, "seed": 1, "systems": [],
}  # fmt: skip
TUNED = {"acoustic_scale": 0.5, "word_insertion_penalty": 1.0}
LEXICON = {"ONE": "a b", "TWO": "b c", "THREE": "c a a", "NAÏVE": "b"}
PHONES = {"a": 600, "b": 1400, "c": 2600}  # Hz, numbered 2, 3, 4 beside SIL
# No two words of a sentence share the tone at their border, unless silence parts them (by the seed below).
SENTENCES = ["ONE TWO", "THREE", "TWO NAÏVE TWO", "THREE ONE", "ONE", "NAÏVE THREE", "NAÏVE", "ONE ONE"]
SHARDS = 2


def speak(sentence, chance, gain):
    """Return samples int16, the phone (1 SIL) of each sample, and (word, start, end) in samples."""
    parts, phones, times, at = [], [], [], 0

    def add(phone, count):
        nonlocal at
        tone = np.sin(2 * np.pi * PHONES.get(phone, 0) * np.arange(count) / RATE) * gain
        parts.append(tone + chance.normal(scale=30, size=count))
        phones.append(np.full(count, 1 + " abc".index(phone) if phone in PHONES else 1))
        at += count

    add("SIL", RATE // 8)
    for word in sentence.split():
        begin = at
        for phone in LEXICON[word].split():
            add(phone, int(chance.integers(RATE // 10, RATE // 6)))
        times.append((word, begin, at))
        if chance.random() < 0.5:
            add("SIL", RATE // 10)
    add("SIL", RATE // 8)
    return np.concatenate(parts).astype(np.int16), np.concatenate(phones), times


def make_recordings(folder):
    """Write the recordings of three speakers and the table data/test.tsv; return {utterance: (phones, times)}."""
    chance, rows, truth = np.random.default_rng(4), [], {}
    (folder / "data" / "audio").mkdir(parents=True)
    for number, sentence in enumerate(SENTENCES):
        name, speaker = f"utt{number}", f"s{number % 3}"
        samples, phones, times = speak(sentence, chance, 1000 * (1 + number % 3) ** 2)
        path = folder / "data" / "audio" / f"{name}.flac"
        write_flac(path, samples, RATE)
        duration = len(samples) / RATE
        rows.append(Utterance(name, speaker, str(path), duration, sentence, sentence, number % SHARDS))
        truth[name] = (phones, times)
    write_table(folder / "data" / "test.tsv", rows)
    counts = {"utterances": len(rows), "speakers": 3, "words": 15, "seconds": 8.0}
    write_json(folder / "data" / "corpus.json", {"sampling_rate": RATE, "splits": {"test": counts}})
    return truth


def make_hmm(folder, word_position=False):
    """Write the language directory and a monophone HMM with three states a phone; its Gaussians mean nothing."""
    folder.joinpath("data", "lexicon.txt").write_text(
        "".join(f"{word}  {phones}\n" for word, phones in sorted(LEXICON.items())), encoding="utf-8"
    )
    shape = {"silence_phone": "SIL", "silence_probability": 0.5, "silence_states": 3, "phone_states": 3}
    write_lang(folder / "hmm/lang", read_lexicon(folder / "data/lexicon.txt"), **shape, word_position=word_position)
    lang = load_lang(folder / "hmm/lang")
    root, topology = tree.monophone_tree(phone_states(lang), lang.variants), lang.topology
    blob, gaussians = tree.to_kaldi(root, 1, 0), gmm.single_gaussians(np.zeros((12, 4)), np.ones((12, 4)))
    model = HmmModel(blob, topology, np.zeros(0, np.float32), gaussians)
    probabilities = np.array(transition_model(model.tree, topology).__getstate__()[-2], np.float32)
    save_model(folder / "hmm/mono/model.h5", HmmModel(blob, topology, probabilities, gaussians))


def make_network(folder, truth):
    """Write final.safetensors: the nearest class mean of the phones as a network; its three states a phone are alike.

    log p(k | x) = m_k x - |m_k|^2 / 2 + constant; the hidden units relu(x), relu(-x) give x back.
    """
    features = RecordingFeatures(read_recordings(folder / "data/test.tsv"), section(FeatureOptions, **FEATURES), RATE)
    features.compute()
    frames, labels = [], []
    for name, (phones, _) in truth.items():
        found = features.get(name)
        frames.append(found)
        labels.append(phones[80 * np.arange(len(found)) + 100])  # the middle of each frame
    x, y = np.concatenate(frames), np.concatenate(labels)
    means = np.stack([x[y == phone].mean(axis=0) for phone in range(1, 5)]).repeat(3, axis=0)
    dim = x.shape[1]
    options = {"kind": "dnn", "hidden": [2 * dim], "nonlinearity": "relu", "context": [0, 0], "dropout": 0.0}
    network = Dnn(build(DnnOptions, options), dim, 12)
    hidden = np.concatenate([np.eye(dim), -np.eye(dim)])
    matrices = [
        np.concatenate([hidden, np.zeros((2 * dim, 1))], axis=1),
        np.concatenate([means, -means, -(means**2).sum(axis=1, keepdims=True) / 2], axis=1),
    ]
    vector = torch.zeros(network.layout.size)
    from unisono.core import flat

    for view, matrix in zip(flat.views(network.layout, vector).values(), matrices, strict=True):
        view.copy_(torch.from_numpy(matrix))
    prior = torch.full((12,), 1 / 12).log()
    save_network(folder / "runs/main/final.safetensors", network.spec(), network.layout, vector, prior)


def call(*arguments):
    """Run a command in this process; it must succeed."""
    assert main([str(argument) for argument in arguments]) == 0, arguments


def make(folder, word_position=False):
    """Make all that a finished run has below results/<name>, and the pipeline's own decoding runs/main/hyp.txt."""
    truth = make_recordings(folder)
    make_hmm(folder, word_position)
    run = folder / "runs/main"
    run.mkdir(parents=True)
    make_network(folder, truth)
    (folder / "data/lm_text.txt").write_text("\n".join(SENTENCES) + "\n", encoding="utf-8")
    call("lm", "--text", folder / "data/lm_text.txt", "--lexicon", folder / "data/lexicon.txt", "--options",
         json.dumps(LM), "--out", folder / "graph/lm.arpa", "--report", folder / "graph/lm.json")  # fmt: skip
    call("graph", "--lang-dir", folder / "hmm/lang", "--arpa", folder / "graph/lm.arpa", "--model",
         folder / "hmm/mono/model.h5", "--out", folder / "graph/mono/HCLG.fst",
         "--report", folder / "graph/mono/graph.json")  # fmt: skip
    shards = [folder / f"features/net/test.{shard}.h5" for shard in range(SHARDS)]
    table, options = folder / "data/test.tsv", json.dumps(FEATURES)
    for shard, path in enumerate(shards):
        call("features", "--table", table, "--shard", shard, "--options", options, "--out", path)
    cmvn = folder / "features/net/test.cmvn.h5"
    call("cmvn", "--table", table, "--features", *shards, "--options", options, "--out", cmvn)
    write_json(folder / "tune.json", TUNED)
    common = ["--hmm-model", folder / "hmm/mono/model.h5", "--lang-dir", folder / "hmm/lang",
              "--graph", folder / "graph/mono/HCLG.fst", "--network", run / "final.safetensors",
              "--tuned", folder / "tune.json"]  # fmt: skip
    lines = []
    for shard, path in enumerate(shards):
        call("decode", "--system", "dnn", "--table", table, "--shard", shard, "--features", path, "--cmvn", cmvn,
             "--feature-options", options, "--options", json.dumps(DECODE), *common,
             "--out", run / "hyp", "--report", run / "hyp.json")  # fmt: skip
        lines += (run / "hyp").read_text(encoding="utf-8").splitlines()
    (run / "hyp.txt").write_text("\n".join(sorted(lines)) + "\n", encoding="utf-8")
    wer = {"wer": 0.0, "ci95": [0.0, 0.1], "words": 15}
    for name, content in {"wer": wer, "plan": {}, "config": {"seed": 1}, "final": {"version": "x"}}.items():
        write_json(run / f"{name}.json", content)
    settings = {"features": FEATURES, "hmm": {}, "lm": LM, "decode": DECODE}
    call("recogniser", *common, "--corpus", folder / "data/corpus.json", "--settings", json.dumps(settings),
         "--name", "tones", "--run", "main", "--final-model", "last", "--out", run / "recogniser.json")  # fmt: skip
    return truth
