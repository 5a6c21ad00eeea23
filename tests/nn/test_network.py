"""Every kind of network is found by its name and follows the protocol; nothing but nn/ and config/ names one."""

import ast
import inspect
from pathlib import Path
from typing import get_args

import pytest
import torch

from tests.support.settings import section
from unisono.config.markers import kinds_of
from unisono.config.network import AnyNetworkOptions, NetworkOptions, RandomStart
from unisono.config.optimiser import Sgd
from unisono.nn import network
from unisono.nn.model_file import network_of

SOURCES = Path(network.__file__).parents[1]
SECTIONS = kinds_of(get_args(NetworkOptions)[0])
ANY_SECTIONS = kinds_of(get_args(AnyNetworkOptions)[0])  # the RBM of a layer, too
SMALL = {"hidden": (6,), "cells": (6,)}


def small(kind):
    return network.make(section(NetworkOptions, kind=kind, **SMALL), 5, 7)


@pytest.mark.parametrize("kind", SECTIONS)
def test_a_kind_follows_the_protocol(kind):
    net = small(kind)
    members = {name: member for name, member in vars(network.Network).items() if not name.startswith("_")}
    for name, member in members.items():
        found = getattr(net, name)
        if inspect.isfunction(member):
            wanted, own = (list(inspect.signature(f).parameters) for f in (member, found))
            assert own == wanted[1:], name
    params = net.initial_parameters(RandomStart(kind="random", output_gain=1.0), torch.Generator().manual_seed(1))
    net.bind(params)
    batch = net.buffers(3)
    assert batch.x.numel() == 3 * net.unit.frames * 5 and batch.ids.shape == (3, net.unit.width)
    assert (batch.mask is None) == (batch.before is None) == (net.unit.width == 1)
    before = params.clone()
    batch.x.normal_(generator=torch.Generator().manual_seed(2))
    updater = net.updater(Sgd(kind="sgd"))
    updater.begin_task(1.0, 0, 1)
    assert net.step_(batch, updater, 0.01).frames == 3 * net.unit.width and not torch.equal(params, before)
    frames = torch.randn(9, 5, generator=torch.Generator().manual_seed(3), dtype=torch.float32)
    log_p = net.log_posteriors(frames.half())
    assert log_p.shape == (9, 7) and net.log_posteriors(frames[:0]).shape == (0, 7)
    torch.testing.assert_close(net.module()(frames.half().float()), log_p, rtol=1e-5, atol=1e-5)
    again = network_of(net.spec())
    assert again.layout == net.layout and again.spec() == net.spec() and again.unit == net.unit


def names_of(tree):
    """The kinds that a module names: in a string beside the word kind, or by importing what is a kind's own."""
    classes = {section.__name__ for section in ANY_SECTIONS.values()}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            parts = [*node.module.split("."), *(alias.name for alias in node.names)]
            if parts[:2] == ["unisono", "nn"] and set(parts[2:]) & set(ANY_SECTIONS) or set(parts) & classes:
                yield node.lineno
        if isinstance(node, ast.Compare | ast.Dict):
            words = [part.value for part in ast.walk(node) if isinstance(part, ast.Constant)]
            if set(map(str, words)) & set(ANY_SECTIONS) and "kind" in ast.unparse(node):
                yield node.lineno
        if isinstance(node, ast.Constant) and node.value in set(ANY_SECTIONS) - {"dnn"}:  # also a hybrid system
            yield node.lineno


def test_no_kind_is_named_elsewhere():
    """Save where networks are read and written as those of Kaldi."""
    found = {}
    for path in SOURCES.rglob("*.py"):
        place = path.relative_to(SOURCES).as_posix()
        if not place.startswith(("nn/", "config/", "data/kaldi/", "recognise/kaldi_")) and (
            lines := list(names_of(ast.parse(path.read_text())))
        ):
            found[place] = lines
    assert found == {}


@pytest.mark.parametrize(
    "text",
    [
        'if run.network.kind == "dnn": pass', 'spec = {"kind": "dnn"}', "from unisono.nn.lstm import Lstm",
        "from unisono.nn import pnorm", 'x = "lstm"', "from unisono.config.network import DnnOptions", 'x = "rbm"',
        "from unisono.nn.rbm import RbmLayer", "from unisono.config.rbm import RbmNetwork",
    ],
)  # fmt: skip
def test_a_name_would_be_seen(text):
    assert list(names_of(ast.parse(text)))
