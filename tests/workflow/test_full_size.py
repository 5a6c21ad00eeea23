"""The papers at their own size, on a directory of Kaldi: they resolve to jobs."""

import re
from pathlib import Path

import pytest
import yaml

from tests.kaldi.golden import IO, first_system

CONFIG = Path(__file__).resolve().parents[2] / "config"
PAPERS = [
    path
    for path in sorted((CONFIG / "papers").glob("*-full-size.yaml"))
    if yaml.safe_load(path.read_text()).get("hmm", {}).get("align") == "kaldi"
]


@first_system
@pytest.mark.parametrize("path", PAPERS, ids=lambda path: path.stem)
def test_a_paper_at_its_own_size_resolves(workspace, path):
    """On the golden system in the place of Fisher's or Switchboard's, whose features have 13 numbers."""
    below = CONFIG / "papers" / path.name.replace("-full-size", "")
    given = yaml.safe_load(path.read_text())
    splits = given["corpus"]["kaldi"].values()
    names = [f"{split}/{name}" for split in splits for name in ("feats.scp", "text", "utt2spk")]
    for name in [*names, "lexicon.txt"]:
        (workspace.folder / "corpora" / name).parent.mkdir(parents=True, exist_ok=True)
        (workspace.folder / "corpora" / name).touch()
    kaldi = {"dir": str(IO / "tri"), "lang": str(IO / "lang"), "alignments": [str(IO / "tri/ali.*.gz")]}
    mine = {
        "corpora_dir": "corpora",
        "features": {"kind": "kaldi", "numbers": 13},
        "hmm": {"features": {"kind": "kaldi", "numbers": 13, "deltas": 2}, "kaldi": kaldi},
    }
    config = [below, path, workspace.config("mine.yaml", yaml.safe_dump(mine))]
    done = workspace.run("paper", "--dry-run", config=config)
    assert done.returncode == 0, done.stdout[-3000:]
    jobs = dict(re.findall(r"^(\w+) +(\d+)$", done.stdout, flags=re.MULTILINE))
    of_train = given["hmm"]["kaldi"].get("dev") == "train"
    assert jobs["adopt_kaldi"] == "1" and jobs["adopt_kaldi_alignments"] == ("2" if of_train else "1")
    assert ("hold_out" in jobs) == of_train and ("align_by_kaldi" in jobs) == (not of_train)
    assert not {"lang", "train_mono", "train_tri", "align", "graph"} & set(jobs)
    assert f"results/{given['name']}/" in done.stdout
