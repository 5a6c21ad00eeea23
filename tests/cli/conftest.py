"""A finished run of a recogniser of tones."""

import importlib.util
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def tones(tmp_path_factory):
    """Return (results/tones, {utterance: (phone of each sample, [(word, begin, end)])}); to be left as it is."""
    spec = importlib.util.spec_from_file_location("tiny_recogniser", Path(__file__).with_name("tiny_recogniser.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    folder = tmp_path_factory.mktemp("tones") / "results" / "tones"
    return folder, module.make(folder)
