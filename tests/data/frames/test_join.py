"""The frames stores: a store may be made of several splits, whose utterances it holds sorted and once."""

import argparse
import dataclasses
import json

import numpy as np
import pytest

from tests.support.settings import section
from unisono.bootstrap.corpus import KIND as ALIGNMENT
from unisono.cli import frames
from unisono.config.features import FeatureOptions
from unisono.data.corpus.table import Utterance, write_table
from unisono.data.features.reader import KIND
from unisono.data.frames.store import FramesStore
from unisono.data.sequences import Sequences, write_sequences
from unisono.errors import UserError
from unisono.files import read_json

FBANK = section(FeatureOptions, 
    kind="fbank", num_mel_bins=5, num_ceps=3, low_freq=20, high_freq=0, frame_length_ms=25, frame_shift_ms=10,
    use_energy=False, dither=0.0, deltas=0, cmvn="none", cmvn_variance=True,
)  # fmt: skip


def split(folder, name, utterances, num_pdfs=4):
    """Write table, features and alignment of a split; an utterance {id: (frames, aligned)}."""
    rng = np.random.default_rng(len(name))
    rows = [Utterance(utt, "s", "/a.wav", 1.0, "A", "A", 0) for utt in sorted(utterances)]
    write_table(folder / f"{name}.tsv", rows)
    items = [(u, {"frames": rng.normal(size=(utterances[u][0], 5)).astype("f4")}) for u in sorted(utterances)]
    write_sequences(folder / f"{name}.h5", items, kind=KIND, attrs={"dim": 5})
    found = [(u, {"ids": np.full(n, len(name) % 4)}) for u, (_, n) in sorted(utterances.items()) if n]
    write_sequences(folder / f"{name}.ali.h5", found, kind=ALIGNMENT, attrs={"num_pdfs": num_pdfs})
    failed = [{"utterance_id": u, "reason": "too short"} for u, (_, n) in sorted(utterances.items()) if not n]
    (folder / f"{name}.json").write_text(json.dumps({"failed": failed}))


def make(folder, *train):
    """Run the command with these splits as the training store."""
    values = {"feature_options": json.dumps(dataclasses.asdict(FBANK)), "dtype": "float32"}
    for store, names in {"train": train, "dev": ("dev",)}.items():
        values |= {
            f"{store}_{key}": [str(folder / f"{name}{end}") for name in names]
            for key, end in {
                "table": ".tsv", "features": ".h5", "cmvn": ".cmvn", "alignment": ".ali.h5", "alignment_report": ".json"
            }.items()
        }  # fmt: skip
        values[f"out_{store}"] = str(folder / f"out.{store}.h5")
    frames.run(argparse.Namespace(**values, out_info=str(folder / "frames.json")))
    return read_json(folder / "frames.json")


def test_a_store_of_two_splits(tmp_path):
    split(tmp_path, "train", {"b": (7, 7), "t": (5, 5)})
    split(tmp_path, "perturbed", {"sp0.9-b": (8, 8), "sp1.1-t": (4, 0), "sp0.9-t": (6, 6)})
    split(tmp_path, "dev", {"d": (3, 3)})
    info = make(tmp_path, "train", "perturbed")
    assert info["train"] == {
        "frames": 26, "utterances": 4, "lengths": [7, 8, 6, 5],
        "left_out": [{"utterance_id": "sp1.1-t", "reason": "too short"}]
    }  # fmt: skip
    with Sequences(tmp_path / "out.train.h5") as store, Sequences(tmp_path / "perturbed.h5") as one:
        assert store.utts == ["b", "sp0.9-b", "sp0.9-t", "t"]
        np.testing.assert_array_equal(store.get("sp0.9-t"), one.get("sp0.9-t"))
    with FramesStore(tmp_path / "out.train.h5") as store:
        assert store.pdf_counts.tolist() == [0, 12 + 14, 0, 0]


def test_one_split_gives_what_it_gave_before(tmp_path):
    """The store of the training set alone does not know that others could be joined."""
    split(tmp_path, "train", {"b": (7, 7), "t": (5, 5)})
    split(tmp_path, "dev", {"d": (3, 3)})
    info = make(tmp_path, "train")
    assert info == {
        "train": {"frames": 12, "utterances": 2, "lengths": [7, 5], "left_out": []},
        "dev": {"frames": 3, "utterances": 1, "left_out": []}, "dim": 5, "num_pdfs": 4,
    }  # fmt: skip


def test_splits_of_different_trees_are_refused(tmp_path):
    split(tmp_path, "train", {"b": (7, 7)})
    split(tmp_path, "perturbed", {"sp0.9-b": (8, 8)}, num_pdfs=5)
    split(tmp_path, "dev", {"d": (3, 3)})
    with pytest.raises(UserError, match="made on different trees: align anew"):
        make(tmp_path, "train", "perturbed")
