"""The corpus stage: validated tables, lexicon, text and statistics; or a public original made into a corpus.

The pipeline calls it with --options. By hand, `unisono corpus fsdd --from DIR` and `unisono corpus speechocean762
--from DIR` turn a downloaded original into the folder that config/fsdd*.yaml or config/speechocean762.yaml reads.
"""

import argparse

# Features of the GMMs (float32), of the network (float32) and the frames store (16 bits and a pdf_id) at 100 frames a
# second come to about 30 kB; deltas on the network's features, hypotheses and models are covered by the rest.
BYTES_PER_SECOND = 60_000


def register(parser: argparse.ArgumentParser) -> None:
    """Add the command's flags."""
    parser.add_argument("original", nargs="?", help="public corpus to convert: fsdd or speechocean762")
    parser.add_argument("--from", dest="source", metavar="DIR", help="folder of the unpacked original")
    parser.add_argument("--corpora-dir", default="corpora", help="folder that holds the corpora's folders (corpora)")
    parser.add_argument("--options", help="config section corpus as JSON")
    parser.add_argument("--out-dir", help="folder for the tables (and for generated audio)")
    parser.add_argument("--processes", type=int, default=1, help="processes for checks, speaking and converting")


def run(args: argparse.Namespace) -> None:
    """Build the corpus, or convert an original, and say what it holds."""
    from unisono.errors import UserError

    if args.original and args.source and not (args.options or args.out_dir):
        _convert(args)
    elif args.options and args.out_dir and not (args.original or args.source):
        _build(args)
    else:
        raise UserError(
            "give either fsdd or speechocean762 and --from DIR (and --corpora-dir), or --options and --out-dir"
        )


def _build(args: argparse.Namespace) -> None:
    from pathlib import Path

    from unisono.data.corpus import CorpusOptions, build
    from unisono.files import require_space
    from unisono.options import from_json

    options = from_json(CorpusOptions, args.options)
    facts = build(options, Path(args.corpora_dir), Path(args.out_dir), args.processes)
    for split, numbers in facts["splits"].items():
        print(
            f"{split}: {numbers['utterances']} utterances, {numbers['speakers']} speakers, "
            f"{numbers['words']} words, {numbers['seconds'] / 60:.1f} minutes"
        )
    for entry in facts["quarantined"]:
        print(f"set aside: {entry['utterance_id']} ({entry['split']}): {entry['reason']}")
    seconds = sum(numbers["seconds"] for numbers in facts["splits"].values())
    require_space(args.out_dir, seconds * BYTES_PER_SECOND, f"what follows for {seconds / 3600:.1f} hours of speech")


def _convert(args: argparse.Namespace) -> None:
    from pathlib import Path

    from unisono.data.originals import bring
    from unisono.data.text import short_list

    made = bring(args.original, Path(args.source), Path(args.corpora_dir), args.processes)
    target = Path(args.corpora_dir, args.original)
    print(f"{target}: {made.recordings} recordings, {made.seconds / 3600:.2f} hours")
    if made.different:
        print(
            f"warning: {len(made.different)} of them differ from those that the published figures were made with: "
            + short_list(made.different, 5)
        )
    else:
        print("all equal, sample for sample, to those that the published figures were made with")
