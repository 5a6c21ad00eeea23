"""Gather all that a run's recogniser needs in one folder, which can be copied to another machine.

It holds the network (final.safetensors), the decoding graph (HCLG.fst), words, phones and lexicon (lang/), the HMM
(model.h5), with global CMVN its statistics (cmvn.h5), settings and SHA-256 of each file (recogniser.json), where it
comes from (provenance.json), and README.md; no recordings. `unisono transcribe --system FOLDER` works from it.
--format kaldi makes a folder that Kaldi decodes with instead: final.mdl (nnet3), tree, HCLG.fst, words.txt, phones.txt,
lang/ and conf/; --format nnet1 has final.nnet and class_counts in place of nnet3.
"""

import argparse

EXAMPLE = """examples:
  unisono export results/mine/runs/main mine-recogniser --licence "CC BY 4.0"
  unisono export results/mine/runs/main mine-for-kaldi --format kaldi
"""


def register(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.epilog = EXAMPLE
    parser.add_argument("run_folder", metavar="RUN_FOLDER", help="results/<name>/runs/<run> of a finished run")
    parser.add_argument("out_dir", metavar="OUT_DIR", help="folder to make; it must not be there yet")
    parser.add_argument(
        "--format", choices=("unisono", "kaldi", "nnet1"), default="unisono", help="for whom (default: unisono)"
    )
    parser.add_argument(
        "--licence",
        metavar="TEXT",
        help="licence of the model, for README.md and provenance.json (default: not stated)",
    )


def run(args: argparse.Namespace) -> None:
    """Make the folder."""
    import logging

    from unisono.errors import UserError
    from unisono.recognise import kaldi_export
    from unisono.recognise.export import export
    from unisono.recognise.system import read_system

    log = logging.getLogger("unisono.export")
    if args.format != "unisono":
        if args.licence:
            raise UserError("--licence: goes with --format unisono: a folder for Kaldi says nothing of licences")
        size = kaldi_export.export(read_system(args.run_folder), args.out_dir, args.format)
        log.info("%s: %.1f MB; its README.md has Kaldi's commands", args.out_dir, size / 1e6)
        return
    size = export(read_system(args.run_folder), args.out_dir, args.licence)
    log.info("%s: %.1f MB; use it with unisono transcribe --system %s AUDIO", args.out_dir, size / 1e6, args.out_dir)
