"""Take tree, topology and transition probabilities from the HMM of another config's finished run.

Only where both have the same training and dev sets, and the same lexicon and phones: else its states would stand for
something else here.
"""

import argparse


def register(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument("--source", required=True, help="folder of the finished run, with recogniser.json")
    parser.add_argument("--lang-dir", required=True, help="language directory of this config")
    parser.add_argument("--corpus", required=True, help="corpus.json of this config")
    parser.add_argument("--out", required=True, help="model.h5 to write")


def run(args: argparse.Namespace) -> None:
    """Check that corpus and language are the same, then copy the model."""
    from pathlib import Path

    from unisono.errors import UserError
    from unisono.files import read_json
    from unisono.hmm.model import load_model, save_model
    from unisono.recognise.system import read_system

    system = read_system(args.source)
    for name in ("lexicon.txt", "phones.txt", "words.txt", "topo"):
        own = Path(args.lang_dir) / name
        if own.read_bytes() != (system.lang / name).read_bytes():
            raise UserError(
                f"hmm.align_with: {own} differs from {system.lang / name}: give both configs the same lexicon and the "
                "same settings of phones and silence"
            )
    here, there = read_json(args.corpus)["splits"], system.facts.get("corpus", {})
    for split in ("train", "dev"):
        if here[split] != there.get(split):
            raise UserError(
                f"hmm.align_with: {split} is {here[split]} here and {there.get(split)} in {args.source}: "
                "give both configs the same corpus"
            )
    save_model(args.out, load_model(system.hmm))
