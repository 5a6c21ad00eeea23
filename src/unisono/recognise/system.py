"""What belongs to one recogniser: recogniser.json, format `unisono.recogniser/1`, in a run's folder or an exported one.

| key | meaning |
|---|---|
| `name`, `run`, `final_model` | config, run and the candidate that was chosen |
| `files` | paths relative to the folder: `network`, `hmm`, `graph`, `lang` (a folder), `cmvn` (or null) |
| `sha256` | of each of these files, those of the language directory as `lang/<name>` |
| `settings` | config sections `features`, `hmm`, `lm`, `decode`, complete |
| `sampling_rate` | Hz, of the recordings it was trained on |
| `acoustic_scale`, `word_insertion_penalty` | as chosen on dev |
| `corpus` | for each split: utterances, speakers, words, seconds |
"""

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from unisono import __version__
from unisono.errors import UserError
from unisono.files import read_json, sha256

FORMAT = "unisono.recogniser/1"
NAME = "recogniser.json"
LANG_FILES = ("L.fst", "L_disambig.fst", "lang.json", "lexicon.txt", "phones.txt", "topo", "words.txt")
SECTIONS = ("features", "hmm", "lm", "decode")
_DEEPEST = 2  # a run's folder lies so deep below results/<name>


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class System:
    """A recogniser whose files are all there and as they were when it was described."""

    folder: Path
    facts: dict[str, Any]  # recogniser.json
    network: Path
    hmm: Path
    lang: Path
    graph: Path
    cmvn: Path | None  # statistics of the training set, where features are normalised by those


def describe(
    folder: str | os.PathLike[str], files: Mapping[str, str | None], facts: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the content of recogniser.json in `folder`, with digests; `files` as in the module's table."""
    relative = {part: None if path is None else os.path.relpath(path, folder) for part, path in files.items()}
    return {
        "format": FORMAT,
        "version": __version__,
        "files": relative,
        "sha256": {label: sha256(path) for label, path in _all_files(Path(folder), relative).items()},
        **facts,
    }


def facts_of(
    names: Mapping[str, str], settings: Mapping[str, Any], tuned: Mapping[str, Any], corpus: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the facts of a recogniser: names, settings, and what tune.json and corpus.json say of it.

    `names`: name, run and final_model. Raises UserError where something is missing.
    """
    try:
        return {
            **names,
            "settings": {key: settings[key] for key in SECTIONS},
            "sampling_rate": int(corpus["sampling_rate"]),
            "acoustic_scale": float(tuned["acoustic_scale"]),
            "word_insertion_penalty": float(tuned["word_insertion_penalty"]),
            "corpus": corpus["splits"],
        }
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"settings, corpus.json or tune.json: {error!r}: run their stages again") from None


def read_system(folder: str | os.PathLike[str]) -> System:
    """Read recogniser.json and check each file's digest.

    Raises UserError where the folder holds no recogniser, or a file of it is missing, changed or out of its place.
    """
    where = Path(folder)
    if not (where / NAME).is_file():
        raise UserError(
            f"{where}: no {NAME}: give the folder of a finished run, results/<name>/runs/<run>, or an exported one"
        )
    facts = read_json(where / NAME)
    if not isinstance(facts, dict) or facts.get("format") != FORMAT:
        raise UserError(f"{where / NAME}: not of format {FORMAT}: use the version of unisono that wrote it")
    try:
        files, digests = dict(facts["files"]), dict(facts["sha256"])
        for key in SECTIONS:
            _ = dict(facts["settings"][key])
        for key in ("beam", "max_active", "min_active"):
            _ = float(facts["settings"]["decode"][key])
        for part in ("network", "hmm", "lang", "graph"):
            _check_place(where, part, files[part])
        if files["cmvn"] is not None:
            _check_place(where, "cmvn", files["cmvn"])
        for key in ("sampling_rate", "acoustic_scale", "word_insertion_penalty"):
            _ = float(facts[key])
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{where / NAME}: damaged ({error!r}): {_remedy(where)}") from None
    for label, path in _all_files(where, files).items():
        if not path.is_file():
            raise UserError(f"{path}: no such file: {_remedy(where)}")
        if sha256(path) != digests.get(label):
            raise UserError(f"{path}: changed since {NAME} was written: {_remedy(where)}")
    return System(
        folder=where,
        facts=facts,
        network=where / files["network"],
        hmm=where / files["hmm"],
        lang=where / files["lang"],
        graph=where / files["graph"],
        cmvn=None if files["cmvn"] is None else where / files["cmvn"],
    )


def _all_files(folder: Path, files: Mapping[str, str | None]) -> dict[str, Path]:
    """Return the path of each file by its label in `sha256`."""
    found = {part: folder / path for part, path in files.items() if path is not None and part != "lang"}
    return found | {f"lang/{name}": folder / str(files["lang"]) / name for name in LANG_FILES}


def _check_place(where: Path, part: str, path: str) -> None:
    """Refuse a path that leads out of the results or the exported folder."""
    parts = PurePosixPath(path).parts
    if PurePosixPath(path).is_absolute() or ".." in parts[_DEEPEST:]:
        raise UserError(f"{where / NAME}: {part}: {path!r} lies elsewhere: {_remedy(where)}")


def _remedy(where: Path) -> str:
    if (where / "plan.json").exists():
        return "run snakemake again with this config"
    return "copy or export the folder again"
