"""The time that is left, and what the logs of jobs say: an estimate where things move, and none where they do not."""

import os
import time

import pytest

from unisono.desk import at_work, note
from unisono.desk.pace import QUIET_S, Pace

LOG = """12:00:00 INFO Setting(acoustic_scale=0.1): %WER 84.06 [ 232 / 276, 11 ins ]
12:00:05 INFO pass 1 of 2, utterances: 40 of 40
12:00:10 INFO pass 2 of 2, utterances: 8 of 40
12:00:11 WARNING u1: no complete sentence, best part taken
"""


def test_the_time_left_counts_down_while_nothing_moves_and_ends_where_that_takes_long():
    """A stage of 1000 predicted seconds that takes twice as long, told every 40 s."""
    pace = Pace(0.0, 1000.0)
    shown = []
    for now in range(400):
        if now % 40 == 0:
            pace.note(now, 1000.0 - now / 2)
        shown.append(pace.left_s(now))
    assert shown[:40] == [None] * 40 and None not in shown[80:]
    known = [left for left in shown if left is not None]
    assert all(b < a for a, b in zip(known, known[1:], strict=False)), "it never rises"
    assert known[-1] == pytest.approx(2000 - 399, abs=1)
    assert pace.left_s(360 + QUIET_S + 1) is None, "nothing is known any more"


def test_a_stage_that_was_predicted_badly_shows_at_once():
    pace = Pace(0.0, 200.0)
    for now in range(0, 101, 10):
        pace.note(now, 200.0 - now)
    assert pace.left_s(100.0) == pytest.approx(100)
    for now in range(110, 300, 10):
        pace.note(now, 100.0 - (now - 100) / 10)
    assert pace.left_s(290.0) == pytest.approx(810), "as fast as now, not as all the time"
    pace.restart(300.0, 50.0)
    assert pace.left_s(301.0) is None


def test_what_a_log_says(tmp_path):
    path = tmp_path / "a.log"
    assert at_work.told(path) is None
    path.write_text("12:00:00 INFO nothing of that kind\n")
    assert at_work.told(path) is None
    path.write_text(LOG)
    assert at_work.told(path) == ("pass 2 of 2, utterances: 8 of 40", pytest.approx(0.6))
    path.write_text("12:00:00 INFO monophones: 10 of 40\n")
    assert at_work.told(path) == ("monophones: 10 of 40", 0.25)
    job = at_work.job_of({"rule_name": "tune_gmm", "rule_msg": "Decode: tune", "log": [str(path)]})
    assert job.message == "Decode: tune" and job.told() is not None
    os.utime(path, (job.begun - 60,) * 2)
    assert job.told() is None, "an earlier job said it"


def test_the_note_of_a_run(tmp_path):
    assert note.read(tmp_path) is None
    own = note.Note(tmp_path)
    own.write(0.5, None, "Decode: tune")
    own.write(0.6, 3.0, "Decode: tune")
    assert note.read(tmp_path) == (0.5, None, "Decode: tune"), "not at each look"
    os.utime(tmp_path / note.NAME, (time.time() - 2 * note.OLD_S,) * 2)
    assert note.read(tmp_path) is None, "whoever wrote it was killed"
    own.remove()
    assert os.listdir(tmp_path) == []
    note.Note(tmp_path / "nowhere").write(0.5, None, "x")
    assert os.listdir(tmp_path) == []
