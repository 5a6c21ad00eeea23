"""Decode one shard of a split at the setting that was chosen on dev."""

import argparse

from unisono.recognise import acoustics


def register(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    acoustics.add_arguments(parser)
    parser.add_argument("--shard", required=True, type=int, help="shard to decode, by the table")
    parser.add_argument("--tuned", required=True, help="tune.json of this system")
    parser.add_argument("--out", required=True, help="hypotheses to write, Kaldi text form")
    parser.add_argument("--report", required=True, help="JSON to write: utterances, partial and empty hypotheses")


def run(args: argparse.Namespace) -> None:
    """Search every utterance of the shard, write the words."""
    import logging

    from unisono.errors import UserError
    from unisono.files import read_json, write_json, write_text
    from unisono.hmm.arcs import read_fst
    from unisono.hmm.lexicon import load_lang
    from unisono.hmm.model import load_model
    from unisono.options import from_json
    from unisono.recognise.decode import Beam, DecodeOptions, Searcher, Setting, decode, summarise, to_words
    from unisono.score.wer import format_text

    options, tuned = from_json(DecodeOptions, args.options), read_json(args.tuned)
    try:
        setting = Setting(float(tuned["acoustic_scale"]), float(tuned["word_insertion_penalty"]))
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{args.tuned}: not a tune.json ({error!r}): run the tuning again") from None
    words, hmm = load_lang(args.lang_dir).word_list, load_model(args.hmm_model)
    reader = acoustics.open_reader(args, args.shard)
    utterances = [utterance.utterance_id for utterance in reader.utterances]
    searcher = Searcher(read_fst(args.graph), hmm.id2pdf, (setting.word_insertion_penalty,))
    beam = Beam(options.beam, options.max_active, options.min_active)
    scorer = acoustics.scorer(args, reader, hmm)
    found = decode(searcher, scorer, utterances, [setting], beam, args.processes)[setting]
    report = summarise(found)
    for utterance, hypothesis in found.items():
        if not hypothesis.reached_final:
            logging.getLogger("unisono.decode").warning("%s: no complete sentence, best part taken", utterance)
    write_text(args.out, format_text(to_words(found, words)))
    write_json(args.report, report)
