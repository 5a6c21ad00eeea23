"""Rooms and their libraries: the contracts of pyproject.toml hold and can fail; what is light stays light."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parent.parent / "src" / "unisono"
FILES = sorted(path.relative_to(SOURCE).as_posix() for path in SOURCE.rglob("*.py"))
FLOOR_0 = [file for file in FILES if file.count("/") == 0 or file.startswith("config/")]
# What floor 0 may import beside the standard library: anywhere, and only inside a function, where it is needed.
ANYWHERE = {"annotated_types"}
CHECKING = {"config/check.py": {"yaml"}}  # no command imports it
LAZY = {"console.py": {"rich"}, "config": {"pydantic", "pydantic_core"}}


def lint(root):
    """Check the contracts of pyproject.toml in the folder `root`."""
    program = Path(sys.executable).with_name("lint-imports")
    return subprocess.run(
        [program, "--no-cache"], cwd=root, capture_output=True, text=True, timeout=120,
        env={"PYTHONPATH": f"{root}/src", "PATH": "/usr/bin:/bin"},
    )  # fmt: skip


def test_the_contracts_are_kept(root):
    done = lint(root)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("files.py", "from unisono.core.flat import Layout"),
        ("core/flat.py", "from unisono.nn import dnn"),
        ("nn/dnn.py", "from ..data.sequences import Sequences"),
        ("score/wer.py", "def f():\n    import unisono.hmm.lexicon"),
        ("engines/jobs.py", "from unisono.cli import train_job"),
        ("recognise/decode.py", "from unisono.bootstrap import corpus"),
        ("data/corpus/text.py", "from unisono.data.features import cmvn"),
        ("hmm/graph.py", "import kaldifst"),
        ("data/sequences.py", "import torch"),
        ("score/wer.py", "import pickle"),
        ("recognise/decode.py", "import argparse"),
        ("desk/words.py", "from unisono.engines import state"),
        ("hmm/graph.py", "import jinja2"),
        ("newroom/__init__.py", ""),
    ],
)
def test_the_contracts_catch(root, tmp_path, file, text):
    subprocess.run(["cp", "-r", root / "src", root / "pyproject.toml", tmp_path], check=True)
    path = tmp_path / "src" / "unisono" / file
    path.parent.mkdir(exist_ok=True)
    with path.open("a") as opened:
        opened.write(f"\n{text}\n")
    done = lint(tmp_path)
    assert done.returncode == 1 and "1 broken" in done.stdout, done.stdout


def imports_of(tree):
    """Yield (whether inside a function, name of the package) of every import that is not ours."""
    inside = {id(node) for f in ast.walk(tree) if isinstance(f, ast.FunctionDef) for node in ast.walk(f)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((id(node) in inside, alias.name.split(".")[0]) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield id(node) in inside, node.module.split(".")[0]


def foreign(text, file):
    """Return what a file of floor 0 imports and must not."""
    lazy = LAZY.get(file, LAZY.get(file.split("/")[0], set()))
    return [
        name for late, name in imports_of(ast.parse(text))
        if name not in sys.stdlib_module_names | ANYWHERE | CHECKING.get(file, set()) | {"unisono"}
        and not (late and name in lazy)
    ]  # fmt: skip


@pytest.mark.parametrize("file", FLOOR_0)
def test_floor_0_imports_only_the_standard_library(file):
    assert foreign((SOURCE / file).read_text(encoding="utf-8"), file) == []


@pytest.mark.parametrize(
    ("file", "text", "found"),
    [
        ("schedule.py", "import numpy", ["numpy"]),
        ("console.py", "import rich", ["rich"]),
        ("files.py", "def f():\n    from rich import print", ["rich"]),
        ("config/run.py", "from pydantic import TypeAdapter", ["pydantic"]),
        ("config/run.py", "from annotated_types import Ge\nimport json\ndef f():\n    import pydantic", []),
    ],
)
def test_the_check_of_floor_0_catches(file, text, found):
    assert foreign(text, file) == found


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
