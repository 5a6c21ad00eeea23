"""Take model, language and decoding graph of a system of Kaldi into our files, after checking that they fit."""

import argparse


def register(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument("--dir", required=True, help="Kaldi's folder with final.mdl and tree, e.g. exp/tri3")
    parser.add_argument("--lang", required=True, help="Kaldi's language directory, e.g. data/lang")
    parser.add_argument("--graph", help="folder with HCLG.fst (default: --dir, or the one folder graph* in it)")
    parser.add_argument("--out-model", required=True, metavar="FILE", help="model.h5 to write")
    parser.add_argument("--out-lang", required=True, metavar="DIR", help="language directory to write")
    parser.add_argument("--out-graph", required=True, metavar="FILE", help="HCLG.fst to write (vector FST)")
    parser.add_argument("--report", required=True, metavar="FILE", help="JSON to write: counts of what was read")


def run(args: argparse.Namespace) -> None:
    """Read, check, write."""
    from unisono.bootstrap import kaldi
    from unisono.data.kaldi.system import read_system
    from unisono.files import write_json
    from unisono.hmm.model import save_model

    system = read_system(args.dir, args.lang, args.graph)
    model = kaldi.hmm_model(system, args.dir)
    kaldi.write_lang(args.out_lang, system.lang, model.topology)
    size = kaldi.write_graph(args.out_graph, system.graph)
    save_model(args.out_model, model)
    facts = {
        "pdfs": model.num_pdfs,
        "gaussians": len(model.gmms.weights),
        "phones": len(system.transitions.topology.entry_of),
        "transition_ids": system.transitions.num_ids,
        "words": len(system.lang.words),
        "context_width": system.tree.width,
        "graph": size,
    }
    kaldi.log.info("%s: %s", args.dir, facts)
    write_json(args.report, facts)
