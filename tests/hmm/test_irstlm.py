"""Our Witten-Bell estimator against Debian's irstlm, on the text of speechocean762 (it lies in the project's tables).

The other one is `irstlm tlm -lm=wb` (6.00.05; with `-ps=no`, else it drops single trigrams). Both interpolate,
P(w | h) = c(h, w) / (N + T) + T / (N + T) P(w | h'), and from bigrams on they are equal to the digits of its file, but
for two things, which the tests state as equations:

* irstlm puts some `<s>` before the text and counts the pair `<s> <s>` there, as often as the order of the model is:
  that makes N of the history `<s>` larger by the order and its T by 1.
* Its unigrams are not the mixture with a uniform distribution over all of the vocabulary. Each word of the text has
  (c + 1) / (N + 2 T), T counting `<s>` (c = 1) and `<unk>` (c = T - 1) too; words that the text lacks share that of
  `<unk>`. They get more than ours give them, so its perplexity is lower where a test has such words.

    PYTHONPATH=src python tests/hmm/test_irstlm.py        prints the table of docs/results/language-model.md
"""

import collections
import csv
import gzip
import math
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from unisono.hmm import ngram
from unisono.hmm.arpa import BEGIN, END, Arpa, Weights, perplexity, read_arpa

TABLES = Path(ngram.__file__).parent.parent / "data" / "corpus" / "tables" / "speechocean762"
PROGRAM = shutil.which("irstlm")
needs_irstlm = pytest.mark.skipif(PROGRAM is None, reason="no irstlm (apt-get install irstlm)")
ORDER = 3
DIGITS = 1.3e-5  # irstlm prints six digits of each logarithm, here five behind the point


def table(name):
    """Return the text of one of the tables."""
    return gzip.decompress((TABLES / f"{name}.gz").read_bytes()).decode()


def material():
    """Return the vocabulary, the sentences of the text, and those of dev and test."""
    words = {line.split()[0] for line in table("lexicon.txt").splitlines()}
    rows = list(csv.DictReader(table("utterances.tsv").splitlines(), delimiter="\t"))
    held_out = {split: [r["transcript"].split() for r in rows if r["split"] == split] for split in ("dev", "test")}
    return words, [line.split() for line in table("lm_text.txt").splitlines()], held_out


def estimate_by_irstlm(folder, sentences):
    """Return irstlm's model as its file has it, save the n-grams that no sentence can hold: `<s>` after the start."""
    text, out = folder / "text", folder / "wb.arpa"
    text.write_text("".join(f"{BEGIN} {' '.join(words)} {END}\n" for words in sentences))
    command = [PROGRAM, "tlm", f"-tr={text}", f"-n={ORDER}", "-lm=wb", "-ps=no", f"-oarpa={out}"]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    _, *sections = re.split(r"\\\d-grams:\n", out.read_text().replace("\\end\\", ""))
    grams = []
    for n, section in enumerate(sections, 1):
        lines = [line.split() for line in section.splitlines() if line.strip()]
        grams.append({
            tuple(words[1 : n + 1]): Weights(float(words[0]), float(words[n + 1]) if len(words) > n + 1 else 0.0)
            for words in lines
            if BEGIN not in words[2 : n + 1]
        })  # fmt: skip
    return Arpa(grams)


@pytest.fixture(scope="module")
def text():
    return material()


@pytest.fixture(scope="module")
def irstlm(text, tmp_path_factory):
    return estimate_by_irstlm(tmp_path_factory.mktemp("irstlm"), text[1])


@pytest.fixture(scope="module")
def ours(text):
    return ngram.estimate(text[1], text[0], ORDER, "witten_bell")


def probability(model, gram):
    return 10 ** model.grams[len(gram) - 1][gram].log10_probability


def weight(model, history):
    """The share of the lower order."""
    return 10 ** model.grams[len(history) - 1][history].log10_backoff


def own_share(model, gram):
    """What the counts of this order give: P(w | h) without what the lower order adds."""
    return probability(model, gram) - weight(model, gram[:-1]) * 10 ** model.log10_probability(gram[1:-1], gram[-1])


@needs_irstlm
def test_bigrams_and_trigrams_are_equal(irstlm, ours):
    for n in range(2, ORDER + 1):
        grams = ours.grams[n - 1]
        assert set(grams) == set(irstlm.grams[n - 1])
        for gram in grams:
            if gram[:-1] != (BEGIN,):
                # Not by pytest.approx: 30,000 comparisons.
                assert math.isclose(weight(irstlm, gram[:-1]), weight(ours, gram[:-1]), rel_tol=DIGITS), gram
                assert abs(own_share(irstlm, gram) - own_share(ours, gram)) < 5e-6, gram


@needs_irstlm
def test_what_differs_is_the_start_of_a_sentence_and_the_unigrams(text, irstlm):
    sentences = text[1]
    starts = collections.Counter(words[0] for words in sentences)
    total, types = len(sentences) + ORDER, len(starts) + 1
    assert weight(irstlm, (BEGIN,)) == pytest.approx(types / (total + types), rel=DIGITS)
    for word, count in starts.items():
        assert own_share(irstlm, (BEGIN, word)) == pytest.approx(count / (total + types), abs=5e-6)
    counts = collections.Counter(word for words in sentences for word in (*words, END))
    counts[BEGIN] = 1
    counts["<unk>"] = len(counts)
    whole = sum(counts.values()) + len(counts)
    assert {gram[0] for gram in irstlm.grams[0]} == set(counts)
    for word, count in counts.items():
        assert probability(irstlm, (word,)) == pytest.approx((count + 1) / whole, rel=DIGITS)


def closed(irstlm, text):
    """Return irstlm's model over our vocabulary: the words that the text lacks share `<unk>` equally."""
    words, sentences, _ = text
    unseen = sorted(words - {word for sentence in sentences for word in sentence})
    each = Weights(math.log10(probability(irstlm, ("<unk>",)) / len(unseen)), 0.0)
    known = {gram: weights for gram, weights in irstlm.grams[0].items() if gram != ("<unk>",)}
    return Arpa([{**known, **{(word,): each for word in unseen}}, *irstlm.grams[1:]])


def on_unigrams_of(ours, other):
    """Return our model with the unigrams of another: its higher orders interpolate with those."""
    unigrams = {g: Weights(other.grams[0][g].log10_probability, w.log10_backoff) for g, w in ours.grams[0].items()}
    made = Arpa([unigrams])
    for level in ours.grams[1:]:
        made.grams.append({})
        for gram, weights in level.items():
            lower = 10 ** made.log10_probability(gram[1:-1], gram[-1])
            value = own_share(ours, gram) + weight(ours, gram[:-1]) * lower
            made.grams[-1][gram] = Weights(math.log10(value), weights.log10_backoff)
    return made


@needs_irstlm
def test_perplexities_are_equal_once_the_unigrams_are(text, irstlm, ours):
    """Within the 1/1000 that the counts of `<s> <s>` make; and with unigrams of its own each is within a tenth."""
    theirs = closed(irstlm, text)
    alike = on_unigrams_of(ours, theirs)
    for sentences in text[2].values():
        value = perplexity(theirs, sentences).value
        assert perplexity(alike, sentences).value == pytest.approx(value, rel=1e-3)
        assert value < perplexity(ours, sentences).value < 1.1 * value


def main():
    """Print perplexities and sizes of all models."""
    words, sentences, held_out = material()
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "lm3.arpa").write_text(table("lm3.arpa"))
        theirs = closed(estimate_by_irstlm(Path(folder), sentences), (words, sentences, held_out))
        own = {kind: ngram.estimate(sentences, words, ORDER, kind) for kind in ("kneser_ney", "witten_bell")}
        models = {
            "`lm3.arpa`, given": read_arpa(Path(folder) / "lm3.arpa"),
            "ours, `kneser_ney`": own["kneser_ney"],
            "ours, `witten_bell`": own["witten_bell"],
            "irstlm, `-lm=wb`": theirs,
            "ours, `witten_bell`, on irstlm's unigrams": on_unigrams_of(own["witten_bell"], theirs),
        }
    for name, model in models.items():
        values = [f"{perplexity(model, text).value:.2f}" for text in held_out.values()]
        print(f"| {name} | {' | '.join(values)} | {' + '.join(f'{len(level):,}' for level in model.grams)} |")


if __name__ == "__main__":
    main()
