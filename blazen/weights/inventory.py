"""What the cache holds: listing it, its size, removing from it, and checking it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from blazen.errors import ModelNotFoundError
from blazen.types.record import Record
from blazen.weights.cache import (
    cache_root,
    discard,
    files_of,
    hash_file,
    lock,
    origin_path,
    partial_path,
    read_receipt,
    receipt_path,
)
from blazen.weights.hub.snapshots import commit_of, names_in, read_listing, repo_folder
from blazen.weights.target import Target, url_key


@dataclass(frozen=True)
class CachedModel(Record):
    """One thing in the cache; ``target`` is what `remove` and `verify` take."""

    target: str
    source: Literal["hub", "url", "starter"]
    path: Path
    size: int
    """Bytes on the disk, with whatever is still on its way."""
    files: tuple[str, ...] = ()
    modified: float = 0.0
    """Seconds since 1970, as is ``used``; many systems note reading only once a day."""
    used: float = 0.0
    complete: bool = True


@dataclass(frozen=True)
class Verification(Record):
    """What became of the files of one thing since it arrived."""

    target: str
    good: tuple[str, ...] = ()
    damaged: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    """Nothing was noted about them when they arrived."""

    @property
    def ok(self) -> bool:
        """Say whether nothing is damaged or missing."""
        return not self.damaged and not self.missing


def cached(cache_dir: str | os.PathLike[str] | None = None) -> list[CachedModel]:
    """List what the cache holds, whole or in part."""
    root = cache_root(cache_dir)
    return [*_held_repos(root), *_held(root, "url"), *_held(root, "starter")]


def cache_size(cache_dir: str | os.PathLike[str] | None = None) -> int:
    """Give the bytes that the cache takes on the disk."""
    found = (path for path in cache_root(cache_dir).rglob("*") if not path.is_symlink())
    return sum(path.stat().st_size for path in found if path.is_file())


def remove(
    target: str | os.PathLike[str], *, cache_dir: str | os.PathLike[str] | None = None
) -> int:
    """Delete a hub repository, a URL's file or a starter model from the cache; gives its bytes."""
    root = cache_root(cache_dir)
    models = _find(target, root)
    for model in models:
        if model.source == "hub":
            shutil.rmtree(repo_folder(root, model.target))
            continue
        with lock(model.path, locks=root / ".locks" if model.source == "url" else None):
            partial = partial_path(model.path)
            marks = (receipt_path(model.path), origin_path(partial))
            for path in (model.path, partial, *marks):
                discard(path)
        with contextlib.suppress(OSError):  # other parts of a split model may be there
            model.path.parent.rmdir()
    return sum(model.size for model in models)


def verify(
    target: str | os.PathLike[str], *, cache_dir: str | os.PathLike[str] | None = None
) -> Verification:
    """Hash the files of one thing again, and compare with what was noted when it arrived."""
    root = cache_root(cache_dir)
    models = _find(target, root)
    if models[0].source == "hub":
        return _verify_repo(root, models[0].target)
    lists: tuple[list[str], ...] = ([], [], [], [])
    good, damaged, missing, unknown = lists
    for model in models:
        receipt = read_receipt(model.path)
        here = files_of(model.path) if model.path.exists() else {}
        noted = receipt.sha256 if receipt else {}
        for name in sorted(set(here) | set(noted) or {"."}):
            shown = model.path.name if name == "." else name
            if name not in here:
                missing.append(shown)
            elif name not in noted:
                unknown.append(shown)
            else:
                (good if hash_file(here[name]) == noted[name] else damaged).append(shown)
    return Verification(models[0].target, *map(tuple, lists))


def _held_repos(root: Path) -> list[CachedModel]:
    """List the repositories that are here, whole or in part."""
    found = []
    for folder in sorted((root / "hub").glob("models--*--*")):
        snapshots = sorted(path for path in folder.glob("snapshots/*") if path.is_dir())
        commit = commit_of(folder, None)
        newest = folder / "snapshots" / commit if commit else None
        path = newest if newest in snapshots else (snapshots or [folder])[-1]
        owned = [p for p in folder.rglob("*") if p.is_file() and not p.is_symlink()]
        weights = [p for p in owned if "blobs" in p.parts or "snapshots" in p.parts]
        files = sorted({name for snapshot in snapshots for name in names_in(snapshot)})
        broken = any(p.is_symlink() and not p.exists() for p in folder.glob("snapshots/**/*"))
        partial = any(p.name.endswith((".partial", ".incomplete")) for p in weights)
        found.append(
            CachedModel(
                target=folder.name.removeprefix("models--").replace("--", "/", 1),
                source="hub",
                path=path,
                size=sum(p.stat().st_size for p in owned),
                files=tuple(files),
                modified=max((p.stat().st_mtime for p in weights), default=0.0),
                used=_used_at(weights),
                complete=bool(files) and not broken and not partial,
            )
        )
    return found


def _verify_repo(root: Path, repo: str) -> Verification:
    """Hash every file of every snapshot of a repository."""
    folder = repo_folder(root, repo)
    lists: tuple[list[str], ...] = ([], [], [], [])
    good, damaged, missing, unknown = lists
    for snapshot in sorted(folder.glob("snapshots/*")):
        listing = read_listing(folder, snapshot.name)
        hashes = {file.name: file.hash for file in listing.files} if listing else {}
        for link in sorted(p for p in snapshot.rglob("*") if p.is_symlink() or p.is_file()):
            name = link.relative_to(snapshot).as_posix()
            # A link's own target names the hash, unless the blob moved on to a store of its own.
            noted = link.readlink().name if link.is_symlink() else ""
            expected = hashes.get(name) or noted
            if not link.is_file():
                missing.append(name)
            elif (found := _hash_like(link, expected)) is None:
                unknown.append(name)
            else:
                (good if found == expected else damaged).append(name)
    return Verification(repo, *map(tuple, lists))


def _hash_like(path: Path, expected: str) -> str | None:
    if re.fullmatch("[0-9a-f]{64}", expected):
        return hash_file(path)
    if re.fullmatch("[0-9a-f]{40}", expected):
        return hash_file(path, algorithm="sha1", prefix=b"blob %d\0" % path.stat().st_size)
    return None


def _used_at(files: Iterable[Path]) -> float:
    """Give when one of the files was last read or written, as far as the system notes it."""
    return max((max(f.stat().st_atime, f.stat().st_mtime) for f in files), default=0.0)


def _held(root: Path, source: Literal["url", "starter"]) -> Iterator[CachedModel]:
    marks = [mark for end in ("receipt", "partial") for mark in root.glob(f"{source}/**/.*.{end}")]
    seen = set()
    for mark in sorted(marks):
        # A long name is shortened in its mark: find the file that the mark belongs to.
        beside = (p for p in mark.parent.iterdir() if mark in (receipt_path(p), partial_path(p)))
        plain = mark.with_name(mark.name[1:].rpartition(".")[0])
        path = next(beside, plain)
        if path in seen:
            continue
        seen.add(path)
        partial = partial_path(path)
        files = files_of(path) if path.exists() else {}
        coming = files_of(partial) if partial.exists() else {}
        every = [*files.values(), *coming.values()]
        yield CachedModel(
            target=_named(path, partial, source),
            source=source,
            path=path,
            size=sum(file.stat().st_size for file in every),
            files=tuple(path.name if name == "." else name for name in files),
            modified=max((file.stat().st_mtime for file in every), default=0.0),
            used=_used_at(every),
            complete=bool(files) and not coming,
        )


def _named(path: Path, partial: Path, source: str) -> str:
    receipt = read_receipt(path)
    if receipt is not None:
        return receipt.target
    try:
        origin = json.loads(origin_path(partial).read_bytes())
        return str(origin["url"])
    except (OSError, ValueError, KeyError, TypeError):
        return f"{source}:{path.name}"


def _find(target: str | os.PathLike[str], root: Path) -> list[CachedModel]:
    wanted = Target.parse(target)
    shown = wanted.repo if wanted.source == "hub" else str(wanted)
    # What a listing showed is taken as it stands, even where a path of that name hides it.
    models = [model for model in cached(root) if model.target in (shown, os.fspath(target))]
    if wanted.source == "url":
        # Two URLs may look the same once their queries are left out: the exact one goes first.
        key = url_key(wanted.url or "")
        models = [model for model in models if model.path.parent.name == key] or models
    if not models:
        known = ", ".join(model.target for model in cached(root)) or "nothing"
        raise ModelNotFoundError(f"{shown} is not in the cache {root}; it holds: {known}")
    return models
