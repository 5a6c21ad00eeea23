"""A seeded tenth of the training set that stands for dev."""

import pytest

from unisono.__main__ import main
from unisono.data.corpus.hold_out import hold_out
from unisono.data.corpus.table import Utterance, read_table, write_table
from unisono.errors import UserError


def rows(count):
    return [Utterance(f"u{number:03}", f"s{number % 7}", "/a.wav", 1.0, "ONE", "ONE", 0) for number in range(count)]


@pytest.mark.parametrize(("count", "held"), [(2, 1), (14, 1), (16, 2), (200, 20)])
def test_a_tenth_is_set_apart(count, held):
    every = rows(count)
    rest, tenth = hold_out(every, 1)
    assert len(tenth) == held and sorted(rest + tenth, key=lambda row: row.utterance_id) == every
    assert rest == sorted(rest, key=lambda row: row.utterance_id)


def test_the_seed_decides_and_the_order_does_not():
    every = rows(200)
    tenth = hold_out(every, 1)[1]
    assert hold_out(every[::-1], 1)[1] == tenth[::-1] and hold_out(every, 2)[1] != tenth
    assert len({row.speaker_id for row in tenth}) > 3


def test_one_utterance_cannot_be_cut():
    with pytest.raises(UserError, match=r"hmm\.kaldi\.dev: train has no two utterances"):
        hold_out(rows(1), 1)


def test_the_command_writes_two_tables(tmp_path):
    write_table(tmp_path / "train.tsv", rows(30))
    flags = ["--out-train", str(tmp_path / "rest.tsv"), "--out-dev", str(tmp_path / "dev.tsv")]
    assert main(["hold-out", "--table", str(tmp_path / "train.tsv"), "--seed", "3", *flags]) == 0
    assert (read_table(tmp_path / "rest.tsv"), read_table(tmp_path / "dev.tsv")) == hold_out(rows(30), 3)
