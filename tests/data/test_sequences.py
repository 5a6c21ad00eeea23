"""The Sequences format: what goes in comes out, the same bytes each time; damaged files are refused."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from unisono.data.sequences import Sequences, SequenceWriter, write_sequences
from unisono.errors import UserError


def _items(dim: int = 3, dtype: str = "f4"):
    rng = np.random.default_rng(1)
    for utt, t in [("a", 4), ("b-1", 0), ("c.2_x", 7)]:
        yield utt, {"frames": rng.standard_normal((t, dim)).astype(dtype), "ids": rng.integers(0, 99, t)}


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
def test_round_trip(tmp_path: Path, dtype: str) -> None:
    path = tmp_path / "with space '\" $(x).h5"
    write_sequences(
        path, _items(dtype=dtype), kind="demo", attrs={"dim": 3, "shift": 0.01, "name": "ä"}, extra={"n": np.arange(2)}
    )
    with Sequences(path, kind="demo") as store:
        assert store.utts == ["a", "b-1", "c.2_x"] and len(store) == 3
        assert "b-1" in store and "b" not in store and 3 not in store
        assert store.offsets.tolist() == [0, 4, 4, 11]
        assert store.attrs["dim"] == 3 and store.attrs["shift"] == 0.01 and store.attrs["name"] == "ä"
        assert store.extra["n"].tolist() == [0, 1]
        assert store.datasets == ("frames", "ids")
        for utt, arrays in _items(dtype=dtype):
            assert store.get(utt).dtype == np.dtype(dtype)
            np.testing.assert_array_equal(store.get(utt), arrays["frames"])
            np.testing.assert_array_equal(store.get(utt, "ids"), arrays["ids"])
        np.testing.assert_array_equal(store.slice(2, 6), store.memmap()[2:6])
        assert not store.memmap().flags.writeable and store.memmap().flags.aligned
        store.get("a")[:] = 0  # a copy: the file cannot be changed through it
        with pytest.raises(UserError, match="no utterance 'zz'"):
            store.get("zz")
        with pytest.raises(UserError, match="no dataset /other"):
            store.get("a", "other")


def test_same_bytes_with_and_without_announced_rows(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_sequences(tmp_path / name, _items(), kind="demo", attrs={"dim": 3})
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    with SequenceWriter(tmp_path / "rows", kind="demo", attrs={"dim": 3}, rows=11) as writer:
        for utt, arrays in _items():
            writer.add(utt, **arrays)
    with Sequences(tmp_path / "one") as one, Sequences(tmp_path / "rows") as rows:
        np.testing.assert_array_equal(one.memmap(), rows.memmap())
        np.testing.assert_array_equal(one.memmap("ids"), rows.memmap("ids"))


def test_empty_file(tmp_path: Path) -> None:
    write_sequences(tmp_path / "none.h5", iter(()), kind="demo", attrs={})
    with Sequences(tmp_path / "none.h5") as store:
        assert store.utts == [] and store.rows == 0


@pytest.mark.parametrize(
    "second",
    [
        ("a", np.zeros((2, 3), "f4")),  # not sorted, not unique
        ("b", np.zeros((2, 4), "f4")),  # other dimension
        ("b", np.zeros((2, 3), "f8")),  # other type
        ("b", np.zeros((2, 3), "i4")),
        ("", np.zeros((2, 3), "f4")),
    ],
)
def test_writer_refuses_and_leaves_nothing(tmp_path: Path, second: tuple[str, np.ndarray]) -> None:
    with pytest.raises(ValueError), SequenceWriter(tmp_path / "x.h5", kind="demo", attrs={}) as writer:
        writer.add("a", frames=np.zeros((2, 3), "f4"))
        writer.add(second[0], frames=second[1])
    assert os.listdir(tmp_path) == []


def test_writer_refuses_lengths_that_differ(tmp_path: Path) -> None:
    with (
        pytest.raises(ValueError, match="different lengths"),
        SequenceWriter(tmp_path / "x", kind="d", attrs={}) as writer,
    ):
        writer.add("a", frames=np.zeros((2, 3), "f4"), ids=np.zeros(3, "i4"))
    with pytest.raises(ValueError, match="32 bits"), SequenceWriter(tmp_path / "x", kind="d", attrs={}) as writer:
        writer.add("a", ids=np.array([2**31]))
    with (
        pytest.raises(ValueError, match="announced"),
        SequenceWriter(tmp_path / "x", kind="d", attrs={}, rows=3) as writer,
    ):
        writer.add("a", ids=np.zeros(2, "i4"))


def test_truncated_missing_and_other_files(tmp_path: Path) -> None:
    path = tmp_path / "x.h5"
    write_sequences(path, _items(), kind="demo", attrs={})
    with pytest.raises(UserError, match="not 'alignment'"):
        Sequences(path, kind="alignment")
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(UserError, match=str(path)):
        Sequences(path)
    path.write_text("not HDF5")
    with pytest.raises(UserError, match="not readable as HDF5"):
        Sequences(path)
    with pytest.raises(UserError, match="no such file"):
        Sequences(tmp_path / "absent.h5")


def test_a_whole_file_is_not_called_damaged_where_no_more_files_may_be_opened(tmp_path: Path) -> None:
    """In a process of its own, whose limit of open files is used up."""
    write_sequences(tmp_path / "x.h5", _items(), kind="demo", attrs={})
    code = """if True:
        import resource, sys
        from unisono.data.sequences import Sequences
        held = []
        resource.setrlimit(resource.RLIMIT_NOFILE, (60, 60))
        try:
            while True:
                held.append(open("/dev/null"))
        except OSError:
            pass
        try:
            Sequences(sys.argv[1])
        except OSError as error:
            print(error.errno, error.filename)
    """
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "x.h5"], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(errno.EMFILE), str(tmp_path / "x.h5")]


def test_zero_frames_of_h5py_default(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["frames"] = np.zeros((2, 2), "f4")
    with pytest.raises(UserError, match="its format is None"):
        Sequences(tmp_path / "x.h5")
