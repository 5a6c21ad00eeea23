"""From a folder of recordings to `<name>.yaml` and `<name>/utterances.tsv`; whatever does not fit is listed at once."""

import collections
import dataclasses
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from unisono.data.corpus.audio import AudioInfo
from unisono.data.corpus.audio_checks import look
from unisono.data.corpus.folder.find import AUDIO, find
from unisono.data.corpus.folder.fit import fit
from unisono.data.corpus.folder.settings import config_text
from unisono.data.corpus.folder.split import split_speakers, split_utterances
from unisono.data.corpus.lexicon import read_lexicon
from unisono.data.corpus.sources import SPLITS, SourceRow
from unisono.data.corpus.text import check_id, counted, read_lines, short_list
from unisono.data.corpus.unseen import unseen
from unisono.errors import UserError
from unisono.files import write_text

COLUMNS = ("utterance_id", "speaker_id", "path", "begin_s", "end_s", "transcript", "split")
UNKNOWN = ("<unk>", "<UNK>", "[unk]", "<oov>", "<spoken_noise>")  # what lexicons call the word for any other
BIG_LEXICON = 20_000  # words; the decoding graph of more is slow to make


class Made(NamedTuple):
    """Where the config and the table lie, what each split holds, notes, and what was left out, a line each.

    unseen: the part of the words of dev and test that the language model's text never has.
    """

    config: Path
    table: Path
    splits: dict[str, dict[str, float]]
    unseen: dict[str, float]
    notes: list[str]
    faults: list[str]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What the user says beside the folder; `out_dir` takes the config and a folder for the table."""

    name: str
    lexicon: Path
    out_dir: Path
    lm_text: Path | None = None
    speaker_characters: int | None = None
    leave_out: bool = False
    seed: int = 1


def make(folder: Path, wishes: Wishes, processes: int = 1) -> Made:
    """Write the config and the table of the recordings below `folder`.

    Raises UserError where nothing is left, and where words lack a pronunciation, unless utterances with such words may
    be left out (`leave_out`) or the lexicon has a word for them. Then nothing but a list of these words is written.
    """
    check_id(wishes.name, "name", "--name")
    config, home = wishes.out_dir / f"{wishes.name}.yaml", wishes.out_dir / wishes.name
    if home.resolve() == folder.resolve():
        raise UserError(
            f"--name {wishes.name}: {folder} has this name: choose another --name, as table and lists go there"
        )
    if config.exists():
        raise UserError(f"{config}: is there already: choose another --name, or remove it")
    _given(wishes)
    lexicon = read_lexicon(wishes.lexicon)
    found = find(folder, wishes.speaker_characters)
    fitted = fit(found.rows, lexicon)
    notes, faults = list(fitted.notes), found.faults + fitted.faults
    rows, seconds = _heard(fitted.rows, faults, processes)
    unknown = next((word for word in UNKNOWN if word in lexicon), None)
    if fitted.missing and unknown is None:
        rows = _without_missing(rows, set(lexicon), fitted.missing, home / "missing_words.txt", wishes, faults)
    elif fitted.missing:
        notes.append(f"{counted(len(fitted.missing), 'word')} not in the lexicon: read as {unknown}")
    write_text(home / "left_out.txt", "".join(f"{fault}\n" for fault in faults))
    if not rows:
        raise UserError(f"{folder}: no utterance can be used: {short_list(faults, 3)}; all in {home / 'left_out.txt'}")
    _most_must_fit(folder, rows, faults, home / "left_out.txt", wishes.leave_out)
    rows, shared = _split(folder, rows, seconds, wishes.seed, notes)
    corpus: dict[str, Any] = {"kind": "table", "dir": wishes.name, "table": "utterances.tsv"}
    corpus |= {"lexicon": os.path.abspath(wishes.lexicon)}
    corpus |= {"lm_text": _lm_text(wishes.lm_text, lexicon, home, notes)} if wishes.lm_text else {}
    corpus |= {"unknown_word": unknown} if fitted.missing and unknown else {}
    corpus |= {"shared_speakers": True} if shared else {}
    text = read_lines(home / "lm_text.txt") if wishes.lm_text else [r.transcript for r in rows if r.split == "train"]
    new = {split: unseen((r.transcript for r in rows if r.split == split), text) for split in ("dev", "test")}
    facts = {split: _facts([row for row in rows if row.split == split], seconds) for split in SPLITS}
    hours = facts["train"]["seconds"] / 3600
    write_text(home / "utterances.tsv", _table(rows))
    write_text(
        config, config_text(wishes.name, os.path.abspath(wishes.out_dir), corpus, hours, len(lexicon) > BIG_LEXICON)
    )
    return Made(config, home / "utterances.tsv", facts, new, notes, faults)


def _given(wishes: Wishes) -> None:
    """Raise UserError where a file is not there, by the flag that named it."""
    for flag, path in (("--lexicon", wishes.lexicon), ("--lm-text", wishes.lm_text)):
        if path and not path.is_file():
            raise UserError(f"{flag}: {path}: no such file: check {flag}")


def reasons(faults: Iterable[str]) -> list[tuple[str, list[str]]]:
    """Return the faults by reason, the most frequent first: what is wrong, and the faults in full.

    A fault is `place: what is wrong: remedy`; places such as `line 3` are no reason.
    """
    found: dict[str, list[str]] = {}
    for fault in faults:
        parts = [part for part in fault.split(": ")[1:] if not part.startswith("line ")]
        found.setdefault(parts[0] if parts else fault, []).append(fault)
    return sorted(found.items(), key=lambda item: -len(item[1]))


def _most_must_fit(folder: Path, rows: Sequence[SourceRow], faults: Sequence[str], listing: Path, may: bool) -> None:
    """Raise UserError where more recordings are left out than used, unless that `may` be."""
    lost = [fault for fault in faults if Path(fault.partition(": ")[0]).suffix.lower() in AUDIO]
    if len(lost) > len({row.path for row in rows}) and not may:
        why = short_list([f"{len(own)} × {reason}" for reason, own in reasons(lost)], 3)
        raise UserError(
            f"{folder}: {len(lost)} of {len(lost) + len({row.path for row in rows})} recordings do not fit: {why};"
            f" all in {listing}: give another folder, mend them, or leave them out with --leave-out"
        )


def _heard(rows: Sequence[SourceRow], faults: list[str], processes: int) -> tuple[list[SourceRow], dict[str, float]]:
    """Return the rows whose recordings can be used, and the seconds of each by utterance id."""
    usable: list[tuple[SourceRow, AudioInfo]] = []
    for row, found in zip(rows, look(rows, processes), strict=True):
        if isinstance(found, AudioInfo):
            usable.append((row, found))
        else:
            faults.append(f"{row.path}: {found or 'no such audio file'}")
    rates = collections.Counter(info.rate for _, info in usable)
    usual = min(rates, key=lambda rate: (-rates[rate], rate), default=0)
    kept, seconds = [], {}
    for row, info in usable:
        if info.channels != 1:
            faults.append(f"{row.path}: {info.channels} channels: convert it to one, e.g. with sox IN OUT remix 1")
        elif info.rate != usual:
            faults.append(f"{row.path}: {info.rate} Hz, most have {usual}: convert it, e.g. with sox IN -r {usual} OUT")
        else:
            begin, end = row.segment or (0.0, None)
            kept.append(row)
            seconds[row.utterance_id] = (info.frames / info.rate if end is None else end) - begin
    return kept, seconds


def _without_missing(
    rows: list[SourceRow],
    known: set[str],
    missing: collections.Counter[str],
    listing: Path,
    wishes: Wishes,
    faults: list[str],
) -> list[SourceRow]:
    """Leave out the utterances with a word that has no pronunciation, or end with the list of all these words."""
    write_text(listing, "".join(f"{word}\t{number}\n" for word, number in missing.most_common()))
    hit = [row for row in rows if not known.issuperset(row.transcript.split())]
    if not wishes.leave_out:
        words = short_list([word for word, _ in missing.most_common()], 10)
        raise UserError(
            f"{wishes.lexicon}: {counted(len(missing), 'word')} of {counted(len(hit), 'utterance')} not in the lexicon:"
            f" {words}; all in {listing}: add their pronunciations, or a line for {UNKNOWN[0]}, or leave these"
            " utterances out with --leave-out"
        )
    lost = {row.utterance_id for row in hit}
    for row in hit:
        lacking = [word for word in row.transcript.split() if word not in known]
        faults.append(f"{row.where}: not in the lexicon: {short_list(lacking, 5)}")
    return [row for row in rows if row.utterance_id not in lost]


def _lm_text(path: Path, lexicon: Iterable[str], home: Path, notes: list[str]) -> str:
    """Write the text for the language model as the lexicon spells it; return its name in the corpus's folder."""
    lines = [(number, line) for number, line in enumerate(read_lines(path), start=1) if line.strip()]
    rows = [SourceRow(str(n), "", "", path, line, f"{path}: line {n}") for n, line in lines]
    fitted = fit(rows, lexicon)
    kept = [
        row.transcript for row in fitted.rows if row.transcript and not fitted.missing.keys() & row.transcript.split()
    ]
    if not kept:
        raise UserError(f"{path}: no sentence whose words are all in the lexicon: give another text or none")
    if len(kept) < len(lines):
        notes.append(f"{path}: {counted(len(lines) - len(kept), 'sentence')} with other words left out")
    write_text(home / "lm_text.txt", "".join(f"{text}\n" for text in kept))
    return "lm_text.txt"


def _split(
    folder: Path, rows: list[SourceRow], seconds: dict[str, float], seed: int, notes: list[str]
) -> tuple[list[SourceRow], bool]:
    """Return the rows with their splits, and whether splits share speakers."""
    if all(row.split for row in rows):
        notes.append("the folders are the splits")
        homes: dict[str, set[str]] = {}
        for row in rows:
            homes.setdefault(row.speaker_id, set()).add(row.split)
        return rows, any(len(splits) > 1 for splits in homes.values())
    speech: collections.Counter[str] = collections.Counter()
    for row in rows:
        speech[row.speaker_id] += seconds[row.utterance_id]  # type: ignore[assignment]
    if len(rows) < 3:
        raise UserError(f"{folder}: {counted(len(rows), 'utterance')}: train, dev and test need one each at least")
    if len(speech) > 2:
        homes_of = split_speakers(speech, seed)
        notes.append("the splits share no speaker")
        return [dataclasses.replace(row, split=homes_of[row.speaker_id]) for row in rows], False
    by_utterance = split_utterances([row.utterance_id for row in rows], seed)
    said = f"{counted(len(speech), 'speaker')}: the splits share them, so the word error rate says nothing about others"
    inner = {row.path.relative_to(folder).parts[:-1] for row in rows}
    tops = {parts[:1] for parts in inner}
    if len(speech) == 1 and len(inner) > 1 and len(tops) == 1:  # all in folders below the one taken for a speaker
        said += f"; is {folder} the folder above that of the speakers? then give {Path(folder, *tops.pop())}"
    notes.append(said)
    return [dataclasses.replace(row, split=by_utterance[row.utterance_id]) for row in rows], True


def _facts(rows: Sequence[SourceRow], seconds: dict[str, float]) -> dict[str, float]:
    return {
        "utterances": len(rows),
        "speakers": len({row.speaker_id for row in rows}),
        "words": sum(len(row.transcript.split()) for row in rows),
        "seconds": sum(seconds[row.utterance_id] for row in rows),
    }


def _table(rows: Sequence[SourceRow]) -> str:
    lines = ["\t".join(COLUMNS)]
    for row in sorted(rows, key=lambda row: row.utterance_id):
        begin, end = ("", "") if row.segment is None else ("" if time is None else f"{time:g}" for time in row.segment)
        path = os.path.abspath(row.path)
        lines.append("\t".join((row.utterance_id, row.speaker_id, path, begin, end, row.transcript, row.split)))
    return "\n".join(lines) + "\n"
