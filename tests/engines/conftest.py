"""Puts the tests' own helper on the path, and spares the disk."""

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import miniature  # noqa: E402  (found by the line above)


@pytest.fixture(autouse=True)
def no_fsync(monkeypatch):
    """Whether the disk has really written is nothing a test could see; waiting for it is most of a small run."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@pytest.fixture(scope="module")
def wanted(tmp_path_factory):
    return miniature.Task(tmp_path_factory.mktemp("whole"), miniature.SETTINGS).virtual()


@pytest.fixture
def task(tmp_path):
    made = miniature.Task(tmp_path, miniature.SETTINGS)
    made.initialise()
    return made
