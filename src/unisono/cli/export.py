"""Gather all that a run's recogniser needs in one folder, which can be copied to another machine.

It holds the network (final.safetensors), the decoding graph (HCLG.fst), words, phones and lexicon (lang/), the HMM
(model.h5), with global CMVN its statistics (cmvn.h5), settings and SHA-256 of each file (recogniser.json), where it
comes from (provenance.json), and README.md; no recordings. `unisono transcribe --system FOLDER` works from it.
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from unisono.recognise.system import System

# Name in the exported folder of each part of the system.
PLACES = {"network": "final.safetensors", "hmm": "model.h5", "graph": "HCLG.fst", "lang": "lang", "cmvn": "cmvn.h5"}
# What else lies in a run's folder and says where the model comes from.
PROVENANCE = ("final.json", "config.json", "wer.json")
LICENCE = "not stated: it follows from the licence of the recordings, texts and lexicon"

EXAMPLE = """example:
  unisono export results/mine/runs/main mine-recogniser --licence "CC BY 4.0"
"""
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


def register(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.epilog = EXAMPLE
    parser.add_argument("run_folder", metavar="RUN_FOLDER", help="results/<name>/runs/<run> of a finished run")
    parser.add_argument("out_dir", metavar="OUT_DIR", help="folder to make; it must not be there yet")
    parser.add_argument(
        "--licence",
        default=LICENCE,
        metavar="TEXT",
        help="licence of the model, for README.md and provenance.json (default: %(default)s)",
    )


def run(args: argparse.Namespace) -> None:
    """Make the folder: whole, or not at all."""
    import logging

    from unisono.files import atomic_folder
    from unisono.recognise.system import read_system

    if not args.licence.strip() or not args.licence.isprintable():
        args.licence = LICENCE
    system = read_system(args.run_folder)
    with atomic_folder(args.out_dir) as folder:
        fill(folder, system, args.licence)
    log = logging.getLogger("unisono.export")
    size = sum(path.stat().st_size for path in Path(args.out_dir).rglob("*") if path.is_file())
    log.info("%s: %.1f MB; use it with unisono transcribe --system %s AUDIO", args.out_dir, size / 1e6, args.out_dir)


def fill(folder: Path, system: "System", licence: str) -> None:
    """Copy and write all files of the exported folder."""
    import shutil

    from unisono.files import write_json, write_text
    from unisono.nn.model_file import load_model
    from unisono.recognise import system as systems

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


def _provenance(system: "System", licence: str) -> dict[str, Any]:
    from unisono.files import read_json

    given = system.folder / "provenance.json"  # of a folder that is exported once more
    found = read_json(given) if given.is_file() else {}
    for name in PROVENANCE:
        if (system.folder / name).is_file():
            found[name.removesuffix(".json")] = read_json(system.folder / name)
    if licence != LICENCE or "licence" not in found:
        found["licence"] = {"model": licence, "software": "Apache-2.0"}
    return {"format": "unisono.provenance/1", "corpus": system.facts["corpus"], **found}


def _readme(system: "System", provenance: dict[str, Any], network: dict[str, Any]) -> str:
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
