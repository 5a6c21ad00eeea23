"""Estimate the language model from text, take a given one, or write a word loop; always an ARPA file."""

import argparse


def register(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument("--text", required=True, help="text, one sentence a line")
    parser.add_argument("--lexicon", required=True, help="pronunciation lexicon: no word outside it is known")
    parser.add_argument("--options", required=True, help="config section lm as JSON")
    parser.add_argument("--arpa", help="the given model where lm.kind is arpa (default: the path in lm.arpa)")
    parser.add_argument("--out", required=True, help="ARPA file to write")
    parser.add_argument("--report", help="JSON to write: numbers of n-grams and words, and what was dropped")


def run(args: argparse.Namespace) -> None:
    """Read text and lexicon, make the model, write it."""
    import logging

    from unisono.errors import UserError
    from unisono.files import write_json
    from unisono.hmm import arpa, ngram
    from unisono.hmm.lexicon import read_lexicon
    from unisono.options import from_json

    options = from_json(ngram.LmOptions, args.options)
    vocabulary = {entry.word for entry in read_lexicon(args.lexicon)}
    dropped = 0
    if options.kind == "arpa":
        given = args.arpa or options.arpa
        if not given:
            raise UserError("lm.arpa: missing: lm.kind is arpa, so name the file")
        model, dropped = arpa.restrict(arpa.read_arpa(given), vocabulary)
        if model.words() == {arpa.END}:
            raise UserError(f"{given}: it shares no word with {args.lexicon}: is it a model of this language?")
    else:
        text = ngram.read_text(args.text, vocabulary)
        words = vocabulary if options.vocabulary == "lexicon" else {word for sentence in text for word in sentence}
        if options.kind == "loop":
            model = ngram.loop(words, options.end_probability or ngram.end_probability(text))
        else:
            model = ngram.estimate(text, words, options.order, options.smoothing)
    arpa.write_arpa(args.out, model)
    report = {
        "kind": options.kind,
        "order": model.order,
        "ngrams": [len(level) for level in model.grams],
        "vocabulary": len(vocabulary),
        "words_without_unigram": len(vocabulary - model.words()),
        "dropped_ngrams": dropped,
    }
    logging.getLogger("unisono.lm").info("%s", report)
    if args.report:
        write_json(args.report, report)
