"""A paper's small study, killed and taken up again: what it decodes, what it writes, that it repeats."""

import csv
import json
import math

STUDY = """
schedule: {epochs: 1}
decode: {systems: []}
parallel: {engine: virtual, first_iteration: combine, iterations_per_job: 1000}
study:
  name: small
  axes:
    workers: {n4: {parallel: {workers: 4, period_frames: 2000}}, n2: {}}
    combine:
      bmuf:
        parallel: {combine: bmuf}
        observers: {ema: {decay: 0.5}}
        combined: {models: 3, frames: 500, evaluations: 3}
  seeds: [3, 1]
  tune_on: n4-bmuf
  decode: {cells: [n2-bmuf], candidates: [ema]}
"""
CLAIMS = """
paper: Somebody 2014
claims:
  more:
    claim: Two workers end higher than four.
    stands: abstract
    certainty: A
    measured: {n2-bmuf: 1, n4-bmuf/ema: -1}
    expected: above
  words: {claim: It recognises words., stands: abstract, certainty: A, metric: wer, shown: [n2-bmuf/ema]}
  mean:
    claim: It is as good as the last model.
    stands: code
    certainty: C
    measured: {n4-bmuf/combined: 1, n4-bmuf: -1}
    expected: equal
  time: {claim: Little time is lost., stands: abstract, certainty: A, metric: averaging_share, shown: [n4-bmuf]}
  size: {claim: So it is at full size., stands: abstract, certainty: A, cannot: no such machine}
"""
T_ONE = 12.706204736  # 97.5 % of Student's t with one degree of freedom


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


def test_study(copied):
    mine = copied.config("study.yaml", STUDY)
    copied.config("study.claims.yaml", CLAIMS)
    page = copied.folder.joinpath("docs", "results", "papers", "small", "README.md")
    page.parent.mkdir(parents=True)
    page.write_text("by hand\n")
    both = [*copied.command()[-1:], mine]
    copied.kill_at("benchmarks/train/small.*.finish.tsv", 0.0, "study", said="(Rule: finish)", config=both)
    finals = {path.stat().st_mtime_ns: path for path in copied.results.glob("runs/small.*/final.safetensors")}
    assert 1 <= len(finals) < 4, "it was killed between two runs"
    noted = copied.folder.joinpath("killed.log").read_text().count("(Rule: finish)")
    again = [path for path in finals.values() if list(path.parent.glob("iterations/*.kept.*"))]
    assert again, "a run ended, and the models that it combines are gone before Snakemake could note it"
    unsure, final = again[0], again[0].read_bytes()
    unsure.unlink()  # as Snakemake does with what it has not noted as finished
    copied.unlock()
    process = copied.run("paper", config=both)
    assert process.returncode == 0, process.stdout[-6000:]
    for stage in ("Corpus:", "HMM:", "Features for", "Report", "GMM"):
        assert stage not in process.stdout, "only what a study needs, and nothing twice"
    stay = [path for written, path in finals.items() if path.stat().st_mtime_ns == written]
    assert len(stay) >= noted - 1 >= 0, "a finished run stays"
    assert unsure.read_bytes() == final, "the models that it combines are there as long as it may be made again"
    runs = copied.results / "runs"
    assert sorted(path.parent.name for path in runs.glob("*/decode/*/tune.json")) == ["ema", "last"]
    assert page.read_text() == "by hand\n"
    found = read(page.parent / "results.json")
    check(found, runs)
    check_claims(read(page.parent / "claims.json")["claims"], found["cells"])
    assert "snakemake paper --configfile config/spoken_small.yaml study.yaml" in (page.parent / "claims.md").read_text()
    rows = list(csv.DictReader((page.parent / "cells.csv").read_text().splitlines()))
    assert [(row["cell"], row["candidate"]) for row in rows] == [
        (cell, candidate) for cell in ("n4-bmuf", "n2-bmuf") for candidate in ("last", "ema", "combined")
    ]  # fmt: skip
    assert [bool(row["wer"]) for row in rows] == [False, False, False, False, True, False]
    assert not list(runs.glob("*/iterations/*.kept.*")), "what was combined is not needed any more"
    assert all(
        float(row["train_cpu_s"]) > 0 for row in csv.DictReader((page.parent / "cost.csv").read_text().splitlines())
    )
    again = copied.run(config=both)
    assert again.returncode == 0 and "Nothing to be done" in again.stdout, again.stdout[-2000:]


def check(found, runs):
    """The numbers are those of the runs' own files."""
    frames = read(runs.parent / "frames/frames.json")["train"]["frames"]
    for name in ("n4-bmuf", "n2-bmuf"):
        cell = found["cells"][name]
        assert cell["runs"] == [f"small.{name}-s3", f"small.{name}-s1"] and cell["frames"] == frames
        finals = [read(runs / run / "final.json")["candidates"]["ema"]["objective_dev"] for run in cell["runs"]]
        objective = cell["candidates"]["ema"]["objective_dev"]
        assert objective["values"] == finals
        middle, reach = sum(finals) / 2, T_ONE * abs(finals[0] - finals[1]) / 2
        assert math.isclose(objective["mean"], middle)
        assert math.isclose(objective["ci95"][0], middle - reach, rel_tol=1e-6)
    decoded = found["cells"]["n2-bmuf"]
    scores = [read(runs / run / "decode/ema/wer.json") for run in decoded["runs"]]
    assert decoded["candidates"]["ema"]["wer"]["values"] == [score["wer"] for score in scores]
    tuned = read(runs / "small.n4-bmuf-s3/decode/ema/tune.json")
    assert found["tuned"]["on"] == "runs/small.n4-bmuf-s3/decode/ema"
    for score in scores:
        assert score["dev_wer"] is None, "the setting was chosen on another system"
        assert math.isclose(score["lm_weight"], 1 / tuned["acoustic_scale"])
    # Two workers add up half a vector each: a rank sends half of its own, then its half of the sum.
    assert decoded["bytes_per_combination"] == decoded["vector_bytes"]
    # 440 inputs and the bias, then 128, in rows of whole 64 bytes.
    outputs = read(runs / "small.n2-bmuf-s1/final.json")["parameters"] - 128 * 441 - 128 * 129
    assert decoded["vector_bytes"] == 4 * (128 * 448 + 128 * 144 + outputs // 129 * 144)


def check_claims(rows, cells):
    """Each claim is judged by the study's own numbers."""
    more, words, mean, time, size = rows
    assert mean["measured"]["mean"] is not None
    ends = [cells["n2-bmuf"]["candidates"]["last"], cells["n4-bmuf"]["candidates"]["ema"]]
    a, b = (one["objective_dev"]["values"] for one in ends)
    assert more["measured"]["values"] == [one - other for one, other in zip(a, b, strict=True)]
    low, high = more["measured"]["ci95"]
    assert more["verdict"] == ("shown" if low > 0 else "contradicted" if high < 0 else "not shown")
    assert words["shown"]["n2-bmuf/ema"]["mean"] == cells["n2-bmuf"]["candidates"]["ema"]["wer"]["mean"]
    assert all(0 < share < 1 for share in time["shown"]["n4-bmuf"]["values"])
    assert (size["verdict"], size["why"]) == ("cannot be tested here", "no such machine")
