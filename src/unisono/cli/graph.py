"""Build the decoding graph HCLG of one HMM."""

import argparse


def register(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument("--lang-dir", required=True, help="language directory: words, phones, lexicon FSTs")
    parser.add_argument("--arpa", required=True, help="language model, as the command lm writes it")
    parser.add_argument("--model", required=True, help="model.h5 with the tree and the transition probabilities")
    parser.add_argument("--out", required=True, help="HCLG.fst to write (OpenFST vector FST)")
    parser.add_argument("--report", required=True, help="JSON to write: states, arcs, bytes")


def run(args: argparse.Namespace) -> None:
    """Compile the language model, compose, write."""
    import logging
    from pathlib import Path

    from unisono.files import write_json
    from unisono.hmm import graph
    from unisono.hmm.arcs import read_fst
    from unisono.hmm.arpa import read_arpa
    from unisono.hmm.lexicon import load_lang
    from unisono.hmm.model import load_model

    lang, model = load_lang(args.lang_dir), load_model(args.model)
    context = graph.Context(model.tree, model.transition_model, model.context_width, model.central_position)
    words = Path(args.lang_dir) / "words.txt"
    g = graph.grammar(read_arpa(args.arpa), words, lang.word_list)
    hclg = graph.build(read_fst(lang.lexicon_disambig_fst), g, lang.phone_disambig_ids, context)
    size = graph.write_graph(args.out, hclg)
    logging.getLogger("unisono.graph").info("HCLG: %s", size)
    write_json(args.report, size)
