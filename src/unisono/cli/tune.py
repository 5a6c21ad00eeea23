"""Choose acoustic scale and word-insertion penalty of one system on dev, in stages."""

import argparse

from unisono.cli import arguments


def register(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    arguments.add_decoding(parser)
    parser.add_argument("--out", required=True, metavar="FILE", help="tune.json to write")
    parser.add_argument(
        "--hyp", required=True, metavar="FILE", help="hypotheses of dev at the best setting, Kaldi text"
    )


def run(args: argparse.Namespace) -> None:
    """Decode dev at setting after setting, keep the best."""
    from unisono.config.build import from_json
    from unisono.config.language import DecodeOptions
    from unisono.files import write_json, write_text
    from unisono.hmm.arcs import read_fst
    from unisono.hmm.lexicon import load_lang
    from unisono.hmm.model import load_model
    from unisono.recognise import acoustics
    from unisono.recognise.tune import tune_system
    from unisono.score.wer import format_text

    options = from_json(DecodeOptions, args.options)
    words, hmm = load_lang(args.lang_dir).word_list, load_model(args.hmm_model)
    reader = arguments.feature_reader(args)
    references = {utterance.utterance_id: utterance.transcript.split() for utterance in reader.utterances}
    scorer = acoustics.scorer(args.system, args.network, args.threads, reader, hmm, arguments.device_of(args))
    graph = read_fst(args.graph)
    tuned, best = tune_system(args.system, graph, hmm.id2pdf, scorer, references, words, options, args.processes)
    write_text(args.hyp, format_text(best))
    write_json(args.out, tuned)
