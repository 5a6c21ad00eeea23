"""Make a corpus of a downloaded public original, fsdd or speechocean762; for the workflow: the corpus stage.

Your own recordings (a table of utterances, Kaldi data directories, the layout of LibriSpeech) need no command: name
them in a config and start snakemake, see docs/own-data.md.
"""

import argparse

from unisono.cli import arguments

# Where the public originals are to be had.
ADDRESSES = {
    "fsdd": "https://github.com/Jakobovski/free-spoken-digit-dataset",
    "speechocean762": "https://www.openslr.org/101/",
}
EXAMPLES = f"""fsdd: {ADDRESSES["fsdd"]}, commit 26eb9aa, CC BY-SA 4.0
  unisono corpus fsdd --from free-spoken-digit-dataset         # makes corpora/fsdd/, for config/fsdd*.yaml

speechocean762: {ADDRESSES["speechocean762"]}, CC BY 4.0
  unisono corpus speechocean762 --from speechocean762 --processes 4
                                                # makes corpora/speechocean762/, for config/speechocean762.yaml
"""


def register(parser: argparse.ArgumentParser) -> None:
    """Add the command's flags."""
    parser.epilog = EXAMPLES
    parser.add_argument("original", nargs="?", metavar="{fsdd,speechocean762}", help="public corpus to convert")
    parser.add_argument("--from", dest="source", metavar="DIR", help="folder of the unpacked original")
    parser.add_argument("--corpora-dir", default="corpora", metavar="DIR", help="folder of all corpora (corpora)")
    arguments.add_processes(parser)
    stage = parser.add_argument_group("what the workflow gives instead")
    stage.add_argument("--options", metavar="JSON", help="config section corpus")
    stage.add_argument("--from-features", action="store_true", help="utterances of feats.scp, without recordings")
    stage.add_argument("--out-dir", metavar="DIR", help="folder for the tables (and for generated audio)")


def run(args: argparse.Namespace) -> None:
    """Build the corpus, or convert an original, and say what it holds."""
    from unisono.errors import UserError

    if args.original and args.original not in ADDRESSES:
        raise UserError(
            f"{args.original}: no such public corpus: known are {', '.join(ADDRESSES)}; "
            "your own data, Kaldi's too, is named in a config: see docs/own-data.md"
        )
    if args.original and not args.source:
        raise UserError(f"--from: missing: unpack {ADDRESSES[args.original]} and give its folder")
    if args.original and not (args.options or args.out_dir):
        _convert(args)
    elif args.options and args.out_dir and not (args.original or args.source):
        _build(args)
    else:
        raise UserError("give fsdd or speechocean762 and --from DIR; your own data: see docs/own-data.md")


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
