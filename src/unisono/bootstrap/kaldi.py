"""A system of Kaldi in the place of our bootstrap: its model, language, graph and alignments in our files."""

import logging
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unisono.bootstrap.corpus import KIND, TRANSITIONS
from unisono.data.features.reader import BaseReader
from unisono.data.kaldi.fst import Fst
from unisono.data.kaldi.lang import MARKS, WORD_DISAMBIG, KaldiLang
from unisono.data.kaldi.system import KaldiSystem, Misfit, check_alignment
from unisono.data.kaldi.transitions import Transitions
from unisono.data.sequences import write_sequences
from unisono.errors import UserError
from unisono.files import atomic_path, sha256, write_json, write_text
from unisono.hmm.gmm import Gmms
from unisono.hmm.model import HmmModel

log = logging.getLogger("unisono.kaldi")

# Features of one recording may differ by so many frames between programs: by how the edges are cut.
FRAMES_OFF = 2


def hmm_model(system: KaldiSystem, where: str | os.PathLike[str]) -> HmmModel:
    """Return the model with Kaldi's tree, topology and transition probabilities, and its mixtures if it has some.

    `where` names the system in messages. Raises UserError where tree and transition model are of two systems: built
    anew from tree and topology, the transition-ids must stand for the same phones and pdfs.
    """
    theirs, mixtures = system.transitions, system.mixtures
    gmms = Gmms.none(theirs.num_pdfs) if mixtures is None else Gmms(*mixtures)
    model = HmmModel(system.tree.binary, theirs.topology.text(), theirs.log_probs, gmms)
    unlike = f"{where}: the tree does not give the transition-ids of final.mdl: they are of two systems"
    try:
        built = model.transition_model
    except (RuntimeError, UserError):
        raise UserError(unlike) from None
    ids = range(1, theirs.num_ids + 1)
    same = built.num_transition_ids == theirs.num_ids and np.array_equal(model.id2pdf[1:], theirs.pdf_of[1:])
    if not same or [built.transition_id_to_phone(i) for i in ids] != theirs.phone_of[1:].tolist():
        raise UserError(unlike)
    return model


def write_lang(folder: str | os.PathLike[str], lang: KaldiLang, topology: str) -> None:
    """Write Kaldi's language directory as ours (`unisono.hmm.lexicon`); numbers and names stay."""
    out = Path(folder)
    words, phones = ({number: name for name, number in table.items()} for table in (lang.words, lang.phones))
    for name, table in (("words.txt", words), ("phones.txt", phones)):
        write_text(out / name, "".join(f"{table[number]} {number}\n" for number in sorted(table)))
    reserved = {lang.words.get(name) for name in (WORD_DISAMBIG, *MARKS)}
    entries = sorted({entry for entry in lang.pronunciations if entry.word not in reserved})
    lines = [f"{words[word]}  {' '.join(phones[phone] for phone in spoken)}\n" for word, spoken in entries]
    write_text(out / "lexicon.txt", "".join(sorted(lines)))
    write_text(out / "topo", topology)
    write_graph(out / "L.fst", lang.lexicon)
    write_graph(out / "L_disambig.fst", lang.lexicon_disambig)
    facts = {
        "silence_phone": phones[lang.silence[0]],
        "silence_ids": lang.silence,
        "phone_disambig_ids": lang.disambiguation,
        "word_disambig_id": lang.words.get(WORD_DISAMBIG, -1),
        "num_phones": len(phones) - 1 - len(lang.disambiguation),
        "num_words": len(words) - 1 - len([number for number in reserved if number is not None]),
        "num_pronunciations": len(entries),
    }
    write_json(out / "lang.json", facts)


def write_graph(path: str | os.PathLike[str], graph: Fst) -> dict[str, int]:
    """Write a transducer as a vector FST and return its size: states, arcs, bytes."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(graph.to_bytes())
    return {"states": len(graph.final), "arcs": len(graph.arcs), "bytes": Path(path).stat().st_size}


def write_alignments(
    out: str | os.PathLike[str],
    model_path: str | os.PathLike[str],
    transitions: Transitions,
    entries: Iterable[tuple[str, NDArray[np.int32]]],
    reader: BaseReader,
) -> dict[str, Any]:
    """Write the alignments of a split's utterances in the form of the command align, and return its report.

    Where alignment and features differ by up to two frames the longer alignment is cut, and a shorter one's last id
    is held; both are counted (`adjusted`). Utterances without a usable alignment are listed with the reason. Raises
    UserError for an alignment that is none of this model, as all others would be wrong as well.
    """
    found, failed, adjusted = _usable(transitions, entries, reader)
    if not found:
        first = next(iter(sorted(failed.items())), ("", "the split is empty"))
        raise UserError(
            f"alignments: none fits the features ({first[0]}: {first[1]}): are they of the same recordings?"
        )
    pdfs = transitions.pdf_of
    write_sequences(
        out,
        ((utt, {"ids": pdfs[found[utt]], TRANSITIONS: found[utt]}) for utt in sorted(found)),
        kind=KIND,
        attrs={"num_pdfs": transitions.num_pdfs, "model_sha256": sha256(model_path)},
    )
    for utt, reason in sorted(failed.items()):
        log.warning("%s: no alignment: %s", utt, reason)
    if adjusted:
        log.warning("%d alignments differed from the features by up to %d frames", adjusted, FRAMES_OFF)
    return {
        "aligned": len(found),
        "adjusted": adjusted,
        "frames": sum(map(len, found.values())),
        "log_likelihood_per_frame": None,
        "failed": [{"utterance_id": utt, "reason": reason} for utt, reason in sorted(failed.items())],
    }


def _usable(
    transitions: Transitions, entries: Iterable[tuple[str, NDArray[np.int32]]], reader: BaseReader
) -> tuple[dict[str, NDArray[np.int32]], dict[str, str], int]:
    """Return the split's alignments as long as its features, why others fail, and how many were adjusted."""
    wanted = {utterance.utterance_id for utterance in reader.utterances}
    found: dict[str, NDArray[np.int32]] = {}
    failed: dict[str, str] = {}
    adjusted = 0
    for utt, ids in entries:
        if utt not in wanted:
            continue
        try:
            check_alignment(transitions, ids)
        except Misfit as misfit:
            raise UserError(f"alignment of {utt}: {misfit}: is it of this final.mdl?") from None
        frames = reader.num_frames(utt)
        if abs(len(ids) - frames) > FRAMES_OFF:
            failed[utt] = f"{len(ids)} frames aligned, its features have {frames}"
            continue
        adjusted += len(ids) != frames
        found[utt] = ids[:frames] if len(ids) >= frames else _held(transitions, ids, frames)
    failed |= {utt: "not aligned by Kaldi" for utt in wanted - set(found) - set(failed)}
    return found, failed, adjusted


def _held(transitions: Transitions, ids: NDArray[np.int32], frames: int) -> NDArray[np.int32]:
    """Lengthen an alignment: its last state goes on by its self-loop, if it has one, else by the last id again."""
    same = np.flatnonzero((transitions.tuple_of == transitions.tuple_of[ids[-1]]) & transitions.is_loop)
    more = int(same[0]) if len(same) else int(ids[-1])
    return np.concatenate([ids, np.full(frames - len(ids), more, np.int32)])
