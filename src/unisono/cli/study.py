"""Tabulate and draw what a study found, from the folders of its runs.

Writes into --out-dir: results.json, cells.csv, pairs.csv, curves.csv, cost.csv, curves.svg, seconds.svg and final.svg;
the page README.md beside them is written by hand; no command changes it.
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from unisono.score.studies.cells import Cell

FLOAT_BYTES = 4


def register(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument("--study", required=True, metavar="JSON", help="the config's section `study` with its defaults")
    parser.add_argument("--seed", required=True, type=int, metavar="N", help="of the bootstrap")
    parser.add_argument("--root", required=True, help="folder of the results, results/<name>")
    parser.add_argument("--out-dir", required=True, help="folder of the study's results")


def run(args: argparse.Namespace) -> None:
    """Read all runs, then write every file."""
    from unisono.config.build import from_json
    from unisono.config.study import Study, tuned_on
    from unisono.data.corpus.references import read_references
    from unisono.files import read_json
    from unisono.score.studies import findings
    from unisono.score.studies.cells import Test, gather
    from unisono.score.studies.files import write_study

    section, root = from_json(Study, args.study, "--study"), Path(args.root)
    test = Test(*read_references(str(root / "data" / "test.tsv")), seed=args.seed)
    cells = gather(root, section, test)
    tuned = read_json(root / tuned_on(section) / "tune.json") if section.decode.cells else None
    found = findings.results(section, cells, {cell.name: _sent(root, cell) for cell in cells}, tuned, test)
    write_study(Path(args.out_dir), section, cells, found, root / "benchmarks")


def _sent(root: Path, cell: "Cell") -> dict[str, Any]:
    """Return the bytes that each rank sends per combination; the vector that travels has its rows padded."""
    from unisono.engines.rules import vectors_sent
    from unisono.nn.model_file import load_model
    from unisono.schedule import worker_range

    parallel = cell.runs[0].settings.parallel
    vector = FLOAT_BYTES * load_model(root / "runs" / cell.runs[0].name / "final.safetensors").layout.size
    rule, looked_at = vectors_sent(parallel.combine, worker_range(parallel.workers)[1])
    return {
        "vector_bytes": vector,
        "bytes_per_combination": round(rule * vector),
        "bytes_for_diagnostics": round(looked_at * vector),
    }
