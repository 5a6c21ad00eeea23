"""Decode one shard of a split at the setting that was chosen on dev."""

import argparse

from unisono.cli import arguments


def register(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    arguments.add_decoding(parser)
    parser.add_argument("--shard", required=True, type=int, metavar="N", help="shard to decode, by the table")
    parser.add_argument("--tuned", required=True, metavar="FILE", help="tune.json of this system")
    parser.add_argument("--out", required=True, metavar="FILE", help="hypotheses to write, Kaldi text form")
    parser.add_argument("--report", required=True, metavar="FILE", help="JSON to write: utterances, partial and empty")


def run(args: argparse.Namespace) -> None:
    """Search every utterance of the shard, write the words."""
    from unisono import console
    from unisono.config.build import from_json
    from unisono.config.language import DecodeOptions
    from unisono.files import write_json, write_text
    from unisono.hmm.arcs import read_fst
    from unisono.hmm.lexicon import load_lang
    from unisono.hmm.model import load_model
    from unisono.recognise import acoustics, decode
    from unisono.score.wer import format_text

    options, setting = from_json(DecodeOptions, args.options), decode.read_setting(args.tuned)
    words, hmm = load_lang(args.lang_dir).word_list, load_model(args.hmm_model)
    reader = arguments.feature_reader(args, args.shard)
    utterances = [utterance.utterance_id for utterance in reader.utterances]
    searcher = decode.Searcher(read_fst(args.graph), hmm.id2pdf, (setting.word_insertion_penalty,))
    beam = decode.Beam(options.beam, options.max_active, options.min_active)
    scorer = acoustics.scorer(
        args.system, args.network, args.threads, reader, hmm, arguments.device_of(args, args.shard)
    )
    with console.progress("utterances", len(utterances)) as advance:
        found = decode.decode(searcher, scorer, utterances, [setting], beam, args.processes, advance)[setting]
    decode.log_partial(found)
    write_text(args.out, format_text(decode.to_words(found, words)))
    write_json(args.report, decode.summarise(found))
