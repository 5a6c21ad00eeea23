"""What --help of the commands that a user types says: examples and whatever one would otherwise have to guess."""

import re
import shlex

import pytest

from unisono.cli import corpus
from unisono.cli.commands import COMMANDS
from unisono.command import main
from unisono.data.corpus.originals import ORIGINALS


def helped(capsys, name):
    with pytest.raises(SystemExit) as stop:
        main([name, "--help"])
    assert stop.value.code == 0
    return capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("transcribe", ["--log needs it", "relative to the table's folder", "--processes is how many", "duration_s"]),
        ("export", ["recogniser.json", "provenance.json", "lang/", "default: not stated"]),
        ("corpus", ["{folder,fsdd,speechocean762}", *corpus.ADDRESSES.values(), "CC BY-SA 4.0", "docs/own-data.md"]),
        ("compare", ["kaldi-hyp.txt", "default: data/test.tsv"]),
    ],
)  # fmt: skip
def test_help_says(capsys, name, said):
    text = " ".join(helped(capsys, name).split())
    assert [words for words in said if words not in text] == []


@pytest.mark.parametrize("name", [name for name, command in COMMANDS.items() if command.typed])
def test_examples_hold_no_unknown_flag(capsys, name, tmp_path, monkeypatch):
    """Each example is understood by the command's own parser: where its files are not, it fails on those alone."""
    monkeypatch.chdir(tmp_path)
    examples = re.findall(rf"^  unisono {name} (.*?)(?:  +#.*)?$", helped(capsys, name), flags=re.MULTILINE)
    assert examples
    for example in examples:
        assert main([name, *shlex.split(example)]) == 2
        error = "".join(capsys.readouterr())
        expected = "no such|cannot be read|missing|no recogniser|no results|no runs"
        assert "--help" not in error and re.search(expected, error), error


def test_corpus_knows_all_originals():
    assert set(corpus.ADDRESSES) == set(ORIGINALS)


@pytest.mark.parametrize("name", ["mine", "kaldi"])
def test_corpus_of_ones_own_needs_no_command(capsys, name):
    assert main(["corpus", name]) == 2
    line = capsys.readouterr().err
    assert f"{name}: no such public corpus: known are fsdd, speechocean762; for your own recordings" in line
    assert "docs/own-data.md" in line and line.count("\n") == 1
