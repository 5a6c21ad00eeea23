"""Make a table and a config of a folder of recordings, or a corpus of a public original; the corpus stage.

folder: recordings with a text beside each (NAME.txt or NAME.lab), TextGrids of the Montreal Forced Aligner, or the
layout of LibriSpeech. A table of utterances and Kaldi data directories need no command: name them in a config, see
docs/own-data.md.
"""

import argparse

from unisono.cli import arguments

_SHOWN = 6  # reasons why something is left out that are printed; the file has each fault
# Where the public originals are to be had.
ADDRESSES = {
    "fsdd": "https://github.com/Jakobovski/free-spoken-digit-dataset",
    "speechocean762": "https://www.openslr.org/101/",
}
EXAMPLES = f"""folder: your own recordings
  unisono corpus folder recordings --lexicon lexicon.txt    # makes mine.yaml and mine/utterances.tsv

fsdd: {ADDRESSES["fsdd"]}, commit 26eb9aa, CC BY-SA 4.0
  unisono corpus fsdd --from free-spoken-digit-dataset         # makes corpora/fsdd/, for config/fsdd*.yaml

speechocean762: {ADDRESSES["speechocean762"]}, CC BY 4.0
  unisono corpus speechocean762 --from speechocean762 --processes 4
                                                # makes corpora/speechocean762/, for config/speechocean762.yaml
"""


def register(parser: argparse.ArgumentParser) -> None:
    """Add the command's flags."""
    parser.epilog = EXAMPLES
    parser.add_argument("original", nargs="?", metavar="{folder,fsdd,speechocean762}", help="what to read")
    parser.add_argument("folder", nargs="?", metavar="DIR", help="folder: where the recordings lie")
    own = parser.add_argument_group("folder")
    own.add_argument("--lexicon", metavar="FILE", help="a word and its phones on each line")
    own.add_argument("--lm-text", metavar="FILE", help="sentences for the language model (the transcripts)")
    own.add_argument("--name", default="mine", help="name of the config and of its results (mine)")
    own.add_argument("--out", default=".", metavar="DIR", help="where NAME.yaml and NAME/ are written (.)")
    own.add_argument(
        "--speaker-characters", type=int, metavar="N", help="the first N letters of a name are the speaker"
    )
    own.add_argument(
        "--leave-out",
        action="store_true",
        help="leave out utterances with a word that the lexicon lacks, and recordings that do not fit, however many",
    )
    own.add_argument("--seed", type=int, default=1, metavar="N", help="draws who is in train, dev and test (1)")
    parser.add_argument("--from", dest="source", metavar="DIR", help="fsdd, speechocean762: the unpacked original")
    parser.add_argument("--corpora-dir", default="corpora", metavar="DIR", help="folder of all corpora (corpora)")
    arguments.add_processes(parser)
    stage = parser.add_argument_group("what the workflow gives instead")
    stage.add_argument("--options", metavar="JSON", help="config section corpus")
    stage.add_argument("--from-features", action="store_true", help="utterances of feats.scp, without recordings")
    stage.add_argument("--out-dir", metavar="DIR", help="folder for the tables (and for generated audio)")


def run(args: argparse.Namespace) -> None:
    """Build the corpus, or convert an original, and say what it holds."""
    from unisono.errors import UserError

    if args.original == "folder" and not (args.options or args.out_dir or args.source):
        _from_folder(args)
        return
    if args.folder:
        raise UserError(f"{args.folder}: too many words: did you mean --from {args.folder}?")
    if args.original and args.original not in ADDRESSES:
        raise UserError(
            f"{args.original}: no such public corpus: known are {', '.join(ADDRESSES)}; "
            "for your own recordings: unisono corpus folder DIR; a table, or Kaldi's data: see docs/own-data.md"
        )
    if args.original and not args.source:
        raise UserError(f"--from: missing: unpack {ADDRESSES[args.original]} and give its folder")
    if args.original and not (args.options or args.out_dir):
        _convert(args)
    elif args.options and args.out_dir and not (args.original or args.source):
        _build(args)
    else:
        raise UserError("give folder and DIR, or fsdd or speechocean762 and --from DIR (see --help)")


def _from_folder(args: argparse.Namespace) -> None:
    from pathlib import Path

    from unisono.data.corpus.folder.make import Wishes, make, reasons
    from unisono.data.corpus.text import counted
    from unisono.data.corpus.unseen import MANY, sentence
    from unisono.errors import UserError
    from unisono.sample_size import too_small

    if not args.folder or not args.lexicon:
        raise UserError(
            "give the folder of the recordings and the lexicon: unisono corpus folder DIR --lexicon FILE"
            " (no lexicon of your language? see docs/own-data.md)"
        )
    if args.speaker_characters is not None and args.speaker_characters < 1:
        raise UserError(f"--speaker-characters: {args.speaker_characters}: give at least 1")
    wishes = Wishes(
        name=args.name, lexicon=Path(args.lexicon), out_dir=Path(args.out), leave_out=args.leave_out, seed=args.seed,
        lm_text=Path(args.lm_text) if args.lm_text else None, speaker_characters=args.speaker_characters,
    )  # fmt: skip
    made = make(Path(args.folder), wishes, args.processes)
    for split, facts in made.splits.items():
        print(
            f"{split:5}  {counted(facts['utterances'], 'utterance')}, {counted(facts['speakers'], 'speaker')},"
            f" {counted(facts['words'], 'word')}, {facts['seconds'] / 60:.1f} minutes"
        )
    for note in made.notes:
        print(note)
    many = max(made.unseen.values()) > MANY
    print(
        ("warning: " if many else "") + sentence(made.unseen) + (": give more text by --lm-text FILE" if many else "")
    )
    if small := too_small(int(made.splits["test"]["words"]), int(made.splits["test"]["speakers"])):
        print(f"warning: {small}")
    for reason, faults in reasons(made.faults)[:_SHOWN]:
        print(f"left out: {faults[0]}" if len(faults) == 1 else f"left out: {len(faults)} × {reason}, as {faults[0]}")
    if len(made.faults) > 1:
        print(f"left out are {len(made.faults)} in all, listed in {made.table.parent / 'left_out.txt'}")
    print(f"{made.table} and {made.config} written; next: unisono doctor {made.config}, unisono run {made.config}")


def _build(args: argparse.Namespace) -> None:
    from pathlib import Path

    from unisono.config.build import from_json
    from unisono.config.corpus import CorpusOptions
    from unisono.data.corpus.build import build
    from unisono.data.corpus.space import require_space_for

    options = from_json(CorpusOptions, args.options)
    facts = build(options, Path(args.corpora_dir), Path(args.out_dir), args.processes, args.from_features)
    for split, numbers in facts["splits"].items():
        print(
            f"{split}: {numbers['utterances']} utterances, {numbers['speakers']} speakers, "
            f"{numbers['words']} words ({facts['unknown_words'][split]} not in the lexicon), "
            f"{numbers['seconds'] / 60:.1f} minutes"
        )
    for entry in facts["quarantined"]:
        print(f"set aside: {entry['utterance_id']} ({entry['split']}): {entry['reason']}")
    require_space_for(args.out_dir, sum(numbers["seconds"] for numbers in facts["splits"].values()))


def _convert(args: argparse.Namespace) -> None:
    from pathlib import Path

    from unisono.data.corpus.originals import convert_corpus
    from unisono.data.corpus.text import short_list

    made = convert_corpus(args.original, Path(args.source), Path(args.corpora_dir), args.processes)
    target = Path(args.corpora_dir, args.original)
    print(f"{target}: {made.recordings} recordings, {made.seconds / 3600:.2f} hours")
    if made.different:
        print(
            f"warning: {len(made.different)} of them differ from those that the published figures were made with: "
            + short_list(made.different, 5)
        )
    else:
        print("all equal, sample for sample, to those that the published figures were made with")
