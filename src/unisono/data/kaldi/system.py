"""A system of Kaldi as its directories hold it, all parts checked against each other.

    exp/tri/final.mdl, tree            model and tree of the alignments
    exp/tri/HCLG.fst, or in graph*/    the decoding graph, words.txt and phones.txt beside it
    data/lang/                         language directory

What does not fit is named, the first thing only: everything else would follow from it.
"""

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from unisono.data.kaldi.fst import Fst, read_fst
from unisono.data.kaldi.gmm import Mixtures, read_model
from unisono.data.kaldi.lang import MARKS, WORD_DISAMBIG, KaldiLang, read_lang, read_symbols
from unisono.data.kaldi.transitions import Transitions
from unisono.data.kaldi.tree import Tree, read_tree
from unisono.errors import UserError


class KaldiSystem(NamedTuple):
    """A system's parts; `mixtures` is None where final.mdl holds a network."""

    transitions: Transitions
    mixtures: Mixtures | None
    tree: Tree
    lang: KaldiLang
    graph: Fst


def read_system(
    folder: str | os.PathLike[str], lang: str | os.PathLike[str], graph: str | os.PathLike[str] | None = None
) -> KaldiSystem:
    """Read a system; `graph` is the folder of HCLG.fst, by default `folder` or the one folder `graph*` in it.

    Raises UserError naming the first file that is missing, unsound or of another system.
    """
    place = Path(folder)
    transitions, mixtures = read_model(place / "final.mdl")
    tree = read_tree(place / "tree")
    if tree.num_pdfs != transitions.num_pdfs:
        raise UserError(
            f"{place / 'tree'}: {tree.num_pdfs} pdfs, {place / 'final.mdl'} has {transitions.num_pdfs}: "
            "they are of two systems"
        )
    language = read_lang(lang)
    _check_phones(transitions, language, place / "final.mdl", Path(lang) / "phones.txt")
    where = _graph_folder(place) if graph is None else Path(graph)
    return KaldiSystem(transitions, mixtures, tree, language, _graph(where, transitions, language, Path(lang)))


def _check_phones(transitions: Transitions, lang: KaldiLang, model: Path, table: Path) -> None:
    names = {number: name for name, number in lang.phones.items() if number not in (0, *lang.disambiguation)}
    for phone in sorted(transitions.topology.entry_of):
        if phone not in names:
            raise UserError(f"{table}: phone {phone} of {model} is missing: they are of two systems, or add it")
    for phone, name in sorted(names.items()):
        if phone not in transitions.topology.entry_of:
            raise UserError(f"{model}: phone {phone}, {name!r} of {table}, is missing: they are of two systems")


def _graph_folder(folder: Path) -> Path:
    if (folder / "HCLG.fst").is_file():
        return folder
    found = sorted(path.parent for path in folder.glob("graph*/HCLG.fst"))
    if len(found) != 1:
        names = ", ".join(path.name for path in found) or "none"
        raise UserError(
            f"{folder}: HCLG.fst is not there, and of graphs in it there is {names}: name the graph's folder"
        )
    return found[0]


def _graph(folder: Path, transitions: Transitions, lang: KaldiLang, language: Path) -> Fst:
    path = folder / "HCLG.fst"
    graph = read_fst(path)
    if graph.highest_input > transitions.num_ids:
        raise UserError(
            f"{path}: it has transition-id {graph.highest_input}, the model's highest is {transitions.num_ids}: "
            "make the graph anew from this model"
        )
    if (folder / "words.txt").is_file() and read_symbols(folder / "words.txt") != lang.words:
        raise UserError(f"{folder / 'words.txt'}: not the words of {language / 'words.txt'}: give the graph's language")
    names = {number: name for name, number in lang.words.items()}
    for number in np.unique(graph.arcs["output"]).tolist():
        if number and names.get(number, WORD_DISAMBIG) in (WORD_DISAMBIG, *MARKS):
            raise UserError(
                f"{path}: word {number} is {names.get(number, 'not there')} in {language / 'words.txt'}: "
                "the graph was made with another words.txt"
            )
    return graph


class Misfit(ValueError):
    """Why an alignment is none of a model's."""


def check_alignment(transitions: Transitions, ids: NDArray[np.int32]) -> None:
    """Raise Misfit unless transition-ids [T] are a path through phones of the model.

    Within a phone each way out must lead to the state of the next one, and self-loops belong to the state of the way
    out before them (reordered, Kaldi's default) or after them.
    """
    if not len(ids):
        raise Misfit("no frames")
    worst = int(ids.max()) if ids.max() > transitions.num_ids else int(ids.min())
    if not 0 < worst <= transitions.num_ids:
        raise Misfit(f"transition-id {worst}, the model has 1 to {transitions.num_ids}")
    source, target = transitions.ends
    ways = np.flatnonzero(~transitions.is_loop[ids])
    if not len(ways):
        raise Misfit("only self-loops")
    begin, end = source[ids[ways]], target[ids[ways]]
    inside = end[:-1, 1] >= 0
    follows = np.where(inside, (begin[1:] == end[:-1]).all(axis=1), begin[1:, 1] == 0)
    if not follows.all() or begin[0, 1] != 0:
        place = int(ways[1:][~follows][0]) if not follows.all() else int(ways[0])
        raise Misfit(f"frame {place} cannot follow the one before it")
    own = transitions.tuple_of[ids]
    before = np.searchsorted(ways, np.arange(len(ids)), "right") - 1
    after = np.searchsorted(ways, np.arange(len(ids)))
    reordered = before[0] >= 0 and (own == own[ways[before]]).all()
    if not reordered and not (after[-1] < len(ways) and (own == own[ways[np.minimum(after, len(ways) - 1)]]).all()):
        raise Misfit("its self-loops belong to other states than its ways out")
