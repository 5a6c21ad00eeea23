"""Recognise the words of recordings with a trained system: text, JSON lines, or CTM with the time of each word.

Each recording is one utterance, mono, WAV or FLAC, of the sampling rate of the training; cut long ones at pauses.
CMVN per speaker takes all recordings of a speaker that are given: name the speakers in a table, or say
--one-speaker; otherwise each file is a speaker of its own. Times come from a forced alignment of the words found.
"""

import argparse

from unisono.cli import arguments

EXAMPLES = """examples:
  unisono transcribe --system results/mine/runs/main a.wav b.flac
  unisono transcribe --system mine-recogniser --table recordings.tsv --format ctm --out words.ctm --processes 4
  unisono transcribe --system results/mine/runs/main --feats feats.scp --cmvn cmvn.scp --utt2spk utt2spk

--format text is Kaldi's: utterance_id WORD WORD ...; json is an object a line: utterance_id, speaker_id, path,
duration_s, text, complete (false: no whole sentence survived the search, this is the best part of one) and, with
--times, words: a list of {word, start_s, duration_s}; ctm: utterance_id 1 start duration WORD.

--processes is how many recordings are searched at once; --threads how many threads compute the network of each:
leave it at 1 unless there are fewer recordings than cores. No result depends on --processes.
"""


def register(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.epilog = EXAMPLES
    arguments.add_utterances(parser)
    parser.add_argument("--system", required=True, metavar="DIR", help="folder of a finished run, or an exported one")
    parser.add_argument("--format", choices=("text", "json", "ctm"), default="text", help="default: text")
    parser.add_argument("--times", action="store_true", help="with --format json: the time of each word, too")
    parser.add_argument("--out", metavar="FILE", help="write here instead of to standard output; --log needs it")
    arguments.add_device(parser)
    arguments.add_processes(parser)


def run(args: argparse.Namespace) -> None:
    """Read, recognise, write."""
    import sys

    from unisono.errors import UserError
    from unisono.files import write_text
    from unisono.recognise.system import read_system
    from unisono.recognise.transcribe import transcribe
    from unisono.recognise.transcripts import FORMATS

    arguments.check_utterances(args)
    if args.times and args.format != "json":
        raise UserError("--times: goes with --format json: ctm has them anyway, text has none")
    if args.log and not args.out:
        raise UserError("--out: missing: --log takes all that is printed, so the words need a file of their own")
    system = read_system(args.system)
    recordings, features = arguments.utterances(args, system)
    timed = args.format == "ctm" or args.times
    device = arguments.device_of(args)
    found = transcribe(system, recordings, features, timed, args.threads, args.processes, device)
    text = FORMATS[args.format](found)
    if args.out:
        write_text(args.out, text)
    else:
        sys.stdout.write(text)
