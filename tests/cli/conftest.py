"""A finished run of a recogniser of tones."""

import importlib.util
from pathlib import Path

import pytest


def _make(folder, **options):
    spec = importlib.util.spec_from_file_location("tiny_recogniser", Path(__file__).with_name("tiny_recogniser.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.make(folder, **options)


@pytest.fixture(scope="session")
def tones(tmp_path_factory):
    """Return (results/tones, {utterance: (phone of each sample, [(word, begin, end)])}); to be left as it is."""
    folder = tmp_path_factory.mktemp("tones") / "results" / "tones"
    return folder, _make(folder)


@pytest.fixture
def positioned_tones(tmp_path):
    """Return results/tones of the same recogniser whose phones know their position in the word."""
    _make(tmp_path / "results" / "tones", word_position=True)
    return tmp_path / "results" / "tones"
