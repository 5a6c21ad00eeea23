"""Turn a lexicon into the language directory: symbol tables, L.fst, L_disambig.fst, HMM topology."""

import argparse


def register(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument("--lexicon", required=True, help="lines of WORD PHONE PHONE ...")
    parser.add_argument("--options", required=True, help="config section hmm as JSON")
    parser.add_argument("--out-dir", required=True, help="language directory to write")


def run(args: argparse.Namespace) -> None:
    """Run the command."""
    from unisono.config.build import from_json
    from unisono.config.hmm import HmmOptions
    from unisono.hmm.lexicon import read_lexicon, write_lang

    options = from_json(HmmOptions, args.options, "--options")
    write_lang(
        args.out_dir,
        read_lexicon(args.lexicon),
        silence_phone=options.silence_phone,
        silence_probability=options.silence_probability,
        silence_states=options.silence_states,
        phone_states=options.phone_states,
        word_position=options.word_position,
    )
