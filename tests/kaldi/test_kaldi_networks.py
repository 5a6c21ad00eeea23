"""Networks in Kaldi's forms that these tests write: folded into ours, or refused by name."""

import numpy as np
import pytest
import torch

from unisono.data.kaldi.networks import read_priors, read_stack
from unisono.data.kaldi.nnet3 import Component, Field, Nnet3, array_bytes, integer_bytes, network_bytes
from unisono.data.kaldi.stack import Activation, Affine, Diagonal, Pnorm, Renorm, Stack
from unisono.errors import UserError
from unisono.nn.model_file import save_model
from unisono.nn.module import load
from unisono.recognise.kaldi_network import model_of

DIM, FRAMES = 3, 9


def draw(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).normal(0, 1, shape).astype(np.float32)


def affine(outputs, inputs, seed=0):
    return Affine(draw(outputs, inputs, seed=seed), draw(outputs, seed=seed))


def stack(*steps, offsets=(-1, 0, 1), priors=None):
    return Stack("some.mdl", DIM, offsets, steps, priors)


def evaluate(network, frames):
    """Go through the steps as they are, in float64."""
    places = np.clip(np.arange(len(frames))[:, None] + np.array(network.offsets), 0, len(frames) - 1)
    x = frames.astype(np.float64)[places].reshape(len(frames), -1)
    functions = {"relu": lambda v: np.maximum(v, 0), "sigmoid": lambda v: 1 / (1 + np.exp(-v)), "tanh": np.tanh}
    for step in network.steps:
        if isinstance(step, Affine):
            x = x @ step.weight.T.astype(np.float64) + step.bias
        elif isinstance(step, Diagonal):
            x = step.scale * x + step.shift
        elif isinstance(step, Pnorm):
            x = np.sqrt((x.reshape(len(x), step.outputs, -1) ** 2).sum(axis=2))
        elif isinstance(step, Activation):
            x = functions[step.kind](x)
        else:
            x = step.target_rms * x / np.sqrt(np.maximum((x**2).mean(axis=1, keepdims=True), 2.0**-66))
    x = x - x.max(axis=1, keepdims=True)
    return x - np.log(np.exp(x).sum(axis=1, keepdims=True))


def ours(network, folder, frames):
    model = model_of(network)
    save_model(folder / "m.safetensors", model.network, model.layout, model.flat, model.log_prior)
    with torch.no_grad():
        return load(folder / "m.safetensors")(torch.from_numpy(frames)).numpy()


RELU, SIGMOID = Activation("relu"), Activation("sigmoid")
LARGE = Diagonal(np.full(5, 1e30), draw(5))
STACKS = {
    "plain": stack(affine(5, 9), SIGMOID, affine(4, 5), SIGMOID, affine(6, 4)),
    "tanh, no context": stack(affine(5, 3), Activation("tanh"), affine(6, 5), offsets=(0,)),
    "transform before": stack(Diagonal(draw(9), draw(9)), affine(7, 9), affine(5, 7), RELU, affine(6, 5)),
    "renorm": stack(affine(5, 9), RELU, Renorm(1.0), affine(6, 5)),
    "renorm of another size": stack(affine(5, 9), RELU, Renorm(0.3), affine(5, 5), RELU, Renorm(0.3), affine(6, 5)),
    "p-norm": stack(affine(6, 9), Pnorm(6, 2), Renorm(1.0), affine(9, 2), Pnorm(9, 3), Renorm(1.0), affine(6, 3)),
    "p-norm of another size": stack(affine(6, 9), Pnorm(6, 3), Renorm(0.2), affine(6, 3)),
    "scales between": stack(affine(5, 9), RELU, Diagonal(draw(5), draw(5)), affine(4, 5), RELU, affine(6, 4)),
    "scales at the end": stack(affine(5, 9), RELU, affine(6, 5), Diagonal(draw(6), draw(6))),
    "bottleneck": stack(affine(5, 9), RELU, affine(2, 5), affine(4, 2), RELU, affine(6, 4)),
    "some frames only": stack(affine(5, 9), RELU, affine(6, 5), offsets=(-3, 0, 2)),
    "another order, a frame twice": stack(affine(5, 9), RELU, affine(6, 5), offsets=(1, -1, 1)),
    "future only": stack(affine(5, 6), RELU, affine(6, 5), offsets=(2, 3)),
}


@pytest.mark.parametrize("name", STACKS)
def test_folded_networks_compute_the_same(name, tmp_path):
    frames = draw(FRAMES, DIM, seed=7)
    found = ours(STACKS[name], tmp_path, frames)
    assert np.abs(found - evaluate(STACKS[name], frames)).max() < 2e-5


def test_what_needs_no_folding_keeps_its_bits():
    network = STACKS["plain"]
    model = model_of(network)
    rows = [step for step in network.steps if isinstance(step, Affine)]
    from unisono.core import flat

    for matrix, step in zip(flat.views(model.layout, model.flat).values(), rows, strict=True):
        assert np.array_equal(matrix[:, :-1].numpy(), step.weight) and np.array_equal(matrix[:, -1].numpy(), step.bias)


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        ([affine(6, 9)], "without a hidden layer"),
        ([affine(5, 9), RELU], "without an affine layer before its softmax"),
        ([RELU, affine(6, 9)], "a relu without an affine layer before it"),
        ([affine(5, 9), RELU, RELU, affine(6, 5)], "a relu without an affine layer"),
        ([affine(5, 9), SIGMOID, Renorm(1.0), affine(6, 5)], "renormalisation that follows no ReLU and no p-norm"),
        ([affine(5, 9), RELU, affine(5, 5), SIGMOID, affine(6, 5)], "hidden layers of relu, sigmoid"),
        (
            [affine(5, 9), RELU, Renorm(1.0), affine(5, 5), RELU, affine(6, 5)],
            "hidden layers of relu with renormalisation, relu:",
        ),
        ([affine(6, 9), Pnorm(6, 2), affine(6, 2)], "p-norm without renormalisation"),
        ([affine(6, 9), Pnorm(6, 2), Renorm(1.0), Renorm(1.0), affine(6, 2)], "renormalisation that follows no ReLU"),
        (
            [affine(6, 9), Pnorm(4, 2), Renorm(1.0), affine(6, 2)],
            "a p-norm takes 4 numbers, the step before it gives 6",
        ),
        ([Pnorm(9, 3), Renorm(1.0), affine(6, 3)], "a p-norm without an affine layer before it"),
        (
            [affine(6, 9), Pnorm(6, 2), Renorm(1.0), affine(6, 2), Pnorm(6, 3), Renorm(1.0), affine(6, 3)],
            "hidden layers of p-norm of groups of 3 with renormalisation, p-norm of groups of 2 with renormalisation",
        ),
        ([affine(5, 8), RELU, affine(6, 5)], "takes 8 numbers, the one before it gives 9"),
        ([affine(5, 9), RELU, Diagonal(draw(4), draw(4)), affine(6, 5)], "takes 4 numbers, the one before it gives 5"),
        (
            [affine(5, 9), RELU, Diagonal(np.full(5, 1e30), draw(5)), Affine(draw(6, 5) * 1e30, draw(6))],
            "beyond float32",
        ),
    ],
)
def test_what_ours_cannot_do_is_refused(steps, said):
    with np.errstate(over="ignore"), pytest.raises(UserError, match=rf"some\.mdl: .*{said}"):
        model_of(stack(*steps))


def test_priors():
    network, priors = STACKS["plain"], np.float32([0.1, 0.2, 0.3, 0.1, 0.2, 0.1])
    assert model_of(network).log_prior is None
    expected = np.log(priors)
    for given in (priors, priors * 70):
        np.testing.assert_allclose(model_of(network, given).log_prior.numpy(), expected, rtol=1e-5)
    np.testing.assert_allclose(model_of(network._replace(priors=priors)).log_prior.numpy(), expected, rtol=1e-5)
    for wrong in (priors[:5], np.float32([0, 0.2, 0.3, 0.1, 0.2, 0.2])):
        with pytest.raises(UserError, match="for 6 pdfs, or some of them not positive"):
            model_of(network, wrong)


def write(path, nodes, components):
    path.write_bytes(b"\0B" + network_bytes(Nnet3(tuple(nodes), tuple(components))))
    return path


def layer(name, outputs, inputs):
    fields = (Field("LinearParams", draw(outputs, inputs)), Field("BiasParams", draw(outputs)))
    return Component(name, "NaturalGradientAffineComponent", (Field("MaxChange", 0.75), *fields, Field("RankIn", 2)))


def of(name, kind, *fields):
    return Component(name, kind, tuple(Field(*field) for field in fields))


ONES = np.ones(5, np.float32)
NODES = [
    "input-node name=input dim=3",
    "component-node name=a component=a input=Append(Offset(input, -1), input, Offset(input, 1))",
    "component-node name=f component=f input=a",
    "component-node name=b component=b input=f",
    "component-node name=s component=s input=b",
    "output-node name=output input=s objective=linear",
]
END = of("s", "LogSoftmaxComponent", ("Dim", 6), ("Count", 0.0, True))
COMPONENTS = [layer("a", 5, 9), of("f", "RectifiedLinearComponent", ("Dim", 5)), layer("b", 6, 5), END]


def test_a_network_that_was_written_is_read(tmp_path):
    found = read_stack(write(tmp_path / "x.raw", NODES, COMPONENTS))
    assert found.input_dim == 3 and found.offsets == (-1, 0, 1) and found.steps[1] == RELU
    pnorm = of("f", "PnormComponent", ("InputDim", 6), ("OutputDim", 2))
    components = [layer("a", 6, 9), pnorm, layer("b", 6, 2), END]
    assert read_stack(write(tmp_path / "y.raw", NODES, components)).steps[1] == Pnorm(6, 2)
    assert np.array_equal(found.steps[0].weight, draw(5, 9)) and np.array_equal(found.steps[2].bias, draw(6))


@pytest.mark.parametrize("dropped", [0.0, 0.25])
def test_dropout_scales_as_in_decoding(tmp_path, dropped):
    drop = of("f", "DropoutComponent", ("Dim", 5), ("DropoutProportion", dropped), ("DropoutPerFrame", False))
    steps = read_stack(write(tmp_path / "x.raw", NODES, [layer("a", 5, 9), drop, layer("b", 6, 5), END])).steps
    assert len(steps) == (3 if dropped else 2)
    assert not dropped or (steps[1].scale == 0.75).all()


def test_batch_normalisation_by_its_statistics(tmp_path):
    mean, variance = np.float32([1, 2]), np.float32([4, 0.25])
    norm = of(
        "f", "BatchNormComponent", ("Dim", 4), ("BlockDim", 2), ("Epsilon", 0.001), ("TargetRms", 0.5),
        ("TestMode", False), ("Count", 100.0), ("StatsMean", mean), ("StatsVar", variance),
    )  # fmt: skip
    (step,) = read_stack(write(tmp_path / "x.raw", NODES, [layer("a", 4, 9), norm, layer("b", 6, 4), END])).steps[1:2]
    x = np.float64([3, 1, 5, 2])
    expected = 0.5 * (x - np.tile(mean, 2)) / np.sqrt(np.tile(variance, 2) + 0.001)
    np.testing.assert_allclose(step.scale * x + step.shift, expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("middle", "said"),
    [
        (of("f", "PnormComponent", ("InputDim", 5), ("OutputDim", 2)), "'f': p-norm from 5 to 2 numbers"),
        (
            of("f", "ElementwiseProductComponent", ("InputDim", 10), ("OutputDim", 5)),
            "'f' is a ElementwiseProductCompo",
        ),
        (of("f", "NoOpComponent", ("Dim", 5), ("Scale", 0.5)), "NoOpComponent with scale 0.5"),
        (of("f", "NormalizeComponent", ("InputDim", 5), ("AddLogStddev", True)), "in blocks or with its deviation"),
        (
            of("f", "BatchNormComponent", ("Dim", 5), ("StatsMean", draw(5)), ("StatsVar", draw(5))),
            "without statistics",
        ),
        (of("f", "AffineComponent", ("LinearParams", draw(5, 5))), "its BiasParams is missing"),
    ],
)
def test_components_that_are_not_read_are_named(tmp_path, middle, said):
    with pytest.raises(UserError, match=f"{said}.*docs/kaldi.md"):
        read_stack(write(tmp_path / "x.raw", NODES, [COMPONENTS[0], middle, *COMPONENTS[2:]]))


@pytest.mark.parametrize(
    ("place", "line", "said"),
    [
        (0, "input-node name=ivector dim=3", "inputs 'ivector'"),
        (1, "component-node name=a component=a input=Append(Offset(input, -2147483648), input)", "a frame -2147483648"),
        (
            1,
            "component-node name=a component=a input=Append(input, ReplaceIndex(ivector, t, 0))",
            "only Append and Offset",
        ),
        (2, "component-node name=f component=f input=Sum(a, a)", "only Append and Offset are read"),
        (2, "component-node name=f component=f input=Append(Offset(a, -1), a)", "splicing between layers"),
        (2, "component-node name=f component=f input=b", "feeds itself"),
        (2, "dim-range-node name=f input-node=a dim-offset=0 dim=5", "'f' is a dim-range-node"),
        (3, "component-node name=b component=nothing input=f", "its component is not there"),
        (3, "nonsense", "'nonsense' is not understood"),
        (5, "output-node name=output input=b objective=linear", "no log-softmax"),
        (5, "output-node name=output-xent input=s", "node 'output' is not there"),
    ],
)
def test_nodes_that_are_not_read_are_named(tmp_path, place, line, said):
    nodes = [line if number == place else node for number, node in enumerate(NODES)]
    with pytest.raises(UserError, match=said):
        read_stack(write(tmp_path / "x.raw", nodes, COMPONENTS))


def test_unknown_components_are_named(tmp_path):
    odd = Component("f", "TdnnComponent", (Field("TimeOffsets", None),))
    with pytest.raises(UserError, match="component 'f' is a TdnnComponent, which is not known here"):
        read_stack(write(tmp_path / "x.raw", NODES, [COMPONENTS[0], odd, *COMPONENTS[2:]]))


def nnet1(path, *parts):
    path.write_bytes(b"\0B<Nnet> " + b"".join(parts) + b"</Nnet> ")
    return path


def part(kind, outputs, inputs, *values):
    head = f"<{kind}> ".encode() + integer_bytes(outputs) + integer_bytes(inputs)
    return head + b"".join(map(array_bytes, values)) + b"<!EndOfComponent> "


def splice(*offsets):
    block = b"\x04" + np.int32([len(offsets)]).tobytes() + np.int32(offsets).tobytes()
    return b"<Splice> " + integer_bytes(3 * len(offsets)) + integer_bytes(3) + block + b"<!EndOfComponent> "


def test_nnet1_behind_its_feature_transform(tmp_path):
    transform = nnet1(
        tmp_path / "t", splice(-1, 0, 1), part("AddShift", 9, 9, draw(9)), part("Rescale", 9, 9, draw(9, seed=2))
    )
    network = nnet1(
        tmp_path / "n", part("AffineTransform", 5, 9, draw(5, 9), draw(5)), part("Sigmoid", 5, 5),
        part("LinearTransform", 6, 5, draw(6, 5)), part("Softmax", 6, 6),
    )  # fmt: skip
    found, frames = read_stack(network, transform), draw(FRAMES, DIM, seed=3)
    steps = (
        Diagonal(np.ones(9), draw(9)), Diagonal(draw(9, seed=2), np.zeros(9)), Affine(draw(5, 9), draw(5)), SIGMOID,
        Affine(draw(6, 5), np.zeros(6)),
    )  # fmt: skip
    expected = evaluate(stack(*steps), frames)
    assert np.abs(ours(found, tmp_path, frames) - expected).max() < 2e-5


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ([part("AffineTransform", 5, 9, draw(5, 8), draw(5))], "do not fit 5 x 9"),
        ([part("MaxPoolingComponent", 5, 9)], "'<MaxPoolingComponent>', which a feed-forward"),
        ([part("Sigmoid", 5, 5), splice(0)], "<Sigmoid>|<Splice>"),
        ([part("Sigmoid", 5, 5), part("Sigmoid", 6, 6)], "takes 6 numbers after 5"),
        ([splice(-2000, 0)], "<Splice> of 2 frames"),
        ([part("Softmax", 6, 6), part("Sigmoid", 6, 6)], "follows the softmax"),
        ([], "nothing in it"),
    ],
)
def test_nnet1_that_is_not_read_is_named(tmp_path, parts, said):
    with pytest.raises(UserError, match=said):
        read_stack(nnet1(tmp_path / "n", *parts))


def test_a_transform_that_does_not_fit(tmp_path):
    transform = nnet1(tmp_path / "t", splice(0, 1))
    network = nnet1(tmp_path / "n", part("AffineTransform", 5, 9, draw(5, 9), draw(5)))
    with pytest.raises(UserError, match="takes 9 numbers, the transform gives 6"):
        read_stack(network, transform)


@pytest.mark.parametrize(
    ("text", "fits"), [(" [ 1 2.5 0 ]\n", True), (" [ -1 2 ]", False), (" [ 0 0 ]", False), ("x", False)]
)
def test_reading_priors(tmp_path, text, fits):
    (tmp_path / "counts").write_text(text)
    if fits:
        assert read_priors(tmp_path / "counts").tolist() == [1, 2.5, 0]
    else:
        with pytest.raises(UserError, match="counts"):
            read_priors(tmp_path / "counts")
