"""Checkpoints of the engines that live through many iterations: exact, atomic, and bound to what they belong to.

    state/<digest>/identity.json          what the digest stands for
    state/<digest>/lease-<token>          one for each process that came; only the newest may publish
    state/<digest>/ckpt-<number>/         published by renaming the whole folder
        manifest.json                     iteration, length of the plan, sizes and SHA-256 of the files; written last
        <i>.combine.safetensors           vectors after iteration i, as between any two iterations (`engines.store`)
        <i>.<worker>.state.safetensors    what each worker goes on with; where a task is under way all that it owns
        history.json                      the numbers after each iteration of the block so far

The digest covers config, frames, plan and initial model, so a changed run never meets an old state; changed back, it
goes on from it. An unfinished run is not left for another number of workers alone: that is refused by name. The last
two checkpoints are kept: a damaged one is named and set aside as damaged-ckpt-<number>, and the one before is used.
"""

import hashlib
import json
import logging
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from unisono.config.parallel import SERVED
from unisono.errors import UserError
from unisono.files import read_json, sha256, write_json

logger = logging.getLogger("unisono.checkpoint")

FORMAT = "unisono.checkpoint/1"
MANIFEST = "manifest.json"
KEPT = 2
_NAME = re.compile(r"ckpt-(\d{6})")
_LEASE = re.compile(r"lease-(\d{6})")


class Fenced(UserError):
    """Another process has taken over the run."""


def digest_of(identity: Mapping[str, Any]) -> str:
    """Return 16 hexadecimal digits that name an identity (plain JSON values)."""
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]


class Checkpoints:
    """The checkpoints of one run. Made by the one process (rank 0) that publishes."""

    def __init__(
        self, state_dir: str | os.PathLike[str], identity: Mapping[str, Any], *, other_workers: bool = False
    ) -> None:
        """Take the lease. Logs what differs from states of other identities that are set aside.

        Raises UserError where that state is of an unfinished run which differs in nothing but the number of workers,
        unless `other_workers` says that the plan goes on from it.
        """
        self.folder = Path(state_dir) / digest_of(identity)
        if not self.folder.exists():
            _meet_other(Path(state_dir), identity, other_workers)
        self.folder.mkdir(parents=True, exist_ok=True)
        write_json(self.folder / "identity.json", identity)
        self.token = self._take_lease()
        self._remove_leftovers()

    def newest(self) -> list[Path]:
        """Return the published checkpoints, the newest first."""
        return published(self.folder)

    def latest_sound(self) -> tuple[Path, dict[str, Any]] | None:
        """Return the newest checkpoint that is whole, and its manifest.

        Damaged ones are named in the log and set aside as `damaged-ckpt-<number>`: they do not count among those kept.
        """
        found = newest_sound(self.folder)
        for path in published(self.folder):
            if found and path > found[0]:
                aside = path.with_name(f"damaged-{path.name}")
                shutil.rmtree(aside, ignore_errors=True)
                path.rename(aside)
        return found

    def prepare(self) -> Path:
        """Return an empty folder to write the files of the next checkpoint into."""
        path = self.folder / f".next-{self.token:06d}"
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir()
        return path

    def publish(self, prepared: Path, manifest: dict[str, Any]) -> Path:
        """Give a folder its checksums, then its name, and drop all but the last two checkpoints.

        Raises Fenced where a newer process holds the lease: this one must end without touching anything.
        """
        files = {path.name: {"bytes": path.stat().st_size, "sha256": sha256(path)} for path in prepared.iterdir()}
        body = {"format": FORMAT, "files": files} | manifest
        write_json(prepared / MANIFEST, body | {"digest": _digest_of_body(body)})
        number = 1 + max((int(path.name[5:]) for path in self.newest()), default=-1)
        target = self.folder / f"ckpt-{number:06d}"
        self.check_lease()
        prepared.rename(target)
        _sync_folder(self.folder)
        for old in self.newest()[KEPT:]:
            # First out of the published ones: a kill while files go must leave no damaged one among them.
            shutil.rmtree(old.rename(old.with_name(f".old-{old.name}")), ignore_errors=True)
        return target

    def check_lease(self) -> None:
        """Raise Fenced where a newer process has come."""
        newest = max(self._leases())
        if newest != self.token:
            raise Fenced(f"{self.folder}: process {newest} has taken over this run: this one ({self.token}) ends")

    def _leases(self) -> list[int]:
        return [int(match[1]) for path in self.folder.iterdir() if (match := _LEASE.fullmatch(path.name))]

    def _take_lease(self) -> int:
        token = 1 + max(self._leases(), default=0)
        while True:
            try:
                os.close(os.open(self.folder / f"lease-{token:06d}", os.O_CREAT | os.O_EXCL | os.O_WRONLY))
                break
            except FileExistsError:
                token += 1
        for old in self._leases():
            if old < token - 1:
                (self.folder / f"lease-{old:06d}").unlink(missing_ok=True)
        return token

    def _remove_leftovers(self) -> None:
        """Remove what dead processes prepared and never published, or had begun to remove."""
        for path in [*self.folder.glob(".next-*"), *self.folder.glob(".old-*")]:
            shutil.rmtree(path, ignore_errors=True)


def published(folder: Path) -> list[Path]:
    """Return the published checkpoints of a run's folder, the newest first."""
    return sorted((path for path in folder.iterdir() if _NAME.fullmatch(path.name)), reverse=True)


def newest_sound(folder: Path) -> tuple[Path, dict[str, Any]] | None:
    """Return the newest checkpoint that is whole, and its manifest; damaged ones are named in the log."""
    for path in published(folder):
        reason, manifest = damage(path)
        if not reason:
            return path, manifest
        logger.warning("checkpoint %s is damaged (%s): the one before is used", path, reason)
    return None


def damage(path: Path) -> tuple[str, dict[str, Any]]:
    """Return why a checkpoint cannot be used (empty: it can) and its manifest."""
    try:
        manifest = read_json(path / MANIFEST)
        if manifest["format"] != FORMAT:
            return f"{MANIFEST}: format {manifest['format']!r}", {}
        if manifest.get("digest") != _digest_of_body(manifest):
            return f"{MANIFEST} does not have the bytes that were written", {}
        for name, facts in manifest["files"].items():
            file = path / name
            if not file.is_file():
                return f"{name} is missing", {}
            if file.stat().st_size != facts["bytes"] or sha256(file) != facts["sha256"]:
                return f"{name} does not have the bytes that were written", {}
    except UserError as error:
        return f"{MANIFEST}: {str(error).split(': ', 2)[1]}", {}
    except (KeyError, TypeError, AttributeError, OSError) as error:
        return f"{MANIFEST}: {type(error).__name__}", {}
    return "", manifest


def _digest_of_body(manifest: Mapping[str, Any]) -> str:
    body = {key: value for key, value in manifest.items() if key != "digest"}
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


def _meet_other(state_dir: Path, identity: Mapping[str, Any], other_workers: bool) -> None:
    """Say in one line what differs from the state that was used last, or refuse to leave one."""
    others = identities(state_dir)
    if not others:
        return
    _, wanted = apart_from_workers(identity)
    alike = next(((folder, other) for folder, other in others if apart_from_workers(other)[1] == wanted), None)
    if alike and not other_workers:
        check_workers(*alike, identity)
    folder, other = others[0]
    differences = "; ".join(differences_of(other, identity))
    logger.warning("the state in %s is of another run and set aside; what differs: %s", folder, differences)


def check_workers(folder: Path, other: Mapping[str, Any], identity: Mapping[str, Any]) -> None:
    """Raise UserError where an unfinished run, of which an iteration is done, differs in its number of workers only."""
    (before, same), (now, wanted) = apart_from_workers(other), apart_from_workers(identity)
    if before == now or same != wanted:
        return
    found = newest_sound(folder)
    if found is not None and 0 < (done := found[1]["iteration"] + 1) < (planned := found[1].get("iterations", 0)):
        served = identity["config"]["parallel"]["combine"]["kind"] in SERVED
        redeal = f", type `unisono redeal {folder.parent.parent} --workers {now}` to continue with {now},"
        resume = f"set it to {before} to resume{'' if served else redeal}"
        raise UserError(
            f"parallel.workers: {now}, but {folder} holds an unfinished run of {before} workers ({done} of {planned}"
            f" iterations done): {resume} or delete that folder to restart"
        )


def identities(state_dir: Path) -> list[tuple[Path, dict[str, Any]]]:
    """Return the folders of a run's states and what each stands for, the last used first."""
    files = sorted(state_dir.glob("*/identity.json"), key=lambda path: path.stat().st_mtime, reverse=True)
    return [(file.parent, read_json(file)) for file in files]


def apart_from_workers(identity: Mapping[str, Any]) -> tuple[Any, Any]:
    """Return the number of workers, and the rest of an identity without the plan, which follows from it."""
    rest = json.loads(json.dumps({key: value for key, value in identity.items() if key != "plan"}))
    config = rest.get("config")
    parallel = config.get("parallel", {}) if isinstance(config, dict) else {}
    return parallel.pop("workers", None), rest


def differences_of(old: Any, new: Any, where: str = "") -> list[str]:
    """Return one phrase for each leaf that differs."""
    if isinstance(old, dict) and isinstance(new, dict):
        found = []
        for key in sorted({*old, *new}):
            found += differences_of(old.get(key), new.get(key), f"{where}.{key}" if where else key)
        return found
    return [] if old == new else [f"{where}: {old} -> {new}"]


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
