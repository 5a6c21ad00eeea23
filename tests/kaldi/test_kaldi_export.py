"""What is written for Kaldi: Kaldi's own bytes where there are golden files, and a round trip of a system of ours."""

import shutil

import numpy as np
import pytest
import torch

from tests.kaldi.golden import cases
from tests.support import recogniser
from unisono import load
from unisono.__main__ import main
from unisono.bootstrap.kaldi import hmm_model
from unisono.config.build import build
from unisono.config.network import DnnOptions, NetworkOptions, PnormOptions, RandomStart
from unisono.data.kaldi import model_write
from unisono.data.kaldi.archive import Script
from unisono.data.kaldi.gmm import read_model
from unisono.data.kaldi.networks import read_priors
from unisono.data.kaldi.nnet1 import read_nnet1
from unisono.data.kaldi.nnet3 import read_nnet3
from unisono.data.kaldi.stack import Affine
from unisono.data.kaldi.system import read_system
from unisono.data.kaldi.tokens import Tokens
from unisono.data.kaldi.transitions import read_transitions
from unisono.files import read_json, sha256, write_json
from unisono.hmm.arcs import Arcs, read_fst
from unisono.hmm.model import load_model
from unisono.nn.dnn import Dnn
from unisono.nn.model_file import Model
from unisono.nn.model_file import load_model as load_network
from unisono.nn.model_file import save_model as save_network
from unisono.nn.network import make
from unisono.nn.pnorm import Pnorm
from unisono.recognise.decode import Beam, Searcher, Setting
from unisono.recognise.kaldi_export import layers_of, nonlinearity_of, transitions_of

NON_HMM = b"""<TransitionModel> <Topology> <TopologyEntry> <ForPhones> 1 3 </ForPhones>
<State> 0 <ForwardPdfClass> 0 <SelfLoopPdfClass> 1 <Transition> 0 0.5 <Transition> 1 0.5 </State>
<State> 1 </State> </TopologyEntry> </Topology> <Tuples> 2 1 0 0 1 3 0 2 3 </Tuples>
<LogProbs> [ 0 -0.7 -0.7 -0.7 -0.7 ] </LogProbs> </TransitionModel>
"""
PNORM = PnormOptions(kind="pnorm", hidden=(4, 2), group=3, context=(2, 1))
RENORM = DnnOptions(kind="dnn", hidden=(4, 5), nonlinearity="relu_renorm", context=(0, 0))


@pytest.mark.parametrize("path", cases("*/final.mdl", "nnet3/*.mdl"))
def test_transition_models_are_written_as_kaldi_does(path):
    if path.read_bytes()[:2] != b"\0B":
        pytest.skip("a golden model in text")
    transitions, mixtures = read_model(path)
    written = model_write.transitions_bytes(transitions)
    assert path.read_bytes().startswith(b"\0B" + written)
    if mixtures is not None:
        again = Tokens(b"\0B" + written + model_write.mixtures_bytes(*mixtures), "again")
        assert len(again.data) == path.stat().st_size
        read_transitions(again)
        assert again.peek() == "<DIMENSION>"


def test_two_pdf_classes_a_state_go_there_and_back():
    transitions = read_transitions(Tokens(NON_HMM, "text"))
    assert transitions.pdf_of.tolist() == [-1, 1, 0, 3, 2] and transitions.phone_of.tolist() == [-1, 1, 1, 3, 3]
    again = read_transitions(Tokens(b"\0B" + model_write.transitions_bytes(transitions), "binary"))
    assert again.topology == transitions.topology and np.array_equal(again.tuples, transitions.tuples)


@pytest.mark.parametrize("path", cases("nnet1/*.nnet"))
def test_nnet1_is_written_as_kaldi_does(path):
    if path.read_bytes()[:2] != b"\0B":
        pytest.skip("a golden network in text")
    stack = read_nnet1(path)
    layers = [step for step in stack.steps if isinstance(step, Affine)]
    kind = next(step.kind for step in stack.steps if not isinstance(step, Affine))
    context = (-stack.offsets[0], stack.offsets[-1])
    assert b"\0B" + model_write.nnet1_bytes(layers, kind, stack.input_dim, context) == path.read_bytes()


@pytest.mark.parametrize("path", [case for case in cases("nnet3/*.mdl") if "lstm" not in str(case.id)])
def test_nnet3_in_and_out_again(path, tmp_path):
    """Layers that need no folding keep their numbers; kinds and fields of all components are Kaldi's."""
    assert main(["import-model", str(path), "--out", str(tmp_path / "m.safetensors")]) == 0
    model, theirs = load_network(tmp_path / "m.safetensors"), read_nnet3(path)
    spec = model.network
    network = model_write.nnet3_bytes(layers_of(model), spec["nonlinearity"], spec["feature_dim"], spec["context"])
    priors = torch.exp(model.log_prior).numpy()
    body = model_write.nnet3_model_bytes(theirs.transitions, network, spec["context"], priors)
    (tmp_path / "again.mdl").write_bytes(b"\0B" + body)
    again = read_nnet3(tmp_path / "again.mdl")
    assert again.context == theirs.context
    np.testing.assert_allclose(again.priors, theirs.priors, rtol=1e-6)
    fixed = [component for component in theirs.network.components if component.kind == "FixedAffineComponent"]
    pairs = list(zip(again.network.components[::-1], theirs.network.components[::-1], strict=False))
    assert len(pairs) == len(theirs.network.components) - len(fixed)
    for number, (mine, other) in enumerate(pairs):
        assert mine.kind == other.kind
        assert [field.name for field in mine.fields] == [f.name for f in other.fields if mine.get(f.name) is not None]
        assert [type(field.value) for field in mine.fields] == [type(other.get(field.name)) for field in mine.fields]
        folded = fixed and number == len(pairs) - 1
        for name in ("LinearParams", "BiasParams", "MaxChange", "RankIn", "RankOut", "Dim", "TargetRms"):
            if mine.get(name) is not None and not folded:
                np.testing.assert_allclose(mine.get(name), other.get(name), rtol=1e-6)
    assert main(["import-model", str(tmp_path / "again.mdl"), "--out", str(tmp_path / "n.safetensors")]) == 0
    assert torch.equal(load_network(tmp_path / "n.safetensors").flat, model.flat)


@pytest.mark.parametrize("network", [Pnorm(PNORM, 3, 7), Dnn(RENORM, 3, 7)], ids=["pnorm", "dnn"])
def test_networks_of_ours_come_back(network, tmp_path):
    """All bits of the parameters, in components that are in the order of Kaldi's own layers."""
    parameters = network.initial_parameters(
        RandomStart(kind="random", output_gain=1.0), torch.Generator().manual_seed(1)
    )
    model = Model(network.spec(), network.layout, parameters, None)
    shape = (nonlinearity_of(model.network), 3, network.context)
    (tmp_path / "x.raw").write_bytes(b"\0B" + model_write.nnet3_bytes(layers_of(model), *shape))
    kinds = [
        component.kind.removesuffix("Component") for component in read_nnet3(tmp_path / "x.raw").network.components
    ]
    units = ["Pnorm", "Normalize"] if network.spec()["kind"] == "pnorm" else ["RectifiedLinear", "Normalize"]
    assert kinds == 2 * ["NaturalGradientAffine", *units] + ["NaturalGradientAffine", "LogSoftmax"]
    assert main(["import-model", str(tmp_path / "x.raw"), "--out", str(tmp_path / "x.safetensors")]) == 0
    again = load_network(tmp_path / "x.safetensors")
    assert torch.equal(again.flat, parameters) and again.network == network.spec()


@pytest.fixture(scope="module")
def tones(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tones") / "results" / "tones"
    return folder, recogniser.make(folder)


@pytest.fixture(scope="module")
def run(tones):
    """Folder of a finished run of ours."""
    return next((tones[0] / "runs").iterdir())


@pytest.fixture(scope="module")
def exported(run, tmp_path_factory):
    out = tmp_path_factory.mktemp("export") / "kaldi"
    assert main(["export", str(run), str(out), "--format", "kaldi"]) == 0
    return out


def words_of(path):
    return dict(line.split(" ", 1) if " " in line else (line, "") for line in path.read_text().splitlines())


def test_a_system_of_ours_read_back_from_kaldis_folder_finds_the_same_words(tones, run, exported, tmp_path):
    results = tones[0]
    table = results / "data" / "test.tsv"
    assert main(["transcribe", "--system", str(run), "--table", str(table), "--out", str(tmp_path / "words")]) == 0
    expected = words_of(tmp_path / "words")
    system = read_system(exported, exported / "lang")
    hmm, own = hmm_model(system, exported), load_model(_hmm(run))
    assert hmm.tree_bytes == own.tree_bytes and np.array_equal(hmm.id2pdf, own.id2pdf)
    np.testing.assert_allclose(hmm.transition_log_probs, own.transition_log_probs, rtol=1e-6)
    network = tmp_path / "network.safetensors"
    assert main(["import-model", str(exported / "final.mdl"), "--out", str(network)]) == 0
    flags = ["--table", str(table), "--scp", str(tmp_path / "likes.scp"), "--out", str(tmp_path / "likes.ark")]
    assert main(["loglikes", "--system", str(run), *flags]) == 0
    assert torch.equal(load_network(network).flat, load_network(_part(run, "network")).flat)
    np.testing.assert_allclose(load(network).log_prior, load(_part(run, "network")).log_prior, atol=1e-6)
    facts = _facts(run)
    setting = Setting(facts["acoustic_scale"], facts["word_insertion_penalty"])
    section = facts["settings"]["decode"]
    (tmp_path / "HCLG.fst").write_bytes(system.graph.to_bytes())
    searcher = Searcher(read_fst(tmp_path / "HCLG.fst"), hmm.id2pdf, (setting.word_insertion_penalty,))
    beam = Beam(section["beam"], section["max_active"], section["min_active"])
    names = {number: word for word, number in system.lang.words.items()}
    found = {
        utt: " ".join(names[n] for n in searcher.search(scores, setting, beam).words)
        for utt, scores in Script(tmp_path / "likes.scp", "matrix").items()
    }
    assert found == expected and any(found.values())


def _facts(run):
    return read_json(run / "recogniser.json")


def _part(run, part):
    return run / _facts(run)["files"][part]


def _hmm(run):
    return _part(run, "hmm")


def test_the_folder_for_kaldi(run, exported, capsys):
    files = {path.relative_to(exported).as_posix() for path in exported.rglob("*") if path.is_file()}
    assert {"final.mdl", "tree", "HCLG.fst", "words.txt", "phones.txt", "README.md", "conf/fbank.conf"} <= files
    assert {"lang/L.fst", "lang/topo", "lang/phones/align_lexicon.int", "lang/phones/silence.csl"} <= files
    conf = (exported / "conf/fbank.conf").read_text().splitlines()
    assert "--num-mel-bins=12" in conf and "--sample-frequency=8000" in conf and "--use-energy=false" in conf
    assert (exported / "conf/cmvn_opts").read_text() == "--norm-means=true --norm-vars=true\n"
    assert (exported / "conf/delta_opts").read_text() == "--delta-order=1\n"
    assert "nnet3-compute" in (exported / "README.md").read_text()
    graph = Arcs(read_fst(exported / "HCLG.fst"))
    assert np.array_equal(graph.weight, Arcs(read_fst(_part(run, "graph"))).weight)
    assert main(["export", str(run), str(exported), "--format", "kaldi"]) == 2
    assert "is there already" in capsys.readouterr().err
    transitions = transitions_of(load_model(_hmm(run)))
    assert np.array_equal(transitions.pdf_of, load_model(_hmm(run)).id2pdf)
    # What Kaldi asserts when it reads a transition model.
    assert (transitions.log_probs <= 0).all() and transitions.tuples.tolist() == sorted(transitions.tuples.tolist())


def test_nnet1_has_no_relu(run, tmp_path, capsys):
    assert main(["export", str(run), str(tmp_path / "nnet1"), "--format", "nnet1"]) == 2
    assert "nonlinearity relu in nnet1 cannot be written for Kaldi" in capsys.readouterr().err
    assert not (tmp_path / "nnet1").exists()
    assert main(["export", str(run), str(tmp_path / "x"), "--format", "kaldi", "--licence", "MIT"]) == 2
    assert "--licence: goes with --format unisono" in capsys.readouterr().err


def test_an_lstm(tones, tmp_path, capsys):
    shutil.copytree(tones[0], tmp_path / "tones")
    run = tmp_path / "tones" / "runs" / "main"
    dim = load_network(run / "final.safetensors").network["feature_dim"]
    options = build(NetworkOptions, {"kind": "lstm", "cells": (6,), "splice": (1, 0), "label_delay": 2}, "network")
    network = make(options, dim, 12)
    start = RandomStart(kind="random", output_gain=1.0)
    parameters = network.initial_parameters(start, torch.Generator().manual_seed(1))
    give(run, network.spec(), network.layout, parameters)
    assert main(["export", str(run), str(tmp_path / "out"), "--format", "kaldi"]) == 0
    assert "--use-priors=true --frames-per-chunk=100000 final.mdl" in (tmp_path / "out/README.md").read_text()
    assert read_nnet3(tmp_path / "out/final.mdl").context == (1, 2)
    assert main(["import-model", str(tmp_path / "out/final.mdl"), "--out", str(tmp_path / "again.safetensors")]) == 0
    again = load_network(tmp_path / "again.safetensors")
    assert torch.equal(again.flat, parameters) and again.network == network.spec() and again.log_prior is not None
    capsys.readouterr()
    assert main(["export", str(run), str(tmp_path / "nnet1"), "--format", "nnet1"]) == 2
    assert "an LSTM in nnet1 cannot be written for Kaldi" in capsys.readouterr().err
    give(run, {**network.spec(), "decay_time": 20.0}, network.layout, parameters)
    assert main(["export", str(run), str(tmp_path / "decays"), "--format", "kaldi"]) == 2
    assert "an LSTM with decay_time cannot be written for Kaldi" in capsys.readouterr().err


def give(run, spec, layout, parameters):
    """Put another network into a finished run."""
    path, facts = run / "final.safetensors", _facts(run)
    save_network(path, spec, layout, parameters, torch.full((12,), 1 / 12).log())
    facts["sha256"]["network"] = sha256(path)
    write_json(run / "recogniser.json", facts)


def test_nnet1(tones, tmp_path):
    shutil.copytree(tones[0], tmp_path / "tones")
    run = tmp_path / "tones" / "runs" / "main"
    model = load_network(run / "final.safetensors")
    spec = {**model.network, "nonlinearity": "sigmoid"}
    give(run, spec, model.layout, model.flat)
    out = tmp_path / "nnet1"
    assert main(["export", str(run), str(out), "--format", "nnet1"]) == 0
    transitions, mixtures = read_model(out / "final.mdl")
    own = load_model(_hmm(run))
    assert np.array_equal(transitions.pdf_of, own.id2pdf) and np.array_equal(mixtures.means, own.gmms.means)
    counts = read_priors(out / "class_counts")
    np.testing.assert_allclose(np.log(counts / counts.sum()), model.log_prior.numpy(), atol=1e-6)
    again = tmp_path / "again.safetensors"
    flags = ["--priors", str(out / "class_counts"), "--out", str(again)]
    assert main(["import-model", str(out / "final.nnet"), *flags]) == 0
    assert torch.equal(load_network(again).flat, model.flat) and load_network(again).network == spec
    assert "nnet-forward" in (out / "README.md").read_text()
