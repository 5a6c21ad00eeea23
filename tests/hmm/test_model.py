"""model.h5: byte-equal round trip, refusal of damage, transition probabilities."""

import h5py
import numpy as np
import pytest

from unisono.errors import UserError
from unisono.hmm import gmm
from unisono.hmm.model import HmmModel, load_model, save_model, transition_model
from unisono.hmm.topology import topology_text
from unisono.hmm.tree import monophone_tree, to_kaldi
from unisono.hmm.triphones import transition_table


def make_model(seed=0):
    rng = np.random.default_rng(seed)
    tree = to_kaldi(monophone_tree({1: 5, 2: 3}), 1, 0)
    text = topology_text([1], [2], 5, 3)
    blank = HmmModel(tree, text, np.zeros(0, np.float32), gmm.single_gaussians(np.zeros((8, 2)), np.ones((8, 2))))
    base = transition_model(blank.tree, text)
    table = transition_table(base)
    log_probs = np.array(base.log_probs, np.float32)
    for number in range(1, len(base.tuples) + 1):
        own = [i for i in range(1, len(log_probs)) if base.id2state[i] == number]
        log_probs[own] = np.log(rng.dirichlet(np.full(len(own), 3.0)))
    assert table.self_loop[1:].any()
    gmms = gmm.single_gaussians(rng.normal(size=(8, 2)), rng.uniform(0.5, 2, (8, 2)))
    gmms = gmm.split(gmms, np.arange(8) % 3 + 1, rng)
    return HmmModel(tree, text, log_probs, gmms, {"kind": "mfcc", "num_ceps": 13})


def test_round_trip_is_byte_equal(tmp_path):
    model = make_model()
    save_model(tmp_path / "a.h5", model)
    loaded = load_model(tmp_path / "a.h5")
    save_model(tmp_path / "b.h5", loaded)
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()
    assert loaded.feature_options == {"kind": "mfcc", "num_ceps": 13} and loaded.topology == model.topology
    x = np.random.default_rng(1).normal(size=(9, 2)).astype(np.float32)
    np.testing.assert_array_equal(loaded.log_likelihoods(x), model.log_likelihoods(x))
    assert loaded.num_pdfs == 8 and loaded.dim == 2 and (loaded.context_width, loaded.central_position) == (1, 0)


def test_transition_probabilities_come_back():
    model = make_model()
    wheel = model.transition_model
    np.testing.assert_array_equal(np.array(wheel.log_probs, np.float32), model.transition_log_probs)
    for number in range(1, len(wheel.tuples) + 1):
        loop = [i for i in range(1, len(model.id2pdf)) if wheel.id2state[i] == number and wheel.is_self_loop(i)]
        away = np.log1p(-np.exp(model.transition_log_probs[loop[0]])) if loop else 0.0
        assert wheel.non_self_loop_log_probs[number] == pytest.approx(away, abs=1e-6)


def test_pdf_of_each_transition():
    model = make_model()
    assert model.id2pdf[0] == -1 and model.id2pdf.dtype == np.int32
    assert sorted(set(model.id2pdf[1:].tolist())) == list(range(8))


def test_the_wheel_scores_alike():
    from unisono.hmm.libs import khg

    model = make_model()
    frames = np.random.default_rng(2).normal(size=(6, 2)).astype(np.float32)
    wheel = khg.DecodableAmDiagGmmScaled(model.am_gmm, model.transition_model, frames, 1.0)
    found = model.log_likelihoods(frames)
    for t in range(6):
        for number in range(1, len(model.id2pdf)):
            assert wheel.log_likelihood(t, number) == pytest.approx(found[t, model.id2pdf[number]], abs=1e-4)


def test_other_features_are_refused():
    with pytest.raises(UserError, match="3 dimensions, but the HMM was trained on 2"):
        make_model().log_likelihoods(np.zeros((4, 3), np.float32))


def damage(name, value):
    def change(file):
        del file[name]
        if value is not None:
            file[name] = value

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda file: file.attrs.modify("format", "other"), "not an HMM of format"),
        (damage("means", None), "means is missing"),
        (damage("means", np.zeros((2, 2))), "not a <f4 array"),
        (damage("means", h5py.ExternalLink("/etc/passwd", "/x")), "missing or a link"),
        (damage("offsets", np.arange(9)), "do not fit together"),
        (damage("weights", np.full(15, np.nan, np.float32)), "not finite or not positive"),
        (damage("variances", np.zeros((15, 2), np.float32)), "not finite or not positive"),
    ],
)
def test_damaged_files_are_refused(tmp_path, change, message):
    save_model(tmp_path / "m.h5", make_model())
    with h5py.File(tmp_path / "m.h5", "a") as file:
        change(file)
    with pytest.raises(UserError, match=message):
        load_model(tmp_path / "m.h5")


def test_missing_and_not_hdf5(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        load_model(tmp_path / "m.h5")
    (tmp_path / "m.h5").write_bytes(b"text")
    with pytest.raises(UserError, match="damaged"):
        load_model(tmp_path / "m.h5")


def test_transition_probabilities_of_another_tree_are_refused():
    model = make_model()
    with pytest.raises(UserError, match="transitions"):
        transition_model(model.tree, model.topology, np.zeros(4))
