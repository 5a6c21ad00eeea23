"""Networks that Kaldi trained: the same bytes written back, the same outputs from a model of ours."""

import numpy as np
import pytest
import torch

from tests.kaldi.golden import IO, cases, first_system
from unisono import load
from unisono.__main__ import main
from unisono.data.kaldi.archive import Script, read_archive
from unisono.data.kaldi.nnet3 import Component, Field, Nnet3, Nnet3File, network_bytes, read_nnet3
from unisono.data.kaldi.nnet3_lstm import cells_of, recurrent
from unisono.data.kaldi.nnet3_stack import stack_of
from unisono.errors import UserError
from unisono.nn.model_file import load_model

RECURRENT = "lstm"
TOLERANCE = 1e-4  # the README's, of nnet3


def feed_forward(*patterns):
    return [case for case in cases(*patterns) if RECURRENT not in str(case.id)]


def imported(path, folder, *flags):
    out = folder / "model.safetensors"
    assert main(["import-model", str(path), *map(str, flags), "--out", str(out)]) == 0
    return out


def outputs(model, utt, likelihoods=False):
    network = load(model)
    frames = torch.from_numpy(np.array(Script(IO / "feats/cmvned.scp", "matrix")[utt]))
    with torch.no_grad():
        return (network.log_likelihoods(frames) if likelihoods else network(frames)).numpy()


@pytest.mark.parametrize("path", cases("nnet3/*.raw", "nnet3/*.mdl"))
def test_networks_are_written_back_to_the_byte(path):
    data = path.read_bytes()
    written = network_bytes(read_nnet3(path).network)
    if data[:2] != b"\0B":
        pairs = zip(read_nnet3(path).network.components, read_nnet3(binary_of(path)).network.components, strict=True)
        for text, binary in pairs:
            assert [field.name for field in text.fields] == [field.name for field in binary.fields]
            for a, b in zip(text.fields, binary.fields, strict=True):
                if b.value is not None:
                    np.testing.assert_allclose(a.value, b.value, rtol=2e-6, atol=1e-12)
    elif path.suffix == ".raw":
        assert b"\0B" + written == data
    else:
        assert written in data


def binary_of(text):
    return text.with_name(text.name.replace("_text", ""))


@pytest.mark.parametrize("path", feed_forward("nnet3/*.raw"))
def test_outputs_are_kaldis(path, tmp_path):
    found = imported(path, tmp_path)
    assert load_model(found).log_prior is None
    stem = path.stem.removesuffix("_text")
    for utt, expected in read_archive(path.with_name(f"{stem}.out.ark"), "matrix"):
        assert np.abs(outputs(found, utt) - expected).max() <= TOLERANCE


@pytest.mark.parametrize("path", feed_forward("nnet3/*.mdl"))
def test_outputs_with_priors_are_kaldis(path, tmp_path):
    found = imported(path, tmp_path)
    stem = path.stem.removesuffix("_text")
    for utt, expected in read_archive(path.with_name(f"{stem}.out_priors.ark"), "matrix"):
        assert np.abs(outputs(found, utt, likelihoods=True) - expected).max() <= TOLERANCE


@pytest.mark.parametrize("path", feed_forward("nnet3/*.mdl"))
def test_loglikes_writes_what_nnet3_compute_does(path, tmp_path):
    found, ark = imported(path, tmp_path), tmp_path / "likes.ark"
    flags = ["--model", found, "--feats", IO / "feats/raw.scp", "--cmvn", IO / "feats/cmvn.ark"]
    flags += ["--utt2spk", IO / "feats/utt2spk", "--out", ark, "--scp", tmp_path / "likes.scp"]
    stem = path.stem.removesuffix("_text")
    for more, name in (((), "out_priors"), (("--no-priors",), "out")):
        assert main(["loglikes", *map(str, flags), *more]) == 0
        script = Script(tmp_path / "likes.scp", "matrix")
        assert len(script) == len(Script(IO / "feats/raw.scp", "matrix"))
        for utt, expected in read_archive(path.with_name(f"{stem}.{name}.ark"), "matrix"):
            assert np.abs(script[utt] - expected).max() <= TOLERANCE


@pytest.mark.parametrize("path", cases("nnet1/*.nnet"))
def test_nnet1_outputs_are_kaldis(path, tmp_path):
    found = imported(path, tmp_path, "--priors", path.with_name("class_counts"))
    stem = path.stem.removesuffix("_text")
    for utt, expected in read_archive(path.with_name(f"{stem}.out.ark"), "matrix"):
        assert np.abs(np.exp(outputs(found, utt)) - expected).max() <= TOLERANCE
    for utt, expected in read_archive(path.with_name(f"{stem}.out_loglikes.ark"), "matrix"):
        difference = outputs(found, utt, likelihoods=True) - expected  # up to a constant a frame: no softmax there
        assert np.abs(difference - difference.mean(axis=1, keepdims=True)).max() <= 3e-4


@pytest.mark.parametrize("path", [case for case in cases("nnet3/*.raw") if RECURRENT in str(case.id)])
def test_recurrent_networks_of_other_layers_are_refused_by_name(path, tmp_path, capsys):
    if recurrent(read_nnet3(path)):
        pytest.skip("a golden network of layers that are read")
    assert main(["import-model", str(path), "--out", str(tmp_path / "x")]) == 2
    line = capsys.readouterr().err
    assert str(path) in line and ("node" in line or "component" in line) and line.count("\n") == 1
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("path", cases("hostile/*.raw"))
def test_hostile_networks(path):
    with pytest.raises(UserError, match="byte"):
        read_nnet3(path)


@pytest.mark.parametrize("path", cases("hostile/*.config"))
def test_hostile_nodes(path):
    """The lines as a file would hold them, each component an affine one."""
    lines = path.read_text().splitlines()
    names = [line.split("name=")[1].split()[0] for line in lines if line.startswith("component ")]
    fields = (Field("LinearParams", np.eye(10, dtype=np.float32)), Field("BiasParams", np.zeros(10, np.float32)))
    components = tuple(Component(name, "AffineComponent", fields) for name in names)
    nodes = tuple(line for line in lines if line and not line.startswith("component "))
    file = Nnet3File(Nnet3(nodes, components), None, None, None)
    for read in (stack_of, cells_of):
        with pytest.raises(UserError, match="see docs/kaldi.md") as caught:
            read(file, str(path))
        assert "\n" not in str(caught.value) and len(str(caught.value)) < 500


@first_system
def test_one_program_is_not_taken_for_another(tmp_path, capsys):
    flags = ["--out", str(tmp_path / "x")]
    for arguments, said in (
        ([IO / "mono/final.mdl"], "mixtures where a network should be"),
        ([IO / "mono/tree"], "begins with 'ContextDependency'"),
        ([IO / "nnet3/dnn.raw", "--feature-transform", IO / "nnet1/sigmoid.nnet"], "goes with nnet1"),
        ([IO / "nnet3/dnn.raw", "--priors", IO / "nnet1/class_counts"], "67 priors or counts for 144 pdfs"),
        ([IO / "nnet3/dnn.raw", "--priors", IO / "mono/ali_pdf.txt"], "where a vector should be"),
    ):
        assert main(["import-model", *map(str, arguments), *flags]) == 2
        assert said in capsys.readouterr().err
