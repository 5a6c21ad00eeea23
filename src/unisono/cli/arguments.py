"""Flags that several commands share, and what they stand for: the options and the features of one split."""

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

    from unisono.config.features import FeatureOptions
    from unisono.config.hmm import HmmOptions
    from unisono.data.features.kaldi import KaldiFeatures
    from unisono.data.features.reader import FeatureReader
    from unisono.data.features.recordings import Recording, RecordingFeatures
    from unisono.recognise.system import System


def add_processes(parser: argparse.ArgumentParser) -> None:
    """Declare how many processes compute."""
    parser.add_argument(
        "--processes", type=int, default=1, metavar="N", help="no result depends on their number (default 1)"
    )


def add_device(parser: argparse.ArgumentParser) -> None:
    """Declare where networks compute."""
    from unisono.config.parallel import ResourceOptions

    words = "config key resources.device (default: a GPU where one is visible)"
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default=ResourceOptions().device, help=words)


def device_of(args: argparse.Namespace, index: int = 0) -> "Callable[[], torch.device]":
    """Return what chooses the device of `--device`, to be called in the process that computes: CUDA survives no fork.

    index: which of the GPUs, modulo their number. Raises UserError where a GPU is demanded and none is visible.
    """

    def choose() -> "torch.device":
        from unisono.engines.place import place_for

        return place_for(args.device, index, "float32").device

    if args.device == "cuda":
        from unisono.engines.place import check

        check(args.device)
    return choose


def add_split(parser: argparse.ArgumentParser) -> None:
    """Declare the features of one split and the language they are in."""
    parser.add_argument("--lang-dir", required=True, metavar="DIR", help="language directory")
    parser.add_argument("--table", required=True, metavar="TSV", help="utterance table of the split")
    parser.add_argument("--features", required=True, nargs="+", metavar="FILE", help="feature files of its shards")
    parser.add_argument("--cmvn", required=True, metavar="FILE", help="CMVN statistics that go with the features")
    parser.add_argument("--feature-options", required=True, metavar="JSON", help="config section of these features")
    add_processes(parser)


def add_hmm_split(parser: argparse.ArgumentParser) -> None:
    """Declare the flags of all commands of the HMM stage."""
    add_split(parser)
    parser.add_argument("--options", required=True, metavar="JSON", help="config section hmm")


def add_hmm_training(parser: argparse.ArgumentParser, *, start: bool) -> None:
    """Declare the flags of an HMM training; `start`: it begins with the alignments of another model."""
    add_hmm_split(parser)
    if start:
        parser.add_argument("--from-model", required=True, metavar="FILE", help="model.h5 that made the alignments")
        parser.add_argument("--from-alignments", required=True, metavar="FILE", help="alignments by that model")
    parser.add_argument("--out", required=True, metavar="FILE", help="model.h5 to write")
    parser.add_argument("--report", required=True, metavar="FILE", help="JSON to write: iterations, what was left out")


def add_alignment(parser: argparse.ArgumentParser) -> None:
    """Declare the flags of the commands that align a split."""
    add_hmm_split(parser)
    parser.add_argument("--model", required=True, metavar="FILE", help="model.h5 to align with")
    parser.add_argument("--out", required=True, metavar="FILE", help="alignments to write, Sequences format")
    parser.add_argument("--report", required=True, metavar="FILE", help="JSON to write: counts, failures and reasons")


def add_decoding(parser: argparse.ArgumentParser) -> None:
    """Declare the flags of the commands that decode a split: its features, the acoustic model and the graph."""
    add_split(parser)
    parser.add_argument("--system", required=True, choices=("gmm", "dnn"), help="kind of acoustic model")
    parser.add_argument("--hmm-model", required=True, metavar="FILE", help="model.h5 that the graph was built from")
    parser.add_argument("--network", metavar="FILE", help="final.safetensors, where --system is dnn")
    parser.add_argument("--graph", required=True, metavar="FILE", help="HCLG.fst")
    parser.add_argument("--options", required=True, metavar="JSON", help="config section decode")
    add_device(parser)


def add_utterances(parser: argparse.ArgumentParser) -> None:
    """Declare what a finished system is used on: recordings, or features that Kaldi computed."""
    parser.add_argument("audio", nargs="*", metavar="AUDIO", help="recordings, WAV or FLAC")
    parser.add_argument(
        "--table",
        metavar="TSV",
        help="recordings by columns utterance_id, speaker_id, path (relative to the table's folder)",
    )
    parser.add_argument("--one-speaker", action="store_true", help="all AUDIO files are of one speaker")
    parser.add_argument("--conf", metavar="FILE", help="mfcc.conf or fbank.conf, if the system learnt Kaldi's features")
    parser.add_argument("--feats", metavar="FILE", help="in place of recordings: feats.scp, or an archive of features")
    parser.add_argument("--cmvn", metavar="FILE", help="with --feats: CMVN statistics, a script or an archive")
    parser.add_argument("--utt2spk", metavar="FILE", help="with --feats: whose utterances they are (else all others')")


def utterances(
    args: argparse.Namespace, system: "System"
) -> "tuple[list[Recording], RecordingFeatures | KaldiFeatures]":
    """Return the utterances that `add_utterances` names, and their features as the system reads them, not computed."""
    from unisono.data.features.recordings import of_files, read_recordings
    from unisono.recognise import transcribe

    check_utterances(args)
    if args.feats:
        given = transcribe.given_features(system, args.feats, args.cmvn, args.utt2spk)
        return transcribe.recordings_of(given), given
    recordings = read_recordings(args.table) if args.table else of_files(args.audio, args.one_speaker)
    return recordings, transcribe.features_of(system, recordings, args.conf)


def check_utterances(args: argparse.Namespace) -> None:
    """Raise UserError for flags of `add_utterances` that do not go together."""
    from unisono.errors import UserError

    if sum(bool(given) for given in (args.audio, args.table, args.feats)) != 1:
        raise UserError("AUDIO, --table, --feats: give one of these: recordings, a table of them, or features")
    if args.one_speaker and not args.audio:
        raise UserError("--one-speaker: goes with AUDIO: a table or utt2spk names the speakers")
    for flag in ("cmvn", "utt2spk"):
        if getattr(args, flag) and not args.feats:
            raise UserError(f"--{flag}: goes with --feats")
    if args.conf and args.feats:
        raise UserError("--conf: goes with recordings: --feats are computed already")


def hmm_options(args: argparse.Namespace) -> "HmmOptions":
    """Return the config section hmm."""
    from unisono.config.build import from_json
    from unisono.config.hmm import HmmOptions

    return from_json(HmmOptions, args.options, "--options")


def feature_options(args: argparse.Namespace) -> "FeatureOptions":
    """Return the config section of the split's features."""
    from unisono.config.build import from_json
    from unisono.config.features import FeatureOptions

    return from_json(FeatureOptions, args.feature_options, "--feature-options")


def feature_reader(args: argparse.Namespace, shard: int | None = None) -> "FeatureReader":
    """Open the features of the split, or of one shard of it."""
    from unisono.data.features.reader import FeatureReader

    return FeatureReader(args.table, args.features, args.cmvn, feature_options(args), shard)
