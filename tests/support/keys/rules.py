"""Keys that rules read themselves: what stands in the jobs of a dry run where they are not at their default."""

import json
import subprocess
import sys
from typing import NamedTuple

# Run in place of `snakemake`: also writes each job's resources, which it does not print of a rule with a message.
NOTING = """
import json, sys
from snakemake.cli import main
from snakemake.logging import logger

def note(record):
    if hasattr(record, "rule_name") and hasattr(record, "shellcmd"):
        job = [record.rule_name, record.shellcmd, dict(record.resources.items())]
        print("JOB " + json.dumps(job, default=str), file=sys.stderr)
    return True

logger.addFilter(note)
sys.exit(main(sys.argv[1:]))
"""


class Reading(NamedTuple):
    """Where a key shows: a rule, and words of its shell command, or a resource that it asks for."""

    key: str
    rule: str
    words: str = ""
    resource: tuple[str, object] | None = None

    def shows(self, jobs):
        """Say whether a job of the rule has it."""
        found = [(shell, resources) for rule, shell, resources in jobs if rule == self.rule]
        if self.resource is None:
            return any(self.words in shell for shell, _ in found)
        name, value = self.resource
        return any(resources.get(name) == value for _, resources in found)


def jobs_of(workspace, config):
    """Return rule, shell command and resources of each job of a dry run."""
    _, *words = workspace.command("--dry-run", config=config)
    words = [sys.executable, "-c", NOTING, *words[words.index("snakemake") + 1 :]]
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=workspace.folder, timeout=120)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return [json.loads(line[4:]) for line in done.stderr.splitlines() if line.startswith("JOB ")]


MINE = """
name: mine
corpora_dir: far
corpus: {kind: table, dir: c, shards: 1}
speed_perturbation: [0.9]
hmm: {align: mono}
report: {speakers: who.tsv, classes: {age: 16}}
resources:
  {threads_per_worker: 3, device: cpu, hang_timeout_s: 7.5, checkpoint_s: 8.5, train_gpu: gpu=1, decode_gpu: gres=gpu:2}
decode: {systems: [tri]}
schedule: {epochs: null, iterations: 3}
data: {dtype: float32}
runs:
  one: {parallel: {engine: virtual, iterations_per_job: 2}}
  two: {initialisation: {kind: model, path: results/mine/runs/one/final.safetensors}, prior: posteriors}
"""
FILES = {
    "far/c/utterances.tsv": "",
    "far/c/lexicon.txt": "",
    "far/c/who.tsv": "speaker_id\tage\n",
    "exp/final.mdl": "",
    "exp/tree": "",
    "exp/ali.1.gz": "",
    **{f"lang/{name}": "" for name in ("words.txt", "phones.txt", "L.fst", "L_disambig.fst")},
    **{f"exp/dev.{number}.gz": "" for number in (1, 2)},
    "results/other/runs/second/recogniser.json": "{}",
}
TOLD = [
    Reading("name", "configure", "--out results/mine/runs/one/config.json"),
    Reading("corpora_dir", "corpus", "--corpora-dir far"),
    Reading("speed_perturbation", "perturb", "--speeds 0.9"),
    Reading("hmm.align", "frames", "--train-alignment results/mine/hmm/mono/ali.train.h5"),
    Reading("report.speakers", "report", "--speakers far/c/who.tsv"),
    Reading("report.classes", "report", """--classes '{"age": 16.0}'"""),
    Reading("resources.threads_per_worker", "train_virtual", "--threads 3"),
    Reading("resources.device", "train_virtual", "--device cpu"),
    Reading("resources.hang_timeout_s", "train_virtual", "--hang-timeout-s 7.5"),
    Reading("resources.checkpoint_s", "train_virtual", "--checkpoint-s 8.5"),
    Reading("resources.train_gpu", "train_virtual", resource=("gpu", 1)),
    Reading("resources.decode_gpu", "tune_dnn", resource=("gres", "gpu:2")),
    Reading("decode.systems", "report", "--results gmm/tri runs/"),
    Reading("data.dtype", "frames", "--dtype float32"),
    Reading("parallel.engine", "train_virtual", "--engine virtual"),
    Reading("parallel.iterations_per_job", "train_virtual", "--first 2 --last 2"),
    Reading("initialisation.path", "init_model", "--model results/mine/runs/one/final.safetensors"),
]
OTHER = "name: mine\nhmm: {align_with: {name: other, run: second}}\ndecode: {systems: []}\n"
ALIGNED = [
    Reading(f"hmm.align_with.{key}", "adopt_hmm", "results/other/runs/second") for key in ("name", "run")
]  # fmt: skip
KALDI = """
name: mine
decode: {{systems: []}}
hmm: {{align: kaldi, kaldi: {{dir: exp, lang: lang, alignments: [exp/ali.1.gz], graph: exp/graph_tg, {dev}}}}}
"""
ADOPTED = [
    Reading("hmm.kaldi.dir", "adopt_kaldi", "--dir exp"),
    Reading("hmm.kaldi.lang", "adopt_kaldi", "--lang lang"),
    Reading("hmm.kaldi.graph", "adopt_kaldi", "--graph exp/graph_tg"),
    Reading("hmm.kaldi.alignments", "adopt_kaldi_alignments", "--alignments exp/ali.1.gz"),
    Reading("hmm.kaldi.dev_alignments", "adopt_kaldi_alignments", "--alignments exp/dev.1.gz exp/dev.2.gz"),
]
BY_GAUSSIANS = [Reading("hmm.kaldi.dev", "align_by_kaldi", "unisono align")]
# Name of a config, its text, what its jobs show.
CONFIGS = {
    "settings": (MINE, TOLD),
    "another-config": (OTHER, ALIGNED),
    "kaldi": (KALDI.format(dev='dev_alignments: ["exp/dev.*.gz"]'), ADOPTED),
    "kaldi-dev": (KALDI.format(dev="dev: gmm"), BY_GAUSSIANS),
}
