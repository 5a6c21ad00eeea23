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
    from unisono.files import read_json
    from unisono.hmm.model import load_model, save_model
    from unisono.recognise import adopt
    from unisono.recognise.system import read_system

    system = read_system(args.source)
    adopt.check_language(system, args.lang_dir)
    adopt.check_corpus(system, read_json(args.corpus)["splits"])
    save_model(args.out, load_model(system.hmm))
