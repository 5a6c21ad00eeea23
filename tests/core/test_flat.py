"""The flat vector: alignment, padding, views and the file form."""

from dataclasses import replace

import pytest
import torch

from unisono.core import flat
from unisono.errors import UserError

LAYOUT = flat.make_layout([("hidden1", (5, 4)), ("hidden2", (3, 17)), ("output", (2, 33))])


def test_every_matrix_is_aligned_and_padded():
    assert LAYOUT.strides == (16, 32, 48)
    assert LAYOUT.offsets == (0, 80, 176)
    assert LAYOUT.size == 80 + 96 + 96
    assert LAYOUT.parameters() == 20 + 51 + 66
    for dtype in (torch.float32, torch.float64):
        vector = flat.zeros(LAYOUT.size, dtype)
        assert vector.shape == (LAYOUT.size,) and vector.dtype == dtype and not vector.any()
        for matrix in flat.views(LAYOUT, vector).values():
            assert matrix.data_ptr() % 64 == 0


def test_views_are_no_copies_and_do_not_overlap():
    vector = flat.zeros(LAYOUT.size)
    for number, matrix in enumerate(flat.views(LAYOUT, vector).values(), start=1):
        assert not matrix.any()
        matrix.fill_(number)
    assert float(vector.sum()) == 20 * 1 + 51 * 2 + 66 * 3
    segments = flat.segments(LAYOUT, vector)
    assert [float(part.sum()) for part in segments] == [20.0, 102.0, 198.0]
    assert sum(len(part) for part in segments) == LAYOUT.size


def test_file_form_is_dense_and_comes_back():
    vector = flat.zeros(LAYOUT.size)
    for matrix in flat.views(LAYOUT, vector).values():
        matrix.normal_()
    tensors = flat.to_tensors(LAYOUT, vector)
    assert {name: list(t.shape) for name, t in tensors.items()} == {
        "hidden1.weight": [5, 3],
        "hidden1.bias": [5],
        "hidden2.weight": [3, 16],
        "hidden2.bias": [3],
        "output.weight": [2, 32],
        "output.bias": [2],
    }
    assert all(t.is_contiguous() for t in tensors.values())
    assert torch.equal(flat.from_tensors(LAYOUT, tensors), vector)


@pytest.mark.parametrize(
    ("name", "tensor", "message"),
    [
        ("output.bias", None, "m: tensor output.bias is missing"),
        ("hidden2.weight", torch.zeros(3, 15), r"tensor hidden2.weight is torch.float32 \[3, 15\].*\[3, 16\]"),
        ("hidden2.bias", torch.zeros(3, dtype=torch.float64), "tensor hidden2.bias is torch.float64"),
        ("hidden1.weight", torch.zeros(5, 3, dtype=torch.int64), "numbers are torch.int64"),
    ],
)
def test_wrong_tensors_are_named(name, tensor, message):
    tensors = flat.to_tensors(LAYOUT, flat.zeros(LAYOUT.size))
    if tensor is None:
        del tensors[name]
    else:
        tensors[name] = tensor
    with pytest.raises(UserError, match=message):
        flat.from_tensors(LAYOUT, tensors, "m")


def test_matrices_without_bias_and_blocks():
    entries = [
        flat.Entry("gates", (8, 4), blocks=4),
        flat.Entry("peepholes", (3, 2), bias=False, blocks=3, gradient="rows"),
        flat.Entry("output", (2, 5), bias=True),
        flat.Entry("visible", (1, 1), bias=False),
    ]
    layout = flat.make_layout(entries)
    assert layout.shapes == tuple(entry.shape for entry in entries)
    assert layout.entries == tuple(entries) and [entry.name for entry in layout.components()] == [
        *["gates"] * 4, *["peepholes"] * 3, "output", "visible",
    ]  # fmt: skip
    vector = flat.zeros(layout.size)
    for number, matrix in enumerate(flat.views(layout, vector).values()):
        matrix.copy_(torch.arange(matrix.numel()).view_as(matrix) + 100 * number + 1)
    components = flat.segments(layout, vector)
    assert len(components) == 9 and sum(len(part) for part in components) == layout.size
    assert torch.equal(components[1].view(2, 16)[:, :4], flat.views(layout, vector)["gates"][2:4])
    assert torch.equal(components[6][:2], flat.views(layout, vector)["peepholes"][2])
    tensors = flat.to_tensors(layout, vector)
    assert {name: list(tensor.shape) for name, tensor in tensors.items()} == {
        "gates.weight": [8, 3],
        "gates.bias": [8],
        "peepholes.weight": [3, 2],
        "output.weight": [2, 4],
        "output.bias": [2],
        "visible.weight": [1, 1],
    }
    assert torch.equal(flat.from_tensors(layout, tensors), vector)
    plain = flat.make_layout([(entry.name, entry.shape) for entry in entries[:1]])
    assert plain != flat.make_layout(entries[:1]) == flat.make_layout(entries[:1])
    assert flat.make_layout([replace(entries[0], gain=3.0, added=(1.0,))]) == flat.make_layout(entries[:1])


def test_senseless_layouts_are_refused():
    with pytest.raises(ValueError, match="unique"):
        flat.make_layout([("a", (2, 2)), ("a", (2, 2))])
    with pytest.raises(ValueError, match="two columns"):
        flat.make_layout([("a", (2, 1))])
    with pytest.raises(ValueError, match="a row and a column"):
        flat.make_layout([flat.Entry("a", (2, 0), bias=False)])
    with pytest.raises(ValueError, match="5 rows do not make 2 blocks"):
        flat.make_layout([flat.Entry("a", (5, 3), blocks=2)])
    for bias, blocks in ((True, 2), (False, 1)):
        with pytest.raises(ValueError, match="a: a gradient of rows needs a block for each row, without a bias"):
            flat.make_layout([flat.Entry("a", (2, 3), bias=bias, blocks=blocks, gradient="rows")])
    with pytest.raises(ValueError, match="expected a vector of 272"):
        flat.views(LAYOUT, torch.zeros(271))
