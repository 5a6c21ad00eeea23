"""The files of a scored system: hypotheses and tuning in, `wer.json` out.

`wer.json`:

| field | unit, meaning |
|---|---|
| system | name |
| wer | fraction |
| words, ins, del, sub | counts over the test set |
| sentences, sentence_errors | counts |
| missing | utterances that have no hypothesis (counted as all deletions) |
| ci95 | [low, high], fractions |
| cer | character error rate, a fraction, of characters in NFC without blanks |
| characters, character_errors | counts over the test set |
| cer_ci95 | [low, high], fractions, made like ci95 |
| ci_method | how the interval was made, in words |
| dev_wer | fraction, at the chosen setting; null where nothing was tuned, or only another system was |
| lm_weight | 1 / acoustic scale; null where nothing was tuned |
| word_insertion_penalty | nats a word; null where nothing was tuned |
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from unisono.errors import UserError
from unisono.files import read_json
from unisono.score.statistics import Interval
from unisono.score.wer import Counts, Score, read_text


def read_hypotheses(path: str | Path) -> dict[str, list[str]]:
    """Read hypotheses from a Kaldi text file, or from the `hyp.txt` of a scored system's folder.

    Raises UserError for a folder without it, and as `read_text` does.
    """
    path = Path(path)
    if not path.is_dir():
        return read_text([path])
    if not (path / "hyp.txt").is_file():
        raise UserError(
            f"{path}: no hyp.txt in this folder: give results/<name>/runs/<run>, results/<name>/gmm/<system> or a"
            " folder below decode/, or a file of hypotheses (unisono transcribe --table ... --out FILE makes one)"
        )
    return read_text([path / "hyp.txt"])


def read_tuning(path: str | Path | None) -> dict[str, float | None]:
    """Read `dev_wer`, `lm_weight` and `word_insertion_penalty` from a `tune.json`; all None without a file."""
    if path is None:
        return {"dev_wer": None, "lm_weight": None, "word_insertion_penalty": None}
    tuned = read_json(path)
    try:
        return {
            "dev_wer": float(tuned["dev_wer"]),
            "lm_weight": 1.0 / float(tuned["acoustic_scale"]),
            "word_insertion_penalty": float(tuned["word_insertion_penalty"]),
        }
    except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        raise UserError(f"{path}: no usable {error}: run `unisono tune` again") from None


def summarise(
    system: str, score: Score, interval: Interval, characters: Counts, of_cer: Interval,
    tuned: Mapping[str, float | None],
) -> dict[str, Any]:  # fmt: skip
    """Put together the content of `wer.json` (see the module). characters: of all utterances; of_cer: its interval."""
    total = score.total
    return {
        "system": system,
        "wer": total.wer,
        "words": total.words,
        "ins": total.insertions,
        "del": total.deletions,
        "sub": total.substitutions,
        "sentences": total.sentences,
        "sentence_errors": total.sentence_errors,
        "missing": len(score.missing),
        "ci95": [interval.low, interval.high],
        "ci_method": interval.method,
        "cer": characters.wer,
        "characters": characters.words,
        "character_errors": characters.errors,
        "cer_ci95": [of_cer.low, of_cer.high],
        **tuned,
    }
