"""Puts the tests' own rig on the path; workflows with a warm interpreter."""

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import rig  # noqa: E402  (found by the line above)


@pytest.fixture(scope="session")
def package(tmp_path_factory, root):
    """A copy of the package with one more command, `probe`."""
    folder = tmp_path_factory.mktemp("package")
    subprocess.run(["cp", "-r", root / "src" / "unisono", folder], check=True)
    (folder / "unisono" / "cli" / "probe.py").write_text(textwrap.dedent(rig.COMMAND))
    with (folder / "unisono" / "cli" / "commands.py").open("a") as table:
        table.write('COMMANDS["probe"] = Command("Do what a test says.")\n')
    return folder


@pytest.fixture
def workflow(tmp_path, package):
    """A workflow of the test's own."""
    made = rig.Workflow(tmp_path, package)
    yield made
    made.close()


@pytest.fixture(scope="module")
def shared(tmp_path_factory, package):
    """A workflow that a module's tests share: none of them ends it."""
    made = rig.Workflow(tmp_path_factory.mktemp("workflow"), package)
    yield made
    made.close()
