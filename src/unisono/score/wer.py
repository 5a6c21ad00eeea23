"""Word errors: hypotheses against references, counted and printed as Kaldi does.

An alignment pairs each reference word with a hypothesis word (equal: correct, unequal: substitution) or with nothing
(deletion); a hypothesis word without a partner is an insertion.  WER = (I + D + S) / N with N reference words.

Several alignments may have the least cost and still split the errors differently into I, D and S; which one is found
depends on the order in which a search prefers equal steps.  jiwer, Kaldi's `LevenshteinEditDistance` and NIST's sclite
(which also weighs a substitution 4 and the others 3) all differ.  `align` follows Kaldi or, when asked, sclite, so that
their printed counts are met exactly; jiwer counts Kaldi's errors a second time.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import jiwer

from unisono.errors import UserError

Words = Sequence[str]
Pair = tuple[str | None, str | None]  # reference word, hypothesis word; None where the other stands alone


class Rule(NamedTuple):
    """Weights of the three errors, and which of equally cheap steps is taken: the first of `order` (I, D or S).

    S stands for a pair of words, equal or not; equal words cost nothing.
    """

    insertion: int
    deletion: int
    substitution: int
    order: str


KALDI = Rule(1, 1, 1, "IDS")  # util/edit-distance-inl.h: "<" throughout, insertion in the last `else`
SCLITE = Rule(3, 3, 4, "SID")  # found by trial: no difference on 9,600 random pairs (sctk 2.4.10)


@dataclass(frozen=True, slots=True)
class Counts:
    """Word and sentence counts; they add up over utterances. `words` is N, the number of reference words."""

    words: int = 0
    insertions: int = 0
    deletions: int = 0
    substitutions: int = 0
    sentences: int = 0
    sentence_errors: int = 0

    @property
    def errors(self) -> int:
        """I + D + S."""
        return self.insertions + self.deletions + self.substitutions

    @property
    def correct(self) -> int:
        """Reference words that were found."""
        return self.words - self.deletions - self.substitutions

    @property
    def wer(self) -> float:
        """Word error rate as a fraction, infinite where there is no reference word but an insertion."""
        return _ratio(self.errors, self.words)

    @property
    def ser(self) -> float:
        """Share of sentences with an error."""
        return _ratio(self.sentence_errors, self.sentences)

    def __add__(self, other: "Counts") -> "Counts":
        """Add field by field."""
        return Counts(*(getattr(self, name) + getattr(other, name) for name in self.__slots__))


@dataclass(frozen=True, slots=True)
class Score:
    """The outcome of `evaluate`: alignments and counts by utterance (sorted by id), their sum, and what was missing."""

    pairs: dict[str, list[Pair]]
    counts: dict[str, Counts]
    total: Counts
    missing: tuple[str, ...]


def align(reference: Words, hypothesis: Words, rule: Rule = KALDI) -> list[Pair]:
    """Align two word sequences at the least cost under `rule`.

    O(len(reference) * len(hypothesis)) time and bytes.
    """
    if list(reference) == list(hypothesis):
        return list(zip(reference, hypothesis, strict=True))
    order = rule.order
    rank_i, rank_d, rank_s = order.index("I"), order.index("D"), order.index("S")
    row = [rule.deletion * r for r in range(len(reference) + 1)]
    steps = [bytearray([rank_d]) * len(row)]
    for word in hypothesis:
        above, row = row, [row[0] + rule.insertion]
        step = bytearray([rank_i])
        for r, expected in enumerate(reference, start=1):
            # The rank in the two lowest bits decides between equal costs.
            best = min(
                (above[r] + rule.insertion) << 2 | rank_i,
                (row[r - 1] + rule.deletion) << 2 | rank_d,
                (above[r - 1] + (rule.substitution if word != expected else 0)) << 2 | rank_s,
            )
            row.append(best >> 2)
            step.append(best & 3)
        steps.append(step)
    return _walk_back(reference, hypothesis, [[order[rank] for rank in step] for step in steps])


def count(pairs: Iterable[Pair]) -> Counts:
    """Count one utterance's words and errors from its alignment."""
    words = insertions = deletions = substitutions = 0
    for reference, hypothesis in pairs:
        words += reference is not None
        insertions += reference is None
        deletions += hypothesis is None
        substitutions += reference is not None and hypothesis is not None and reference != hypothesis
    return Counts(words, insertions, deletions, substitutions, 1, int(insertions + deletions + substitutions > 0))


def evaluate(references: Mapping[str, Words], hypotheses: Mapping[str, Words], rule: Rule = KALDI) -> Score:
    """Align and count all utterances of `references`.

    An utterance without hypothesis counts as all deletions and is listed in `missing`, so that a decoder cannot gain by
    giving up.  Raises UserError naming the first hypothesis that has no reference, or where there is no reference word.
    """
    for utterance in sorted(hypotheses):
        if utterance not in references:
            raise UserError(f"hypotheses: utterance {utterance} has no reference: is this the table that was decoded?")
    if not any(references.values()):
        raise UserError("references: not one word: a word error rate needs transcripts")
    pairs = {u: align(references[u], hypotheses.get(u, ()), rule) for u in sorted(references)}
    counts = {u: count(aligned) for u, aligned in pairs.items()}
    total = add_up(counts.values())
    if rule == KALDI:
        _check(references, hypotheses, total)
    return Score(pairs, counts, total, tuple(u for u in pairs if u not in hypotheses))


def add_up(counts: Iterable[Counts]) -> Counts:
    """Sum counts."""
    return sum(counts, start=Counts())


def by_speaker(score: Score, speakers: Mapping[str, str]) -> dict[str, Counts]:
    """Sum the counts of each speaker; `speakers` gives the speaker of each utterance. Sorted by speaker."""
    grouped: dict[str, list[Counts]] = {}
    for utterance, counts in score.counts.items():
        grouped.setdefault(speakers[utterance], []).append(counts)
    return {speaker: add_up(grouped[speaker]) for speaker in sorted(grouped)}


def kaldi_lines(total: Counts) -> str:
    """Format the `%WER` and `%SER` lines of Kaldi's compute-wer, byte for byte, with a line end each."""
    parts = f"{total.insertions} ins, {total.deletions} del, {total.substitutions} sub"
    return (
        f"%WER {100 * total.wer:.2f} [ {total.errors} / {total.words}, {parts} ]\n"
        f"%SER {100 * total.ser:.2f} [ {total.sentence_errors} / {total.sentences} ]\n"
    )


def read_text(paths: Iterable[str | Path]) -> dict[str, list[str]]:
    """Read and merge Kaldi text files: `utterance word word ...` a line, words split at ASCII blanks only.

    An id alone is an empty transcript.  Raises UserError for a missing file, bytes that are not UTF-8, or an utterance
    that stands twice.
    """
    texts: dict[str, list[str]] = {}
    for path in paths:
        for number, line in enumerate(_lines(path), start=1):
            fields = [field.decode() for field in line.split()]  # bytes.split knows no blanks beyond ASCII
            if not fields:
                continue
            if fields[0] in texts:
                raise UserError(f"{path}:{number}: utterance {fields[0]} stands twice: remove one")
            texts[fields[0]] = fields[1:]
    return texts


def format_text(texts: Mapping[str, Words]) -> str:
    """Format as Kaldi text, sorted by utterance; `read_text` reads it back."""
    return "".join(" ".join([utterance, *texts[utterance]]) + "\n" for utterance in sorted(texts))


def _ratio(part: int, whole: int) -> float:
    if whole == 0:
        return float("inf") if part else 0.0
    return part / whole


def _walk_back(reference: Words, hypothesis: Words, steps: list[list[str]]) -> list[Pair]:
    pairs: list[Pair] = []
    r, h = len(reference), len(hypothesis)
    while r or h:
        step = steps[h][r]
        r -= step != "I"
        h -= step != "D"
        pairs.append((None if step == "I" else reference[r], None if step == "D" else hypothesis[h]))
    return pairs[::-1]


def _check(references: Mapping[str, Words], hypotheses: Mapping[str, Words], total: Counts) -> None:
    # jiwer has its own notions of blanks and of empty sentences, so it is given numbers for words.
    numbers: dict[str, str] = {}

    def encode(words: Words) -> str:
        return " ".join(numbers.setdefault(word, str(len(numbers))) for word in words)

    ids = sorted(references)
    counted = jiwer.process_words([encode(references[u]) for u in ids], [encode(hypotheses.get(u, ())) for u in ids])
    errors = counted.insertions + counted.deletions + counted.substitutions
    if errors != total.errors:
        raise AssertionError(f"{total.errors} errors, but jiwer counts {errors}")


def _lines(path: str | Path) -> list[bytes]:
    try:
        data = Path(path).read_bytes()
        data.decode()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}): decode first, or mend the path") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 (byte {error.start}): convert it with iconv") from None
    return data.split(b"\n")
