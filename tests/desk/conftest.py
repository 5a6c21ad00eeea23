"""A small training task of the engines' tests, in a folder of results."""

import os

import pytest

from tests.support import miniature


@pytest.fixture(autouse=True)
def no_fsync(monkeypatch):
    """Waiting for the disk is most of a small run."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@pytest.fixture
def task(tmp_path):
    """A training task whose run is results/mine/runs/main."""
    return miniature.Task(tmp_path / "results" / "mine" / "runs" / "main", miniature.config())
