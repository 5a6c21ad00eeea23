"""What a job asks of a cluster: it follows from the config and grows with each attempt; GPUs in the site's words."""

from pathlib import Path

import pytest

from unisono import needs
from unisono.desk.settings import read_settings
from unisono.engines.block import Joined
from unisono.errors import UserError

SMALL = Path(__file__).resolve().parent.parent / "config/spoken_small.yaml"


def test_memory_follows_model_and_workers():
    small = needs.memory_mb("train_job", 2, 100_000)
    assert small < 1300
    assert needs.memory_mb("train_job", 2, 50_000_000) > small + 900
    virtual = [needs.memory_mb("train_virtual", n, 50_000_000) for n in (2, 32)]
    assert virtual[1] - virtual[0] == pytest.approx(60 * 200, rel=0.01), "two vectors a worker"
    assert needs.memory_mb("combine", 32, 50_000_000) == needs.memory_mb("combine", 2, 50_000_000)
    assert needs.memory_mb("train_job", 2, 100_000, attempt=3) == 3 * small


def test_minutes_follow_frames_and_weights_up_to_a_day():
    run = read_settings([SMALL], ["parallel.workers=8", "parallel.period_frames=1000000"]).runs["main"]
    job, sync, virtual = (
        needs.minutes(rule, run, 100_000, 10, 1) for rule in ("train_job", "train_sync", "train_virtual")
    )
    assert job == sync and virtual - 30 == pytest.approx(8 * (job - 30), rel=0.05)
    assert needs.minutes("train_job", run, 100_000, 10, 4) < job
    assert needs.minutes("train_virtual", run, 100_000_000, 1000, 1) == 1440
    assert needs.minutes("train_job", run, 1, 1, 1, attempt=2) == 62


@pytest.mark.parametrize(
    ("words", "ranks", "found"),
    [
        ("", 1, {}),
        ("", 4, {}),
        ("gpu=1", 1, {"gpu": 1}),
        ("gpu=1", 4, {"gpu": 4, "tasks_per_gpu": 1}),
        ("gres=gpu:a100:2", 1, {"gres": "gpu:a100:2"}),
        ("gres=gpu:2", 4, {"gres": "gpu:2"}),
    ],
)
def test_gpus(words, ranks, found):
    assert needs.gpus(words, ranks) == found


def test_a_server_needs_no_gpu():
    """Of five ranks four compute."""
    assert needs.gpus("gpu=1", 4, apart=True) == {"gpu": 4, "tasks_per_gpu": 0}
    assert needs.gpus("gpu=2", 1, apart=True) == {"gpu": 2, "tasks_per_gpu": 0}
    assert [Joined(print, computes=computes).place("cuda:1") for computes in (True, False)] == ["cuda:1", "cpu"]


@pytest.mark.parametrize("words", ["gpu", "gpu=0", "gres=", "gres=gpu:1 --mem=1", "a100"])
def test_gpus_in_other_words_are_refused(words):
    for key in ("train_gpu", "decode_gpu"):
        with pytest.raises(UserError, match=f"resources.{key}"):
            read_settings([SMALL], [f"resources.{key}='{words}'"])
