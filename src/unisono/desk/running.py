"""A whole run from one command: a quiet display while Snakemake works, its mistakes once, in one line."""

import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from unisono import console
from unisono.config.check import Settings
from unisono.config.stack import with_stacks
from unisono.desk import snakemake
from unisono.desk.at_work import Job, job_of
from unisono.desk.course import STAGE, Course
from unisono.desk.estimate import need, recognisable, spoken_seconds
from unisono.desk.events import Events
from unisono.desk.note import Note
from unisono.desk.pace import Pace
from unisono.desk.settings import changed, read_settings
from unisono.desk.training import Training, read_training_state
from unisono.desk.words import duration
from unisono.errors import UserError
from unisono.files import read_json, write_json

# The workflow's own lock ends with its process (`unisono.lock`); Snakemake's would stay after kill -9.
NO_LOCK = ["--nolock"]
EVERY_S = 1.0  # between two looks at the files of training
LONG_S = 30.0  # of a job, after which its age is shown where no time left is known
GUESSED_S = {"train": 3600.0, "dev": 360.0, "test": 360.0}  # of speech, where nothing is known yet


def run(
    words: Sequence[str],
    cores: int | None = None,
    verbose: bool = False,
    dry_run: bool = False,
) -> int:
    """Run config files with changes `KEY=VALUE`; return 0, 2 after a user's mistake, or 1.

    verbose: Snakemake's own display in place of ours.
    """
    configs = [word for word in words if "=" not in word]
    if not configs:
        raise UserError("CONFIG: missing: give the config file; `unisono corpus folder` makes one")
    changes = [word for word in words if "=" in word]
    try:
        settings = read_settings(configs, changes)
    except UserError as error:
        raise UserError(f"config: {error}") from None
    cores = cores or len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory(prefix="unisono.") as folder:
        if changes:
            configs.append(os.path.join(folder, "changes.json"))
            write_json(configs[-1], changed(changes))
        targets = ["study"] if settings.shared.study else []
        line = snakemake.command(configs, cores, targets, ["--dry-run"] if dry_run else NO_LOCK)
        if verbose or dry_run:
            return snakemake.show(line)
        for note in settings.notes:
            print(f"note: config: {note}", file=sys.stderr)
        return _followed(line, settings, cores)


def _followed(line: Sequence[str], settings: Settings, cores: int) -> int:
    with console.whole_bar() as show:
        watch = Watch(settings, cores, show)
        stop = threading.Event()
        ticker = threading.Thread(target=_tick, args=(watch, stop), daemon=True)
        ticker.start()
        try:
            ended = snakemake.follow(line, watch.tell)
        finally:
            stop.set()
            ticker.join()
            watch.look()  # what was written since
            watch.close()
        if ended.code == 0:
            watch.end()
    if ended.code == 0:
        print(ended.output.strip() or "\n".join(_there_already(settings)))
    for why in ended.why:
        print(f"unisono run: {why}" if why.startswith(("config: ", "log: ")) else why, file=sys.stderr)
    if ended.code in (0, 130):
        return ended.code
    return 2 if any(": error: " in why or why.startswith("config: ") for why in ended.why) else 1


def _there_already(settings: Settings) -> list[str]:
    """Return what is printed where nothing had to be done: the answer once more; write what `logging` asks for."""
    from unisono.desk.last_lines import last_lines  # here, as it loads SciPy, and a mistake should be told at once

    root = Path("results", settings.shared.name)
    if wanted := settings.shared.logging.on():
        events = Events(root, wanted)
        events.look()
        events.close()
    told = [f"{root}: all is there already"]
    try:
        return told + last_lines(read_json(root / "report" / "answer.json"), str(root))
    except UserError:  # a study has none
        return told


def _tick(watch: "Watch", stop: threading.Event) -> None:
    while not stop.wait(EVERY_S):
        watch.look()


class Watch:
    """What is shown: fed by events from one thread and by the clock from another."""

    def __init__(self, settings: Settings, cores: int, show: Callable[[float, str], None]) -> None:
        """Predict the weights of the stages from what is known of the corpus."""
        self._settings, self._cores, self._show = settings, cores, show
        self._root = Path("results", settings.shared.name)
        self._lock = threading.RLock()
        self._jobs: dict[int, Job] = {}  # that are at work
        self._newest: Job | None = None
        self._sized = False
        self._begun = time.monotonic()
        self._course = Course(self._weights())
        self._pace = Pace(self._begun, self._course.left_s())
        self._note = Note(self._root)

    def tell(self, event: dict[str, Any]) -> None:
        """Take an event of Snakemake."""
        with self._lock:
            kind = event["event"]
            if kind == "run_info" and event.get("stats"):
                self._course.plan(event["stats"])
                self._measure_anew()
            elif kind == "job_info":
                self._jobs[event["jobid"]] = job_of(event)
            elif kind == "job_finished" and event["job_id"] in self._jobs:
                job = self._jobs.pop(event["job_id"])
                self._listen()  # so that its part is not counted beside the whole
                self._course.finish_job(job.rule)
            elif kind == "job_error":
                self._jobs.pop(event["jobid"], None)
            else:
                return
            self._draw()

    def look(self) -> None:
        """Read what the files say by now."""
        with self._lock:
            if not self._sized and (self._root / "data" / "corpus.json").exists():
                self._course.weigh(self._weights())
                self._measure_anew()
            runs = self._trainings()
            self._course.train(_trained(runs))
            self._listen()
            self._draw(runs)

    def end(self) -> None:
        """Show that all is done."""
        with self._lock:
            self._course.end()
            self._show(1.0, f"done in {duration(time.monotonic() - self._begun)}")

    def close(self) -> None:
        """Say nothing more to `unisono status`."""
        self._note.remove()

    def _draw(self, runs: Sequence[Training] | None = None) -> None:
        now = time.monotonic()
        self._pace.note(now, self._course.left_s())
        left, what = self._pace.left_s(now), self._doing(runs)
        if left is not None:
            said = f"{what}, {duration(left)} left"
        else:  # then at least for how long
            passed = time.time() - self._newest.begun if self._newest else 0.0
            said = what + (f", for {duration(passed)}" if passed > LONG_S else "")
        self._show(self._course.fraction, said)
        self._note.write(self._course.fraction, left, what)

    def _listen(self) -> None:
        """Note what the logs of the jobs at work say."""
        self._course.work((job.rule, told.fraction) for job in self._jobs.values() if (told := job.told()))

    def _doing(self, runs: Sequence[Training] | None) -> str:
        """Say what is at work: of several jobs the one that began last, and how far its log says it is."""
        # Models are evaluated beside what follows them; the line stays with what all waits for.
        waited_for = [job for job in self._jobs.values() if job.rule in STAGE and job.rule != "diagnose"]
        self._newest = job = waited_for[-1] if waited_for else self._newest
        if job is None:
            return "starting"
        if STAGE[job.rule] == "train":
            open_runs = [run for run in (self._trainings() if runs is None else runs) if not run.finished]
            return _training_words(open_runs) or job.message
        told = job.told() if waited_for else None
        return f"{job.message} ({told.words})" if told else job.message

    def _measure_anew(self) -> None:
        """Measure the speed from here: what was predicted before was predicted otherwise."""
        self._pace.restart(time.monotonic(), self._course.left_s())

    def _trainings(self) -> list[Training]:
        found = [read_training_state(self._root / "runs" / name) for name in with_stacks(self._settings.runs)]
        # Before its plan is there a run has as many iterations as its settings and the hours let expect.
        return [run if run.total else run._replace(total=self._expected[run.name]) for run in found]

    def _weights(self) -> dict[str, float]:
        shared, runs = self._settings.shared, self._settings.runs
        seconds = _speech(self._root) or (
            spoken_seconds(shared.corpus) if shared.corpus.kind == "spoken" else GUESSED_S
        )
        self._sized = _speech(self._root) is not None
        found = _corpus(self._root)
        text = found.get("splits", {}).get("train", {}).get("words", 0)
        words = recognisable(shared, found.get("lexicon_words", 0), text)
        wanted = need(shared, runs, seconds, self._cores, vocabulary=words)
        self._expected = wanted.iterations
        return wanted.seconds


def _corpus(root: Path) -> dict[str, Any]:
    """Return corpus.json, nothing before the corpus stage has written it."""
    try:
        return read_json(root / "data/corpus.json")
    except UserError:
        return {}


def _speech(root: Path) -> dict[str, float] | None:
    """Return the seconds of speech in each split, None while they are not known."""
    splits = _corpus(root).get("splits")
    return splits and {split: float(facts["seconds"]) for split, facts in splits.items()}


def _trained(runs: Sequence[Training]) -> float:
    """Return which fraction of the iterations of all runs is done."""
    total = sum(run.total or 1 for run in runs)
    return sum((run.total or 1) if run.finished else run.done for run in runs) / max(1, total)


def _training_words(runs: Sequence[Training]) -> str:
    """Say how far the run is that trains now."""
    started = [run for run in runs if run.done] or list(runs)
    if not started:
        return ""
    run = max(started, key=lambda run: run.steps[-1].time if run.steps else 0.0)
    objective = run.last_objective()
    said = f"train: run {run.name}, iteration {min(run.done + 1, run.total or run.done + 1)} of {run.total or '?'}"
    return said + ("" if objective is None else f", dev objective {objective:.3f}")
