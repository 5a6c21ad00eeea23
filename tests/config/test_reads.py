"""Each command is told the keys that it reads, and no others: a changed value runs exactly the stages that read it."""

import json

import pytest

from unisono.config.build import complete, from_json
from unisono.config.check import read_config
from unisono.config.config import Config
from unisono.config.features import FeatureOptions
from unisono.config.reads import READS, features_told, recogniser_told, run_told, told
from unisono.config.reference import keys

BASE = read_config({"name": "x"})


def everything(settings):
    """What each command of a config is told."""
    found = {command: told(command, settings.shared) for command in READS}
    for frontend in ("net", "hmm"):
        for command in ("features", "cmvn", ""):
            found[f"{frontend} {command}"] = features_told(settings.shared, frontend, command)
    found["lda_mllt features"] = features_told(settings.shared, "hmm", system="lda_mllt")
    found["recogniser"] = recogniser_told(settings.shared)
    return found | {f"run {name}": run_told(run) for name, run in settings.runs.items()}


def changed(config):
    now, before = everything(read_config({"name": "x", **config})), everything(BASE)
    return {command for command, text in now.items() if text != before[command]} - {"recogniser"}


@pytest.mark.parametrize(
    ("config", "commands"),
    [
        ({"hmm": {"silence_states": 4}}, {"lang"}),
        ({"hmm": {"mono": {"gaussians": 400}}}, {"train-mono"}),
        ({"hmm": {"tri": {"leaves": 300}}}, {"train-tri"}),
        ({"hmm": {"lda_mllt": {"splice": 4}}}, {"train-lda-mllt"}),
        ({"hmm": {"seed": 2}}, {"train-mono", "train-tri", "train-lda-mllt"}),
        ({"hmm": {"beam": 12}}, {"train-mono", "train-tri", "train-lda-mllt", "align", "align-dnn"}),
        ({"hmm": {"align": "mono"}}, set()),
        ({"decode": {"beam": 14}}, {"decode"}),
        ({"decode": {"tuning_beam": 14}}, {"tune-gmm", "tune-dnn"}),
        ({"decode": {"max_active": 14}}, {"tune-gmm", "tune-dnn", "decode"}),
        ({"decode": {"acoustic_scales": [0.1]}}, {"tune-dnn"}),
        ({"decode": {"systems": ["mono"]}}, set()),
        ({"lm": {"order": 2}}, {"lm"}),
        ({"corpus": {"shards": 2}}, {"corpus"}),
        ({"features": {"deltas": 1}}, {"net "}),
        ({"features": {"cmvn": "global"}}, {"net ", "net cmvn"}),
        ({"features": {"num_mel_bins": 23}}, {"net ", "net cmvn", "net features"}),
        ({"hmm": {"features": {"deltas": 1}}}, {"hmm "}),
        ({"network": {"hidden": [3]}}, {"run main"}),
        ({"parallel": {"engine": "sync"}, "resources": {"device": "cpu"}, "corpora_dir": "b"}, set()),
    ],
)
def test_a_changed_value_reaches_exactly_the_commands_that_read_it(config, commands):
    assert changed(config) == commands


def test_what_is_not_at_its_default_is_all_that_travels():
    assert everything(BASE) | {"hmm ": "", "hmm cmvn": "", "hmm features": "", "lda_mllt features": ""} == {
        **dict.fromkeys(everything(BASE), "{}"), "lm": '{"kind":"ngram"}', "corpus": '{"kind":"spoken"}',
        "net ": '{"kind":"fbank"}', "net cmvn": '{"kind":"fbank"}', "net features": '{"kind":"fbank"}',
        "hmm ": "", "hmm cmvn": "", "hmm features": "", "lda_mllt features": "",
    }  # fmt: skip


def test_a_command_builds_the_features_of_gmms():
    whole = from_json(FeatureOptions, features_told(BASE.shared, "hmm"))
    assert complete(whole) == complete(BASE.shared.hmm.features)
    assert from_json(FeatureOptions, features_told(BASE.shared, "hmm", system="lda_mllt")).deltas == 0


def test_each_key_reaches_a_command_or_a_rule(root):
    """A key that nobody is told of is named by a rule, or it is one of a run."""
    rules = "\n".join(path.read_text() for path in sorted((root / "workflow/rules").glob("*.smk")))
    library = "\n".join((root / f"src/unisono/config/{name}.py").read_text() for name in ("files", "study", "check"))
    read = {f"{section}.{key}" for section, names in READS.values() for key in names or ()}
    whole = ["features", "hmm.features", "corpus", "lm", "runs", "study", "logging"]
    run = json.loads(json.dumps(complete(BASE.runs["main"])))
    for key in keys(Config, ""):
        parts = key.path.split(".")
        known = any(key.path == one or key.path.startswith(f"{one}.") for one in [*read, *whole, *run])
        known = known or any(one.startswith(f"{key.path}.") for one in read) or key.path in READS
        assert known or f".{parts[-1]}" in rules or f".{parts[-1]}" in library or len(parts) == 1, key.path
