"""Character errors: what Mandarin papers report, as words there are a matter of the segmenter.

A text's characters are the code points of its words in the composed form (NFC), run together without blanks. They are
aligned and counted by jiwer; CER = (I + D + S) / N with N reference characters, an utterance without hypothesis counts
as deletions.
"""

import unicodedata
from collections.abc import Mapping

import jiwer

from unisono.score.wer import Counts, Words


def evaluate_characters(references: Mapping[str, Words], hypotheses: Mapping[str, Words]) -> dict[str, Counts]:
    """Count the characters and their errors of each utterance of `references`, sorted by id.

    `Counts.words` is then the number of reference characters; `sentences` counts as for words.
    """
    ids = sorted(references)
    wanted = [_run_together(references[utterance]) for utterance in ids]
    found = [_run_together(hypotheses.get(utterance, ())) for utterance in ids]
    aligned = jiwer.process_characters(wanted, found).alignments
    counts = {}
    for utterance, text, chunks in zip(ids, wanted, aligned, strict=True):
        steps: dict[str, int] = {"insert": 0, "delete": 0, "substitute": 0, "equal": 0}
        for chunk in chunks:
            reference, hypothesis = chunk.ref_end_idx - chunk.ref_start_idx, chunk.hyp_end_idx - chunk.hyp_start_idx
            steps[chunk.type] += max(reference, hypothesis)
        errors = steps["insert"], steps["delete"], steps["substitute"]
        counts[utterance] = Counts(len(text), *errors, 1, int(any(errors)))
    return counts


def _run_together(words: Words) -> str:
    return "".join(unicodedata.normalize("NFC", "".join(words)).split())
