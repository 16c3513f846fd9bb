"""What the hub's cache on this disk holds, read without the hub client and without a network.

::

    hub/models--ORG--NAME/
    ├── blobs/HASH               each file once, named by its hash
    ├── refs/REVISION            the commit that a branch stood at
    ├── snapshots/COMMIT/FILE    links to the blobs
    └── .blazen/COMMIT.json      ours: the files of that commit, with sizes and hashes
"""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from blazen.types.record import Record
from blazen.weights.cache import lock

_COMMIT = re.compile("[0-9a-f]{40}")


@dataclass(frozen=True)
class HubFile(Record):
    """One file of a hub repository: its path inside, its size, and the hash that names it."""

    name: str
    size: int | None
    hash: str


@dataclass(frozen=True)
class Listing(Record):
    """The files of one commit: all of them, or those that were fetched one by one."""

    whole: bool
    files: tuple[HubFile, ...] = ()


def repo_folder(root: Path, repo: str) -> Path:
    """Give the folder of a repository."""
    return root / "hub" / f"models--{repo.replace('/', '--')}"


def commit_of(folder: Path, revision: str | None) -> str | None:
    """Give the commit that a revision stood at when it was last fetched."""
    if revision and _COMMIT.fullmatch(revision):
        return revision
    try:
        commit = (folder / "refs" / (revision or "main")).read_text(encoding="utf-8").strip()
    except OSError:
        return None
    return commit or None


def keep_ref(folder: Path, revision: str | None, commit: str) -> None:
    """Note the commit that a branch or tag stands at, once what was asked for is here."""
    if revision == commit:
        return
    ref = folder / "refs" / (revision or "main")
    ref.parent.mkdir(parents=True, exist_ok=True)
    fresh = ref.with_name(f"{ref.name}.new-{os.getpid()}")
    fresh.write_text(commit, encoding="utf-8")
    fresh.replace(ref)


def local_file(root: Path, repo: str, file: str, revision: str | None) -> Path | None:
    """Give a file of a repository, if it is here whole."""
    folder = repo_folder(root, repo)
    commit = commit_of(folder, revision)
    path = folder / "snapshots" / (commit or "-") / file
    return path if path.is_file() else None


def local_folder(
    root: Path, repo: str, patterns: Sequence[str] | None, revision: str | None, *, offline: bool
) -> Path | None:
    """Give the snapshot of a repository, if every file that the patterns ask for is here.

    Where the list of all files is not known (another program filled the cache), what is here counts
    as all only while offline.
    """
    folder = repo_folder(root, repo)
    commit = commit_of(folder, revision)
    if commit is None:
        return None
    snapshot = folder / "snapshots" / commit
    listing = read_listing(folder, commit)
    if listing is not None and listing.whole:
        wanted = matching((file.name for file in listing.files), patterns)
    elif patterns is not None and not any(set(pattern) & set("*?[") for pattern in patterns):
        wanted = list(patterns)
    elif offline and snapshot.is_dir():
        wanted = matching(names_in(snapshot), patterns)
    else:
        return None
    return snapshot if wanted and all((snapshot / name).is_file() for name in wanted) else None


def matching(names: Iterable[str], patterns: Sequence[str] | None) -> list[str]:
    """Give the names that are, or match, one of the patterns (``*``, ``?``, ``[…]``; ``dir/``)."""
    if patterns is None:
        return list(names)
    globs = [f"{pattern}*" if pattern.endswith("/") else pattern for pattern in patterns]
    return [n for n in names if n in globs or any(fnmatch.fnmatchcase(n, g) for g in globs)]


def read_listing(folder: Path, commit: str) -> Listing | None:
    """Give what is known of the files of a commit."""
    try:
        return Listing.from_json((folder / ".blazen" / f"{commit}.json").read_bytes())
    except (OSError, ValueError):
        return None


def keep_listing(folder: Path, commit: str, listing: Listing) -> None:
    """Note the files of a commit; files noted one by one add up."""
    path = folder / ".blazen" / f"{commit}.json"
    with lock(path):
        known = read_listing(folder, commit)
        if known is not None and not listing.whole:
            files = {file.name: file for file in (*known.files, *listing.files)}
            listing = Listing(known.whole, tuple(files.values()))
        if listing != known:
            fresh = path.with_suffix(".new")
            fresh.write_text(listing.to_json(), encoding="utf-8")
            fresh.replace(path)


def files_in(snapshot: Path) -> list[HubFile]:
    """Give the files of a snapshot that are whole, as the hub would list them."""
    paths = [(name, (snapshot / name)) for name in names_in(snapshot)]
    # A link leads to the blob, which is named by its hash; without links that is not known.
    return [
        HubFile(name, path.stat().st_size, path.resolve().name if path.is_symlink() else "")
        for name, path in paths
    ]


def names_in(snapshot: Path) -> list[str]:
    """Give the files of a snapshot that are whole."""
    found = (path for path in snapshot.rglob("*") if path.is_file())
    return sorted(path.relative_to(snapshot).as_posix() for path in found)
