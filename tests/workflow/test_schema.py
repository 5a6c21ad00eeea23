"""The schema explains every key, and no key of it is read by nobody."""

import dataclasses
import inspect
import json
import re
from pathlib import Path

import jsonschema
import pytest
import yaml

from unisono import grid, sense, study
from unisono.config.corpus import CorpusOptions
from unisono.config.features import FeatureOptions
from unisono.config.network import DnnOptions
from unisono.config.build import build

ROOT = Path(__file__).resolve().parent.parent.parent
SCHEMA = yaml.safe_load((ROOT / "workflow/schemas/config.schema.yaml").read_text(encoding="utf-8"))
LEAVES = dict(study.leaves(SCHEMA))
DEFAULTS = study.resolve({"name": "x"}, SCHEMA).runs["main"]
RULES = {path.stem: path.read_text(encoding="utf-8") for path in (ROOT / "workflow/rules").glob("*.smk")}


def test_schema_is_one():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def objects(schema, where=""):
    if schema.get("properties") is not None:
        yield where, schema
        for key, below in schema["properties"].items():
            yield from objects(below, f"{where}.{key}")
    for name, below in schema.get("$defs", {}).items():
        yield from objects(below, name)


def test_each_object_refuses_unknown_keys():
    assert [where for where, schema in objects(SCHEMA) if schema.get("additionalProperties") is not False] == []


@pytest.mark.parametrize("path", LEAVES)
def test_each_key_is_explained(path):
    leaf = LEAVES[path]
    assert "type" in leaf and len(leaf["description"]) > 8
    assert leaf["description"].endswith(".")
    if path not in ("name", "parallel.workers.initial", "parallel.workers.final", "hmm.align_with.name", "study.name"):
        assert "default" in leaf, "the schema owns every default"
    types = [leaf["type"]] if isinstance(leaf["type"], str) else leaf["type"]
    if {"number", "integer"} & set(types):
        bounded = {"minimum", "exclusiveMinimum", "enum", "maximum"} & set(leaf)
        assert bounded or path.endswith(("high_freq", "newbob.start", "newbob.stop")), "a number has a range"


def test_whole_sections_reach_their_commands():
    """Sections travel whole, and commands build them strictly: a key that the command does not know is an error."""
    text = "\n".join(RULES.values())
    for section in ("corpus", "lm", "features"):
        assert f'options("{section}")' in text
    assert 'options("hmm", "features")' in text and "hmm_options(" in text and "decode_options()" in text
    for section in ("name", "corpora_dir", "data", "study"):
        assert f'"{section}"' in text or f"['{section}']" in text or f"['{section}']" in text
    assert set(study.IDENTITY) | {"name", "corpora_dir", "corpus", "features", "speed_perturbation", "hmm", "lm",
                                  "prior", "decode", "report", "resources", "runs", "study",
                                  } == set(SCHEMA["properties"])  # fmt: skip


def strict_classes():
    from unisono.config.optimiser import OptimiserOptions
    from unisono.config.hmm import HmmOptions
    from unisono.config.network import InitialisationOptions

    return {
        "corpus": CorpusOptions,
        "features": FeatureOptions,
        "hmm": HmmOptions,
        "network": DnnOptions,
        "initialisation": InitialisationOptions,
        "optimiser": OptimiserOptions,
    }


def test_commands_know_exactly_the_keys_of_their_section():
    for section, cls in strict_classes().items():
        built = build(cls, DEFAULTS[section], section)
        assert {str(f.metadata.get("key", f.name)) for f in dataclasses.fields(built)} == set(DEFAULTS[section])
    sense.check(DEFAULTS)
    assert sense.warnings(DEFAULTS) == []


@pytest.mark.parametrize(
    "path", [path for path in LEAVES if path.startswith("resources.") or LEAVES[path].get("x-other")]
)
def test_keys_outside_a_section_are_read_by_the_rules(path):
    key = path.rsplit(".", 1)[1]
    read = RULES["settings"] + RULES["iterations"] + inspect.getsource(study.identity)
    assert re.search(rf"""\[["']{key}["']\]""", read), f"{path} is read by no rule"


def check(config):
    settings = study.resolve(config, SCHEMA)
    assert settings.notes == []
    sense.check_shared(settings.shared)
    if settings.shared["study"]:
        grid.check(settings.shared["study"], settings.runs)
    for run in settings.runs.values():
        assert list(jsonschema.Draft202012Validator(SCHEMA).iter_errors(run)) == []
        sense.check(run)
        assert json.loads(study.compact(study.identity(run, SCHEMA)))["seed"] == run["seed"]


@pytest.mark.parametrize("path", sorted((ROOT / "config").rglob("*.yaml")), ids=lambda path: path.stem)
def test_configs_are_valid(path):
    check(yaml.safe_load(path.read_text(encoding="utf-8")))


def told(page):
    """Return the configs that a page shows: blocks of YAML (no profile's), and `section: {...}` within a line."""
    text = page.read_text(encoding="utf-8")
    blocks = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)]
    inline = [yaml.safe_load(code) for code in re.findall(r"`(\w+: \{[^`]*\})`", text)]
    blocks += [config for config in inline if config.keys() <= SCHEMA["properties"].keys()]
    return [config for config in blocks if "set-resources" not in config]


PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.mark.parametrize("page", [page for page in PAGES if told(page)], ids=lambda page: page.stem)
def test_what_the_pages_show_is_valid(page):
    for config in told(page):
        check({"name": "own", **config})


def test_pages_show_configs():
    assert sum(len(told(page)) for page in PAGES) >= 12
