"""An exported recogniser: one folder with all that `transcribe` needs, which can be copied to another machine."""

import shutil
from pathlib import Path
from typing import Any

from unisono.files import atomic_folder, read_json, write_json, write_text
from unisono.nn.model_file import load_model
from unisono.recognise import system as systems
from unisono.recognise.system import System

# Name in the exported folder of each part of the system.
PLACES = {"network": "final.safetensors", "hmm": "model.h5", "graph": "HCLG.fst", "lang": "lang", "cmvn": "cmvn.h5"}
# What else lies in a run's folder and says where the model comes from.
PROVENANCE = ("final.json", "config.json", "wer.json")
NOT_STATED = "not stated: it follows from the licence of the recordings, texts and lexicon"
README = """\
# {name}, run {run}: a speech recogniser

Trained by Unisono {version}. With Unisono installed (extra `bootstrap`):

    unisono transcribe --system THIS_FOLDER recording.wav          # {rate} Hz, mono, WAV or FLAC
    python -c 'import unisono; print(unisono.load("THIS_FOLDER/final.safetensors"))'

| file | content |
|---|---|
| `recogniser.json` | settings, what belongs together, SHA-256 of each file (checked whenever it is used) |
| `final.safetensors` | the network: {dim} features a frame in, log-posteriors of {pdfs} pdfs out, `log_prior` |
| `HCLG.fst`, `lang/` | decoding graph; words, phones, lexicon |
| `model.h5` | HMM: decision tree, topology, transitions |
{cmvn}| `provenance.json` | where it comes from: versions, settings of the training, corpus, result, licence |

{result}Licence of the model: {licence}.
"""


def export(system: System, out_dir: str | Path, licence: str | None = None) -> int:
    """Make the folder `out_dir`, whole or not at all; return its size in bytes.

    It holds the network, HCLG, language directory, HMM, with global CMVN its statistics, recogniser.json,
    provenance.json and README.md; no recordings. An empty or unprintable licence counts as not stated. Raises
    UserError where `out_dir` is there already.
    """
    with atomic_folder(out_dir) as folder:
        _fill(folder, system, licence if licence and licence.strip() and licence.isprintable() else None)
    return sum(path.stat().st_size for path in Path(out_dir).rglob("*") if path.is_file())


def _fill(folder: Path, system: System, licence: str | None) -> None:
    sources: dict[str, Path] = {"network": system.network, "hmm": system.hmm, "graph": system.graph}
    if system.cmvn:
        sources["cmvn"] = system.cmvn
    for part, source in sources.items():
        shutil.copyfile(source, folder / PLACES[part])
    (folder / PLACES["lang"]).mkdir()
    for name in systems.LANG_FILES:
        shutil.copyfile(system.lang / name, folder / PLACES["lang"] / name)
    places = {part: PLACES[part] if part in sources or part == "lang" else None for part in PLACES}
    write_json(folder / systems.NAME, {**system.facts, "files": places})
    provenance = _provenance(system, licence)
    write_json(folder / "provenance.json", provenance)
    write_text(folder / "README.md", _readme(system, provenance, load_model(system.network).network))
    systems.read_system(folder)  # the copies are what was described


def _provenance(system: System, licence: str | None) -> dict[str, Any]:
    given = system.folder / "provenance.json"  # of a folder that is exported once more
    found = read_json(given) if given.is_file() else {}
    for name in PROVENANCE:
        if (system.folder / name).is_file():
            found[name.removesuffix(".json")] = read_json(system.folder / name)
    if licence or "licence" not in found:
        found["licence"] = {"model": licence or NOT_STATED, "software": "Apache-2.0"}
    return {"format": "unisono.provenance/1", "corpus": system.facts["corpus"], **found}


def _readme(system: System, provenance: dict[str, Any], network: dict[str, Any]) -> str:
    facts, result = system.facts, provenance.get("wer")
    shown = ""
    if result:
        low, high = result["ci95"]
        shown = (
            f"Word error rate on its test set: {100 * result['wer']:.2f} % "
            f"(95 % interval {100 * low:.2f} to {100 * high:.2f} %, {result['words']} words).\n\n"
        )
    return README.format(
        name=facts["name"], run=facts["run"], version=facts["version"], rate=facts["sampling_rate"],
        dim=network["feature_dim"], pdfs=network["num_pdfs"], result=shown, licence=provenance["licence"]["model"],
        cmvn="| `cmvn.h5` | mean and variance of the training set |\n" if system.cmvn else "",
    )  # fmt: skip
