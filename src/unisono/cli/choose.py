"""Make one scored candidate the result of its run: copy wer.json and hyp.txt."""

import argparse
from pathlib import Path


def register(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument(
        "--from-dir", required=True, help="folder of the chosen candidate, runs/<run>/decode/<candidate>"
    )
    parser.add_argument("--out-dir", required=True, help="folder of the run, runs/<run>")


def run(args: argparse.Namespace) -> None:
    """Copy the files whole."""
    from unisono.errors import UserError
    from unisono.files import write_text

    for name in ("hyp.txt", "wer.json"):  # wer.json last: where it lies, all lies
        source = Path(args.from_dir) / name
        try:
            text = source.read_bytes().decode("utf-8")
        except OSError as error:
            raise UserError(f"{source}: cannot be read ({error.strerror}): score this candidate first") from None
        write_text(Path(args.out_dir) / name, text)
