"""Imports point downwards only, and heavy or touchy libraries enter through their one door."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parent.parent / "src" / "unisono"
FLOORS = {
    "core": 1,
    "nn": 2,
    "data": 2,
    "hmm": 2,
    "score": 2,
    "engines": 3,
    "bootstrap": 3,
    "recognise": 3,
    "cli": 4,
    "warm": 6,
}
TOP = {"command": 5, "__init__": 5, "__main__": 7}  # every other file beside them is floor 0

# Library -> the parts of the package that may import it; a part is a folder or one file.
DOORS = {
    "torch": [
        "core",
        "nn",
        "engines",
        "recognise",
        "data/frames",
        "cli",
        "__init__.py",
    ],
    "safetensors": ["core", "nn", "engines", "cli"],
    "mpi4py": ["engines"],
    "kaldi_hmm_gmm": ["hmm/libs.py"],
    "kaldi_decoder": ["hmm/libs.py"],
    "kaldifst": ["hmm/libs.py"],
    "kaldilm": ["hmm/libs.py"],
    "kaldi_native_fbank": ["data"],
    "soundfile": ["data"],
    "kaldiio": ["data"],
    "espeakng_loader": ["data"],
    "jiwer": ["score"],
    "matplotlib": ["score"],
    "rich": ["console.py"],
    "snakemake": [],
    "pandas": [],
    "pickle": [],
}
# What floor 0 imports inside a function, where it is needed.
LAZY = {"console.py": ("rich",)}
FILES = sorted(path.relative_to(SOURCE).as_posix() for path in SOURCE.rglob("*.py"))


def floor_of(file):
    parts = Path(file).with_suffix("").parts
    return TOP.get(parts[0], 0) if len(parts) == 1 else FLOORS[parts[0]]


def imports_of(text, file):
    """Yield (line, absolute dotted name) of every import, wherever in the file it stands."""
    package = ["unisono", *Path(file).parts[:-1]]
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            stem = ".".join([*base, *([node.module] if node.module else [])])
            # `from unisono import files` names a module, `from unisono.files import x` a thing in one.
            yield from ((node.lineno, f"{stem}.{alias.name}" if stem in PACKAGES else stem) for alias in node.names)


PACKAGES = {
    f"unisono.{path.parent.relative_to(SOURCE).as_posix().replace('/', '.')}".removesuffix("..")
    for path in SOURCE.rglob("__init__.py")
} | {"unisono"}


def offences(text, file):
    """Return what the file imports although its floor forbids it."""
    found = []
    own, floor = Path(file).parts[0], floor_of(file)
    for line, name in imports_of(text, file):
        top, *rest = name.split(".")
        if top == "unisono":
            if not rest or rest == ["__version__"]:
                continue
            target = FLOORS.get(rest[0], TOP.get(rest[0], 0))
            same = rest[0] in FLOORS and rest[0] == own
            if not (target < floor or same or target == floor == 0):
                found.append(f"{file}:{line}: {name} (floor {target}) from floor {floor}")
        elif top not in sys.stdlib_module_names and floor == 0 and top not in LAZY.get(file, ()):
            found.append(f"{file}:{line}: {name}: floor 0 imports only the standard library")
        if top in DOORS and not any(file == door or file.startswith(door + "/") for door in DOORS[top]):
            found.append(f"{file}:{line}: {name}: only through {', '.join(DOORS[top]) or 'nothing'}")
    return found


@pytest.mark.parametrize("file", FILES)
def test_imports_point_downwards(file):
    assert offences((SOURCE / file).read_text(encoding="utf-8"), file) == []


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("schedule.py", "import numpy"),
        ("files.py", "from unisono.core.flat import Layout"),
        ("core/flat.py", "from unisono.nn import dnn"),
        ("nn/dnn.py", "from ..data.store import Sequences"),
        ("score/wer.py", "def f():\n    import unisono.hmm.lexicon"),
        ("engines/jobs.py", "from unisono.cli import train_job"),
        ("hmm/graph.py", "import kaldifst"),
        ("data/sequences.py", "import torch"),
        ("score/wer.py", "from . import wer\nimport pickle"),
    ],
)
def test_the_check_catches(file, text):
    assert len(offences(text, file)) == 1


@pytest.mark.parametrize(
    ("file", "text"),
    [
        (
            "data/frames/store.py",
            "import torch\nfrom unisono.data.sequences import Sequences\nfrom unisono import files",
        ),
        ("cli/train_job.py", "from unisono.engines import jobs\nfrom unisono.hmm import lexicon\nimport torch"),
        ("options.py", "from unisono.errors import UserError\nimport json"),
    ],
)
def test_the_check_allows(file, text):
    assert offences(text, file) == []


def run_python(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)


def test_help_imports_nothing_heavy():
    result = run_python(
        "import sys, runpy\nsys.argv = ['unisono', '--help']\n"
        "try:\n    runpy.run_module('unisono', run_name='__main__')\nexcept SystemExit as stop:\n"
        "    assert not stop.code\n"
        "print('loaded:', sorted({'torch', 'numpy', 'h5py', 'scipy', 'matplotlib', 'snakemake'} & set(sys.modules)))"
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip().endswith("loaded: []")


def needs_mpi(text):
    """Say whether a module imports mpi4py, not in a function."""
    return any("mpi4py" in ast.unparse(n) for n in ast.parse(text).body if isinstance(n, ast.Import | ast.ImportFrom))


def test_training_core_stands_alone():
    """A GPU node needs only torch, numpy, h5py and safetensors to train."""
    files = [file for file in FILES if file.split("/")[0] in ("core", "nn", "engines")]
    # Modules that need MPI are imported only when asked for; no other may import them, or the imports below fail.
    files = [file for file in files if not needs_mpi((SOURCE / file).read_text(encoding="utf-8"))]
    modules = [f"unisono.{file[:-3].replace('/', '.').removesuffix('.__init__')}" for file in files]
    modules += [f"unisono.data.frames.{name}" for name in ("store", "loader")]
    absent = ["scipy", "soundfile", "kaldi_native_fbank", "kaldi_hmm_gmm", "kaldifst", "kaldilm", "kaldi_decoder"]
    absent += ["jiwer", "matplotlib", "rich", "snakemake", "kaldiio", "mpi4py", "espeakng_loader", "yaml"]
    result = run_python(
        f"import sys, importlib\nsys.modules.update(dict.fromkeys({absent}))\n"
        f"for name in {modules}:\n    importlib.import_module(name)"
    )
    assert result.returncode == 0, result.stderr
