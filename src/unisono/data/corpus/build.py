"""From a source to `data/`: three utterance tables, lexicon, text for the language model, statistics; all checked.

A mistake ends in one UserError that names file, line or utterance and the remedy. Utterances with empty,
unreadable or truncated audio or without words are set aside and listed in corpus.json; the rest goes on.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from unisono.config.corpus import CorpusOptions, Recorded, Spoken
from unisono.data.corpus.audio import AudioInfo
from unisono.data.corpus.audio_checks import check_audio
from unisono.data.corpus.coverage import Coverage
from unisono.data.corpus.features_checks import check_features
from unisono.data.corpus.kaldi_dir import read_kaldi, read_kaldi_features
from unisono.data.corpus.lexicon import read_lexicon, read_phone_set, write_lexicon
from unisono.data.corpus.librispeech import read_librispeech
from unisono.data.corpus.sources import SPLITS, Source, SourceRow, join_strings, read_source_table
from unisono.data.corpus.spoken import speak
from unisono.data.corpus.table import Utterance, statistics, unknown_words, with_shards, write_table
from unisono.data.corpus.text import check_id, read_lines, short_list, words_of
from unisono.errors import UserError
from unisono.files import write_json, write_text


def build(
    options: CorpusOptions, corpora_dir: Path, out_dir: Path, processes: int = 1, features: bool = False
) -> dict[str, Any]:
    """Read, check and write a corpus; returns what corpus.json says. The result does not depend on `processes`.

    `features`: the utterances are those of Kaldi's feats.scp, without recordings; the sampling rate is then 0.
    """
    folder = corpora_dir / getattr(options, "dir", "")
    source = _read(options, folder, out_dir, processes, features)
    rows = _check_rows(source.rows, options.shared_speakers)
    classes = _speaker_classes(rows)
    phone_set = options.phones if isinstance(options, Recorded) else None
    phones = None if phone_set is None else read_phone_set(folder / phone_set)
    lexicon = read_lexicon(source.lexicon, phones)
    coverage = Coverage(lexicon, source.lexicon, options.unknown_word)
    check = check_features(rows) if features else check_audio(rows, (out_dir / "audio").resolve(), processes)
    kept, infos, quarantined = check
    utterances = _utterances(kept, infos, coverage)
    tables = {split: with_shards(utterances[split], options.shards) for split in SPLITS}
    origin = folder / getattr(options, "strings", getattr(options, "table", ""))
    _check_splits(tables, quarantined, origin)
    text = _lm_text(source.lm_text, tables["train"], coverage)
    coverage.settle(out_dir / "missing_words.txt")
    facts: dict[str, Any] = {
        "splits": {split: statistics(tables[split]) for split in SPLITS},
        "sampling_rate": 0 if features else next(iter(infos.values())).rate,
        "lexicon_words": len(lexicon),
        "lm_sentences": len(text),
        "unknown_words": {split: unknown_words(tables[split]) for split in SPLITS},
        "quarantined": quarantined,
        "speaker_classes": classes,
    }
    for split in SPLITS:
        write_table(out_dir / f"{split}.tsv", tables[split])
    write_lexicon(out_dir / "lexicon.txt", lexicon)
    write_text(out_dir / "lm_text.txt", "".join(line + "\n" for line in text))
    write_json(out_dir / "corpus.json", facts)
    return facts


def _read(options: CorpusOptions, folder: Path, out_dir: Path, processes: int, features: bool) -> Source:
    if isinstance(options, Spoken):
        return speak(options.spoken, options.seed, out_dir, processes)
    if options.kind == "kaldi":
        read = read_kaldi_features if features else read_kaldi
        rows = [row for split in SPLITS for row in read(folder / getattr(options.kaldi, split), split)]
    elif options.kind == "librispeech":
        rows = [row for s in SPLITS for row in read_librispeech(folder, s, getattr(options.librispeech, s))]
    elif options.kind == "strings":
        rows = join_strings(folder / options.strings, folder / options.table, (out_dir / "audio").resolve())
    else:
        rows = read_source_table(folder / options.table)
    lm_text = None if options.lm_text is None else folder / options.lm_text
    return Source(rows, folder / options.lexicon, lm_text)


def _check_rows(rows: Sequence[SourceRow], shared_speakers: bool) -> list[SourceRow]:
    """Check ids, splits and speakers."""
    first: dict[str, str] = {}
    home: dict[str, tuple[str, str]] = {}
    for row in rows:
        check_id(row.utterance_id, "utterance id", row.where)
        check_id(row.speaker_id, "speaker id", row.where)
        if row.utterance_id in first:
            raise UserError(
                f"{row.where}: utterance id {row.utterance_id!r} is there already ({first[row.utterance_id]}): "
                "make ids unique over all splits"
            )
        first[row.utterance_id] = row.where
        if row.split not in SPLITS:
            raise UserError(f"{row.where}: split {row.split!r}: must be train, dev or test")
        split, where = home.setdefault(row.speaker_id, (row.split, row.where))
        if split != row.split and not shared_speakers:
            raise UserError(
                f"{row.where}: speaker {row.speaker_id!r} is in {row.split} and in {split} ({where}): "
                "keep speakers apart, or set corpus.shared_speakers: true for a published split that shares them"
            )
    return list(rows)


def _speaker_classes(rows: Sequence[SourceRow]) -> dict[str, str]:
    """Return the class of each speaker that has one."""
    classes: dict[str, str] = {}
    for row in rows:
        if row.speaker_class and classes.setdefault(row.speaker_id, row.speaker_class) != row.speaker_class:
            raise UserError(
                f"{row.where}: speaker {row.speaker_id!r} has class {row.speaker_class!r} here and "
                f"{classes[row.speaker_id]!r} before: correct one"
            )
    return classes


def _utterances(rows: list[SourceRow], infos: dict[str, AudioInfo], coverage: Coverage) -> dict[str, list[Utterance]]:
    tables: dict[str, list[Utterance]] = {split: [] for split in SPLITS}
    for row in rows:
        words = words_of(row.transcript, row.where)
        info = infos[row.utterance_id]
        tables[row.split].append(
            Utterance(
                utterance_id=row.utterance_id,
                speaker_id=row.speaker_id,
                path=str(row.path.absolute()),
                duration_s=info.frames / info.rate,
                transcript=" ".join(words),
                lexical=" ".join(coverage.covered(words, row.utterance_id)),
                shard=0,
            )
        )
    return tables


def _check_splits(tables: dict[str, list[Utterance]], quarantined: list[dict[str, str]], origin: Path) -> None:
    for split, rows in tables.items():
        if not rows:
            aside = [f"{q['utterance_id']} ({q['reason']})" for q in quarantined if q["split"] == split]
            why = f"all set aside: {short_list(aside, 3)}" if aside else "no row names it"
            raise UserError(f"{origin}: split {split} is empty: {why}: give it utterances")


def _lm_text(path: Path | None, train: list[Utterance], coverage: Coverage) -> list[str]:
    """Return the sentences for the language model."""
    if path is None:
        return [u.lexical for u in train]
    sentences = []
    for number, line in enumerate(read_lines(path), start=1):
        if words := words_of(line, f"{path}: line {number}"):
            sentences.append(" ".join(coverage.covered(words, f"{path.name}: line {number}")))
    if not sentences:
        raise UserError(f"{path}: no sentences: write one a line, or set corpus.lm_text: null for the transcripts")
    return sentences
