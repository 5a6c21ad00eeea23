"""Settings of Kaldi's features and systems: what does not go together is refused by name."""

import pytest

from unisono.config import files
from unisono.config.check import read_config
from unisono.errors import UserError

CORPUS = {"kind": "kaldi", "dir": "digits"}
SYSTEM = {"dir": "exp/tri", "lang": "data/lang", "alignments": ["exp/tri/ali.*.gz"]}
GIVEN = {
    "corpus": CORPUS, "features": {"kind": "kaldi", "numbers": 13}, "decode": {"systems": []},
    "hmm": {"align": "kaldi", "kaldi": {**SYSTEM, "dev_alignments": ["exp/dev/ali.*.gz"]}},
}  # fmt: skip


@pytest.mark.parametrize(
    ("config", "line"),
    [
        ({"hmm": {"align": "kaldi"}}, "hmm.kaldi: goes with hmm.align: kaldi"),
        ({"hmm": {"kaldi": SYSTEM}}, "hmm.kaldi: goes with hmm.align: kaldi"),
        ({"hmm": {"align": "kaldi", "kaldi": SYSTEM, "align_with": {"name": "other"}}}, "hmm.align_with: hmm.align"),
        ({"hmm": {"align": "kaldi", "kaldi": {**SYSTEM, "alignments": []}}}, "hmm.kaldi.alignments"),
        ({"hmm": {"align": "kaldi", "kaldi": {"dir": "exp"}}}, "hmm.kaldi"),
        ({"hmm": {"align": "kaldi", "kaldi": SYSTEM}, "speed_perturbation": [0.9]}, "speed_perturbation: the other"),
        ({"features": "kaldi"}, "features.kind: kaldi reads feats.scp of data directories"),
        ({**GIVEN, "hmm": {}}, "hmm.features.kind: without recordings GMMs need features of kind kaldi"),
        ({**GIVEN, "decode": {"systems": ["mono"]}}, "hmm.features.kind: without recordings"),
        (
            {**GIVEN, "hmm": {"align": "kaldi", "kaldi": {**SYSTEM, "dev": "gmm"}}},
            "hmm.features.kind: without recordin",
        ),
        (
            {**GIVEN, "hmm": {"align": "kaldi", "kaldi": {**GIVEN["hmm"]["kaldi"], "dev": "train"}}},
            "hmm.kaldi.dev: dev_alignments say it already",
        ),
        ({"corpus": CORPUS, "hmm": {"features": "kaldi"}}, "hmm.features.kind: kaldi goes with features.kind: kaldi"),
        ({**GIVEN, "hmm": {"features": "kaldi"}, "speed_perturbation": [0.9]}, "speed_perturbation: features of Kaldi"),
    ],
)
def test_what_makes_no_sense_is_refused(config, line):
    with pytest.raises(UserError) as caught:
        read_config({"name": "x", **config})
    assert line in str(caught.value) and "\n" not in str(caught.value)


def test_files_that_are_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shared, _, _ = read_config({"name": "x", "corpora_dir": "corpora", **GIVEN})
    assert shared.features.dim == 13 and shared.aligner == "kaldi"
    with pytest.raises(UserError, match=r"hmm\.kaldi: exp/tri/final\.mdl: no such file"):
        files.kaldi_system(shared)
    names = ["exp/tri/final.mdl", "exp/tri/tree", *(f"data/lang/{n}" for n in ("words.txt", "phones.txt", "L.fst"))]
    for name in [*names, "data/lang/L_disambig.fst", "exp/tri/ali.1.gz", "exp/tri/ali.2.gz"]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert files.kaldi_system(shared)["tree"] == "exp/tri/tree"
    assert files.kaldi_alignments(shared, "train") == ["exp/tri/ali.1.gz", "exp/tri/ali.2.gz"]
    with pytest.raises(UserError, match=r"hmm\.kaldi: exp/dev/ali\.\*\.gz: no such file"):
        files.kaldi_alignments(shared, "dev")
    assert files.kaldi_features(shared, "net", "dev", "feats.scp") == "corpora/digits/dev/feats.scp"
    assert files.kaldi_features(shared, "net", "dev", "cmvn.scp") == ""
    assert files.kaldi_features(shared, "hmm", "dev", "feats.scp") == ""
    (tmp_path / "corpora/digits/dev").mkdir(parents=True)
    (tmp_path / "corpora/digits/dev/cmvn.scp").touch()
    assert files.kaldi_features(shared, "net", "dev", "cmvn.scp") == "corpora/digits/dev/cmvn.scp"


MIXTURES = b"</TransitionModel> <DIMENSION> \4\x27\0\0\0<NUMPDFS> "


@pytest.mark.parametrize(
    ("model", "features", "dev", "expected"),
    [
        (MIXTURES, {"kind": "kaldi"}, None, "gmm"),  # 13 with deltas of both orders: 39
        (MIXTURES, {"kind": "kaldi", "deltas": 1}, None, "train"),
        (MIXTURES, {"kind": "kaldi", "deltas": 1}, "gmm", "gmm"),
        (MIXTURES, {"kind": "kaldi"}, "train", "train"),
        (MIXTURES, {"kind": "mfcc"}, None, "train"),  # there are no recordings
        (b"</TransitionModel> \n<DIMENSION> 39 <NUMPDFS> 2 ", {"kind": "kaldi"}, None, "gmm"),
        (b"</TransitionModel> <Nnet3> \n", {"kind": "kaldi"}, None, "train"),
        (b"", {"kind": "kaldi"}, None, "train"),
        (bytes(2**20 - 7) + MIXTURES, {"kind": "kaldi"}, None, "gmm"),  # across two blocks
    ],
)
def test_what_stands_for_dev(tmp_path, monkeypatch, model, features, dev, expected):
    monkeypatch.chdir(tmp_path)
    hmm = {"align": "kaldi", "features": features, "kaldi": {**SYSTEM, "dev": dev}}
    shared, _, _ = read_config({"name": "x", **GIVEN, "hmm": hmm})
    for name in ("exp/tri/tree", *(f"data/lang/{n}" for n in ("words.txt", "phones.txt", "L.fst", "L_disambig.fst"))):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "exp/tri/final.mdl").write_bytes(model)
    assert files.kaldi_dev(shared) == expected
