"""Random starts follow the entries of a layout, whatever matrices are called and wherever they lie."""

import pytest
import torch

from tests.support.settings import section
from unisono.config.network import InitialisationOptions
from unisono.core import flat
from unisono.core.flat import Entry
from unisono.nn.initial import random_parameters

LAYOUT = flat.make_layout(
    [
        Entry("top", (40, 101), is_output=True),
        Entry("gates", (60, 101), blocks=3, gain=2.0, added=(0.0, 0.0, 1.5)),
        Entry("plain", (80, 100), bias=False, gain=0.5),
        Entry("scales", (2, 500), bias=False, blocks=2, gradient="rows"),
    ]
)


def drawn(**values):
    start = section(InitialisationOptions, kind="random", **values)
    return flat.views(LAYOUT, random_parameters(LAYOUT, start, torch.Generator().manual_seed(1)))


def test_gains_biases_and_vectors_are_those_of_the_entries():
    found = drawn()
    assert not found["top"].any() and not found["scales"].any()
    assert float(found["gates"][:, :-1].std()) == pytest.approx(0.2, rel=0.05)
    assert float(found["plain"].std()) == pytest.approx(0.05, rel=0.05)
    assert found["gates"][:, -1].tolist() == [0.0] * 40 + [1.5] * 20


def test_the_config_comes_first():
    found = drawn(output_gain=3.0, hidden_gain=1.0, bias_stddev=0.5)
    assert float(found["top"][:, :-1].std()) == pytest.approx(0.3, rel=0.05) and not found["top"][:, -1].any()
    assert [float(found[name][:, :100].std()) for name in ("gates", "plain")] == pytest.approx([0.1, 0.1], rel=0.05)
    assert float(found["scales"].std()) == pytest.approx(0.5, rel=0.1)
    assert [float(part.mean()) for part in found["gates"][:, -1].chunk(3)] == pytest.approx([0, 0, 1.5], abs=0.35)
    spread = drawn(hidden_bias={"mean": -2.0, "range": 4.0})["gates"][:, -1].chunk(3)
    assert float(spread[0].min()) >= -4.0 and -2.5 < float(spread[2].min()) < float(spread[2].max()) <= 1.5
