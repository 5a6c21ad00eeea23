"""Kaldi's archives and scripts against their text forms and Kaldi's own decompression."""

import builtins
import tracemalloc

import numpy as np
import pytest

from tests.kaldi.golden import IO, cases, first_system
from unisono.data.features.extract import add_deltas
from unisono.data.features.kaldi import KaldiFeatures, read_statistics
from unisono.data.kaldi.archive import Script, parts, read_all, read_archive
from unisono.data.kaldi.networks import read_priors
from unisono.data.kaldi.tokens import read_tokens
from unisono.errors import UserError

LEGAL = ("crlf", "text_utf8_key", "text_empty", "key_path", "duplicate_keys", "gz_bomb")
# Archives that are sound, but whose numbers mean nothing to their model: the readers of systems refuse them.
OTHERS = ("ali_unknown_transition_id",)


def matrices(path):
    return dict(read_archive(path, "matrix"))


@pytest.mark.parametrize("scp", cases("feats/*.scp", "decode/*.scp"))
def test_scripts_and_archives_hold_the_same(scp):
    script = Script(scp, "matrix")
    assert len(script) > 0
    if not scp.with_suffix(".ark").exists():
        assert all(len(value) for value in script.values())  # ranges of another archive
        return
    expected = matrices(scp.with_suffix(".ark"))
    assert list(script) == list(expected)
    for key, value in script.items():
        assert np.array_equal(value, expected[key])


@pytest.mark.parametrize("path", cases("feats/compressed_method[0-9].ark"))
def test_compressed(path):
    found, expected = matrices(path), matrices(path.with_name(f"{path.stem}_as_float.ark"))
    assert list(found) == list(expected)
    for key, value in expected.items():
        assert np.all(np.abs(found[key] - value) <= np.spacing(np.abs(value)) + 2e-7 * np.abs(value).max())


@pytest.mark.parametrize("path", cases("feats/*_one_text.ark", "feats/cmvn_text.ark"))
def test_text_matrices(path):
    stem = path.stem.removesuffix("_text").removesuffix("_one")
    found, expected = matrices(path), matrices(path.with_name(f"{stem}.ark"))
    for key, value in found.items():
        np.testing.assert_allclose(value, expected[key], rtol=1e-6)


@pytest.mark.parametrize("scp", cases("feats/range*.scp"))
def test_ranges(scp):
    script = Script(scp, "matrix")
    for key, value in matrices(scp.with_name(f"{scp.stem}_expected_text.ark")).items():
        np.testing.assert_allclose(script[key], value, rtol=1e-6)


@pytest.mark.parametrize("text", cases("*/ali.txt"))
def test_alignments_in_parts(text):
    found = dict(read_all(parts(text.with_name("ali.*.gz")), "integers"))
    expected = dict(read_archive(text, "integers"))
    assert list(found) == list(expected) and len(found) > 0
    for key, ids in found.items():
        assert ids.dtype == np.int32 and np.array_equal(ids, expected[key])


@pytest.mark.parametrize(
    "path", [p for p in cases("hostile/*.ark", "hostile/*.gz", "hostile/*.scp") if "tree_" not in str(p.id)]
)
def test_hostile_files_are_refused_in_one_line_and_nothing_runs(path, tmp_path, monkeypatch):
    # The scripts name feats/raw.ark, which lies beside their folder.
    monkeypatch.chdir(tmp_path)
    kind = "integers" if path.name.startswith(("int_", "ali_", "truncated_ints")) else "matrix"
    kind = "vector" if path.name.startswith("vector_") else kind

    def read():
        if path.suffix == ".scp":
            return dict(Script(path, kind))
        return dict(read_archive(path, kind))

    if path.name.startswith(LEGAL + OTHERS):
        tracemalloc.start()
        assert all(np.isfinite(value).all() for value in read().values())
        assert tracemalloc.get_traced_memory()[1] < 200e6
        tracemalloc.stop()
    else:
        with pytest.raises(UserError) as caught:
            read()
        assert "\n" not in str(caught.value) and len(str(caught.value)) < 500
    assert not hasattr(builtins, "KALDI_IO_UNPICKLED") and list(tmp_path.iterdir()) == []


@first_system
def test_one_kind_is_not_taken_for_another():
    for kind in ("vector", "integers"):
        with pytest.raises(UserError, match=r"raw\.ark: 'george.*' where"):
            list(read_archive(IO / "feats/raw.ark", kind))
    with pytest.raises(UserError, match="where a matrix should begin"):
        list(read_archive(IO / "mono/ali.1.gz", "matrix"))


@pytest.mark.parametrize("path", cases("*/final.occs", "nnet3/*.counts", "nnet1/class_counts"))
def test_counts_are_one_text_vector(path):
    values = read_priors(path)
    assert np.array_equal(values, np.array(path.read_text().strip(" []\n").split(), float))


@pytest.mark.parametrize("path", cases("nnet3/*.mat"))
def test_a_file_that_is_one_matrix(path, tmp_path):
    (tmp_path / "a.scp").write_text(f"lda {path.absolute()}\n")
    found = Script(tmp_path / "a.scp", "matrix")["lda"]
    assert found.ndim == 2 and np.array_equal(found, read_tokens(path).matrix())


@pytest.mark.parametrize("scp", cases("feats/delta.scp"))
def test_our_deltas_are_kaldis(scp):
    features = Script(scp.with_name("cmvned.scp"), "matrix")
    for utt, expected in Script(scp, "matrix").items():
        order = expected.shape[1] // features[utt].shape[1] - 1
        np.testing.assert_allclose(add_deltas(features[utt], order), expected, atol=1.5e-5)


@pytest.mark.parametrize("scp", cases("feats/cmvned.scp"))
def test_our_normalisation_is_kaldis(scp):
    given = KaldiFeatures(scp.with_name("raw.scp"), scp.with_name("utt2spk"))
    given.normalise(read_statistics(scp.with_name("cmvn.ark"), given.base_dim), False, "cmvn.ark")
    for utt, expected in Script(scp, "matrix").items():
        np.testing.assert_allclose(given.get(utt), expected, atol=1e-4)
