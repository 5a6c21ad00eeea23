"""Spoiled archives, scripts, models, trees and graphs: read or refused in one line, never anything else."""

import os
import random

import numpy as np
import pytest

from unisono.data.kaldi import model_write
from unisono.data.kaldi.archive import Script, read_archive
from unisono.data.kaldi.fst import Fst, read_fst
from unisono.data.kaldi.gmm import read_model
from unisono.data.kaldi.lstm_write import lstm_bytes
from unisono.data.kaldi.networks import read_stack
from unisono.data.kaldi.nnet3 import read_nnet3
from unisono.data.kaldi.nnet3_lstm import cells_of
from unisono.data.kaldi.stack import Affine, Cell, RecurrentStack
from unisono.data.kaldi.tree import read_tree
from unisono.data.kaldi.write import archive_writer
from unisono.errors import UserError
from unisono.hmm import tree as trees
from unisono.recognise.kaldi_network import model_of

CASES = 10_000 if os.environ.get("HYPOTHESIS_PROFILE") == "fuzz" else 500
WORDS = [
    b"\0B",
    b" ",
    b"\n",
    b"[",
    b"]",
    b"|",
    b"\xff\xff\xff\xff",
    b"\x04",
    b"\x08",
    b"\xff\xff\xff\x7f",
    b"nan",
    b"-1",
]
TOPOLOGY = b"""<Topology>
<TopologyEntry>
<ForPhones>
1 2
</ForPhones>
<State> 0 <PdfClass> 0 <Transition> 0 0.75 <Transition> 1 0.25 </State>
<State> 1 </State>
</TopologyEntry>
</Topology>
"""
MODEL = (
    b"<TransitionModel> \n" + TOPOLOGY + b"<Triples> 2 \n1 0 0 \n2 0 1 \n</Triples> \n<LogProbs> \n"
    b" [ 0 -0.2877 -1.386 -0.2877 -1.386 ]\n</LogProbs> \n</TransitionModel> \n<DIMENSION> 2 <NUMPDFS> 2 "
    + 2 * (b"<DiagGMM> \n<GCONSTS>  [ -1 ]\n<WEIGHTS>  [ 1 ]\n<MEANS_INVVARS>  [\n  1 2 ]\n<INV_VARS>  [\n  1 1 ]\n"
    b"</DiagGMM> \n")
)  # fmt: skip


def archive(path):
    """An archive of all forms, binary and text."""
    with archive_writer(path) as writer:
        writer.add("one", np.ones((3, 2), np.float32))
        writer.add("two", np.ones((2, 2)))
    compressed = b"c \0BCM2 \0\0\0\0\0\0\x80?\1\0\0\0\2\0\0\0\1\0\2\0"
    data = path.read_bytes() + compressed + b"three  [\n  1 2.5 \n  -3e2 4 ]\n"
    path.write_bytes(data)
    return lambda: [dict(read_archive(path, kind)) for kind in ("matrix",)]


def integers(path):
    with archive_writer(path) as writer:
        writer.add("one", np.arange(20, dtype=np.int32))
    path.write_bytes(path.read_bytes() + b"two 1 2 3\nthree\n")
    return lambda: dict(read_archive(path, "integers"))


def script(path):
    with archive_writer(path.with_name("b.ark"), path) as writer:
        for number in range(3):
            writer.add(f"utt{number}", np.ones((4, 2), np.float32))
    path.write_text(path.read_text().replace("\n", "[0:2,0:1]\n", 1))
    return lambda: dict(Script(path, "matrix"))


def model(path):
    path.write_bytes(MODEL)
    return lambda: read_model(path)


def tree(path):
    asked = trees.Split(
        0, (1, 3), trees.state_table(3, 0), trees.Split(trees.CLASS, (0,), trees.Leaf(3), trees.Leaf(4))
    )
    path.write_bytes(b"\0B" + trees.to_kaldi(trees.Table(1, (None, asked, asked)), 3, 1))

    def read():
        root, width, central = trees.from_kaldi(read_tree(path).binary)
        assert 0 <= central < width and min(trees.leaves(root)) >= 0

    return read


def graph(path):
    arcs = np.zeros(4, [("input", "<i4"), ("output", "<i4"), ("weight", "<f4"), ("next", "<i4")])
    arcs["next"], arcs["input"], arcs["weight"] = [1, 2, 2, 0], [1, 2, 3, 4], 0.5
    path.write_bytes(Fst(0, np.float32([np.inf, 0, 1]), np.int64([0, 2, 3, 4]), arcs).to_bytes())

    def read():
        found = read_fst(path)
        assert (found.arcs["next"] < len(found.final)).all() and len(found.to_bytes()) > 0

    return read


def network(path):
    """A p-norm network, spliced."""
    draw = np.random.default_rng(1).normal
    layers = [(draw(size=shape).astype(np.float32), np.zeros(shape[0], np.float32)) for shape in ((4, 6), (3, 2))]
    path.write_bytes(b"\0B" + model_write.nnet3_bytes(layers, "p-norm", 2, (1, 1)))
    return lambda: model_of(read_stack(path))


def recurrent(path):
    """An LSTM with a projection."""
    draw = np.random.default_rng(1).normal
    gates = Affine(draw(size=(8, 5)).astype(np.float32), np.zeros(8, np.float32))
    projection = Affine(draw(size=(3, 2)).astype(np.float32), np.zeros(3, np.float32))
    cell = Cell(gates, draw(size=(3, 2)).astype(np.float32), projection, 2)
    output = Affine(draw(size=(4, 3)).astype(np.float32), np.zeros(4, np.float32))
    path.write_bytes(b"\0B" + lstm_bytes(RecurrentStack("x", 3, (0,), (cell,), output, 2, None)))
    return lambda: cells_of(read_nnet3(path), "x")


def nnet1(path):
    layers = [(np.ones(shape, np.float32), np.zeros(shape[0], np.float32)) for shape in ((4, 6), (3, 4))]
    path.write_bytes(b"\0B" + model_write.nnet1_bytes(layers, "sigmoid", 2, (1, 1)))
    return lambda: model_of(read_stack(path))


def spoil(data, chance):
    """Change, cut, double or insert a few bytes."""
    for _ in range(chance.choice((1, 1, 2, 5))):
        place, length = chance.randrange(len(data) + 1), chance.choice((1, 1, 4, 9))
        new = chance.choice((chance.randbytes(length), chance.choice(WORDS), data[place : place + 40], b""))
        data = data[:place] + new + data[place + chance.choice((0, len(new), length)) :]
    return data


@pytest.mark.fuzz
@pytest.mark.parametrize("make", [archive, integers, script, model, tree, graph, network, recurrent, nnet1])
def test_spoiled_files(make, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "spoiled"
    read = make(path)
    read()
    sound, chance, refused = path.read_bytes(), random.Random(make.__name__), 0
    before = sorted(tmp_path.iterdir())
    for _ in range(CASES):
        path.write_bytes(spoil(sound, chance))
        try:
            read()
        except UserError as error:
            assert "\n" not in str(error) and "\r" not in str(error)
            refused += 1
    assert refused > CASES / 4
    assert sorted(tmp_path.iterdir()) == before
