"""Gather all that a run's recogniser needs in one folder, which can be copied to another machine.

It holds the network (final.safetensors), the decoding graph (HCLG.fst), words, phones and lexicon (lang/), the HMM
(model.h5), with global CMVN its statistics (cmvn.h5), settings and SHA-256 of each file (recogniser.json), where it
comes from (provenance.json), and README.md; no recordings. `unisono transcribe --system FOLDER` works from it.
"""

import argparse

EXAMPLE = """example:
  unisono export results/mine/runs/main mine-recogniser --licence "CC BY 4.0"
"""


def register(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.epilog = EXAMPLE
    parser.add_argument("run_folder", metavar="RUN_FOLDER", help="results/<name>/runs/<run> of a finished run")
    parser.add_argument("out_dir", metavar="OUT_DIR", help="folder to make; it must not be there yet")
    parser.add_argument(
        "--licence",
        metavar="TEXT",
        help="licence of the model, for README.md and provenance.json (default: not stated)",
    )


def run(args: argparse.Namespace) -> None:
    """Make the folder."""
    import logging

    from unisono.recognise.export import export
    from unisono.recognise.system import read_system

    size = export(read_system(args.run_folder), args.out_dir, args.licence)
    logging.getLogger("unisono.export").info(
        "%s: %.1f MB; use it with unisono transcribe --system %s AUDIO", args.out_dir, size / 1e6, args.out_dir
    )
