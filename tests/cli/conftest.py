"""A finished run of a recogniser of tones."""

import pytest

from tests.support import recogniser


@pytest.fixture(scope="session")
def tones(tmp_path_factory):
    """Return (results/tones, {utterance: (phone of each sample, [(word, begin, end)])}); to be left as it is."""
    folder = tmp_path_factory.mktemp("tones") / "results" / "tones"
    return folder, recogniser.make(folder)


@pytest.fixture
def positioned_tones(tmp_path):
    """Return results/tones of the same recogniser whose phones know their position in the word."""
    recogniser.make(tmp_path / "results" / "tones", word_position=True)
    return tmp_path / "results" / "tones"
