"""Identity and completeness: what decides a result, and sections from JSON again; each mistake is named by its key."""

import json
import math

import hypothesis
import pytest
from hypothesis import strategies as st

from unisono.config.build import build, compact, complete, from_json, identity
from unisono.config.check import read_config
from unisono.config.config import Config
from unisono.config.optimiser import OptimiserOptions
from unisono.config.parallel import ParallelOptions
from unisono.config.run import Run
from unisono.errors import UserError

combine = st.one_of(
    st.sampled_from(["mean", "bmuf", "ring", {"kind": "mean"}]),
    st.fixed_dictionaries(
        {"kind": st.sampled_from(["bmuf", "bmuf_nesterov"])},
        optional={
            "weights": st.sampled_from(["frames", "equal"]),
            "block_momentum": st.sampled_from(["auto", 0, 0.0, -0.0, 0.5, "5e-1"]),
        },
    ),
)
optimiser = st.fixed_dictionaries(
    {},
    optional={
        "kind": st.sampled_from(["sgd", "ng_online", "ng_simple"]),
        "momentum": st.sampled_from([0, 0.0, -0.0, 0.5, "5e-1"]),
        "ng": st.fixed_dictionaries({}, optional={"alpha": st.sampled_from([4, 4.0, 2])}),
        "max_change": st.sampled_from(["nnet3", "nnet2", {"kind": "nnet3", "total": 2}, {"total": 3}]),
    },
)
configs = st.fixed_dictionaries(
    {"name": st.just("x")},
    optional={
        "parallel": st.fixed_dictionaries(
            {},
            optional={
                "combine": combine,
                "workers": st.sampled_from([1, 2, "2", {"initial": 1, "final": 2}]),
                "engine": st.sampled_from(["jobs", "virtual"]),
                "iterations_per_job": st.sampled_from([3, 50]),
            },
        ),
        "optimiser": optimiser,
        "network": st.fixed_dictionaries({}, optional={"context": st.sampled_from([[5, 5], [4, 5]])}),
        "observers": st.sampled_from(
            [
                {"ema": {}},
                {"ema": {"decay": 0.9}},
                {"ema": None},
                {"x": "ema"},
                {"x": {"kind": "tail", "combinations": 20}},
            ]
        ),
        "seed": st.sampled_from([1, 2]),
    },
)


def run_of(config):
    return read_config(config).runs["main"]


def result_of(run):
    """A run without how it is carried out."""
    return build(Run, complete(run, execution=False))


@hypothesis.settings(max_examples=80)
@hypothesis.given(configs, configs)
def test_equal_settings_exactly_when_the_identities_are_equal(one, other):
    a, b = run_of(one), run_of(other)
    assert (result_of(a) == result_of(b)) == (compact(identity(a)) == compact(identity(b)))


@hypothesis.settings(max_examples=40)
@hypothesis.given(configs)
def test_an_identity_read_as_a_config_gives_the_settings_back(config):
    run = run_of(config)
    assert result_of(run_of({"name": "x", **identity(run)})) == result_of(run)
    assert build(Run, identity(run)) == result_of(run)


@hypothesis.settings(max_examples=40)
@hypothesis.given(configs)
def test_defaults_that_are_written_out_change_nothing(config):
    run = run_of(config)
    assert run_of(json.loads(json.dumps({"name": "x", **complete(run)}))) == run
    assert build(Run, complete(run)) == run


def test_defaults_have_no_identity_and_a_kind_is_named_where_its_section_differs():
    assert identity(run_of({"name": "x"})) == {}
    assert identity(run_of({"name": "x", "optimiser": {"momentum": 0.5}})) == {
        "optimiser": {"kind": "sgd", "momentum": 0.5}
    }
    assert identity(run_of({"name": "x", "parallel": {"combine": "ring"}})) == {
        "parallel": {"combine": {"kind": "ring"}}
    }


def test_identity_leaves_out_how_a_run_is_carried_out():
    parallel = {"engine": "virtual", "iterations_per_job": 3}
    other = {"parallel": parallel, "resources": {"threads_per_worker": 2, "device": "cuda"}, "corpora_dir": "far"}
    run = run_of({"name": "x", **other})
    assert identity(run) == {}
    assert "engine" not in complete(run, execution=False)["parallel"] and "engine" in complete(run)["parallel"]
    for change in ({"precision": "bf16"}, {"prior": "posteriors"}, {"seed": 2}):
        assert identity(run_of({"name": "x", **change})) == change


def test_identity_of_some_keys():
    hmm = read_config({"name": "x", "hmm": {"beam": 12, "mono": {"iterations": 3, "gaussians": 7}}}).shared.hmm
    assert identity(hmm, ["beam"]) == {"beam": 12.0}
    assert identity(hmm, ["mono.iterations", "seed"]) == {"mono": {"iterations": 3}}
    assert identity(hmm, ["tri", "retry_beam"]) == {}


def test_text_is_canonical():
    assert compact({"b": 1, "a": "é"}) == '{"a":"é","b":1}'
    with pytest.raises(ValueError, match="not JSON compliant"):
        compact({"a": math.nan})


PARALLEL = {"workers": 4, "combine": {"kind": "bmuf", "block_momentum": 0.5}, "reject_below": 2}


def test_builds_nested_values():
    built = from_json(ParallelOptions, json.dumps(PARALLEL))
    assert built.combine.block_momentum == 0.5 and built.combine.weights == "frames"
    assert (built.reject_below, type(built.reject_below)) == (2.0, float)
    ramp = build(ParallelOptions, {"workers": {"initial": 1, "final": 3}}).workers
    assert (ramp.initial, ramp.final) == (1, 3)
    config = build(Config, {"name": "x", "speed_perturbation": [1, 0.9], "report": {"classes": {"a": 1, "b": "each"}}})
    assert config.speed_perturbation == (1.0, 0.9) and config.report.classes == {"a": 1.0, "b": "each"}


@pytest.mark.parametrize(
    ("hint", "values", "words"),
    [
        (ParallelOptions, {"wrkers": 1}, ["config.wrkers", "unknown"]),
        (ParallelOptions, {"workers": "a"}, ["config.workers", "int", "'a'"]),
        (ParallelOptions, {"workers": True}, ["config.workers", "True"]),
        (ParallelOptions, {"workers": {"initial": 1}}, ["config.workers", "{'initial': 1}"]),
        (ParallelOptions, {"combine": {"weights": "equal"}}, ["config.combine.kind", "None", "mean, bmuf"]),
        (ParallelOptions, {"combine": "mean"}, ["config.combine.kind"]),
        (ParallelOptions, {"combine": {"kind": "ring", "weights": "equal"}}, ["config.combine.weights", "unknown"]),
        (ParallelOptions, {"dealing": "both"}, ["config.dealing", "'both'", "'rotating', 'fixed'"]),
        (ParallelOptions, {"max_backoffs": 2.5}, ["config.max_backoffs", "int", "2.5"]),
        (ParallelOptions, {"reject_below": "x"}, ["config.reject_below", "float"]),
        (ParallelOptions, [], ["config", "mapping", "list"]),
        (OptimiserOptions, {"kind": []}, ["config.kind", "[]"]),
        (Config, {}, ["config.name", "missing"]),
        (Config, {"name": 3}, ["config.name", "str"]),
        (Config, {"name": "x", "speed_perturbation": [0.9, "x"]}, ["config.speed_perturbation[1]", "float", "'x'"]),
        (Config, {"name": "x", "network": {"kind": "dnn", "context": [5]}}, ["network.context", "2 values", "found 1"]),
    ],
)
def test_a_mistake_is_named(hint, values, words):
    with pytest.raises(UserError) as caught:
        build(hint, values)
    assert "\n" not in str(caught.value)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "null", '"x"', "{'a': 1}"])
def test_text_that_is_no_object(text):
    with pytest.raises(UserError, match="--options"):
        from_json(ParallelOptions, text)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


@pytest.mark.fuzz
@hypothesis.given(changes=st.dictionaries(st.sampled_from(sorted(complete(ParallelOptions()))), JSON, min_size=1))
def test_any_value_is_built_or_refused(changes):
    try:
        built = build(ParallelOptions, {**PARALLEL, **changes})
    except UserError:
        return
    assert built.engine in ("jobs", "virtual", "sync") and type(built.max_backoffs) is int
    assert type(built.reject_below) is float
