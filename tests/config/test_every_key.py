"""Each key of a config changes a result or a message: a program that ignored one would turn a test of this file red.

What each value gives must differ from what the default gives, and from what the other values give. Where a row for a
key does not fit here, ELSEWHERE names the test that does the same.
"""

import ast
from functools import cached_property

import pytest

from tests.support.keys import bootstrap, corpus, grid, pretraining, rules, training
from tests.support.keys.row import leaf_of, leaves, outcomes, words


class Parts:
    """What comes out of a config in each part of the work; what several parts stand on is made once."""

    def __init__(self, folder):
        self.folder = folder

    def _store(self, name, kind):
        (self.folder / name).mkdir()
        return kind(self.folder / name)

    @cached_property
    def training(self):
        return training.MINIATURE, self._store("training", training.Store).trained

    @cached_property
    def pretraining(self):
        return pretraining.MINIATURE, self._store("pretraining", pretraining.Store).trained

    @cached_property
    def corpora(self):
        pytest.importorskip("espeakng_loader")
        return self._store("corpora", corpus.Corpora)

    @cached_property
    def bootstrap(self):
        return bootstrap.Bootstrap(self.folder / "bootstrap", self.corpora)

    def of(self, name):
        """Return the config that the rows of a part stand on, and what comes out of one."""
        made = {
            "training": lambda: self.training,
            "pretraining": lambda: self.pretraining,
            "grid": lambda: ({}, grid.trained),
            "spoken": lambda: ({"corpus": {"kind": "spoken"}}, corpus.planned),
            "speeds": lambda: (self.corpora.base, self.corpora.heard),
            "corpora": lambda: (self.corpora.base, self.corpora.built),
        }
        return made[name]() if name in made else (self.bootstrap.base, getattr(self.bootstrap, name))


ROWS = {
    "training": training.ROWS, "pretraining": pretraining.ROWS, "grid": grid.ROWS, "spoken": corpus.SIZES,
    "speeds": corpus.SPEEDS, "corpora": corpus.BUILT, "network_features": bootstrap.NETWORK_FEATURES,
    "gmm_features": bootstrap.GMM_FEATURES, "monophones": bootstrap.MONOPHONES, "triphones": bootstrap.TRIPHONES,
    "transformed": bootstrap.TRANSFORMED, "frames": bootstrap.FRAMES, "language_model": bootstrap.LANGUAGE_MODELS,
    "decoded": bootstrap.DECODED,
}  # fmt: skip
# Key, or key=word, and the test that goes red without it.
RULES = "tests/workflow/test_keys.py::test_rules_read_the_keys"
ELSEWHERE = {reading.key: RULES for _, readings in rules.CONFIGS.values() for reading in readings} | {
    "initialisation.kind=model": RULES,
    "parallel.arrival.path": "tests/engines/test_served.py::test_a_log_is_replayed_to_the_same_bytes",
    "precision=tf32": "tests/engines/test_place.py::test_the_model_is_evaluated_in_the_same_precision_in_every_engine",
    "logging.tensorboard": "tests/desk/test_run.py::test_a_whole_run",
    "logging.mlflow": "tests/desk/test_mistakes.py::test_a_library_that_logging_needs",
    "logging.wandb": "tests/desk/test_mistakes.py::test_a_library_that_logging_needs",
    "resources.warm_interpreter": "tests/desk/test_doctor.py::test_estimate_grows_as_the_work",
}


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.fsync", lambda descriptor: None)
        yield Parts(tmp_path_factory.mktemp("keys"))


@pytest.mark.parametrize(
    ("part", "row"),
    [pytest.param(part, row, id=f"{row.key}-{number}") for part in ROWS for number, row in enumerate(ROWS[part])],
)
def test_another_value_gives_something_else(parts, part, row):
    base, outcome = parts.of(part)
    found = outcomes(row, base, outcome)
    assert len(found) == len(row.values) + 1
    for number, one in enumerate(found):
        assert all(one != other for other in found[:number]), f"value {number} of {row.key}, 0 is the default"


@pytest.mark.parametrize("part", ROWS)
def test_the_same_config_gives_the_same(parts, part, tmp_path):
    """In another folder: what the rows compare must not differ by chance."""
    base, outcome = Parts(tmp_path).of(part)
    row = ROWS[part][-1]
    assert outcomes(row, base, outcome) == outcomes(row, *parts.of(part))


@pytest.fixture(scope="module")
def shown(parts):
    """The leaves that rows are about, and the words that they try, by key."""
    tried = {}
    for part, rows in ROWS.items():
        for row in rows:
            leaf = leaf_of(row, parts.of(part)[0])
            tried.setdefault(leaf, set()).update(value for value in row.values if isinstance(value, str | int | bool))
    return tried


def test_every_key_is_shown_by_a_row_or_elsewhere(shown):
    missing = [leaf for leaf, _ in leaves() if leaf not in shown and leaf.path not in ELSEWHERE]
    assert missing == []
    assert {leaf for leaf in shown if leaf not in {leaf for leaf, _ in leaves()}} == set()


def test_every_word_is_tried(shown):
    missing = []
    for leaf, hint in leaves():
        known = words(hint)
        tried = {word for other, found in shown.items() if other.path == leaf.path for word in found}
        lacking = {word for word in known - tried if f"{leaf.path}={word}" not in ELSEWHERE}
        # One is the default.
        if leaf.path not in ELSEWHERE and len(lacking) > 1:
            missing.append((leaf.path, lacking))
    assert missing == []


@pytest.mark.parametrize("key", ELSEWHERE)
def test_the_other_test_is_there(root, key):
    path, _, name = ELSEWHERE[key].partition("::")
    tree = ast.parse((root / path).read_text(encoding="utf-8"))
    assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    known = {leaf.path for leaf, _ in leaves()}
    assert key.partition("=")[0] in known
