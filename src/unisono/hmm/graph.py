"""The decoding graph HCLG: language model, lexicon, phonetic context and HMM states in one transducer.

G, the language model, comes from its ARPA file; L with disambiguation symbols, the tree and the transition model from
the HMM stages. The steps are those of Kaldi's utils/mkgraph.sh (Mohri, Pereira & Riley 2002):

    LG = min(det(L o G));  CLG = C o LG;  HCLG = self_loops(min(remove_disambiguation(det(H' o CLG))))

Input labels are transition-ids, output labels word numbers, weights costs (-log probability): language model and
pronunciations in full, transitions at scale 1.0, self-loops at scale 0.1 as in Kaldi. Local epsilon removal is left
out: the wheels have none, and the general one would multiply the back-off arcs.
"""

import logging
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from unisono.errors import UserError
from unisono.files import atomic_path
from unisono.hmm.arcs import Arcs, read_fst
from unisono.hmm.arpa import END, RESERVED, Arpa, write_arpa
from unisono.hmm.libs import kaldifst, khg
from unisono.hmm.topology import SELF_LOOP_SCALE, TRANSITION_SCALE

logger = logging.getLogger("unisono.graph")

# kaldilm must not share a process with the other wheels (import deadlock) and aborts on what it cannot read.
KALDILM = """
import sys, kaldilm
arpa, fst, words = sys.argv[1:]
kaldilm.arpa2fst(arpa, output_fst=fst, disambig_symbol="#0", read_symbol_table=words, max_arpa_warnings=10)
"""


class Context(NamedTuple):
    """What turns phones in context into HMM states."""

    tree: Any  # khg.ContextDependency
    transition_model: Any  # khg.TransitionModel
    width: int  # phones that the tree looks at: 1 monophone, 3 triphone
    central: int  # position of the modelled phone among them, from 0


def grammar(arpa: Arpa, words_path: Path, words: Sequence[str]) -> Any:
    """Compile a language model into G, a StdVectorFst over word numbers with `#0` on its back-off arcs.

    `words_path` is the symbol table that `words` were read from. kaldilm is given the model as `write_arpa` writes it,
    whatever the form of the file that it came from. Raises UserError for words that the symbol table lacks, and where
    kaldilm fails all the same.
    """
    missing = sorted(arpa.words() - {END} - (set(words) - set(RESERVED)))
    if missing:
        shown = ", ".join(missing[:5]) + (", ..." if len(missing) > 5 else "")
        raise UserError(f"language model: {len(missing)} words have no pronunciation ({shown}): run the stage lm on it")
    with tempfile.TemporaryDirectory() as folder:
        given, out = Path(folder) / "lm.arpa", Path(folder) / "G.fst"
        write_arpa(given, arpa)
        command = [sys.executable, "-c", KALDILM, str(given), str(out), str(words_path)]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        if done.returncode != 0 or not out.is_file():
            last = done.stderr.decode(errors="replace").strip().splitlines()[-1:] or ["no message"]
            raise UserError(f"language model: kaldilm cannot compile it (exit {done.returncode}): {last[0]}")
        fst = read_fst(out)
    kaldifst.arcsort(fst, sort_type="ilabel")
    return fst


def build(lexicon: Any, grammar_fst: Any, phone_disambig_ids: Sequence[int], context: Context) -> Any:
    """Return HCLG as a StdVectorFst, input labels sorted.

    `lexicon` is L with disambiguation symbols (sorted by output label) and a self-loop that lets `#0` of the language
    model through; it is not changed. Raises UserError where no sentence is left or a determinisation does not end.
    """
    lg = kaldifst.compose(lexicon, grammar_fst)
    if not lg.num_states:
        raise UserError("graph: no sentence of the language model can be pronounced: are the words the lexicon's?")
    _determinize(lg, "LG")
    kaldifst.minimize_encoded(lg)
    kaldifst.arcsort(lg, sort_type="ilabel")
    clg, windows = kaldifst.compose_context(
        disambig_syms=list(phone_disambig_ids), context_width=context.width, central_position=context.central, ifst=lg
    )
    kaldifst.arcsort(clg, sort_type="ilabel")
    logger.info("CLG has %d states", clg.num_states)
    config = khg.HTransducerConfig(transition_scale=TRANSITION_SCALE)
    h, disambig = khg.get_h_transducer(
        ilabel_info=windows, ctx_dep=context.tree, trans_model=context.transition_model, config=config
    )
    kaldifst.arcsort(h, sort_type="olabel")
    hclg = kaldifst.compose(h, clg)
    _determinize(hclg, "HCLG")
    hclg = _erase_inputs(hclg, disambig)
    kaldifst.minimize_encoded(hclg)
    hclg = khg.add_self_loops(
        self_loop_scale=SELF_LOOP_SCALE,
        disambig_syms=[],
        reorder=True,
        trans_model=context.transition_model,
        ifst=hclg,
    )
    kaldifst.arcsort(hclg, sort_type="ilabel")
    return hclg


def write_graph(path: str | os.PathLike[str], hclg: Any) -> dict[str, int]:
    """Write HCLG atomically and return its size: states, arcs, bytes."""
    arcs = Arcs(hclg)
    with atomic_path(path) as temporary:
        temporary.write_bytes(arcs.to_bytes())
    return {"states": len(arcs.final), "arcs": len(arcs.weight), "bytes": Path(path).stat().st_size}


def with_word_penalty(arcs: Arcs, penalty: float) -> Any:
    """Return the graph with a constant cost added to each arc that carries a word.

    `penalty` in nats, at the scale of the graph's costs: positive ones make words rarer. It is Kaldi's
    word-insertion penalty (lattice-add-penalty), here in the search itself. `arcs` are left as they are.
    """
    weights = arcs.weight
    try:
        arcs.weight = np.where(arcs.output_label != 0, weights + np.float32(penalty), weights).astype(np.float32)
        return arcs.to_fst()
    finally:
        arcs.weight = weights


def _determinize(fst: Any, name: str) -> None:
    limit = max(1_000_000, 20 * fst.num_states)
    # The wheel returns True where it gave up; without a limit it would run for ever.
    if kaldifst.determinize_star(fst, max_states=limit, use_log=True):
        raise UserError(f"graph: {name} cannot be made deterministic within {limit} states: is the lexicon sound?")
    logger.info("%s has %d states after determinisation", name, fst.num_states)


def _erase_inputs(fst: Any, labels: Sequence[int]) -> Any:
    arcs = Arcs(fst)
    arcs.input_label = np.where(np.isin(arcs.input_label, labels), 0, arcs.input_label).astype(np.int32)
    return arcs.to_fst()
