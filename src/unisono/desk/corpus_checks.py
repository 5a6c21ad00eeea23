"""Everything that is wrong with the corpus of a config, at once, before any of it is processed."""

import collections
import random
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from unisono.config.config import Config
from unisono.config.corpus import Kaldi, Librispeech, Spoken, Strings, Table
from unisono.data.corpus.audio import AudioInfo
from unisono.data.corpus.audio_checks import EMPTY, look
from unisono.data.corpus.folder.fit import CASES
from unisono.data.corpus.kaldi_dir import read_kaldi, read_kaldi_features
from unisono.data.corpus.lexicon import read_lexicon
from unisono.data.corpus.librispeech import read_librispeech
from unisono.data.corpus.sources import SPLITS, SourceRow, read_source_table
from unisono.data.corpus.text import check_id, counted, read_lines, read_rows, short_list, words_of
from unisono.data.corpus.unseen import MANY, sentence, unseen
from unisono.desk.estimate import recognisable, spoken_seconds
from unisono.desk.findings import Finding, of_error, red
from unisono.errors import UserError
from unisono.sample_size import too_small

SAMPLE = 2000  # recordings that are decoded; of a larger corpus so many are drawn
NAMED = 3  # of the things that have a fault
Recordings = Table | Strings | Kaldi | Librispeech


class Checked(NamedTuple):
    """Findings, seconds of speech in each split (None where they are not known), words that can be recognised."""

    findings: list[Finding]
    seconds: dict[str, float] | None
    vocabulary: int = 0


def check_corpus(shared: Config, processes: int = 1) -> Checked:
    """Check the corpus that the settings name. Nothing is written."""
    corpus = shared.corpus
    if corpus.kind == "spoken":
        return _spoken(corpus)
    folder = Path(shared.corpora_dir, corpus.dir)
    features = shared.features.kind == "kaldi"
    try:
        rows = _rows(corpus, folder, features)
    except (UserError, OSError) as error:
        return Checked([of_error(error if isinstance(error, UserError) else UserError(f"{folder}: {error}"))], None)
    findings = [*_check_rows(rows, corpus), *_check_words(rows, corpus, folder)]
    seconds = None
    if not features:  # the corpus stage reads every value of these
        heard, seconds = _check_audio(rows, processes)
        findings += heard
    test = [row for row in rows if row.split == "test"]
    words = sum(len(text.split()) for text in {row.utterance_id: row.transcript for row in test}.values())
    speakers = len({row.speaker_id for row in test})
    if test and (small := too_small(words, speakers)):
        what, _, remedy = small.rpartition(": ")
        findings.append(Finding("yellow", what, remedy))
    findings += _check_text(rows, shared, folder)
    if not any(finding.colour == "red" for finding in findings):
        sizes = seconds and ", minutes of " + ", ".join(f"{split} {seconds[split] / 60:.1f}" for split in SPLITS)
        count = counted(len({row.utterance_id for row in rows}), "utterance")
        findings.insert(0, Finding("green", f"corpus: {count}{sizes or ''}"))
    text = {word for row in rows if row.split == "train" for word in row.transcript.split()}
    return Checked(findings, seconds, recognisable(shared, _lines_of(folder / corpus.lexicon), len(text)))


def _lines_of(path: Path) -> int:
    try:
        return len(read_lines(path))
    except UserError:
        return 0


def _spoken(corpus: Spoken) -> Checked:
    seconds = spoken_seconds(corpus)
    if find_spec("espeakng_loader") is None:
        return Checked(
            [red("espeakng-loader is not installed: it speaks the corpus", "pip install '.[demo]'")], seconds
        )
    what = f"corpus: spoken by espeak-ng, about {sum(seconds.values()) / 60:.0f} minutes"
    return Checked([Finding("green", what)], seconds)


def _rows(corpus: Recordings, folder: Path, features: bool) -> list[SourceRow]:
    if corpus.kind == "kaldi":
        read = read_kaldi_features if features else read_kaldi
        return [row for split in SPLITS for row in read(folder / getattr(corpus.kaldi, split), split)]
    if corpus.kind == "librispeech":
        return [row for s in SPLITS for row in read_librispeech(folder, s, getattr(corpus.librispeech, s))]
    if corpus.kind == "table":
        return read_source_table(folder / corpus.table)
    assert isinstance(corpus, Strings)
    parts = {
        row.values["utterance_id"]: folder / row.values["path"]
        for row in read_rows(folder / corpus.table, ("utterance_id", "path"))
    }
    names = ("string_id", "speaker_id", "split", "utterance_ids", "gaps_ms", "transcript")
    rows = []
    for line, values in read_rows(folder / corpus.strings, names):
        where = f"{folder / corpus.strings}: line {line}"
        for part in values["utterance_ids"].replace(",", " ").split():
            # Each part of a string is a row, so that all recordings are looked at.
            path = parts.get(part, folder / f"{part} (not in {corpus.table})")
            name, text = values["string_id"], values["transcript"]
            rows.append(SourceRow(name, values["speaker_id"], values["split"], path, text, where))
    return rows


def _check_rows(rows: Sequence[SourceRow], corpus: Recordings) -> Iterator[Finding]:
    """Check ids, splits and speakers."""
    wrong = []
    for row in rows:
        try:
            check_id(row.utterance_id, "utterance id", row.where)
            check_id(row.speaker_id, "speaker id", row.where)
        except UserError as error:
            wrong.append(str(error))
    yield from _listed(wrong, "id cannot be used", "ids cannot be used", "letters, digits and . _ - may be in them")
    if corpus.kind != "strings":
        doubled = [name for name, number in collections.Counter(r.utterance_id for r in rows).items() if number > 1]
        yield from _listed(doubled, "utterance id is there twice", "utterance ids are there twice", "make them unique")
    strange = sorted({row.split for row in rows} - set(SPLITS))
    yield from _listed(strange, "split is unknown", "splits are unknown", "write train, dev or test")
    lacking = [split for split in SPLITS if not any(row.split == split for row in rows)]
    yield from _listed(lacking, "split is empty", "splits are empty", "give each some utterances")
    homes: dict[str, set[str]] = {}
    for row in rows:
        homes.setdefault(row.speaker_id, set()).add(row.split)
    shared = sorted(speaker for speaker, splits in homes.items() if len(splits) > 1)
    if not corpus.shared_speakers:
        remedy = "keep speakers apart, or set corpus.shared_speakers: true"
        yield from _listed(shared, "speaker is in several splits", "speakers are in several splits", remedy)


def _check_words(rows: Sequence[SourceRow], corpus: Recordings, folder: Path) -> Iterator[Finding]:
    """Check transcripts and text against the lexicon."""
    path = folder / corpus.lexicon
    try:
        lexicon = read_lexicon(path)
        text = [] if corpus.lm_text is None else read_lines(folder / corpus.lm_text)
    except UserError as error:
        yield of_error(error)
        return
    counts: collections.Counter[str] = collections.Counter()
    wrong = []
    places = [(row.transcript, row.where) for row in rows]
    places += [(line, f"{corpus.lm_text}: line {number}") for number, line in enumerate(text, start=1)]
    for line, where in places:
        try:
            counts.update(words_of(line, where))
        except UserError as error:
            wrong.append(str(error))
    yield from _listed(wrong, "word cannot be used", "words cannot be used", "correct them")
    unknown = corpus.unknown_word
    if unknown is not None and unknown not in lexicon:
        yield red(f"corpus.unknown_word: {unknown}: not in {path}", f"add a line: {unknown}  SPN")
    missing = [word for word, _ in counts.most_common() if word not in lexicon]
    if not missing:
        return
    better = {name: sum(change(word) in lexicon for word in missing) for name, change in CASES.items()}
    best = max(better, key=lambda name: better[name])
    if better[best] > len(missing) / 2:
        remedy = f"write the text {best}, as the lexicon is (unisono corpus folder does)"
    else:
        remedy = f"add their pronunciations to {path}, or set corpus.unknown_word"
    named = f"{counted(len(missing), 'word')} not in the lexicon: {short_list(missing, 2 * NAMED)}"
    yield Finding("red" if unknown is None else "yellow", named, remedy)


def _check_text(rows: Sequence[SourceRow], shared: Config, folder: Path) -> Iterator[Finding]:
    """Yield how many words of dev and test the text of the language model never has, where these are many."""
    corpus = shared.corpus
    if corpus.kind == "spoken" or shared.lm.kind != "ngram":
        return
    try:
        given = None if corpus.lm_text is None else read_lines(folder / corpus.lm_text)
    except UserError:  # said already
        return
    text = [row.transcript for row in rows if row.split == "train"] if given is None else given
    shares = {s: unseen((row.transcript for row in rows if row.split == s), text) for s in ("dev", "test")}
    if max(shares.values()) > MANY:
        remedy = "give more text, corpus.lm_text (unisono corpus folder --lm-text FILE)"
        yield Finding("yellow", sentence(shares), remedy)


def _check_audio(rows: Sequence[SourceRow], processes: int) -> tuple[list[Finding], dict[str, float]]:
    """Look at the recordings, at a part of them where there are many."""
    drawn = list(rows) if len(rows) <= SAMPLE else random.Random(1).sample(rows, SAMPLE)
    looked = list(zip(drawn, look(drawn, processes), strict=True))
    absent = [str(row.path) for row in rows if not row.path.exists()]
    broken = [f"{row.path} ({found})" for row, found in looked if isinstance(found, str) and found != EMPTY]
    silent = [row.where for row in rows if not row.transcript.split()]
    usable = [(row, found) for row, found in looked if isinstance(found, AudioInfo)]
    several = [str(row.path) for row, found in usable if found.channels != 1]
    rates = collections.Counter(found.rate for _, found in usable)
    usual = min(rates, key=lambda rate: (-rates[rate], rate), default=0)
    others = [f"{row.path} ({found.rate} Hz)" for row, found in usable if found.rate != usual]
    one = f"the rest has {usual} Hz: convert to one rate, e.g. with sox IN -r {usual} OUT"
    found = [
        *_listed(absent, "recording is missing", "recordings are missing", "correct corpus.dir or the paths"),
        *_listed(several, "recording has several channels", "recordings have several channels", "convert to one"),
        *_listed(others, "recording has another rate", "recordings have another rate", one),
        *_listed(broken, "recording is broken", "recordings are broken", "they would be left out", "yellow"),
    ]
    if silent:
        found += _listed(
            silent, "utterance has no words", "utterances have no words", "they would be left out", "yellow"
        )
    if len(drawn) < len(rows):
        found.append(Finding("green", f"{len(drawn)} of {len(rows)} recordings were decoded"))
    return found, _seconds(rows, usable, len(rows) / max(1, len(drawn)))


def _seconds(
    rows: Sequence[SourceRow], usable: Sequence[tuple[SourceRow, AudioInfo]], scale: float
) -> dict[str, float]:
    """Return the speech of each split, from the part of it that was looked at."""
    seconds: dict[str, float] = {split: 0.0 for split in SPLITS}
    for row, info in usable:
        if row.split in seconds:
            begin, end = row.segment or (0.0, None)
            seconds[row.split] += scale * ((info.frames / info.rate if end is None else end) - begin)
    return seconds


def _listed(items: Sequence[str], one: str, many: str, remedy: str, colour: Any = "red") -> list[Finding]:
    """Return one line about all items that share a fault, or none."""
    if not items:
        return []
    said = f"1 {one}" if len(items) == 1 else f"{len(items)} {many}"
    return [Finding(colour, f"{said}: {short_list(items, NAMED)}", remedy)]
