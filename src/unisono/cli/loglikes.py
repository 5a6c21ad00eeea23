"""Write a network's log-likelihoods as a Kaldi archive, so that Kaldi decodes it and makes the lattices."""

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from unisono.recognise.acoustics import Features

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
    parser.add_argument("audio", nargs="*", metavar="AUDIO", help="recordings, WAV or FLAC; needs --system")
    parser.add_argument("--table", metavar="TSV", help="recordings as in unisono transcribe; needs --system")
    parser.add_argument("--one-speaker", action="store_true", help="all AUDIO files are of one speaker")
    parser.add_argument("--feats", metavar="SCP", help="features of Kaldi in place of recordings")
    parser.add_argument("--cmvn", metavar="FILE", help="with --feats: CMVN statistics, an archive or a script")
    parser.add_argument("--utt2spk", metavar="FILE", help="with --cmvn: these are by speaker (else by utterance)")
    parser.add_argument("--norm-vars", action="store_true", help="with --cmvn: divide by the deviation, too")
    parser.add_argument("--deltas", type=int, choices=(0, 1, 2), default=0, help="with --feats: deltas to add (0)")
    parser.add_argument("--system", metavar="DIR", help="folder of a finished run, or an exported one")
    parser.add_argument("--model", metavar="FILE", help="in place of --system: a network, final.safetensors")
    parser.add_argument("--no-priors", action="store_true", help="log-posteriors: priors are not divided out")
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

    given = [flag for flag in ("audio", "table", "feats") if getattr(args, flag)]
    if len(given) != 1:
        raise UserError("AUDIO, --table, --feats: give one of these")
    if bool(args.system) == bool(args.model):
        raise UserError("--system, --model: give one of these")
    for flag, needs in (("utt2spk", "cmvn"), ("norm_vars", "cmvn"), ("cmvn", "feats"), ("deltas", "feats")):
        if getattr(args, flag) and not getattr(args, needs):
            raise UserError(f"--{flag.replace('_', '-')}: goes with --{needs}")
    if args.one_speaker and not args.audio:
        raise UserError("--one-speaker: goes with AUDIO")
    names, features = _features(args)
    network = read_system(args.system).network if args.system else args.model
    scorer = network_scorer(network, args.threads, features, priors=not args.no_priors)
    frames = 0
    with console.progress("Log-likelihoods", len(names)) as advance, archive_writer(args.out, args.scp) as writer:
        for name in names:
            scores = scorer(name)
            writer.add(name, scores)
            frames += len(scores)
            advance()
    logging.getLogger("unisono.loglikes").info("%d utterances, %d frames", len(names), frames)


def _features(args: argparse.Namespace) -> "tuple[list[str], Features]":
    """Return the utterances and where their features come from."""
    from unisono.data.features.kaldi import KaldiFeatures
    from unisono.data.features.recordings import of_files, read_recordings
    from unisono.errors import UserError
    from unisono.recognise.system import read_system
    from unisono.recognise.transcribe import features_of

    if args.feats:
        features = KaldiFeatures(args.feats, args.cmvn, args.utt2spk, variance=args.norm_vars, deltas=args.deltas)
        return features.utts, features
    if not args.system:
        raise UserError("--system: missing: recordings need the settings of its features; --model goes with --feats")
    recordings = read_recordings(args.table) if args.table else of_files(args.audio, args.one_speaker)
    found = features_of(read_system(args.system), recordings)
    found.compute()
    return [recording.utterance_id for recording in recordings], found
