"""The language model that a config asks for: estimated from text, given, or a word loop."""

from pathlib import Path
from typing import Any

from unisono.config.language import LmOptions
from unisono.errors import UserError
from unisono.hmm import arpa, ngram
from unisono.hmm.arpa import Arpa
from unisono.hmm.lexicon import read_lexicon


def language_model(
    options: LmOptions, text: str | Path, lexicon: str | Path, given: str | None = None
) -> tuple[Arpa, dict[str, Any]]:
    """Return the model over the words of the lexicon, and a report.

    text: one sentence a line. given: the model where the kind is arpa, in place of `options.arpa`. Report: kind, order,
    ngrams of each order, vocabulary, words_without_unigram, dropped_ngrams. Raises UserError where the text or the
    given model does not fit the lexicon.
    """
    vocabulary = {entry.word for entry in read_lexicon(lexicon)}
    dropped = 0
    if options.kind == "arpa":
        path = given or options.arpa
        if not path:
            raise UserError("lm.arpa: missing: lm.kind is arpa, so name the file")
        model, dropped = arpa.restrict(arpa.read_arpa(path), vocabulary)
        if model.words() == {arpa.END}:
            raise UserError(f"{path}: it shares no word with {lexicon}: is it a model of this language?")
    else:
        sentences = ngram.read_text(text, vocabulary)
        words = vocabulary if options.vocabulary == "lexicon" else {word for line in sentences for word in line}
        if options.kind == "loop":
            model = ngram.loop(words, options.end_probability or ngram.end_probability(sentences))
        else:
            model = ngram.estimate(sentences, words, options.order, options.smoothing)
    return model, {
        "kind": options.kind,
        "order": model.order,
        "ngrams": [len(level) for level in model.grams],
        "vocabulary": len(vocabulary),
        "words_without_unigram": len(vocabulary - model.words()),
        "dropped_ngrams": dropped,
    }
