"""config/README.md says what the schema says."""

import pytest
import yaml

from unisono.cli import config_reference

SCHEMA = {
    "$defs": {"beam": {"type": "number", "exclusiveMinimum": 0, "unit": "nats", "description": "Beam | width."}},
    "properties": {
        "name": {"type": "string", "default": "demo", "pattern": "^[a|b]+$", "description": "A name."},
        "decode": {
            "type": "object",
            "description": "The search.",
            "properties": {
                "beam": {"$ref": "#/$defs/beam", "default": 13.0},
                "kind": {"enum": ["a", None], "default": None},
                "scales": {"type": "array", "items": {"type": "number"}, "minItems": 5, "maxItems": 5},
                "workers": {
                    "type": ["integer", "object"],
                    "minimum": 1,
                    "default": 2,
                    "properties": {"final": {"type": "integer"}},
                },
                "inner": {
                    "type": "object",
                    "x-kinds": ["ng"],
                    "default": {"rank": 80},
                    "description": "Inner things.",
                    "properties": {"rank": {"type": "integer", "default": 20, "description": "Rank."}},
                },
            },
        },
    },
}


def test_each_leaf_has_a_row():
    text = config_reference.render(SCHEMA)
    assert "| `name` | string like `^[a\\|b]+$` |  | `demo` | A name. |" in text
    assert "| `decode.beam` | number > 0 | nats | `13.0` | Beam \\| width. |" in text
    assert "| `decode.kind` | `a`, `null` |  | `null` |  |" in text
    assert "| `decode.scales` | list of 5 of number |" in text
    assert "| `decode.workers` | integer ≥ 1 or mapping |  | `2` |" in text
    assert "| `decode.workers.final` | integer |" in text
    assert "| `decode.inner.rank` | integer |  | `80` | Rank. Only for `ng`. |" in text
    assert "`decode.inner` " not in text
    assert "\n\nThe search.\n\n- `decode.inner`: Inner things.\n\n| key " in text


def test_rewrites_only_below_the_mark(tmp_path):
    (tmp_path / "schema.yaml").write_text(yaml.safe_dump(SCHEMA))
    page = tmp_path / "README.md"
    page.write_text(f"# Mine\n\n{config_reference.MARK}\nold\n")

    class Args:
        schema, readme = str(tmp_path / "schema.yaml"), str(page)

    config_reference.run(Args)
    once = page.read_text()
    assert once.startswith("# Mine\n") and "old" not in once and "`decode.beam`" in once
    config_reference.run(Args)
    assert page.read_text() == once


def test_page_equals_the_schema(root):
    path = root / "workflow" / "schemas" / "config.schema.yaml"
    if not path.exists():
        pytest.skip("no schema yet")
    page = (root / "config" / "README.md").read_text(encoding="utf-8")
    below = page[page.index(config_reference.MARK) + len(config_reference.MARK) + 2 :]
    assert below == config_reference.render(yaml.safe_load(path.read_text(encoding="utf-8"))), (
        "run `unisono config-reference` and commit config/README.md"
    )


def test_every_key_is_explained(root):
    path = root / "workflow" / "schemas" / "config.schema.yaml"
    if not path.exists():
        pytest.skip("no schema yet")
    schema = yaml.safe_load(path.read_text(encoding="utf-8"))
    rows = [row for name, node in schema["properties"].items() for row in config_reference.leaves(node, name, schema)]
    assert len(rows) > 50
    assert [key for key, node in rows if not node.get("description")] == []
