"""Archives and scripts that these tests write themselves: every form, every refusal, bounded memory."""

import gzip
import os
import tracemalloc

import kaldiio
import numpy as np
import pytest

from unisono.data.kaldi.archive import Script, nearest, parts, read_all, read_archive
from unisono.data.kaldi.numbers import finite
from unisono.data.kaldi.source import Source, read_whole
from unisono.data.kaldi.write import archive_writer
from unisono.errors import UserError

VALUES = {
    "matrix": [np.float32([[1, -2], [3.5, 4]]), np.float64([[1e-3, 2], [3, 4]]), np.zeros((0, 0), np.float32)],
    "vector": [np.float32([1, 2, 3]), np.float64([0.1]), np.zeros(0, np.float32)],
    "integers": [np.int32([5, -7, 2**31 - 1]), np.int32([]), np.int32([7])],
}


def write(folder, values, name="a.ark"):
    with archive_writer(folder / name, folder / "a.scp") as writer:
        for number, value in enumerate(values):
            writer.add(f"utt{number}", value)
    return folder / name


def only(path, kind):
    (value,) = (value for _, value in read_archive(path, kind))
    return value


@pytest.mark.parametrize("kind", VALUES)
@pytest.mark.parametrize("packed", [False, True])
def test_round_trip(tmp_path, kind, packed):
    path = write(tmp_path, VALUES[kind])
    if packed:
        (tmp_path / "a.ark.gz").write_bytes(gzip.compress(path.read_bytes()))
        path = tmp_path / "a.ark.gz"
    found = dict(read_archive(path, kind))
    assert list(found) == [f"utt{number}" for number in range(len(VALUES[kind]))]
    for value, expected in zip(found.values(), VALUES[kind], strict=True):
        assert value.dtype == expected.dtype and np.array_equal(value, expected)


@pytest.mark.parametrize("kind", VALUES)
def test_script_by_key_and_in_any_order(tmp_path, kind):
    write(tmp_path, VALUES[kind])
    script = Script(tmp_path / "a.scp", kind)
    assert len(script) == 3 and "utt1" in script and "utt9" not in script
    for number in (2, 0, 1):
        assert np.array_equal(script[f"utt{number}"], VALUES[kind][number])
    with pytest.raises(KeyError):
        script["utt9"]


@pytest.mark.parametrize("method", [1, 2, 3, 5, 7])
def test_compressed_forms_of_kaldiio(tmp_path, method):
    value = np.random.default_rng(1).uniform(0, 1, (20, 3)).astype(np.float32)
    kaldiio.save_ark(str(tmp_path / "a.ark"), {"utt": value}, compression_method=method)
    assert np.abs(only(tmp_path / "a.ark", "matrix") - value).max() < 0.01


@pytest.mark.parametrize(
    ("text", "kind", "expected"),
    [
        (b"utt  [\n  1 2.5 \n  -3e2 4 ]\n", "matrix", [[1, 2.5], [-300, 4]]),
        (b"utt  [\r\n  1 2 \r\n  3 4 ]\r\n", "matrix", [[1, 2], [3, 4]]),
        (b"utt  [ ]\n", "matrix", np.zeros((0, 0))),
        (b"utt  [ 0 1.5 ]\n", "vector", [0, 1.5]),
        (b"utt [ 1 2 ]", "vector", [1, 2]),
        (b"utt  [ ]\n", "vector", []),
        (b"utt 1 2 -3 \n", "integers", [1, 2, -3]),
        (b"utt \n", "integers", []),
        (b"utt\n", "integers", []),
        (b"utt 7", "integers", [7]),
    ],
)
def test_text_forms(tmp_path, text, kind, expected):
    (tmp_path / "a.ark").write_bytes(text)
    assert np.array_equal(only(tmp_path / "a.ark", kind), expected)


def test_text_entries_follow_each_other(tmp_path):
    (tmp_path / "a.ark").write_bytes(b"a 1 2\nb\nc 3\n")
    found = {key: list(value) for key, value in read_archive(tmp_path / "a.ark", "integers")}
    assert found == {"a": [1, 2], "b": [], "c": [3]}


@pytest.mark.parametrize(
    ("data", "kind", "said"),
    [
        (b"utt  [\n 1 nan ]\n", "matrix", "where a number should be"),
        (b"utt  [ 1e39999 ]\n", "vector", "not finite"),
        (b"utt  [ 1_0 ]\n", "vector", "where a number should be"),
        (b"utt  [ 1e ]\n", "vector", "could not convert"),
        (b"utt  [\n 1\n 2 ]\n", "vector", "a matrix where a vector"),
        (b"utt  [ 1 ] 2\n", "vector", "more on the line"),
        (b"utt 1-2\n", "integers", "no whole number"),
        (b"utt", "integers", "without a value"),
        (b"utt ", "integers", "cut off after the key"),
        (b"utt \0Bx", "integers", "where whole numbers should begin"),
        (b"utt \0C", "matrix", "neither Kaldi's text nor its binary"),
        (b"utt \0BFM \4\1\0\0\0\4\1\0\0\0\0\0\xc0\x7f", "matrix", "not finite"),
    ],
)
def test_refusals_name_key_and_byte(tmp_path, data, kind, said):
    (tmp_path / "a.ark").write_bytes(data)
    with pytest.raises(UserError, match=rf"a\.ark: .*byte \d+: .*{said}"):
        list(read_archive(tmp_path / "a.ark", kind))


@pytest.mark.parametrize(
    ("span", "expected"),
    [
        ("[1:2]", (slice(1, 3), slice(None))),
        ("[0:0,1:2]", (slice(0, 1), slice(1, 3))),
        ("[:,2:2]", (slice(None), slice(2, 3))),
        ("[3:6]", (slice(3, 5), slice(None))),  # the rows end at 4
        ("[:]", (slice(None), slice(None))),
    ],
)
def test_ranges_take_their_last(tmp_path, span, expected):
    value = np.arange(15, dtype=np.float32).reshape(5, 3)
    write(tmp_path, [value])
    line = (tmp_path / "a.scp").read_text().strip()
    (tmp_path / "a.scp").write_text(line + span + "\n")
    assert np.array_equal(Script(tmp_path / "a.scp", "matrix")["utt0"], value[expected])


def test_a_range_that_is_cut_is_said(tmp_path, caplog):
    write(tmp_path, [np.zeros((5, 1), np.float32)])
    (tmp_path / "a.scp").write_text((tmp_path / "a.scp").read_text().strip() + "[0:7]\n")
    assert len(Script(tmp_path / "a.scp", "matrix")["utt0"]) == 5
    assert "the last is 4: cut" in caplog.text


@pytest.mark.parametrize("span", ["[0:8]", "[5:6]", "[2:1]", "[-1:2]", "[0:1,0:1]", "[0]", "[a:b]", "[0:99999999999]"])
def test_ranges_outside_are_refused(tmp_path, span):
    write(tmp_path, [np.zeros((5, 1), np.float32)])
    (tmp_path / "a.scp").write_text((tmp_path / "a.scp").read_text().strip() + span + "\n")
    with pytest.raises(UserError, match="correct the range"):
        dict(Script(tmp_path / "a.scp", "matrix"))


@pytest.mark.parametrize("place", ["touch ran |", "| touch ran", "touch ran |[0:3]", "gunzip -c a.gz |", "-"])
def test_commands_are_refused(tmp_path, monkeypatch, place):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.scp").write_text(f"utt {place}\n")
    with pytest.raises(UserError, match=r"a\.scp: line 1: 'utt' is "):
        dict(Script("a.scp", "matrix"))
    assert sorted(os.listdir(tmp_path)) == ["a.scp"]


def test_devices_pipes_and_folders_are_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path / "fifo", tmp_path, "/dev/zero"):
        with pytest.raises(UserError, match="not a regular file"):
            list(read_archive(path, "matrix"))


def test_a_place_with_blanks_and_a_whole_file(tmp_path):
    (tmp_path / "my file").write_bytes(write(tmp_path, [np.float32([[7]])]).read_bytes()[len("utt0 ") :])
    (tmp_path / "b.scp").write_text("one   my file\ntwo\tmy file:0\n")
    script = Script(tmp_path / "b.scp", "matrix")
    assert script["one"] == script["two"] == 7


def test_duplicates(tmp_path):
    write(tmp_path, [np.float32([1]), np.float32([2])])
    first, second = (tmp_path / "a.scp").read_text().splitlines()
    (tmp_path / "b.scp").write_text(f"{first}\n\n{first}\n")
    assert len(Script(tmp_path / "b.scp", "vector")) == 1
    (tmp_path / "b.scp").write_text(f"{first}\n{second.replace('utt1', 'utt0')}\n")
    with pytest.raises(UserError, match=r"b\.scp: line 2: 'utt0' is there already \(line 1\)"):
        Script(tmp_path / "b.scp", "vector")
    with pytest.raises(UserError, match="'utt0' is there already"):
        list(read_all([tmp_path / "a.ark", tmp_path / "a.scp"], "vector"))


def test_the_nearest_folder_above_has_the_file(tmp_path, monkeypatch):
    (tmp_path / "exp" / "tri").mkdir(parents=True)
    (tmp_path / "exp" / "a.ark").write_bytes(b"")
    assert nearest(tmp_path / "exp" / "tri", "a.ark") == tmp_path / "exp" / "a.ark"
    assert nearest(tmp_path / "exp" / "tri", "exp/a.ark") == tmp_path / "exp" / "a.ark"
    assert str(nearest(tmp_path / "exp", "nowhere.ark")) == "nowhere.ark"


def test_parts_come_by_number(tmp_path):
    for number in (10, 2, 1):
        (tmp_path / f"ali.{number}.gz").write_bytes(b"")
    assert [path.name for path in parts(tmp_path / "ali.*.gz")] == ["ali.1.gz", "ali.2.gz", "ali.10.gz"]
    with pytest.raises(UserError, match="no such files"):
        parts(tmp_path / "ali.*.ark")


def test_keys_that_kaldi_cannot_read_back_are_not_written(tmp_path):
    with pytest.raises(UserError, match="not a key"):
        write_key(tmp_path, "a b")
    assert not (tmp_path / "b.ark").exists()


def write_key(folder, key):
    with archive_writer(folder / "b.ark") as writer:
        writer.add(key, np.float32([1]))


def test_memory_is_that_of_the_largest_value(tmp_path):
    value = np.zeros((2**18, 4), np.float32)  # 4 MiB, twenty times
    path = write(tmp_path, [value] * 20)
    (tmp_path / "b.ark.gz").write_bytes(gzip.compress(path.read_bytes(), 1))
    for name in ("a.ark", "b.ark.gz"):
        tracemalloc.start()
        assert sum(1 for _ in read_archive(tmp_path / name, "matrix")) == 20
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 5 * value.nbytes


def test_a_gzip_that_claims_gigabytes(tmp_path):
    claimed = b"utt \0BFM \4\xff\xff\xff\x03\4\x10\0\0\0"
    (tmp_path / "a.gz").write_bytes(gzip.compress(claimed))
    with pytest.raises(UserError, match="at most 268435456 are read"):
        list(read_archive(tmp_path / "a.gz", "matrix"))


def test_whole_files_have_a_limit(tmp_path):
    (tmp_path / "a").write_bytes(bytes(100))
    (tmp_path / "a.gz").write_bytes(gzip.compress(bytes(100)))
    assert read_whole(tmp_path / "a") == read_whole(tmp_path / "a.gz") == bytes(100)
    for name in ("a", "a.gz"):
        with Source(tmp_path / name) as source, pytest.raises(UserError, match="is it the right file"):
            source.read_all(99)


def test_finite_sees_through_an_overflowing_sum():
    assert finite(np.full(4, 3e38, np.float32)) and finite(np.zeros(0))
    assert (
        not finite(np.float32([1, np.inf]))
        and not finite(np.float32([np.inf, -np.inf]))
        and not finite(np.float32([np.nan]))
    )
