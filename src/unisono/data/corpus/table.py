"""The utterance table of one split, `data/{train,dev,test,perturbed}.tsv`: the form in which every corpus goes on.

| column | meaning |
|---|---|
| utterance_id | unique over all splits, rows sorted by it |
| speaker_id | CMVN, splits and the statistics of scoring group by it |
| path | absolute path of one audio file, mono |
| duration_s | seconds, four decimals, from the file's header |
| transcript | the words spoken, separated by one space: what scoring compares with |
| lexical | the same with words that the lexicon lacks replaced by `corpus.unknown_word`: what alignment uses |
| shard | 0 to corpus.shards - 1: the fixed part of the split to which the utterance belongs |
| speed | only in perturbed.tsv: how many times faster than `path` the utterance is heard; `duration_s` is after that |
"""

import dataclasses
import os
from collections.abc import Iterable, Sequence

from unisono.data.corpus.text import check_id, read_rows
from unisono.errors import UserError
from unisono.files import write_text

COLUMNS = ("utterance_id", "speaker_id", "path", "duration_s", "transcript", "lexical", "shard")
SPEED = "speed"


@dataclasses.dataclass(frozen=True, slots=True)
class Utterance:
    """One row of the table; `words` are those of `lexical`."""

    utterance_id: str
    speaker_id: str
    path: str
    duration_s: float
    transcript: str
    lexical: str
    shard: int
    speed: float = 1.0

    @property
    def words(self) -> list[str]:
        """Words that the lexicon holds, for alignment."""
        return self.lexical.split()


def read_table(path: str | os.PathLike[str], shard: int | None = None) -> list[Utterance]:
    """Read a table written by `write_table`; only one shard of it if `shard` is given.

    Raises UserError naming file and line where it is not such a table.
    """
    utterances = []
    for line, values in read_rows(path, COLUMNS):
        try:
            found = int(values["shard"])
            duration = float(values["duration_s"])
            speed = float(values.get(SPEED, 1.0))
        except ValueError:
            raise UserError(
                f"{path}: line {line}: shard, duration_s or speed is no number: run the corpus stage anew"
            ) from None
        check_id(values["utterance_id"], "utterance id", f"{path}: line {line}")
        check_id(values["speaker_id"], "speaker id", f"{path}: line {line}")
        if utterances and values["utterance_id"] <= utterances[-1].utterance_id:
            raise UserError(f"{path}: line {line}: not sorted by utterance_id: run the corpus stage anew")
        texts = {name: values[name] for name in COLUMNS if name not in ("duration_s", "shard")}
        utterances.append(Utterance(**texts, duration_s=duration, shard=found, speed=speed))
    return [u for u in utterances if shard is None or u.shard == shard]


def write_table(path: str | os.PathLike[str], utterances: Iterable[Utterance]) -> None:
    """Write a table atomically, in the order given (sorted by utterance_id)."""
    rows = list(utterances)
    perturbed = any(u.speed != 1 for u in rows)
    lines = ["\t".join((*COLUMNS, SPEED) if perturbed else COLUMNS)]
    for u in rows:
        fields = [u.utterance_id, u.speaker_id, u.path, f"{u.duration_s:.4f}", u.transcript, u.lexical, str(u.shard)]
        fields += [str(u.speed)] if perturbed else []
        if any("\t" in field or "\n" in field or "\r" in field for field in fields):
            raise UserError(
                f"{u.utterance_id}: {u.path!r}: a path may hold no tab or line end: rename the file or folder"
            )
        lines.append("\t".join(fields))
    write_text(path, "\n".join(lines) + "\n")


def with_shards(utterances: Iterable[Utterance], shards: int) -> list[Utterance]:
    """Sort by utterance_id and cut into `shards` runs of neighbours with nearly equal durations.

    An utterance belongs to the shard in which its middle falls, so a shard may be empty where utterances are few.
    """
    rows = sorted(utterances, key=lambda u: u.utterance_id)
    total = sum(u.duration_s for u in rows) or 1.0
    before, cut = 0.0, []
    for u in rows:
        middle = before + u.duration_s / 2
        cut.append(dataclasses.replace(u, shard=min(shards - 1, int(middle * shards / total))))
        before += u.duration_s
    return cut


def statistics(rows: Sequence[Utterance]) -> dict[str, int | float]:
    """Count the utterances, speakers and words of a split, and its seconds."""
    return {
        "utterances": len(rows),
        "speakers": len({u.speaker_id for u in rows}),
        "words": sum(len(u.transcript.split()) for u in rows),
        "seconds": round(sum(u.duration_s for u in rows), 3),
    }


def unknown_words(rows: Iterable[Utterance]) -> int:
    """Count the words that the lexicon lacks: those that are others in `lexical` than in `transcript`."""
    return sum(a != b for u in rows for a, b in zip(u.transcript.split(), u.lexical.split(), strict=True))
