"""How far a whole run is: one fraction, which never falls and ends at 1.

Each stage weighs what `estimate` predicts for it. What is left, R, is the sum over stages of weight times what is not
done. When the weights change (the corpus's hours become known, a plan is made) the fraction stays where it is and the
rest is measured anew:  fraction = base + (1 - base) (1 - R / R_base).
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from unisono.config.parallel import BLOCK_ENGINES

# Rules of the workflow by stage; `all` and `study` only name targets.
RULES: dict[str, tuple[str, ...]] = {
    "corpus": ("corpus", "perturb"),
    "features": ("features", "cmvn"),
    "hmm": (
        "lang",
        "train_mono",
        "train_tri",
        "train_lda_mllt",
        "align",
        "adopt_hmm",
        "align_dnn",
        "adopt_kaldi",
        "hold_out",
        "adopt_kaldi_alignments",
        "align_by_kaldi",
    ),
    "graph": ("lm", "graph"),
    "frames": ("frames",),
    "plan": ("configure", "plan", "constants", "join_stack", "init_model"),
    "train": ("train_job", "combine", "diagnose", *(f"train_{name}" for name in BLOCK_ENGINES), "finish", "metrics"),
    "tune": ("tune_gmm", "tune_dnn"),
    "decode": ("decode_gmm", "decode_dnn"),
    "score": ("score", "choose", "recogniser"),
    "report": ("report", "study_results", "paper_claims"),
}
STAGE = {rule: stage for stage, rules in RULES.items() for rule in rules}
OTHER_S = 1.0  # weight of a stage that nothing is predicted for


class Course:
    """The fraction of a run that is done, fed by Snakemake's events and the files of training."""

    def __init__(self, weights: Mapping[str, float]) -> None:
        """Take the predicted seconds of each stage."""
        self.fraction = 0.0
        self._weights = dict(weights)
        self._wanted: Counter[str] = Counter()
        self._done: Counter[str] = Counter()
        self._at_work: dict[str, float] = {}
        self._training = 0.0
        self._base, self._left = 0.0, 0.0

    def plan(self, stats: Mapping[str, Any]) -> None:
        """Take Snakemake's count of jobs by rule."""
        self._wanted = Counter()
        for rule, count in stats.items():
            if rule in STAGE:
                self._wanted[STAGE[rule]] += int(count)
        self._done = Counter()
        self._rebase()

    def weigh(self, weights: Mapping[str, float]) -> None:
        """Take better predictions."""
        if dict(weights) != self._weights:
            self._weights = dict(weights)
            self._rebase()

    def finish_job(self, rule: str) -> None:
        """Note that a job of this rule is done."""
        if rule in STAGE:
            self._done[STAGE[rule]] += 1
            self._move()

    def work(self, jobs: Iterable[tuple[str, float]]) -> None:
        """Note how far each job is that is at work: its rule, the fraction that is done."""
        self._at_work = {}
        for rule, fraction in jobs:
            stage = STAGE.get(rule, "")
            self._at_work[stage] = self._at_work.get(stage, 0.0) + fraction
        self._move()

    def train(self, fraction: float) -> None:
        """Note which fraction of all iterations of all runs is done."""
        self._training = max(self._training, min(1.0, fraction))
        self._move()

    def end(self) -> None:
        """Note that all is done."""
        self.fraction = 1.0

    def left_s(self) -> float:
        """Return the predicted seconds of what is not done yet."""
        return sum(self._weight(stage) * (1 - self._done_of(stage)) for stage in self._wanted)

    def _weight(self, stage: str) -> float:
        return max(self._weights.get(stage, 0.0), OTHER_S)

    def _done_of(self, stage: str) -> float:
        if stage == "train":  # its jobs are not counted: most are unknown before there is a plan
            return self._training
        done = self._done[stage] + self._at_work.get(stage, 0.0)
        return min(1.0, done / max(1, self._wanted[stage]))

    def _rebase(self) -> None:
        self._base, self._left = self.fraction, self.left_s()

    def _move(self) -> None:
        if self._left > 0:
            reached = self._base + (1 - self._base) * (1 - self.left_s() / self._left)
            # The end is reached when Snakemake says so.
            self.fraction = max(self.fraction, min(reached, 0.99))
