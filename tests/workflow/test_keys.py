"""Keys that no command is told of as such: rules read them, and a dry run shows what they make of them."""

import pytest

from tests.support.keys.rules import CONFIGS, FILES, jobs_of


@pytest.mark.parametrize("name", CONFIGS)
def test_rules_read_the_keys(workspace, name):
    for path, content in FILES.items():
        (workspace.folder / path).parent.mkdir(parents=True, exist_ok=True)
        (workspace.folder / path).write_text(content)
    text, readings = CONFIGS[name]
    jobs = jobs_of(workspace, workspace.config("mine.yaml", text))
    assert [reading.key for reading in readings if not reading.shows(jobs)] == []
