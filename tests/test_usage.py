"""Where the figures of served jobs lie, and that each rule's names lead there."""

import re
from pathlib import Path

import pytest

from unisono import usage

ROOT = Path(__file__).resolve().parent.parent
RULES = re.compile(r"^( *)(?:rule|checkpoint) (\w+):(.*?)(?=^\1\S|\Z)", flags=re.MULTILINE | re.DOTALL)
NAMED = r"^ +{}:\s*results\(\"([^\"]+)\"\)"

VALUES = {"where": "runs/a/decode/last", "run": "a.b"}


def named_files():
    """Yield the rule, log and measurement of each rule that is measured, with something in place of wildcards."""
    for path in sorted((ROOT / "workflow" / "rules").glob("*.smk")):
        for _, name, text in RULES.findall(path.read_text()):
            found = [re.search(NAMED.format(key), text, flags=re.MULTILINE) for key in ("log", "benchmark")]
            if found[1]:
                yield name, *(re.sub(r"{(\w+)}", lambda key: VALUES.get(key[1], key[1]), m[1]) for m in found)


NAMES = list(named_files())


@pytest.mark.parametrize(("rule", "log", "measurement"), NAMES, ids=[name for name, *_ in NAMES])
def test_figures_lie_beside_snakemakes(tmp_path, monkeypatch, rule, log, measurement):
    monkeypatch.chdir(tmp_path)
    made = Path("results/x", measurement)
    made.parent.mkdir(parents=True)
    usage.write(f"results/x/{log}", 1.234, 56.7)
    assert usage.read("results/x/benchmarks", made) == {"cpu_time": "1.23", "max_rss": "56.70"}
    assert usage.read(tmp_path / "results/x/benchmarks", tmp_path / made)
    usage.forget(f"results/x/{log}")
    assert usage.read("results/x/benchmarks", made) == {}


def test_every_measured_rule_was_seen():
    texts = "".join(path.read_text() for path in (ROOT / "workflow" / "rules").glob("*.smk"))
    assert len(NAMES) == texts.count("    benchmark:") > 20


@pytest.mark.parametrize(
    "log", ["", "x.log", "results/x/logs/x.log/", "other/x/logs/a/b.log", "results/x/other/a/b.log"]
)
def test_other_logs_have_no_figures(tmp_path, monkeypatch, log):
    monkeypatch.chdir(tmp_path)
    Path("results/x/benchmarks").mkdir(parents=True)
    usage.write(log, 1.0, 2.0)
    usage.forget(log)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("text", ["", "cpu_time\n", "cpu_time\tmax_rss\n1.0\n", "a\nb\nc\n"])
def test_damaged_figures_count_as_none(tmp_path, text):
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "a.served").write_text(text)
    assert usage.read(tmp_path, tmp_path / "train" / "a.tsv") == {}
