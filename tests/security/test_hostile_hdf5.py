"""A downloaded Sequences file can neither run code nor reach other files: each trick is refused by name."""

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from unisono.data.sequences import FORMAT, Sequences
from unisono.errors import UserError


def _external_link(file: h5py.File, folder: Path) -> None:
    file["ids"] = h5py.ExternalLink(str(folder / "secret.h5"), "/ids")


def _soft_link(file: h5py.File, folder: Path) -> None:
    file["ids"] = h5py.SoftLink("/offsets")


def _external_storage(file: h5py.File, folder: Path) -> None:
    file.create_dataset("ids", (3,), "i4", external=[(str(folder / "secret.bin"), 0, 12)])


def _virtual(file: h5py.File, folder: Path) -> None:
    layout = h5py.VirtualLayout((3,), "i4")
    layout[:] = h5py.VirtualSource(str(folder / "secret.h5"), "ids", (3,))
    file.create_virtual_dataset("ids", layout)


def _objects(file: h5py.File, folder: Path) -> None:
    file.create_dataset("ids", data=["a", "b", "c"], dtype=h5py.string_dtype())


def _references(file: h5py.File, folder: Path) -> None:
    file.create_dataset("ids", data=[file["offsets"].ref] * 3, dtype=h5py.ref_dtype)


def _compound(file: h5py.File, folder: Path) -> None:
    file["ids"] = np.zeros(3, [("a", "i4"), ("b", "f8")])


def _filter(file: h5py.File, folder: Path) -> None:
    file.create_dataset("ids", data=np.zeros(3, "i4"), compression="gzip")


def _group(file: h5py.File, folder: Path) -> None:
    file.create_group("ids")


def _short(file: h5py.File, folder: Path) -> None:
    file["ids"] = np.zeros(2, "i4")


def _wide(file: h5py.File, folder: Path) -> None:
    file["frames"] = np.zeros((3, 2, 2), "f4")


def _falling(file: h5py.File, folder: Path) -> None:
    file["offsets"][:] = [0, 4, 3]


def _negative(file: h5py.File, folder: Path) -> None:
    file["offsets"][:] = [-1, 2, 3]


def _double(file: h5py.File, folder: Path) -> None:
    file["utt"][:] = [b"a", b"a"]


def _attribute(file: h5py.File, folder: Path) -> None:
    file.attrs["kind"] = np.zeros(3)


@pytest.mark.parametrize(
    "spoil",
    [
        _external_link,
        _soft_link,
        _external_storage,
        _virtual,
        _objects,
        _references,
        _compound,
        _filter,
        _group,
        _short,
        _wide,
        _falling,
        _negative,
        _double,
        _attribute,
    ],
)
def test_refused(tmp_path: Path, spoil: Callable[[h5py.File, Path], None]) -> None:
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        file["ids"] = np.arange(3, dtype="i4")
    (tmp_path / "secret.bin").write_bytes(b"secretsecret")
    path = tmp_path / "x.h5"
    with h5py.File(path, "w") as file:
        file["offsets"] = np.array([0, 1, 3], "i8")
        file["utt"] = np.array([b"a", b"b"])
        file.attrs.update({"format": np.bytes_(FORMAT.encode()), "kind": np.bytes_(b"demo")})
    assert Sequences(path).utts == ["a", "b"]
    with h5py.File(path, "r+") as file:
        spoil(file, tmp_path)
    with pytest.raises(UserError, match="refused") as caught:
        Sequences(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)
