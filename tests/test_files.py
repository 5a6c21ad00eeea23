"""Files are whole or absent; JSON is byte-repeatable; damage is named."""

import errno
import hashlib
import math
import os

import pytest

from unisono import files
from unisono.errors import UserError


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_publishes_and_leaves_nothing_else(tmp_path):
    with files.atomic_path(tmp_path / "deep" / "er" / "a.txt") as temporary:
        assert temporary.parent == tmp_path / "deep" / "er"  # a rename is atomic only within one file system
        temporary.write_text("one")
        assert not (tmp_path / "deep" / "er" / "a.txt").exists()
    assert names(tmp_path / "deep" / "er") == ["a.txt"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_error_keeps_the_old_file(tmp_path, error):
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(error), files.atomic_path(target) as temporary:
        temporary.write_text("half")
        raise error
    assert target.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_failing_disk_keeps_the_old_file(tmp_path, monkeypatch, call):
    target = tmp_path / "a.txt"
    target.write_text("old")

    def fail(*_):
        raise OSError(28, "No space left on device")

    if call == "fsync":
        monkeypatch.setattr(os, "fsync", fail)
    else:
        monkeypatch.setattr(files.Path, "replace", fail)
    with pytest.raises(OSError, match="No space"):
        files.write_text(target, "new")
    assert target.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_bytes_reach_the_disk_before_the_name(tmp_path, monkeypatch):
    order = []
    sync, replace = os.fsync, files.Path.replace
    monkeypatch.setattr(os, "fsync", lambda fd: (order.append("sync"), sync(fd)))
    monkeypatch.setattr(files.Path, "replace", lambda self, to: (order.append("rename"), replace(self, to)))
    files.write_text(tmp_path / "a.txt", "x")
    assert order == ["sync", "rename", "sync"]


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o027, 0o640), (0o077, 0o600)])
def test_file_mode_follows_the_umask(tmp_path, mask, mode):
    before = os.umask(mask)
    try:
        files.write_text(tmp_path / "a.txt", "x")
        assert os.umask(mask) == mask  # reading the mask did not change it
    finally:
        os.umask(before)
    assert (tmp_path / "a.txt").stat().st_mode & 0o777 == mode


def test_text_keeps_line_ends_and_utf8(tmp_path):
    files.write_text(tmp_path / "a.txt", "é\r\nb\n")
    assert (tmp_path / "a.txt").read_bytes() == b"\xc3\xa9\r\nb\n"


def test_json_bytes_do_not_depend_on_the_order_of_keys(tmp_path):
    files.write_json(tmp_path / "a.json", {"b": 1, "a": [1.5, "ü", None]})
    files.write_json(tmp_path / "b.json", {"a": [1.5, "ü", None], "b": 1})
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    assert files.read_json(tmp_path / "a.json") == {"a": [1.5, "ü", None], "b": 1}


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_json_refuses_what_is_not_a_number(tmp_path, value):
    with pytest.raises(ValueError, match="JSON"):
        files.write_json(tmp_path / "a.json", {"x": value})
    assert names(tmp_path) == []


@pytest.mark.parametrize("content", [b"", b'{"a": ', b"\xff\xfe{}", b"nonsense"])
def test_damaged_json_is_named_in_one_line(tmp_path, content):
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(UserError) as caught:
        files.read_json(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_missing_json_is_named(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        files.read_json(tmp_path / "a.json")


def test_sha256(tmp_path):
    (tmp_path / "a").write_bytes(b"x" * 300_000)
    assert files.sha256(tmp_path / "a") == hashlib.sha256(b"x" * 300_000).hexdigest()


def test_an_error_of_the_disk_names_the_file(tmp_path):
    with pytest.raises(OSError) as caught, files.atomic_path(tmp_path / "x.json") as temporary:
        temporary.write_text("{}")
        with open("/dev/full", "w") as full:
            full.write("x")
    assert caught.value.errno == errno.ENOSPC and caught.value.filename == str(tmp_path / "x.json")
    assert list(tmp_path.iterdir()) == []
