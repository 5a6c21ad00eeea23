"""The keys of `corpus` and of what is heard beside it: another value gives other tables, recordings or texts."""

import itertools
import shutil
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from tests.support.keys.row import Row
from unisono.config.build import from_json
from unisono.config.check import read_config
from unisono.config.corpus import CorpusOptions
from unisono.config.reads import told
from unisono.data.corpus import spoken
from unisono.data.corpus.build import build
from unisono.data.corpus.perturbation import perturbed
from unisono.data.corpus.table import read_table
from unisono.errors import UserError

SPOKEN = {
    "kind": "spoken",
    "shards": 1,
    "spoken": {
        "train_sentences": 12, "dev_sentences": 2, "test_sentences": 2, "lm_sentences": 4,
        "train_voices": 2, "dev_voices": 1, "test_voices": 1, "sampling_rate": 8000,
    },
}  # fmt: skip
SPLITS = {"train": ("train", "train-clean-100"), "dev": ("dev", "dev-clean"), "test": ("test", "test-clean")}
HEADING = "utterance_id\tspeaker_id\tpath\ttranscript\tsplit\n"


def contents(folder, root=None):
    """Return the bytes of all files below a folder, the paths in them relative to `root`."""
    here = f"{root or folder}/".encode()
    files = sorted(path for path in Path(folder).rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes().replace(here, b"") for path in files}


class Corpora:
    """Sentences of the embedded corpus, spoken once, and the same recordings as a corpus of every kind."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self.spoken = self.folder / "spoken"
        build(read_config({"name": "x", "corpus": SPOKEN}).shared.corpus, self.folder, self.spoken)
        rows = {split: read_table(self.spoken / f"{split}.tsv") for split in SPLITS}
        mine = self.mine = self.folder / "mine"
        mine.mkdir()
        self._lexicons(mine, rows)
        lines = [self._line(row, split) for split in SPLITS for row in rows[split]]
        mine.joinpath("utterances.tsv").write_text(HEADING + "".join(lines))
        mine.joinpath("fewer.tsv").write_text(HEADING + "".join(lines[1:]))
        shared = rows["train"][0].speaker_id
        mine.joinpath("shared.tsv").write_text(
            HEADING + "".join([*lines[:-1], self._line(rows["test"][1], "test", shared)])
        )
        self._strings(mine, rows)
        for split, names in SPLITS.items():
            for name, chosen in ((names[0], rows[split]), (f"{split}-2", rows[split][:1])):
                self._kaldi(mine / name, chosen)
            for number, name in enumerate((names[1], f"{split}-b")):
                self._librispeech(mine / name, rows[split][number : number + 1], number)
        shutil.copytree(mine, self.folder / "other")
        (self.folder / "other/utterances.tsv").write_text(HEADING + "".join(lines[1:]))

    @staticmethod
    def _line(row, split, speaker=None):
        return f"{row.utterance_id}\t{speaker or row.speaker_id}\t{row.path}\t{row.transcript}\t{split}\n"

    def _lexicons(self, folder, rows):
        text = (self.spoken / "lexicon.txt").read_text()
        spoken_first = rows["train"][0].transcript.split()[0]
        folder.joinpath("lexicon.txt").write_text(text)
        folder.joinpath("larger.txt").write_text(text + "EXTRA  EH K S T R AH\n")
        lines = [line for line in text.splitlines(keepends=True) if line.split()[0] != spoken_first]
        folder.joinpath("lacking.txt").write_text("".join(lines) + "<UNK>  AH\n")
        folder.joinpath("phones.txt").write_text("AH\nB\n")
        folder.joinpath("text.txt").write_text(rows["dev"][0].transcript + "\n")

    @staticmethod
    def _strings(folder, rows):
        heading = "string_id\tspeaker_id\tsplit\tutterance_ids\tgaps_ms\ttranscript\n"
        lines = [
            f"s{row.utterance_id}\t{row.speaker_id}\t{split}\t{row.utterance_id}\t100 {{}}\t{row.transcript}\n"
            for split in SPLITS
            for row in rows[split]
        ]
        for name, gap in (("strings", 100), ("longer", 200)):
            folder.joinpath(f"{name}.tsv").write_text(heading + "".join(line.format(gap) for line in lines))

    @staticmethod
    def _kaldi(folder, rows):
        folder.mkdir()
        for name, what in (("wav.scp", "path"), ("text", "transcript"), ("utt2spk", "speaker_id")):
            folder.joinpath(name).write_text("".join(f"{row.utterance_id} {getattr(row, what)}\n" for row in rows))
        folder.joinpath("spk2gender").write_text(
            "".join(f"{speaker} f\n" for speaker in {row.speaker_id for row in rows})
        )

    @staticmethod
    def _librispeech(folder, rows, number):
        for row in rows:
            speaker = f"{1000 + number}{sum(map(ord, row.speaker_id))}"
            chapter = folder / speaker / "1"
            chapter.mkdir(parents=True)
            name = f"{speaker}-1-0000"
            shutil.copy(row.path, chapter / f"{name}.flac")
            chapter.joinpath(f"{speaker}-1.trans.txt").write_text(f"{name} {row.transcript}\n")

    def built(self, settings):
        """Return what the corpus stage writes, as its command is told."""
        out = self.folder / "out"
        shutil.rmtree(out, ignore_errors=True)
        try:
            build(from_json(CorpusOptions, told("corpus", settings.shared)), self.folder, out)
        except UserError as error:
            raise UserError(str(error).replace(f"{self.folder}/", "")) from None
        return contents(out, self.folder)

    def heard(self, settings):
        """Return the training set at other speeds."""
        rows = perturbed(read_table(self.spoken / "train.tsv"), settings.shared.speed_perturbation)
        return [replace(row, path="") for row in rows]

    @cached_property
    def base(self):
        """What all rows on these corpora stand on."""
        return {"corpora_dir": str(self.folder), "corpus": SPOKEN}


def planned(settings):
    """Return which sentences of the embedded corpus are to be spoken, by whom, and its text."""
    corpus = from_json(CorpusOptions, told("corpus", settings.shared))
    return spoken.plan(corpus.spoken, corpus.seed)


SIZES = [
    Row("corpus.seed", [2]),
    Row("corpus.spoken.language", ["mandarin"]),
    *(
        Row(f"corpus.spoken.{split}_{what}", [number])
        for split, (what, number) in itertools.product(SPLITS, (("sentences", 20), ("voices", 2)))
    ),
    Row("corpus.spoken.lm_sentences", [5]),
]
SPEEDS = [Row("speed_perturbation", [[0.9], [0.9, 1.1]])]


def recorded(kind, **keys):
    """Return a corpus of recordings in place of the spoken one."""
    return {"corpus": {"kind": kind, "dir": "mine", "shards": 1, **keys}}


TABLE = recorded("table")
BUILT = [
    Row("corpus.kind", ["spoken", "table", "strings", "kaldi", "librispeech"], {"corpus.dir": "mine"}, refused=True),
    Row("corpus.shards", [2]),
    Row("corpus.spoken.sampling_rate", [8000]),
    Row("corpus.shared_speakers", [True], recorded("table", table="shared.tsv"), refused=True),
    Row("corpus.unknown_word", ["<UNK>"], recorded("table", lexicon="lacking.txt"), refused=True),
    Row("corpus.dir", ["mine", "other"], TABLE, refused=True),
    Row("corpus.lexicon", ["larger.txt"], TABLE),
    Row("corpus.lm_text", ["text.txt"], TABLE),
    Row("corpus.phones", ["phones.txt"], TABLE, refused=True),
    Row("corpus.table", ["fewer.tsv"], TABLE),
    Row("corpus.strings", ["longer.tsv"], recorded("strings")),
    *(Row(f"corpus.kaldi.{split}", [f"{split}-2"], recorded("kaldi")) for split in SPLITS),
    *(
        Row(f"corpus.librispeech.{split}", [[f"{split}-b"], [names[1], f"{split}-b"]], recorded("librispeech"))
        for split, names in SPLITS.items()
    ),
]
