"""Write a network's log-likelihoods as a Kaldi archive, so that Kaldi decodes it and makes the lattices."""

import argparse
from typing import TYPE_CHECKING

from unisono.cli import arguments

if TYPE_CHECKING:
    from unisono.recognise.acoustics import Features
    from unisono.recognise.system import System

EXAMPLES = """examples:
  unisono loglikes --system results/mine/runs/main --table recordings.tsv --out likes.ark --scp likes.scp
  unisono loglikes --model final.safetensors --feats feats.scp --cmvn cmvn.ark --utt2spk utt2spk --out likes.ark

Each matrix is [frames, pdfs], natural logarithms: log p(pdf | frame) - log p(pdf), or without priors the first alone.
Kaldi decodes them with latgen-faster-mapped (its --acoustic-scale is what unisono calls acoustic_scale), on the HCLG
and the model of the HMM that the network was trained with: unisono export --format kaldi writes both.
"""


def register(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.epilog = EXAMPLES
    arguments.add_utterances(parser)
    parser.add_argument("--system", metavar="DIR", help="folder of a finished run, or an exported one")
    parser.add_argument("--model", metavar="FILE", help="in place of --system: a network, on --feats")
    parser.add_argument("--norm-vars", action="store_true", help="with --model: --cmvn divides by the deviation, too")
    parser.add_argument("--deltas", type=int, choices=(0, 1, 2), default=0, help="with --model: deltas to add (0)")
    parser.add_argument("--no-priors", action="store_true", help="log-posteriors: priors are not divided out")
    arguments.add_device(parser)
    parser.add_argument("--out", required=True, metavar="ARK", help="archive to write")
    parser.add_argument("--scp", metavar="FILE", help="its script, too")


def run(args: argparse.Namespace) -> None:
    """Compute and write, utterance by utterance."""
    import logging

    from unisono import console
    from unisono.data.kaldi.write import archive_writer
    from unisono.errors import UserError
    from unisono.recognise.acoustics import network_scorer
    from unisono.recognise.system import read_system

    arguments.check_utterances(args)
    if bool(args.system) == bool(args.model):
        raise UserError("--system, --model: give one of these")
    if args.system and (args.norm_vars or args.deltas):
        raise UserError("--norm-vars, --deltas: go with --model: a system knows how its features are made")
    if args.model and not args.feats:
        raise UserError("--system: missing: recordings need the settings of its features; --model goes with --feats")
    if args.norm_vars and not args.cmvn:
        raise UserError("--norm-vars: goes with --cmvn")
    system = read_system(args.system) if args.system else None
    names, features = _given(args) if system is None else _of(args, system)
    network = args.model if system is None else system.network
    device = arguments.device_of(args)
    scorer = network_scorer(network, args.threads, features, priors=not args.no_priors, device=device)
    frames = 0
    with console.progress("Log-likelihoods", len(names)) as advance, archive_writer(args.out, args.scp) as writer:
        for name in names:
            scores = scorer(name)
            writer.add(name, scores)
            frames += len(scores)
            advance()
    logging.getLogger("unisono.loglikes").info("%d utterances, %d frames", len(names), frames)


def _of(args: argparse.Namespace, system: "System") -> "tuple[list[str], Features]":
    """Return the utterances and their features as a system reads them."""
    recordings, found = arguments.utterances(args, system)
    found.compute()
    return [recording.utterance_id for recording in recordings], found


def _given(args: argparse.Namespace) -> "tuple[list[str], Features]":
    """Return the utterances and their features as the flags say."""
    from unisono.data.features.kaldi import KaldiFeatures, read_statistics

    found = KaldiFeatures(args.feats, args.utt2spk, deltas=args.deltas)
    if args.cmvn:
        found.normalise(read_statistics(args.cmvn, found.base_dim), args.norm_vars, args.cmvn)
    return found.utts, found
