"""Write down which files and settings make up the recogniser of a run: recogniser.json."""

import argparse
from typing import Any


def register(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument("--network", required=True, help="final.safetensors")
    parser.add_argument("--hmm-model", required=True, help="model.h5 of the HMM that the graph was built from")
    parser.add_argument("--lang-dir", required=True, help="language directory")
    parser.add_argument("--graph", required=True, help="HCLG.fst")
    parser.add_argument("--cmvn", help="statistics of the training set, where cmvn is global")
    parser.add_argument("--tuned", required=True, help="tune.json of the model that was chosen")
    parser.add_argument("--corpus", required=True, help="corpus.json")
    parser.add_argument("--settings", required=True, metavar="JSON", help="sections features, hmm, lm, decode")
    parser.add_argument("--name", required=True, help="name of the config")
    parser.add_argument("--run", required=True, help="name of the run")
    parser.add_argument("--final-model", required=True, help="the candidate that was chosen")
    parser.add_argument("--out", required=True, metavar="FILE", help="recogniser.json in the run's folder")


def run(args: argparse.Namespace) -> None:
    """Write it."""
    import os

    from unisono.config.build import build, complete, from_json
    from unisono.config.config import Config
    from unisono.files import read_json, write_json
    from unisono.recognise import system

    given = from_json(dict[str, Any], args.settings, "--settings")
    whole = build(Config, {"name": args.name, **given}, "--settings")
    settings = {key: complete(getattr(whole, key)) for key in system.SECTIONS}
    names = {"name": args.name, "run": args.run, "final_model": args.final_model}
    facts = system.facts_of(names, settings, read_json(args.tuned), read_json(args.corpus))
    files = {
        "network": args.network,
        "hmm": args.hmm_model,
        "lang": args.lang_dir,
        "graph": args.graph,
        "cmvn": args.cmvn,
    }
    write_json(args.out, system.describe(os.path.dirname(args.out) or ".", files, facts))
