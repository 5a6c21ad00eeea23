"""A recogniser of ours as a folder that Kaldi decodes with.

| file | content |
|---|---|
| `final.mdl` | transition model, network and priors (nnet3); with nnet1: transition model, and mixtures if there are |
| `final.nnet`, `class_counts` | with nnet1: the network, and counts whose shares are the priors |
| `tree` | decision tree |
| `HCLG.fst`, `words.txt`, `phones.txt` | decoding graph and symbols |
| `lang/` | language directory: symbols, L.fst, L_disambig.fst, topo, phones/ |
| `conf/` | features: mfcc.conf or fbank.conf, cmvn_opts, delta_opts; global_cmvn.stats with CMVN of the training set |
| `README.md` | the commands |
"""

import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NoReturn

import numpy as np
import torch

from unisono.config.build import build
from unisono.config.features import FeatureOptions, KaldiFeatures
from unisono.core import flat
from unisono.data.features import cmvn
from unisono.data.features.kaldi_conf import write_conf
from unisono.data.kaldi import model_write
from unisono.data.kaldi.fst import read_fst
from unisono.data.kaldi.lstm_write import lstm_bytes
from unisono.data.kaldi.nnet3 import array_bytes
from unisono.data.kaldi.tokens import Tokens
from unisono.data.kaldi.transitions import Transitions, read_topology
from unisono.errors import UserError
from unisono.files import atomic_folder, write_text
from unisono.hmm.lexicon import Lang, load_lang
from unisono.hmm.model import HmmModel, load_model
from unisono.nn.model_file import Model
from unisono.nn.model_file import load_model as load_network
from unisono.recognise.kaldi_lstm import recurrent_of
from unisono.recognise.system import System

Program = Literal["kaldi", "nnet1"]
COUNTED = 1e6  # frames that class_counts stands for; only shares matter


def export(system: System, out_dir: str | Path, program: Program) -> int:
    """Make the folder `out_dir`, whole or not at all; return its size in bytes.

    `program`: kaldi (nnet3) or nnet1. Raises UserError naming what Kaldi cannot express, or where `out_dir` is there.
    """
    network, hmm = load_network(system.network), load_model(system.hmm)
    _check(system, network, program)
    with atomic_folder(out_dir) as folder:
        _write_models(folder, network, hmm, program)
        (folder / "tree").write_bytes(model_write.BINARY + hmm.tree_bytes)
        (folder / "HCLG.fst").write_bytes(read_fst(system.graph).to_bytes())
        _write_lang(folder, system.lang, hmm)
        _write_features(folder / "conf", system)
        (folder / "README.md").write_text(_readme(system, network, program), encoding="utf-8")
    return sum(path.stat().st_size for path in Path(out_dir).rglob("*") if path.is_file())


def transitions_of(hmm: HmmModel) -> Transitions:
    """Return the transition model of an HMM as Kaldi keeps it."""
    topology = read_topology(Tokens(hmm.topology.encode(), "the HMM's topology"))
    # The wheel tells a tuple's numbers only as text: phone, HMM state, forward pdf, self-loop pdf.
    rows = [[int(n) for n in re.findall(r"=(\d+)", str(row))] for row in hmm.transition_model.tuples]
    return Transitions(topology, np.array(rows, np.int32), hmm.transition_log_probs)


def nnet3_of(network: Model) -> tuple[bytes, tuple[int, int]]:
    """Return a network as nnet3 in binary, and the frames that it looks to the left and to the right."""
    if network.network["kind"] == "lstm":
        stack = recurrent_of(network)
        return lstm_bytes(stack), (-stack.offsets[0], stack.offsets[-1] + stack.delay)
    shape = _shape(network)
    return model_write.nnet3_bytes(*shape), shape[3]


def _shape(network: Model) -> tuple[model_write.Layers, str, int, tuple[int, int]]:
    """Return what the writers of feed-forward networks need."""
    spec = network.network
    return layers_of(network), nonlinearity_of(spec), spec["feature_dim"], (spec["context"][0], spec["context"][1])


def nonlinearity_of(spec: Mapping[str, Any]) -> str:
    """Return the nonlinearity of a feed-forward network as `model_write` names it."""
    return "p-norm" if spec["kind"] == "pnorm" else spec["nonlinearity"]


def layers_of(model: Model) -> model_write.Layers:
    """Return weight [outputs, inputs] and bias [outputs] of each layer, float32."""
    matrices = flat.views(model.layout, model.flat).values()
    return [(matrix[:, :-1].numpy().copy(), matrix[:, -1].numpy().copy()) for matrix in matrices]


def _check(system: System, network: Model, program: Program) -> None:
    spec = network.network
    if spec["kind"] not in ("dnn", "pnorm", "lstm"):
        _refuse(system, f"a network of kind {spec['kind']}", "only dnn, pnorm and lstm are exported")
    if spec["kind"] == "lstm" and program == "nnet1":
        _refuse(system, "an LSTM in nnet1", "export it with --format kaldi")
    if spec.get("decay_time"):  # Kaldi's fast-lstm-layer lets the output gate see the cell before its decay
        _refuse(system, "an LSTM with decay_time", "train it without")
    if program == "nnet1" and nonlinearity_of(spec) not in model_write.nnet1_nonlinearities():
        _refuse(system, f"nonlinearity {nonlinearity_of(spec)} in nnet1", "export it with --format kaldi")
    if network.log_prior is None or network.constants:
        _refuse(system, "a network without priors or with constants", "give a final model, which has these folded in")


def _write_models(folder: Path, network: Model, hmm: HmmModel, program: Program) -> None:
    transitions = transitions_of(hmm)
    assert network.log_prior is not None  # checked before
    priors = torch.softmax(network.log_prior.double(), 0).numpy()
    if program == "kaldi":
        body = model_write.nnet3_model_bytes(transitions, *nnet3_of(network), priors)
    else:
        (folder / "final.nnet").write_bytes(model_write.BINARY + model_write.nnet1_bytes(*_shape(network)))
        counts = " ".join(f"{COUNTED * prior:.9g}" for prior in priors)
        write_text(folder / "class_counts", f" [ {counts} ]\n")
        body = model_write.transitions_bytes(transitions)
        if len(hmm.gmms.weights):
            body += model_write.mixtures_bytes(*hmm.gmms)
    (folder / "final.mdl").write_bytes(model_write.BINARY + body)


def _write_lang(folder: Path, lang_dir: Path, hmm: HmmModel) -> None:
    lang, out = load_lang(lang_dir), folder / "lang"
    (out / "phones").mkdir(parents=True)
    for name in ("words.txt", "phones.txt"):
        shutil.copyfile(lang_dir / name, out / name)
        shutil.copyfile(lang_dir / name, folder / name)
    for name in ("L.fst", "L_disambig.fst"):
        (out / name).write_bytes(read_fst(lang_dir / name).to_bytes())
    write_text(out / "topo", hmm.topology)
    for name, ids in (
        ("silence", lang.silence_ids), ("optional_silence", lang.silence_ids[:1]),
        ("disambig", lang.phone_disambig_ids),
        ("nonsilence", sorted(set(lang.phones.values()) - {0, *lang.silence_ids, *lang.phone_disambig_ids})),
    ):  # fmt: skip
        write_text(out / "phones" / f"{name}.int", "".join(f"{number}\n" for number in ids))
        write_text(out / "phones" / f"{name}.csl", ":".join(map(str, ids)) + "\n")
    write_text(out / "phones" / "align_lexicon.int", "".join(_align_lexicon(lang)))


def _align_lexicon(lang: Lang) -> list[str]:
    """Return lines of word, word and phones, by number; the first is the optional silence."""
    lines = [f"0 0 {lang.silence_ids[0]}\n"]
    for entry in lang.pronunciations:
        word, phones = lang.words[entry.word], " ".join(str(lang.phones[phone]) for phone in entry.phones)
        lines.append(f"{word} {word} {phones}\n")
    return lines


def _write_features(folder: Path, system: System) -> None:
    folder.mkdir()
    options = build(FeatureOptions, system.facts["settings"]["features"], "recogniser.json: settings.features")
    if not isinstance(options, KaldiFeatures):  # those were Kaldi's to begin with
        name, lines = write_conf(options, int(system.facts["sampling_rate"]))
        write_text(folder / name, "".join(f"--{key}={value}\n" for key, value in lines.items()))
    if options.cmvn != "none":
        write_text(folder / "cmvn_opts", f"--norm-means=true --norm-vars={_word(options.cmvn_variance)}\n")
    if options.deltas:
        write_text(folder / "delta_opts", f"--delta-order={options.deltas}\n")
    if system.cmvn is not None:
        (total,) = cmvn.read_statistics(system.cmvn, options.base_dim).values()
        (folder / "global_cmvn.stats").write_bytes(model_write.BINARY + array_bytes(total))


def _word(value: bool) -> str:
    return "true" if value else "false"


_README = """\
# {name}, run {run}, for Kaldi

Made by `unisono export --format {program}`. FEATS below are {made}{cmvn}{deltas}.

    FEATS="ark:...|"
    {likes} \\
      | latgen-faster-mapped --acoustic-scale={scale:.4g} --beam=13 --lattice-beam=6 --word-symbol-table=words.txt \\
          final.mdl HCLG.fst ark:- ark:lattices.ark

{penalty}Kaldi's scoring chooses the scale anew.
"""
_COMPUTED = "those of `compute-{kind}-feats --config=conf/{kind}.conf`"
_LIKES = {
    "kaldi": 'nnet3-compute --use-gpu=no --use-priors=true{whole} final.mdl "$FEATS" ark:-',
    "nnet1": 'nnet-forward --no-softmax=true --class-frame-counts=class_counts final.nnet "$FEATS" ark:-',
}


def _readme(system: System, network: Model, program: Program) -> str:
    facts: Mapping[str, Any] = system.facts
    features = facts["settings"]["features"]
    penalty = facts["word_insertion_penalty"]
    where = " conf/global_cmvn.stats" if system.cmvn else ""
    kind = features["kind"]
    # The state of an LSTM must not begin anew within an utterance.
    whole = " --frames-per-chunk=100000" if network.network["kind"] == "lstm" else ""
    made = "the features of Kaldi that it was trained on" if kind == "kaldi" else _COMPUTED.format(kind=kind)
    return _README.format(
        name=facts["name"], run=facts["run"], program=program, made=made, likes=_LIKES[program].format(whole=whole),
        scale=facts["acoustic_scale"],
        cmvn="" if features["cmvn"] == "none" else f", `apply-cmvn $(cat conf/cmvn_opts){where}`",
        deltas=", `add-deltas $(cat conf/delta_opts)`" if features["deltas"] else "",
        penalty=f"Word insertion penalty on dev: {penalty:g} (lattice-add-penalty). " if penalty else "",
    )  # fmt: skip


def _refuse(system: System, what: str, remedy: str) -> NoReturn:
    raise UserError(f"{system.folder}: {what} cannot be written for Kaldi: {remedy}")
