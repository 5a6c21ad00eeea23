"""Choose acoustic scale and word-insertion penalty of one system on dev, in stages."""

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from unisono.recognise import acoustics

if TYPE_CHECKING:
    from unisono.recognise.decode import Hypothesis, Setting


def register(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    acoustics.add_arguments(parser)
    parser.add_argument("--out", required=True, help="tune.json to write")
    parser.add_argument("--hyp", required=True, help="hypotheses of dev at the best setting, Kaldi text form")


def run(args: argparse.Namespace) -> None:
    """Decode dev at setting after setting, count word errors, keep the best."""
    import logging

    from unisono.files import write_json, write_text
    from unisono.hmm.arcs import read_fst
    from unisono.hmm.lexicon import load_lang
    from unisono.hmm.model import load_model
    from unisono.options import from_json
    from unisono.recognise.decode import Beam, DecodeOptions, Searcher, decode, summarise, to_words
    from unisono.recognise.tune import draw, tune
    from unisono.score import wer

    log = logging.getLogger("unisono.tune")
    options = from_json(DecodeOptions, args.options)
    words, hmm = load_lang(args.lang_dir).word_list, load_model(args.hmm_model)
    reader = acoustics.open_reader(args)
    references = {utterance.utterance_id: utterance.transcript.split() for utterance in reader.utterances}
    utterances = draw(references, options.tune_utterances, options.seed)
    part = {utterance: references[utterance] for utterance in utterances}
    searcher = Searcher(read_fst(args.graph), hmm.id2pdf, (0.0, *options.word_insertion_penalties))
    scorer = acoustics.scorer(args, reader, hmm)
    beam = Beam(options.tuning_beam, options.max_active, options.min_active)
    found: dict[Setting, dict[str, Hypothesis]] = {}

    def errors(settings: Sequence["Setting"]) -> list[int]:
        new = decode(searcher, scorer, utterances, settings, beam, args.processes)
        found.update(new)
        counts = [wer.evaluate(part, to_words(new[setting], words)).total for setting in settings]
        for setting, total in zip(settings, counts, strict=True):
            log.info("%s: %s", setting, wer.kaldi_lines(total).splitlines()[0])
        return [total.errors for total in counts]

    scales = options.gmm_acoustic_scales if args.system == "gmm" else options.acoustic_scales
    best, tried = tune(scales, options.word_insertion_penalties, errors, neighbours=args.system == "dnn")
    total = sum(map(len, part.values()))
    write_text(args.hyp, wer.format_text(to_words(found[best], words)))
    write_json(
        args.out,
        {
            "system": args.system,
            **best._asdict(),
            "lm_weight": 1.0 / best.acoustic_scale,
            "dev_wer": tried[best] / total,
            "words": total,
            **summarise(found[best]),
            "tried": [{**s._asdict(), "errors": count, "wer": count / total} for s, count in tried.items()],
        },
    )
