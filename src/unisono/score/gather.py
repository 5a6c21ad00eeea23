"""What the report shows, read from the files of a finished pipeline under `results/<name>/` and from nowhere else.

Files that every pipeline makes must be there (UserError names the first that is not); the benchmark files that
Snakemake writes beside the jobs, ledgers and the course of the HMM training are shown where they are found.
"""

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from unisono import usage
from unisono.config.build import build
from unisono.config.rules import warnings
from unisono.config.run import Run as Settings
from unisono.config.stack import class_of_run
from unisono.errors import UserError
from unisono.files import read_json
from unisono.sample_size import unseen

Rows = list[dict[str, Any]]
STAGES = ("corpus", "features", "hmm", "graph", "frames", "plan", "pretrain", "train", "decode", "score")
METRICS = ("iteration", "worker", "frames", "objective_train", "objective_dev", "frame_accuracy", "learning_rate")


class StageTime(NamedTuple):
    """Jobs of one stage: how many, seconds by the clock and of CPU summed over them, the largest memory (MB)."""

    stage: str
    jobs: int
    seconds: float
    cpu_seconds: float
    max_rss_mb: float


@dataclass(frozen=True, slots=True)
class Result:
    """One scored system: its folder below the root, wer.json, the rows of its tables, tune.json.

    chosen: whether it is its run's result. tuned: empty where another system's setting was taken.
    """

    folder: str
    numbers: dict[str, Any]
    speakers: Rows
    confusions: Rows
    chosen: bool
    tuned: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Name in tables and pictures: `tri GMM` for gmm/tri, `main, ema` for runs/main/decode/ema."""
        parts = Path(self.folder).parts
        if parts[0] == "gmm" and len(parts) == 2:
            return f"{parts[1]} GMM"
        return f"{parts[1]}, {parts[3]}" if len(parts) == 4 else self.folder


@dataclass(frozen=True, slots=True)
class Run:
    """One training run: the rows of metrics.jsonl for the combined model and for the workers, its ledger, settings.

    final: of final.json, empty where there is none. settings: of config.json, None where there is none. warnings: a
    line for each that contradicts the custom.
    """

    name: str
    combined: Rows
    workers: Rows
    ledger: dict[str, Any]
    final: dict[str, Any]
    settings: Settings | None = None
    warnings: tuple[str, ...] = ()

    @property
    def recognises(self) -> bool:
        """Whether it makes a recogniser; else it pretrains a layer, and its objective is a reconstruction's."""
        return self.settings is None or self.settings.recognises

    @property
    def objective(self) -> str:
        """What its objective is."""
        if self.recognises:
            return "mean log-probability of a frame in nats"
        return "minus the squared error of a frame's reconstruction"


@dataclass(frozen=True, slots=True)
class Gathered:
    """Everything that the report shows. `alignments`: system -> split -> report; `courses`: system -> iterations.

    unseen: of dev and test, words that the language model's text never has; empty where the model is of no such text.
    """

    root: Path
    results: list[Result]
    runs: list[Run]
    corpus: dict[str, Any]
    alignments: dict[str, dict[str, Any]]
    courses: dict[str, Rows]
    frames: dict[str, Any]
    times: list[StageTime]
    unseen: dict[str, int] = field(default_factory=dict)


def gather(
    root: str | Path, results: Sequence[str], runs: Sequence[str], systems: Sequence[str], perturbed: Sequence[str] = ()
) -> Gathered:
    """Read everything below `root`.

    results: folders with wer.json, in the order of the tables.  runs: names of training runs.  systems: those whose
    alignments are shown (`mono`, `tri`).  perturbed: the size of the training set at other speeds, where there is one.
    """
    root = Path(root)
    corpus = read_json(root / "data" / "corpus.json")
    for path in perturbed:
        corpus["splits"]["perturbed"] = read_json(path)
    aligned = ("train", "perturbed", "dev") if perturbed else ("train", "dev")
    return Gathered(
        root=root,
        results=[_result(root, folder) for folder in results],
        runs=[_run(root / "runs" / name) for name in runs],
        corpus=corpus,
        alignments={name: _alignments(root / "hmm" / name, aligned) for name in systems},
        courses={name: _optional(root / "hmm" / name / "train.json").get("iterations", []) for name in systems},
        frames=_optional(root / "frames" / "frames.json"),
        times=_times(root / "benchmarks"),
        unseen=_unseen(root),
    )


def read_metrics(path: str | Path) -> Rows:
    """Read `metrics.jsonl`: one JSON object a line. Raises UserError naming the line that is not one."""
    rows = []
    for number, line in enumerate(_text(path).splitlines(), start=1):
        try:
            row = json.loads(line)
            missing = [field for field in METRICS if field not in row]
        except (ValueError, TypeError):
            raise UserError(f"{path}:{number}: not a JSON object: run the training again") from None
        if missing:
            raise UserError(f"{path}:{number}: {missing[0]} is missing: run the training again")
        rows.append(row)
    return rows


def _run(folder: Path) -> Run:
    path = folder / "config.json"
    told = _optional(path)
    settings = build(class_of_run(told), told, str(path)) if told else None
    return replace(read_training(folder), settings=settings, warnings=tuple(warnings(settings) if settings else []))


def _result(root: Path, folder: str) -> Result:
    numbers = read_json(root / folder / "wer.json")
    parts = Path(folder).parts  # runs/<run>/decode/<candidate>
    copy = root / parts[0] / parts[1] / "wer.json" if len(parts) == 4 else None
    chosen = copy is not None and copy.exists() and read_json(copy) == numbers
    speakers, confusions = (read_tsv(root / folder / name) for name in ("per_speaker.tsv", "confusions.tsv"))
    return Result(folder, numbers, speakers, confusions, chosen, _optional(root / folder / "tune.json"))


def read_training(folder: Path) -> Run:
    """Read what a run's folder tells of its training; each row also has `frames_seen`: those of all workers so far."""
    rows = read_metrics(folder / "metrics.jsonl")
    rows.sort(key=lambda row: (row["iteration"], -1 if row["worker"] is None else row["worker"]))
    combined = [row for row in rows if row["worker"] is None]
    seen = 0
    for row in combined:
        seen += row["frames"]
        row["frames_seen"] = seen
    ends = {row["iteration"]: row["frames_seen"] for row in combined}
    workers = [row for row in rows if row["worker"] is not None]
    for row in workers:
        row["frames_seen"] = ends.get(row["iteration"], 0)
    return Run(folder.name, combined, workers, _optional(folder / "ledger.json"), _optional(folder / "final.json"))


def _unseen(root: Path) -> dict[str, int]:
    """Count the words of dev and test that are not in the text of an n-gram model: `lexical`, as the model has them."""
    if _optional(root / "graph" / "lm.json").get("kind") != "ngram":
        return {}
    known = set(_text(root / "data" / "lm_text.txt").split())
    tables = {split: read_tsv(root / "data" / f"{split}.tsv") for split in ("dev", "test")}
    return {split: unseen((row["lexical"] for row in rows), known) for split, rows in tables.items()}


def _alignments(folder: Path, splits: Iterable[str]) -> dict[str, Any]:
    paths = {split: folder / f"ali.{split}.json" for split in splits}
    return {split: read_json(path) for split, path in paths.items() if path.exists()}


def _times(folder: Path) -> list[StageTime]:
    times = []
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        rows = [row for file in sorted(path.rglob("*.tsv")) for row in read_job(folder, file)]
        if rows:
            seconds, cpu, memory = ([measured(row, key) for row in rows] for key in ("s", "cpu_time", "max_rss"))
            times.append(StageTime(path.name, len(rows), sum(seconds), sum(cpu), max(memory)))
    return sorted(times, key=lambda time: (STAGES + (time.stage,)).index(time.stage))


def measured(row: Mapping[str, str], key: str) -> float:
    """Return a number of a row about a job; 0 where the job was too short to be measured."""
    try:
        return float(row.get(key) or 0)
    except ValueError:  # "-" or "NA"
        return 0.0


def read_job(folder: Path, path: Path) -> Rows:
    """Read what Snakemake wrote about a job below `folder`, with the CPU time and memory of a served one."""
    return [{**row, **usage.read(folder, path)} for row in read_tsv(path)]


def read_tsv(path: Path) -> Rows:
    """Read a table of tab-separated text with a heading line."""
    lines: Iterable[str] = _text(path).splitlines()
    return list(csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE))


def _text(path: str | Path) -> str:
    try:
        return Path(path).read_bytes().decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read ({error}): run the stage that makes it") from None


def _optional(path: Path) -> dict[str, Any]:
    return read_json(path) if path.exists() else {}
