"""The text files of one scored system: `wer.txt`, `per_speaker.tsv`, `confusions.tsv`.

wer.txt          Kaldi's `%WER` and `%SER` lines; a table by speaker as NIST's sclite prints it (percent, sclite's own
                 rule of alignment); the alignment of each utterance (Kaldi's rule) in the form of sclite's `pra`
per_speaker.tsv  speaker_id, sentences, words, correct, substitutions, deletions, insertions, errors, wer (fraction),
                 sentence_errors
confusions.tsv   kind (substitution, deletion, insertion), count, reference, hypothesis (an empty cell where there is
                 none), most frequent first
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from unisono.score.wer import Counts, Pair, Score, add_up, count, kaldi_lines

SPEAKER_COLUMNS = (
    "speaker_id", "sentences", "words", "correct", "substitutions", "deletions", "insertions", "errors", "wer",
    "sentence_errors",
)  # fmt: skip
CONFUSION_COLUMNS = ("kind", "count", "reference", "hypothesis")


def per_speaker(speakers: Mapping[str, Counts]) -> str:
    """Format `per_speaker.tsv`: one row a speaker."""
    rows = [
        (name, c.sentences, c.words, c.correct, c.substitutions, c.deletions, c.insertions, c.errors)
        + (f"{c.wer:.6f}", c.sentence_errors)
        for name, c in speakers.items()
    ]
    return _tsv(SPEAKER_COLUMNS, rows)


def confusions(pairs: Iterable[Sequence[Pair]]) -> list[tuple[str, int, str, str]]:
    """Count each kind of error by its words, most frequent first, ties by kind and words.

    Returns rows of (kind, count, reference word or "", hypothesis word or "").
    """
    errors = Counter(pair for aligned in pairs for pair in aligned if pair[0] != pair[1])
    rows = [(_kind(pair), n, pair[0] or "", pair[1] or "") for pair, n in errors.items()]
    return sorted(rows, key=lambda row: (-row[1], row[0], row[2], row[3]))


def confusion_table(pairs: Iterable[Sequence[Pair]]) -> str:
    """Format `confusions.tsv`."""
    return _tsv(CONFUSION_COLUMNS, confusions(pairs))


def wer_text(score: Score, sclite: Score, speakers: Mapping[str, str]) -> str:
    """Format `wer.txt`.

    score: aligned by Kaldi's rule.  sclite: the same texts aligned by sclite's.  speakers: utterance -> speaker.
    """
    missing = f"Scored {score.total.sentences} sentences, {len(score.missing)} not present in hyp.\n"
    parts = [kaldi_lines(score.total), missing, "\n", sclite_table(sclite, speakers), "\n"]
    parts += [_aligned(utterance, pairs) for utterance, pairs in score.pairs.items()]
    return "".join(parts)


def sclite_table(score: Score, speakers: Mapping[str, str]) -> str:
    """Format sclite's table: sentences, words, then percent of the reference words, one row a speaker and the sum."""
    grouped: dict[str, list[Counts]] = {}
    for utterance, counts in score.counts.items():
        grouped.setdefault(speakers[utterance], []).append(counts)
    width = max(7, *map(len, grouped))
    head = f"| {'SPKR':<{width}} | # Snt  # Wrd |   Corr    Sub    Del    Ins    Err  S.Err |"
    rule = "|" + "-" * (width + 2) + "+" + "-" * 14 + "+" + "-" * 43 + "|"
    lines = ["sclite's alignment (4 a substitution, 3 an insertion or deletion), percent", head, rule]
    lines += [_sclite_row(name, add_up(grouped[name]), width) for name in sorted(grouped)]
    return "\n".join([*lines, rule, _sclite_row("Sum/Avg", score.total, width)]) + "\n"


def _sclite_row(name: str, counts: Counts, width: int) -> str:
    parts = (counts.correct, counts.substitutions, counts.deletions, counts.insertions, counts.errors)
    percents = [100 * part / max(1, counts.words) for part in parts] + [100 * counts.ser]
    shown = "".join(f"{percent:7.1f}" for percent in percents)
    return f"| {name:<{width}} | {counts.sentences:5d}  {counts.words:5d} |{shown} |"


def _aligned(utterance: str, pairs: Sequence[Pair]) -> str:
    counts = count(pairs)
    cells = [(r or "*" * len(h or ""), h or "*" * len(r or ""), _kind((r, h))[:1].upper()) for r, h in pairs]
    widths = [max(map(len, cell)) for cell in cells]
    numbers = f"{counts.correct} {counts.substitutions} {counts.deletions} {counts.insertions}"
    lines = [f"id: {utterance}", f"Scores: (#C #S #D #I) {numbers}"]
    for row, title in enumerate(("REF: ", "HYP: ", "Eval:")):
        shown = [cell[row].ljust(width) for cell, width in zip(cells, widths, strict=True)]
        lines.append(" ".join([title, *shown]).rstrip())
    return "\n".join(lines) + "\n\n"


def _kind(pair: Pair) -> str:
    if pair[0] == pair[1]:
        return ""
    return "insertion" if pair[0] is None else "deletion" if pair[1] is None else "substitution"


def _tsv(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    return "".join("\t".join(map(str, row)) + "\n" for row in [columns, *rows])
