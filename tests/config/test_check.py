"""A user's config makes complete settings; each mistake ends as one line that names key, value and remedy."""

import copy
import re
from pathlib import Path

import pytest
import yaml

from unisono.config.check import read_config
from unisono.errors import UserError

ROOT = Path(__file__).resolve().parent.parent.parent


def read(**config):
    return read_config({"name": "x", **config})


def main(**config):
    return read(**config).runs["main"]


def mistake(**config):
    with pytest.raises(UserError) as caught:
        read(**config)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_default_of_a_place_lies_under_what_is_given():
    features = read(hmm={"features": {"num_mel_bins": 30}}).shared.hmm.features
    assert (features.kind, features.num_mel_bins, features.deltas) == ("mfcc", 30, 2)
    features = read(hmm={"features": "fbank"}).shared.hmm.features
    assert (features.kind, features.num_mel_bins, features.deltas, features.cmvn_variance) == ("fbank", 23, 2, False)


def test_a_key_of_the_default_kind_is_used():
    assert read(hmm={"features": {"num_ceps": 20}}).shared.hmm.features.num_ceps == 20


def test_bare_word_is_short_for_kind():
    assert main(parallel={"combine": "bmuf"}) == main(parallel={"combine": {"kind": "bmuf"}})
    assert read(lm="loop").shared.lm.kind == "loop"


def test_null_takes_a_key_away_or_means_none():
    run = main(optimiser={"momentum": None}, schedule={"epochs": None, "iterations": 7}, observers={"ema": None})
    assert run.optimiser == main().optimiser
    assert (run.schedule.epochs, run.schedule.iterations, run.observers) == (None, 7, {})
    assert main(parallel=None, optimiser={"max_change": None}) == main()


def test_runs_are_laid_over_the_rest_before_defaults():
    settings = read(
        optimiser={"learning_rate": 0.5, "minibatch": 32},
        observers={"ema": {"decay": 0.5}},
        runs={"a": {"optimiser": {"learning_rate": 0.1}}, "b": {"observers": {"ema": None}}, "c": None},
    )
    assert list(settings.runs) == ["a", "b", "c"]
    one = settings.runs["a"].optimiser
    assert (one.learning_rate, one.minibatch) == (0.1, 32)
    assert settings.runs["b"].observers == {}
    assert (settings.runs["c"].observers["ema"].decay, settings.runs["c"].observers["ema"].start) == (0.5, 0.25)


def test_a_run_may_name_the_kind_that_the_rest_gives_keys_of():
    config = {"parallel": {"combine": {"block_momentum": 0.9}}, "runs": {"a": {"parallel": {"combine": "bmuf"}}}}
    assert read(**config).runs["a"].parallel.combine.block_momentum == 0.9


def test_key_of_another_kind_is_noted_and_changes_nothing():
    settings = read(optimiser={"kind": "sgd", "ng": {"alpha": 2.0}})
    assert settings.notes == ["optimiser.ng: not used with kind sgd, only with ng_online, ng_simple"]
    assert settings.runs["main"] == main()
    notes = read(lm={"kind": "arpa", "arpa": "x", "order": 2, "vocabulary": "corpus"}).notes
    assert notes == ["lm.order, lm.vocabulary: not used with kind arpa, only with ngram, loop"], "one line"
    assert main(optimiser={"kind": "ng_online", "ng": {"alpha": 2.0}}).optimiser.ng.alpha == 2.0
    settings = read(optimiser={"kind": "ng_simple", "ng": {"rank_in": 3, "alpha": 2.0}})
    assert settings.notes == ["optimiser.ng.rank_in: used only with kind ng_online"]
    assert settings.runs["main"].optimiser.ng.alpha == 2.0


def test_a_note_names_the_run():
    settings = read(runs={"a": {"optimiser": {"ng": {"alpha": 2.0}}}})
    assert settings.notes == ["runs.a.optimiser.ng: not used with kind sgd, only with ng_online, ng_simple"]


def test_text_that_is_a_number_is_read():
    """YAML 1.1 reads 1e-3 as a word, and `--config 'lm={order: 3}'` gives text."""
    assert main(optimiser=yaml.safe_load("learning_rate: 1e-3")).optimiser.learning_rate == 0.001
    assert read(lm={"order": "2"}, features={"high_freq": "-100"}).shared.lm.order == 2
    assert main(parallel={"workers": {"initial": "1", "final": 3}}).parallel.workers.initial == 1
    assert read(decode={"acoustic_scales": ["1e-1", 0.2]}).shared.decode.acoustic_scales == (0.1, 0.2)


def on_the_command_line(config):
    """A config as `--config 'section={key: value}'` gives it: YAML in which every scalar is text."""
    return {"name": "x", **yaml.load(config, Loader=yaml.BaseLoader)}


@pytest.mark.parametrize(
    "config",
    [
        "schedule: {epochs: null, iterations: 7}",
        "observers: {ema: {window: 0.2, decay: null}, polyak: null}",
        "optimiser: {momentum: null, max_change: null, minibatch: null}",
        "combined: null\nruns: null\nparallel: null\ncorpus: {unknown_word: null}",
        "runs: {a: null, b: {initialisation: {hidden_bias: null}}}",
        "study: {name: s, cells: {a: null}, tune_on: null}",
        "network: {kind: lstm, peepholes: false}\nparallel: {scale_rate_with_workers: true}",
        "corpus: {shared_speakers: true}\ndecode: {systems: []}",
    ],
)
def test_null_and_true_are_understood_on_the_command_line(config):
    in_a_file = yaml.safe_load(config)
    assert read_config(on_the_command_line(config)) == read(**in_a_file)


def test_null_is_a_name_where_a_name_is_due():
    config = "corpus: {kind: table, dir: 'null'}"
    assert read_config(on_the_command_line(config)).shared.corpus.dir == "null"


def test_runs_may_differ_in_precision():
    found = read(resources={"device": "cpu"}, runs={"a": {}, "b": {"precision": "bf16"}})
    assert [run.precision for run in found.runs.values()] == ["float32", "bf16"]


def test_what_is_given_is_not_changed():
    config = {"name": "x", "parallel": {"combine": "mean"}, "runs": {"a": {"seed": 3}}}
    before = copy.deepcopy(config)
    read_config(config)
    assert before == config


@pytest.mark.parametrize(
    ("config", "line"),
    [
        ({"optimiser": {"lerning_rate": 1}}, "optimiser.lerning_rate: unknown key: did you mean learning_rate?"),
        ({"optimiser": {"kind": "ng_simple", "ng": {"rnk_in": 1}}}, "optimiser.ng.rnk_in: unknown key: did you mean"),
        ({"hmm": {"tri": {"leafs": 1}}}, "hmm.tri.leafs: unknown key: did you mean leaves?"),
        ({"networks": {}}, "networks: unknown key: did you mean network?"),
        ({"corpus": {"kind": "kaldi", "dir": "a", "kaldi": {"tran": "b"}}}, "corpus.kaldi.tran: unknown key: did you"),
        ({"runs": {"a": {"sed": 1}}}, "runs.a.sed: unknown key: did you mean seed?"),
        ({"runs": {"a": {"hmm": {}}}}, "runs.a.hmm: shared by all runs: a run may change only network, "),
        ({"runs": {"a": {"data": {}}}}, "runs.a.data: shared by all runs"),
        ({"runs": {"a": {"resources": {"device": "cpu"}}}}, "runs.a.resources: shared by all runs"),
        ({"runs": [1]}, "runs: expected a mapping"),
        ({"runs": {"a": 3}}, "runs.a: expected a mapping"),
        ({"runs": {"a/b": {}}}, 'runs: "a/b": only letters'),
        ({"runs": {None: {}}}, "runs: None is no name: put it in quotes"),
        ({"runs": {"a": {"optimiser": {"momentum": 2}}}}, "runs.a.optimiser.momentum: 2 is out of range: at least 0"),
        ({"optimiser": {"momentum": 1.0}}, "optimiser.momentum: 1.0 is out of range: at least 0 and below 1"),
        ({"optimiser": {"minibatch": 0}}, "optimiser.minibatch: 0 is out of range: at least 1 frames or chunks"),
        ({"optimiser": {"minibatch": 2.5}}, "optimiser.minibatch: 2.5 is not an integer"),
        ({"optimiser": {"learning_rate": float("inf")}}, "optimiser.learning_rate: "),
        ({"optimiser": {"kind": ["sgd"]}}, 'optimiser.kind: ["sgd"] is not one of sgd, ng_online, ng_simple'),
        ({"optimiser": {"kind": "ng_online", "ng": {"history": 2e6}}},
         "optimiser.ng.history: 2000000.0 is out of range: above 0 and at most 1000000 samples"),
        ({"optimiser": {"kind": "ng_online", "ng": {"minibatches_history": 1}}},
         "optimiser.ng.minibatches_history: 1 is out of range: above 1 and at most 1000000 minibatches"),
        ({"parallel": {"workers": True}}, "parallel.workers: true is neither a number nor a mapping"),
        ({"parallel": {"workers": 0}}, "parallel.workers: 0 is out of range: at least 1 and at most 100000 workers"),
        ({"parallel": {"workers": {"initial": 1}}}, "parallel.workers.final: missing: give one: Workers of"),
        ({"parallel": {"workers": {"initial": 0, "final": 2}}}, "parallel.workers.initial: 0 is out of range"),
        ({"parallel": {"combine": "bmuff"}}, 'parallel.combine.kind: "bmuff" is not one of mean, bmuf, bmuf_nesterov, '
         "butterfly, ring, hopping_ring, async, elastic: did you mean bmuf?"),
        ({"parallel": {"combine": {"kind": "bmuf", "block_momentum": 1}}}, "parallel.combine.block_momentum: 1 is out "
         "of range: at least 0 and below 1"),
        ({"parallel": {"combine": {"kind": "bmuf", "block_momentum": "atuo"}}},
         'parallel.combine.block_momentum: "atuo" is neither a number nor auto'),
        ({"parallel": {"scale_rate_with_workers": 3}}, "parallel.scale_rate_with_workers: 3 is neither true or false "
         "nor auto"),
        ({"network": {"nonlinearity": "rely"}},
         'network.nonlinearity: "rely" is not one of sigmoid, tanh, relu, relu_renorm: did you mean relu?'),
        ({"network": {"context": [1]}}, "network.context: [1]: give 2 values"),
        ({"network": {"context": [1, 2, 3]}}, "network.context: [1, 2, 3]: give 2 values"),
        ({"network": {"context": [1, "a"]}}, 'network.context.1: "a" is not an integer'),
        ({"network": {"hidden": []}}, "network.hidden: []: give at least 1"),
        ({"network": 3}, "network: 3 is not a mapping or one of dnn"),
        ({"hmm": 3}, "hmm: 3 is not a mapping"),
        ({"hmm": {"silence_phone": "a b"}}, 'hmm.silence_phone: "a b": '),
        ({"lm": "engram"}, 'lm.kind: "engram" is not one of ngram, arpa, loop: did you mean ngram?'),
        ({"name": "../x"}, 'name: "../x": only letters'),
        ({"name": 3}, "name: 3 is not text"),
        ({"seed": "x"}, 'seed: "x" is not an integer'),
        ({"decode": {"acoustic_scales": []}}, "decode.acoustic_scales: []: give at least 1"),
        ({"decode": {"systems": "tri"}}, 'decode.systems: "tri" is not a list'),
        ({"speed_perturbation": [0.9, 3]}, "speed_perturbation.1: 3 is out of range: at least 0.5 and at most 2"),
        ({"speed_perturbation": [0.9, 0.9]}, "speed_perturbation: [0.9, 0.9] has non-unique elements"),
        ({"report": {"speakers": "s", "classes": {"age": "eech"}}},
         'report.classes.age: "eech" is neither each nor a number'),
        ({"hmm": {"align_with": {"run": "a"}}}, "hmm.align_with.name: missing: give one: Name of that config"),
        ({"corpus": {"dir": "mine"}}, "corpus.kind: missing, and spoken, the default, does not use corpus.dir"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line(config, line):
    assert mistake(**config).startswith(line)


def test_a_name_is_asked_for():
    with pytest.raises(UserError, match="^name: missing: give one: Name of the experiment"):
        read_config({})


CONFIGS = sorted(path for path in (ROOT / "config").rglob("*.yaml") if ".claims" not in path.suffixes)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_shipped_configs_are_read_without_a_note(path):
    notes = read_config(yaml.safe_load(path.read_text(encoding="utf-8"))).notes
    assert [note for note in notes if "contradicts the custom" not in note] == []


def told(page):
    """Return the configs that a page shows: blocks of YAML (no profile's), and `section: {...}` within a line."""
    text = page.read_text(encoding="utf-8")
    blocks = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)]
    inline = [yaml.safe_load(code) for code in re.findall(r"`(\w+: \{[^`]*\})`", text)]
    known = set(vars(read().shared))
    blocks += [config for config in inline if config.keys() <= known]
    return [config for config in blocks if "set-resources" not in config]


PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.mark.parametrize("page", [page for page in PAGES if told(page)], ids=lambda page: page.stem)
def test_what_the_pages_show_is_read(page):
    for config in told(page):
        read_config({"name": "own", **config})


def test_pages_show_configs():
    assert sum(len(told(page)) for page in PAGES) >= 12
