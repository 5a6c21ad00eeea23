"""A default that changes makes other results under the same identity: its stage's recipe must be raised with it.

python -m tests.config.test_defaults        writes the table, once the recipes are raised
"""

import json
from dataclasses import MISSING
from pathlib import Path

from unisono.config.config import Config
from unisono.config.reference import keys
from unisono.recipe import RECIPE

TABLE = Path(__file__).with_name("defaults.json")
STAGES = {
    "corpus": "corpus", "speed_perturbation": "corpus", "features": "features", "hmm": "hmm", "lm": "lm",
    "decode": "decode", "report": "report", "study": "study", "data": "frames",
}  # fmt: skip


def current():
    values = {}
    for key in keys(Config, ""):
        section = hasattr(key.default, "__dataclass_fields__")  # its keys come by themselves
        if key.default is not MISSING and not section:
            values[key.path] = json.loads(json.dumps(key.default))
    return values


def unraised():
    """Return the keys whose default is another than the table's while their stage's recipe is the same."""
    table, now = json.loads(TABLE.read_text()), current()
    changed = [path for path, value in table["defaults"].items() if path in now and now[path] != value]
    stages = {path: STAGES.get(path.split(".")[0], "train") for path in changed}
    return [path for path, stage in stages.items() if RECIPE[stage] <= table["recipe"][stage]]


def test_no_default_changes_without_its_recipe():
    assert unraised() == []


def test_the_table_is_up_to_date():
    assert json.loads(TABLE.read_text()) == {"recipe": RECIPE, "defaults": current()}, (
        "python -m tests.config.test_defaults"
    )


if __name__ == "__main__":
    if TABLE.exists() and (wrong := unraised()):
        raise SystemExit(f"raise the recipe first: {', '.join(wrong)}")
    TABLE.write_text(json.dumps({"recipe": RECIPE, "defaults": current()}, indent=1, sort_keys=True) + "\n")
