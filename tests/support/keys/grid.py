"""The keys of `runs` and `study`: another value gives other runs, or other systems that are decoded."""

from tests.support.keys.row import Row
from unisono.config.reads import run_told
from unisono.config.study import decoded, tuned_on

STUDY = {"study": {"name": "s", "axes": {"rule": {"a": {}, "b": {"parallel": {"combine": "bmuf"}}}}, "seeds": [1, 2]}}
DECODED = {"study.tune_on": "a", "study.decode": {"cells": ["a", "b"], "candidates": ["last", "ema"]}}


def trained(settings):
    """Return what each run of a config is told, and with a study which systems are decoded and tuned."""
    grid = settings.shared.study
    systems = [list(decoded(grid)), tuned_on(grid)] if grid else []
    return {name: run_told(run) for name, run in settings.runs.items()}, systems


ROWS = [
    Row("runs", [{"a": {}, "b": {"seed": 2}}]),
    Row("study.name", ["s", "t"], STUDY, refused=True),
    Row("study.axes", [{"rule": {"a": {}, "b": {}}}], STUDY | {"study.cells": {"c": {}}}),
    Row("study.cells", [{"c": {"prior": "posteriors"}}], STUDY),
    Row("study.seeds", [[1, 2]], STUDY),
    Row("study.tune_on", ["a", "b"], STUDY),
    Row("study.decode.cells", [["a"], ["a", "b"]], STUDY | {"study.tune_on": "a"}),
    Row("study.decode.candidates", [["ema"], ["last", "ema"]], STUDY | DECODED | {"observers.ema": {}}),
]
