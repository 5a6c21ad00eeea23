"""Puts the tests' own helper on the path, and spares the disk."""

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(autouse=True)
def no_fsync(monkeypatch):
    """Whether the disk has really written is nothing a test could see; waiting for it is most of a small run."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
