"""A disk that is too small is said before hours are spent."""

import argparse
import json
import shutil
from collections import namedtuple

import pytest

from unisono.cli import corpus
from unisono.errors import UserError
from unisono.files import require_space

Usage = namedtuple("Usage", "total used free")
SPOKEN = {"train_sentences": 6, "dev_sentences": 2, "test_sentences": 4, "lm_sentences": 8, "train_voices": 3,
          "dev_voices": 1, "test_voices": 2, "sampling_rate": 8000}  # fmt: skip
OPTIONS = {"kind": "spoken", "shards": 2, "spoken": SPOKEN}


def test_the_line_names_folder_need_and_remedy(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: Usage(10**10, 0, 10**9))
    require_space(tmp_path, 10**9, "the rest")
    with pytest.raises(UserError, match=r"1\.00 GB free.*the rest takes about 3\.00 GB.*--directory"):
        require_space(tmp_path, 3e9, "the rest")


def test_the_corpus_command_looks_at_the_disk(tmp_path, monkeypatch):
    args = argparse.Namespace(
        original=None, folder=None, source=None, options=json.dumps(OPTIONS),
        out_dir=str(tmp_path / "data"), corpora_dir=str(tmp_path), processes=1, from_features=None,
    )  # fmt: skip
    corpus.run(args)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: Usage(10**10, 10**10, 1000))
    with pytest.raises(UserError, match="what follows for 0.0 hours of speech"):
        corpus.run(args)
