"""Which files a config names, and that they are there: some are needed only after hours of work."""

import glob
import os
import re
from collections.abc import Mapping

from unisono.config.build import complete
from unisono.config.config import Shared
from unisono.config.run import Run
from unisono.errors import UserError
from unisono.files import read_json

SPLITS = ("train", "dev", "test")
# Of a Kaldi data directory; the first three must be there.
KALDI_FILES = ("wav.scp", "text", "utt2spk", "segments", "spk2gender")
# Of a data directory whose features are read in place of recordings.
KALDI_FEATURES = ("feats.scp", "text", "utt2spk", "cmvn.scp", "spk2gender")

_END_OF_TRANSITIONS = b"</TransitionModel>"


def check_named_files(shared: Shared, runs: Mapping[str, Run]) -> None:
    """Refuse a config that names a file which is not there. Raises UserError, one line, for the first."""
    corpus_files(shared)
    given_arpa(shared)
    speaker_table(shared)
    if shared.hmm.align_with:
        finished_run(shared)
    if kaldi_system(shared):
        kaldi_alignments(shared, "train")
        kaldi_alignments(shared, "dev")
        kaldi_dev(shared)
    for run in runs.values():
        path, order = start_model(run), run.parallel.arrival
        if order.kind == "log":
            present("parallel.arrival.path", order.path or "", "let the run that writes it finish first")
        # A model that this config makes itself is not there yet.
        if path and not os.path.normpath(path[0]).startswith(f"results/{shared.name}/runs/"):
            present("initialisation.path", path[0], "the path is read from the working directory")


def present(key: str, file: str, remedy: str) -> str:
    """Return the path of a file that the config names. Raises UserError, one line, where there is none."""
    if not os.path.exists(file):
        raise UserError(f"{key}: {file}: no such file: {remedy}")
    return file


def corpus_files(shared: Shared) -> list[str]:
    """Return the files of a recorded corpus; the spoken one needs none."""
    corpus = shared.corpus
    if corpus.kind == "spoken":
        return []
    folder = os.path.join(shared.corpora_dir, corpus.dir)
    keys = ("table", "strings", "lexicon", "lm_text", "phones")
    names = [name for key in keys if (name := getattr(corpus, key, None))]
    if corpus.kind == "kaldi":
        for split in SPLITS:
            wanted = KALDI_FEATURES if shared.features.kind == "kaldi" else KALDI_FILES
            parts = [os.path.join(getattr(corpus.kaldi, split), part) for part in wanted]
            names += parts[:3] + [part for part in parts[3:] if os.path.exists(os.path.join(folder, part))]
    if os.path.isdir(folder):
        remedy = f"correct the key below corpus that names it, or corpus.dir; {folder} is there"
    else:
        remedy = "say where the corpora lie with --config corpora_dir=FOLDER, or correct corpus.dir"
    return [present("corpus", os.path.join(folder, name), remedy) for name in names]


def given_arpa(shared: Shared) -> list[str]:
    """Return the ARPA file of `lm: {kind: arpa}`; nothing for other kinds."""
    if shared.lm.kind != "arpa":
        return []
    path = os.path.join(shared.corpora_dir, shared.lm.arpa or "")
    return [present("lm.arpa", path, "the path is read below corpora_dir")]


def speaker_table(shared: Shared) -> list[str]:
    """Return the table of speakers whose columns are classes in the report; nothing where none is named.

    Its columns are checked: the report reads it after hours of training.
    """
    if not shared.report.speakers:
        return []
    path = os.path.join(shared.corpora_dir, getattr(shared.corpus, "dir", ""), shared.report.speakers)
    present("report.speakers", path, "the path is read below corpus.dir")
    with open(path, encoding="utf-8-sig", errors="replace") as lines:
        heading, *rows = [[field.strip() for field in line.split("\t")] for line in lines] or [[]]
    for column, border in {"speaker_id": "each", **shared.report.classes}.items():
        if column not in heading:
            raise UserError(
                f"report.speakers: {path}: line 1: column {column!r} is missing: it has {', '.join(heading)}"
            )
        at = heading.index(column)
        for number, row in enumerate(rows, start=2):
            if border != "each" and any(row) and not _is_number("".join(row[at : at + 1])):
                raise UserError(
                    f"report.speakers: {path}: line {number}: {column} is no number: correct it, "
                    f"or set report.classes.{column}: each"
                )
    return [path]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def finished_run(shared: Shared) -> str:
    """Return what describes the run of `hmm.align_with`, with all its files. Raises UserError where it is not."""
    other = shared.hmm.align_with
    assert other is not None
    path = f"results/{other.name}/runs/{other.run}/recogniser.json"
    return present("hmm.align_with", path, "let that config finish first")


def engine_of(shared: Shared, name: str, run: Run) -> str:
    """Return the engine of a run: the config's, but where a run of these settings is finished the one that made it.

    Engines write the same bytes; to Snakemake they are other rules, and it would train such a run again.
    """
    try:
        final = read_json(f"results/{shared.name}/runs/{name}/final.json")
        same = final["config"] == complete(run, execution=False)
        return str(final["engine"]) if same else run.parallel.engine
    except (OSError, UserError, LookupError, TypeError):  # not there yet, or damaged: it will be made afresh
        return run.parallel.engine


def kaldi_features(shared: Shared, frontend: str, split: str, name: str) -> str:
    """Return feats.scp or cmvn.scp of a split for the front end `net` or `hmm`; empty where it is not read.

    cmvn.scp is read where it is there and normalisation is by speaker.
    """
    options, corpus = shared.features if frontend == "net" else shared.hmm.features, shared.corpus
    if options.kind != "kaldi" or corpus.kind != "kaldi":
        return ""
    path = os.path.join(shared.corpora_dir, corpus.dir, getattr(corpus.kaldi, split), name)
    wanted = name == "feats.scp" or (options.cmvn == "speaker" and os.path.exists(path))
    return path if wanted else ""


def kaldi_system(shared: Shared) -> dict[str, str]:
    """Return the files of `hmm.kaldi` that a system is read from. Raises UserError where one is not there."""
    named = shared.hmm.kaldi
    if shared.hmm.align != "kaldi" or named is None:
        return {}
    found = {name: os.path.join(named.dir, name) for name in ("final.mdl", "tree")}
    found |= {name: os.path.join(named.lang, name) for name in ("words.txt", "phones.txt", "L.fst", "L_disambig.fst")}
    return {
        name: present("hmm.kaldi", path, "the path is read from the working directory") for name, path in found.items()
    }


def kaldi_alignments(shared: Shared, split: str) -> list[str]:
    """Return the files of a split's alignments. Raises UserError for a pattern that no file fits."""
    named = shared.hmm.kaldi
    assert named is not None
    found = []
    for pattern in named.alignments if split == "train" else named.dev_alignments:
        files = sorted(glob.glob(pattern))
        if not files:
            raise UserError(f"hmm.kaldi: {pattern}: no such file: the path is read from the working directory")
        found += files
    return found


def kaldi_dev(shared: Shared) -> str:
    """Return what training evaluates itself on: `given` alignments of dev, dev aligned by `gmm`, part of `train`."""
    named = shared.hmm.kaldi
    system = kaldi_system(shared)
    if named is None or not system or named.dev_alignments:
        return "given"
    if named.dev:
        return named.dev
    features = shared.hmm.features
    usable = features.kind == "kaldi" or shared.features.kind != "kaldi"
    return "gmm" if usable and mixture_dim(system["final.mdl"]) == features.dim else "train"


def mixture_dim(path: str) -> int:
    """Return the numbers a frame of the Gaussians in a `final.mdl`; 0 where it holds none.

    Only what stands behind the transition model is looked at; the reader of the stage checks all.
    """
    tail = b""
    with open(path, "rb") as file:
        while block := file.read(2**20):
            data = tail + block
            found = data.find(_END_OF_TRANSITIONS)
            if found >= 0:
                text = data[found + len(_END_OF_TRANSITIONS) :] + file.read(64)
                dim = re.match(rb"\s*<DIMENSION> (?:\x04(.{4})|(\d{1,9})\s)", text, re.DOTALL)
                return 0 if dim is None else int.from_bytes(dim[1], "little") if dim[1] else int(dim[2])
            tail = data[-len(_END_OF_TRANSITIONS) :]
    return 0


def start_model(run: Run) -> list[str]:
    """Return the given model that a run starts from; nothing for another start."""
    return [run.initialisation.path or ""] if run.initialisation.kind == "model" else []
