"""A user's config and the schema make complete settings; mistakes end as one line that names key and remedy."""

import copy
import json
from pathlib import Path

import jsonschema
import pytest
import yaml

from unisono import sense, study
from unisono.errors import UserError

ROOT = Path(__file__).resolve().parent.parent.parent
SCHEMA = yaml.safe_load((ROOT / "workflow/schemas/config.schema.yaml").read_text(encoding="utf-8"))


def resolve(**config):
    return study.resolve({"name": "x", **config}, SCHEMA)


def main(**config):
    return resolve(**config).runs["main"]


def mistakes(config):
    return [study.explain(error) for error in jsonschema.Draft202012Validator(SCHEMA).iter_errors(config)]


def test_defaults_fill_every_key_and_are_valid():
    run = main()
    assert mistakes(run) == []
    for path, leaf in study.leaves(SCHEMA):
        if "default" not in leaf or path.startswith(("observers.", "hmm.align_with.", "study.")):
            continue
        value = run
        for key in path.split("."):
            value = value[key]
        if not path.startswith("hmm.features."):
            assert value == leaf["default"], path


def test_default_of_an_object_lies_under_what_is_given():
    features = main(hmm={"features": {"num_mel_bins": 30}})["hmm"]["features"]
    assert (features["kind"], features["num_mel_bins"], features["deltas"]) == ("mfcc", 30, 2)


def test_a_key_of_the_default_kind_is_used():
    assert main(hmm={"features": {"num_ceps": 20}})["hmm"]["features"]["num_ceps"] == 20


def test_bare_word_is_short_for_kind():
    assert main(parallel={"combine": "bmuf"}) == main(parallel={"combine": {"kind": "bmuf"}})
    assert main(lm="loop")["lm"]["kind"] == "loop"


def test_null_takes_a_key_away_or_means_none():
    run = main(optimiser={"momentum": None}, schedule={"epochs": None, "iterations": 7}, observers={"ema": None})
    assert run["optimiser"]["momentum"] == main()["optimiser"]["momentum"]
    assert (run["schedule"]["epochs"], run["schedule"]["iterations"], run["observers"]["ema"]) == (None, 7, None)


def test_runs_are_merged_over_the_rest_before_defaults():
    settings = resolve(
        optimiser={"learning_rate": 0.5, "minibatch": 32},
        observers={"ema": {"decay": 0.5}},
        runs={"a": {"optimiser": {"learning_rate": 0.1}}, "b": {"observers": {"ema": None}}, "c": None},
    )
    assert list(settings.runs) == ["a", "b", "c"]
    assert settings.runs["a"]["optimiser"]["learning_rate"] == 0.1
    assert settings.runs["a"]["optimiser"]["minibatch"] == 32
    assert settings.runs["b"]["observers"]["ema"] is None
    assert settings.runs["c"]["observers"]["ema"] == {"decay": 0.5, "start": 0.25}


def test_key_of_another_kind_is_noted_and_changes_nothing():
    settings = resolve(optimiser={"kind": "sgd", "ng": {"alpha": 2.0}})
    assert settings.notes == ["optimiser.ng: not used with kind sgd, only with ng_online, ng_simple"]
    assert settings.runs["main"] == main()
    assert main(optimiser={"kind": "ng_online", "ng": {"alpha": 2.0}})["optimiser"]["ng"]["alpha"] == 2.0


def test_number_without_a_point_is_read():
    """YAML 1.1 reads 1e-3 as a word."""
    assert main(optimiser=yaml.safe_load("learning_rate: 1e-3"))["optimiser"]["learning_rate"] == 0.001


@pytest.mark.parametrize(
    ("config", "line"),
    [
        ({"optimiser": {"lerning_rate": 1}}, "optimiser.lerning_rate: unknown key: did you mean learning_rate?"),
        ({"hmm": {"tri": {"leafs": 1}}}, "hmm.tri.leafs: unknown key: did you mean leaves?"),
        ({"networks": {}}, "networks: unknown key: did you mean network?"),
        ({"runs": {"a": {"sed": 1}}}, "runs.a.sed: unknown key: did you mean seed?"),
        ({"runs": {"a": {"hmm": {}}}}, "runs.a.hmm: shared by all runs"),
        ({"runs": {"a": {"data": {}}}}, "runs.a.data: shared by all runs"),
        (
            {"runs": {"a": {"resources": {"device": "cpu"}}}},
            "runs.a.resources: shared by all runs: a run may change only network, ",
        ),
        ({"runs": {"a": {"resources": {"precision": "bf16", "redeal": True}}}}, "runs.a.resources: shared by all"),
        ({"runs": {"a": {"resources": "bf16"}}}, "runs.a.resources: shared by all runs"),
        ({"runs": [1]}, "runs: expected a mapping"),
        ({"runs": {"a": 3}}, "runs.a: expected a mapping"),
    ],
)
def test_wrong_key_is_refused_by_name(config, line):
    with pytest.raises(UserError) as error:
        resolve(**config)
    assert str(error.value).startswith(line) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("config", "line"),
    [
        ({"optimiser": {"momentum": 1.0}}, "optimiser.momentum: 1.0 is out of range: at least 0 and below 1"),
        ({"optimiser": {"minibatch": 0}}, "optimiser.minibatch: 0 is out of range: at least 1 frames"),
        ({"optimiser": {"minibatch": 2.5}}, "optimiser.minibatch: 2.5 is not of type integer"),
        (
            {"optimiser": {"kind": "ng_online", "ng": {"history": 2e6}}},
            "optimiser.ng.history: 2000000.0 is out of range: above 0 and at most 1000000 samples",
        ),
        (
            {"optimiser": {"kind": "ng_online", "ng": {"minibatches_history": 2e6}}},
            "optimiser.ng.minibatches_history: 2000000.0 is out of range: at least 0 and at most 1000000 minibatches",
        ),
        ({"parallel": {"workers": True}}, "parallel.workers: true is not of type integer or object"),
        ({"parallel": {"workers": {"initial": 1}}}, "parallel.workers.final: missing: give one: Workers of"),
        (
            {"network": {"nonlinearity": "rely"}},
            'network.nonlinearity: "rely" is not one of sigmoid, tanh, relu, relu_renorm',
        ),
        ({"lm": "engram"}, 'lm.kind: "engram" is not one of ngram, arpa, loop: did you mean ngram?'),
        ({"name": "../x"}, 'name: "../x": only letters'),
        ({"runs": {"a/b": {}}}, "runs"),
        ({"decode": {"acoustic_scales": []}}, "decode.acoustic_scales: "),
        ({"network": 3}, "network: 3 is not of type object"),
        ({"speed_perturbation": [0.9, 3]}, "speed_perturbation.1: 3 is out of range: at least 0.5 and at most 2"),
        ({"report": {"classes": {"age": "eech"}}}, 'report.classes.age: "eech" is neither each nor a number'),
        ({"speed_perturbation": [0.9, 0.9]}, "speed_perturbation: [0.9, 0.9] has non-unique elements"),
    ],
)
def test_wrong_value_is_explained_in_one_line(config, line):
    found = mistakes(resolve(**config).shared)
    assert len(found) == 1 and found[0].startswith(line) and "\n" not in found[0], found


@pytest.mark.parametrize(
    ("config", "line"),
    [
        ({"corpus": {"kind": "table"}}, "corpus.dir: missing"),
        ({"lm": {"kind": "arpa"}}, "lm.arpa: missing"),
        ({"hmm": {"beam": 40}}, "hmm.retry_beam: 40 is not above hmm.beam, 40"),
        ({"hmm": {"align": "lda_mllt", "lda_mllt": {"dim": 92}}}, "hmm.lda_mllt.dim: 92 is more than the 91"),
        ({"report": {"classes": {"age": 16}}}, "report.classes: report.speakers is missing"),
        ({"speed_perturbation": [0.9, 1]}, "speed_perturbation: 1 is the training set itself"),
        ({"speed_perturbation": [0.999]}, "speed_perturbation: 0.999 is the training set itself"),
        ({"features": {"kind": "mfcc", "num_ceps": 50}}, "features.num_ceps: 50 is more than num_mel_bins 40"),
    ],
)
def test_what_does_not_fit_is_refused(config, line):
    with pytest.raises(UserError, match=line):
        sense.check_shared(resolve(**config).shared)


def test_identity_leaves_out_how_a_run_is_carried_out():
    one = study.identity(main(), SCHEMA)
    parallel = {"engine": "virtual", "iterations_per_job": 3}
    other = main(parallel=parallel, resources={"threads_per_worker": 2, "device": "cuda"}, corpora_dir="far")
    assert study.identity(other, SCHEMA) == one
    short = study.identity(main(resources={"precision": "bf16"}), SCHEMA)
    assert short == one | {"precision": "bf16"} and "precision" not in one, "older results keep their config"
    assert "prior" not in one
    assert study.identity(main(prior="posteriors"), SCHEMA) == one | {"prior": "posteriors"}
    assert study.identity(main(seed=2), SCHEMA) != one
    assert "engine" not in json.dumps(one)
    assert study.compact(one) == json.dumps(one, sort_keys=True, separators=(",", ":"))


def test_runs_may_differ_in_precision_and_in_nothing_else_of_the_machine():
    config = {"name": "x", "resources": {"device": "cpu"}, "runs": {"a": {}, "b": {"resources": {"precision": "bf16"}}}}
    found = study.resolve(config, SCHEMA)
    one, other = (study.identity(found.runs[name], SCHEMA) for name in "ab")
    assert other == one | {"precision": "bf16"}
    assert found.runs["b"]["resources"]["device"] == "cpu" and found.shared["resources"]["precision"] == "float32"


def test_inputs_are_not_changed():
    config = {"name": "x", "parallel": {"combine": "mean"}, "runs": {"a": {"seed": 3}}}
    schema, before = copy.deepcopy(SCHEMA), copy.deepcopy(config)
    study.resolve(config, SCHEMA).runs["a"]["network"]["hidden"].append(1)
    assert schema == SCHEMA and before == config
