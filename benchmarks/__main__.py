"""Measure, write benchmarks/results.json, print a table.

python -m benchmarks [--quick] [--only steps data ...] [--out FILE]
"""

import argparse
import importlib
import json
import platform
import sys
import tempfile
from importlib import metadata
from pathlib import Path

from benchmarks import ROOT
from benchmarks.targets import TARGETS, table
from benchmarks.timing import Results

PARTS = ("steps", "rbm", "lstm", "data", "averaging", "memory", "jobs", "kaldi", "gpu")


def machine() -> Results:
    """Return the CPU's model and the versions of what was measured."""
    cpu = platform.processor() or "unknown"
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            cpu = line.split(":", 1)[1].strip()
            break
    versions = {name: metadata.version(name) for name in ("torch", "numpy", "snakemake", "mpi4py")}
    return {"cpu": cpu, "python": platform.python_version(), **versions}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Speed as ratios within one run.")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: shows that all of it works, not how fast")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, metavar="PART", help=", ".join(PARTS))
    parser.add_argument(
        "--out",
        type=Path,
        help="default: benchmarks/results.json (results-gpu.json for gpu alone); with --quick nothing is written",
    )
    arguments = parser.parse_args()
    from benchmarks.setting import FULL, QUICK

    size = QUICK if arguments.quick else FULL
    # A machine with a GPU has another CPU, too: what is measured there must not cost the figures of this one.
    name = "results-gpu.json" if list(arguments.only) == ["gpu"] else "results.json"
    out = arguments.out or (None if arguments.quick else ROOT / "benchmarks" / name)
    results: Results = machine()
    if out is not None and out.exists() and set(arguments.only) != set(PARTS):
        before = json.loads(out.read_text(encoding="utf-8"))
        if all(before.get(key) == value for key, value in results.items()):
            results = before  # parts are measured apart, each with its own reference
    failed = False
    for name in arguments.only:
        print(f"{name} ...", file=sys.stderr, flush=True)
        for note in (f"{name}_note", "compiled_note") if name == "steps" else (f"{name}_note",):
            results.pop(note, None)  # of an earlier time
        with tempfile.TemporaryDirectory(prefix="unisono-bench-") as folder:
            try:
                results |= importlib.import_module(f"benchmarks.{name}").measure(Path(folder), size)
            except RuntimeError as error:
                failed = True
                print(f"{name}: {error}", file=sys.stderr)
    notes = {key.removesuffix("_note"): value for key, value in results.items() if key.endswith("_note")}
    if any(isinstance(value, int | float) for value in results.values()):
        results["quick"] = int(arguments.quick)
        if out is not None:
            out.write_text(json.dumps(results, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        print(table(results, TARGETS))
    for name, note in notes.items():
        print(f"{name}: {note}")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
