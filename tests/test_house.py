"""The house in order: one set of versions everywhere, readable files, nothing that executes data."""

import ast
import re
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent
SOURCES = sorted((ROOT / "src").rglob("*.py"))
RULE_FILES = sorted([*(ROOT / "workflow").rglob("*.smk"), *ROOT.glob("Snakefile")])
ENVIRONMENTS = sorted((ROOT / "envs").glob("*.yaml"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
LONGEST_FILE, LONGEST_FUNCTION = 270, 40  # lines; a function's without its docstring
LONGER: dict[str, int] = {}


def short(path):
    return path.relative_to(ROOT).as_posix()


def canonical(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def locked(name="requirements.lock"):
    lines = (ROOT / name).read_text().splitlines()
    pins = [re.fullmatch(r"([A-Za-z0-9._-]+)==([A-Za-z0-9.+!]+)", line) for line in lines if line and line[0] != "#"]
    assert all(pins), f"every line of {name} is name==version"
    return {canonical(pin[1]): pin[2] for pin in pins}


def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_lock_meets_pyproject():
    lock = locked() | locked("requirements-slurm.lock")
    assert not set(locked()) & set(locked("requirements-slurm.lock"))
    for text in [*project()["dependencies"], *sum(project()["optional-dependencies"].values(), [])]:
        wanted = Requirement(text)
        version = lock.get(canonical(wanted.name))
        assert version is not None, f"{wanted.name} is not in requirements.lock"
        assert wanted.specifier.contains(version), f"{wanted.name} {version} is outside {wanted.specifier}"


def test_lock_is_complete_and_installed():
    """Each locked package is the one the tests run with."""
    from importlib import metadata

    for name, version in locked().items():
        assert metadata.version(name).split("+")[0] == version, name


@pytest.mark.parametrize("path", ENVIRONMENTS, ids=short)
def test_environment_pins_equal_the_lock(path):
    lock = locked()
    dependencies = yaml.safe_load(path.read_text())["dependencies"]
    pins = next(entry["pip"] for entry in dependencies if isinstance(entry, dict))
    assert pins == sorted(pins)
    for pin in pins:
        name, version = pin.split("==")
        assert lock[canonical(name)] == version, pin
    base = yaml.safe_load((ROOT / "envs/base.yaml").read_text())["dependencies"][-1]["pip"]
    assert set(base) <= set(pins), "every environment holds all of base"


def rules_of(path):
    """Return {rule name: its text} of one file; a rule ends where the next top-level statement begins."""
    parts = re.split(r"^(?=\S)", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    heads = [(re.match(r"(?:rule|checkpoint) (\w+)\s*:", part), part) for part in parts]
    return {head[1]: part for head, part in heads if head}


@pytest.mark.parametrize("path", RULE_FILES, ids=short)
def test_each_rule_has_log_and_environment(path):
    for name, text in rules_of(path).items():
        works = re.search(r"^    (shell|run|script)\s*:", text, flags=re.MULTILINE)
        if not works:
            continue  # a target such as `all`
        assert re.search(r"^    log\s*:", text, flags=re.MULTILINE), f"{name}: no log"
        environment = re.search(r'^    conda\s*:\s*"([^"]+)"', text, flags=re.MULTILINE)
        assert environment, f"{name}: no conda"
        assert (path.parent / environment[1]).resolve() in ENVIRONMENTS, f"{name}: {environment[1]} is not in envs/"
        assert works[1] == "shell", f"{name}: {works[1]}: rules run one command"


@pytest.mark.parametrize("path", RULE_FILES, ids=short)
def test_shell_values_are_quoted(path):
    """Paths in shell commands carry :q, so that a name with a space or a quote stays one word."""
    for name, text in rules_of(path).items():
        shell = re.search(r"^    shell\s*:(.*)", text, flags=re.MULTILINE | re.DOTALL)
        for value in re.findall(r"(?<!\{)\{((?:input|output|log|params|wildcards)[^{}]*)\}", shell[1] if shell else ""):
            assert value.endswith(":q"), f"{name}: {{{value}}} without :q"


FORBIDDEN_CALLS = {"eval", "exec", "compile", "__import__"}
FORBIDDEN_IMPORTS = {"pickle", "cPickle", "dill", "marshal", "shelve", "joblib", "cloudpickle"}


def dangers(tree):
    """Yield what could make data execute."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            yield from (f"import {name}" for name in names if name.split(".")[0] in FORBIDDEN_IMPORTS)
        if not isinstance(node, ast.Call):
            continue
        called, keywords = ast.unparse(node.func), {k.arg: ast.unparse(k.value) for k in node.keywords}
        if called in FORBIDDEN_CALLS or called in ("os.system", "os.popen", "yaml.load", "yaml.unsafe_load"):
            yield called
        if keywords.get("shell", "False") != "False":
            yield f"{called} with shell"
        if called == "torch.load" and keywords.get("weights_only") != "True":
            yield "torch.load without weights_only"
        if keywords.get("allow_pickle", "False") != "False":
            yield f"{called} with allow_pickle"


@pytest.mark.parametrize("path", SOURCES, ids=short)
def test_data_never_executes(path):
    assert list(dangers(ast.parse(path.read_text(encoding="utf-8")))) == []


@pytest.mark.parametrize(
    "text",
    [
        "import pickle",
        "from pickle import loads",
        "yaml.load(f)",
        "eval(x)",
        "subprocess.run(x, shell=True)",
        "torch.load(p)",
        "torch.load(p, weights_only=False)",
        "numpy.load(p, allow_pickle=True)",
    ],
)
def test_the_check_for_dangers_catches(text):
    assert len(list(dangers(ast.parse(text)))) == 1


@pytest.mark.parametrize("path", SOURCES, ids=short)
def test_files_are_short_and_explained(path):
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= LONGEST_FILE
    tree = ast.parse(text)
    assert ast.get_docstring(tree), "no module docstring"
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            bare = [a.arg for a in arguments if a.annotation is None and a.arg not in ("self", "cls")]
            assert not bare, f"{node.name}: no annotation of {', '.join(bare)}"
            assert node.returns is not None, f"{node.name}: no annotation of what it returns"


def length(function):
    """Lines of a function, without its docstring."""
    first = function.body[0]
    docstring = first.end_lineno - first.lineno + 1 if ast.get_docstring(function) else 0
    return function.end_lineno - function.lineno + 1 - docstring


@pytest.mark.parametrize("path", SOURCES, ids=short)
def test_functions_are_short(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    most = LONGER.get(short(path), LONGEST_FUNCTION)
    assert {f.name: length(f) for f in functions if length(f) > most} == {}


def modules_of(tree):
    """Yield the dotted name of each module that is imported, and of each name that is imported from one."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", TESTS, ids=short)
def test_tests_share_only_what_lies_in_support(path):
    """No test imports another, or a conftest; what they share is `tests.support`."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    parts = {part for name in modules_of(tree) for part in name.split(".")}
    assert [part for part in parts if part == "conftest" or part.startswith("test_")] == []


@pytest.mark.parametrize("path", [path for path in TESTS if path.parent.name != "engines"], ids=short)
def test_no_private_is_patched(path):
    """What a test replaces has a public name."""
    patched = re.findall(r"""\bsetattr\([^()]*?["'](?:[\w.]*\.)?(_\w+)["']""", path.read_text(encoding="utf-8"))
    assert patched == []


@pytest.mark.parametrize("path", [*SOURCES, *RULE_FILES, *sorted(ROOT.glob("*.md"))], ids=short)
def test_no_path_of_one_machine(path):
    found = re.findall(r"(?<![\w.])/(?:work|tmp|root|home)/[\w./-]*", path.read_text(encoding="utf-8"))
    assert found == []


def test_version_is_in_the_changelog():
    import unisono

    assert f"## {unisono.__version__}" in (ROOT / "CHANGELOG.md").read_text()


def test_snakefile_imports_only_the_lowest_floor():
    """What a Snakefile imports must not be heavy: each job of Snakemake reads it again."""
    allowed = {path.stem for path in (ROOT / "src" / "unisono").glob("*.py")} - {"__main__", "command"}
    allowed |= {"config", "warm"}
    for path in RULE_FILES:
        for module in re.findall(r"^\s*(?:from|import) unisono\.?([\w.]*)", path.read_text(), flags=re.MULTILINE):
            assert module == "" or module.split(".")[0] in allowed, f"{short(path)}: imports unisono.{module}"
