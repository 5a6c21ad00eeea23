"""Checks before a finished run's recogniser aligns the corpus of another config (`hmm.align_with`)."""

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from unisono.config.features import FeatureOptions
from unisono.errors import UserError
from unisono.recognise.system import System

# The files of a language directory that decide what a state stands for.
DECISIVE = ("lexicon.txt", "phones.txt", "words.txt", "topo")


def check_language(system: System, lang_dir: str | os.PathLike[str]) -> None:
    """Raise UserError unless the system's phones, words and pronunciations are those of `lang_dir`."""
    for name in DECISIVE:
        own = Path(lang_dir) / name
        if own.read_bytes() != (system.lang / name).read_bytes():
            raise UserError(
                f"hmm.align_with: {own} differs from {system.lang / name}: give both configs the same lexicon and the "
                "same settings of phones and silence"
            )


def check_corpus(system: System, splits: Mapping[str, Any]) -> None:
    """Raise UserError unless the system was trained and tuned on the same corpus; `splits` as in corpus.json."""
    theirs = system.facts.get("corpus", {})
    for split in ("train", "dev"):
        if splits[split] != theirs.get(split):
            raise UserError(
                f"hmm.align_with: {split} is {splits[split]} here and {theirs.get(split)} in {system.folder}: "
                "give both configs the same corpus"
            )


def check_features(system: System, options: FeatureOptions) -> None:
    """Raise UserError unless the system's network was trained on these features."""
    theirs = system.facts["settings"]["features"]
    for key, own in dataclasses.asdict(options).items():
        if own != theirs.get(key):
            raise UserError(
                f"hmm.align_with: features.{key} is {own} here and {theirs.get(key)} in {system.folder}: "
                "give both configs the same features"
            )
