"""Files of a Hugging Face repository, through the hub's own client, into blazen's cache.

The client answers who may read what, which commit and which hash a file has, and lays out the
cache. The bytes themselves come by `blazen.weights.download`: the client throws away what a killed
process had fetched, and it neither checks hashes nor stops half-way.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from blazen.errors import DownloadError, ModelNotFoundError, ValidationError
from blazen.offline import is_offline
from blazen.types.progress import OnProgress
from blazen.weights.cache import cache_root
from blazen.weights.download.bar import reporting
from blazen.weights.hub import snapshots
from blazen.weights.hub.client import Remote
from blazen.weights.hub.snapshots import HubFile
from blazen.weights.target import Target, check_hub_file

T = TypeVar("T")


def fetch_file(
    repo: str,
    filename: str,
    *,
    revision: str | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    token: str | None = None,
    endpoint: str | None = None,
    offline: bool | None = None,
    on_progress: OnProgress | None = None,
    cancelled: Callable[[], bool] = lambda: False,
    timeout: float = 30,
) -> Path:
    """Give one file of a repository; what is here already is given without asking the network.

    A branch therefore stays at the commit that it was first fetched at, until `remove`.
    """
    check_hub_file(filename)
    root = cache_root(cache_dir)
    _check(repo, revision)
    here = snapshots.local_file(root, repo, filename, revision)
    if here is not None:
        return here
    if is_offline(offline):
        raise _not_here(f"{filename} of {repo}")
    remote = Remote(repo, root, token, endpoint, timeout, cancelled)
    with reporting(on_progress) as report:
        commit, file = remote.look_up(filename, revision)
        path = remote.bring(file, commit, report)
    snapshots.keep_ref(remote.folder, revision, commit)
    return path


def fetch_folder(
    repo: str,
    patterns: Sequence[str] | None = None,
    *,
    revision: str | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    token: str | None = None,
    endpoint: str | None = None,
    offline: bool | None = None,
    on_progress: OnProgress | None = None,
    cancelled: Callable[[], bool] = lambda: False,
    timeout: float = 30,
) -> Path:
    """Give a folder with the files of a repository that match the patterns, all of one commit.

    What is here already is given without asking the network; progress counts all files together.
    """
    root = cache_root(cache_dir)
    _check(repo, revision)
    away = is_offline(offline)
    here = snapshots.local_folder(root, repo, patterns, revision, offline=away)
    if here is not None:
        return here
    if away:
        raise _not_here(f"{', '.join(patterns) if patterns else 'the whole'} of {repo}")
    remote = Remote(repo, root, token, endpoint, timeout, cancelled)
    with reporting(on_progress) as report:
        commit, files = remote.list_all(revision)
        names = set(snapshots.matching((file.name for file in files), patterns))
        if not names:
            raise ModelNotFoundError(
                f"{repo} has no file like {', '.join(patterns or ())}; it has: "
                f"{', '.join(file.name for file in files[:20]) or 'none'}"
            )
        wanted = [file for file in files if file.name in names]
        remote.bring_all(wanted, commit, report)
    snapshots.keep_ref(remote.folder, revision, commit)
    return remote.folder / "snapshots" / commit


def list_files(
    repo: str,
    *,
    revision: str | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    token: str | None = None,
    endpoint: str | None = None,
    offline: bool | None = None,
    cancelled: Callable[[], bool] = lambda: False,
    timeout: float = 30,
) -> list[HubFile]:
    """Give the files of a repository; what was listed before is given without the network.

    While offline, a repository that was never listed gives the files that are here.
    """
    root = cache_root(cache_dir)
    _check(repo, revision)
    folder = snapshots.repo_folder(root, repo)
    commit = snapshots.commit_of(folder, revision)
    listing = snapshots.read_listing(folder, commit) if commit else None
    if listing is not None and (listing.whole or is_offline(offline)):
        return list(listing.files)
    if is_offline(offline):
        here = snapshots.files_in(folder / "snapshots" / commit) if commit else []
        if not here:
            raise _not_here(f"the list of files of {repo}")
        return here
    remote = Remote(repo, root, token, endpoint, timeout, cancelled)
    return remote.list_all(revision)[1]


def files_here(
    repo: str, *, revision: str | None = None, cache_dir: str | os.PathLike[str] | None = None
) -> list[HubFile]:
    """Give the files of a repository that are on this disk, whole; the network is left alone."""
    folder = snapshots.repo_folder(cache_root(cache_dir), repo)
    commit = snapshots.commit_of(folder, revision)
    return snapshots.files_in(folder / "snapshots" / commit) if commit else []


def read_start(
    repo: str,
    filename: str,
    read: Callable[[Callable[[int], bytes]], T],
    *,
    revision: str | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    token: str | None = None,
    endpoint: str | None = None,
    offline: bool | None = None,
    cancelled: Callable[[], bool] = lambda: False,
    timeout: float = 30,
) -> T:
    """Give what ``read`` makes of a file's beginning; no more is fetched than it asks for.

    ``read`` is given a function that returns the next bytes, up to so many; nothing is the end.
    """
    check_hub_file(filename)
    _check(repo, revision)
    if is_offline(offline):
        raise _not_here(f"{filename} of {repo}")
    remote = Remote(repo, cache_root(cache_dir), token, endpoint, timeout, cancelled)
    return remote.read_start(filename, revision, read)


def pick(files: Sequence[str], *, suffix: str, hint: str | Sequence[str] = ()) -> str:
    """Choose one file: the only one with the suffix, or the first hint that only one name holds.

    Of a split model only the first part is looked at.
    """
    later = re.compile(r"-(?!00001)\d{5}-of-\d{5}\.")
    fit = [name for name in files if name.lower().endswith(suffix) and not later.search(name)]
    for wanted in (hint,) if isinstance(hint, str) else hint:
        named = [name for name in fit if wanted.lower() in name.lower()]
        if len(named) == 1:
            return named[0]
    if len(fit) == 1:
        return fit[0]
    if not fit:
        raise ModelNotFoundError(f"no file ends in {suffix}: {', '.join(files) or 'no files'}")
    raise ValidationError(f"several files end in {suffix}, name one: {', '.join(fit)}")


def _check(repo: str, revision: str | None) -> None:
    at = f"@{revision.replace('/', '%2F')}" if revision is not None else ""
    if Target.parse(f"hf:{repo}{at}").repo != repo:
        raise ValidationError(f"{repo!r:.120} is no hub id: write org/name")


def _not_here(what: str) -> DownloadError:
    return DownloadError(
        f"{what} is not on this machine, and blazen is offline (offline=True, BLAZEN_OFFLINE or "
        "HF_HUB_OFFLINE): fetch it once while online"
    )
