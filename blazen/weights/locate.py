"""From what a user wrote to a path on this disk: the one entry that backends use."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from blazen.errors import DownloadError, ModelNotFoundError, ValidationError
from blazen.types.progress import OnProgress
from blazen.weights.cache import cache_root, hash_file
from blazen.weights.download import fetch
from blazen.weights.download.transfer import Checksum
from blazen.weights.target import Target, check_hub_file, public_url, url_key

_SPLIT = re.compile(r"-(\d{5})-of-(\d{5})(?=\.gguf$)", re.IGNORECASE)


def locate(
    target: str | os.PathLike[str],
    *,
    file: str | None = None,
    patterns: Sequence[str] | None = None,
    revision: str | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    sha256: str | None = None,
    offline: bool | None = None,
    on_progress: OnProgress | None = None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Path:
    """Give the path of a model's file or folder, fetched first if it is not here yet.

    ``target`` is anything that `Target.parse` reads. ``file`` names one file inside a folder or a
    hub repository; ``patterns`` limit what is fetched of a repository. Of a split GGUF any part may
    be named: all are fetched, and the first is given. What is here already costs no network.
    """
    wanted = Target.parse(target)
    checksum = Checksum.sha256(sha256) if sha256 else None
    if file is not None and patterns is not None:
        raise ValidationError("give either file= or patterns=, not both")
    if wanted.source != "hub" and revision is not None:
        raise ValidationError(f"revision={revision!r} has no meaning for {wanted}")
    if wanted.source == "path" and wanted.path is not None:
        path = _local(wanted.path, file, may_be_id=target == wanted.path.name)
    elif wanted.source == "starter":
        from blazen.weights.starter import starter_path

        path = starter_path(
            wanted.name or "", cache_dir=cache_dir, on_progress=on_progress, cancelled=cancelled
        )
        path = _inside(path, file) if file else path
    elif wanted.source == "url":
        if file is not None or patterns is not None:
            raise ValidationError(f"{wanted} is one file: file= and patterns= have no meaning")
        return _from_url(wanted, cache_dir, checksum, offline, on_progress, cancelled)
    else:
        path = _from_hub(
            wanted, file, patterns, revision, cache_dir, offline, on_progress, cancelled
        )
    if checksum is not None:
        _check_hash(path, checksum, str(wanted))
    return path


def _local(path: Path, file: str | None, *, may_be_id: bool) -> Path:
    path = Path(os.path.abspath(path))  # noqa: PTH100 - resolve() would follow links
    if not path.exists():
        raise _no_such(path, may_be_id=may_be_id)
    if file is not None:
        path = _inside(path, file)
    for part in split_parts(path.name):
        if not (path.parent / part).exists():
            raise ModelNotFoundError(f"{path.name} is split, and its part {part} is not beside it")
    return path.parent / (split_parts(path.name) or [path.name])[0]


def _inside(folder: Path, file: str) -> Path:
    check_hub_file(file)
    if not folder.is_dir():
        raise ValidationError(f"{folder} is a file: file={file!r} names one inside a folder")
    path = folder / file
    if not path.exists():
        raise _no_such(path)
    return path


def _no_such(path: Path, *, may_be_id: bool = False) -> ModelNotFoundError:
    parent = path.parent
    while not parent.is_dir() and parent != parent.parent:
        parent = parent.parent
    missing = path.relative_to(parent).parts[0]
    try:
        there = [entry.name for entry in parent.iterdir()]
    except OSError:  # a folder that may not be listed
        there = []
    near = difflib.get_close_matches(missing, there, n=3, cutoff=0.5)
    hint = f"; did you mean {', '.join(repr(name) for name in near)}?" if near else ""
    if may_be_id:  # one bare word, and not what can only be a path
        hint += "; a hub model is written org/name, a starter model starter:name"
    return ModelNotFoundError(f"there is no {path}: {parent} holds no {missing!r}{hint}")


def _from_url(
    wanted: Target,
    cache_dir: str | os.PathLike[str] | None,
    checksum: Checksum | None,
    offline: bool | None,
    on_progress: OnProgress | None,
    cancelled: Callable[[], bool],
) -> Path:
    url, name = wanted.url or "", wanted.name or ""
    root = cache_root(cache_dir)
    parts = split_parts(name) or [name]
    # An engine looks for the parts of a split model beside the first one.
    first = _part_url(url, parts[0])
    folder = root / "url" / url_key(first)
    for part in parts:
        fetch(
            _part_url(url, part),
            folder / part,
            target=public_url(first),
            checksum=checksum if part == name else None,
            locks=root / ".locks",
            on_progress=on_progress,
            cancelled=cancelled,
            offline=offline,
        )
    return folder / parts[0]


def _part_url(url: str, part: str) -> str:
    """Give the URL of another part of a split model; a URL of a whole one stays as it is."""
    match = _SPLIT.search(part)
    if match is None:
        return url
    pieces = urlsplit(url)
    path = re.sub(r"-\d{5}-of-\d{5}(\.gguf)$", rf"{match[0]}\1", pieces.path, flags=re.IGNORECASE)
    return urlunsplit(pieces._replace(path=path))


def _from_hub(
    wanted: Target,
    file: str | None,
    patterns: Sequence[str] | None,
    revision: str | None,
    cache_dir: str | os.PathLike[str] | None,
    offline: bool | None,
    on_progress: OnProgress | None,
    cancelled: Callable[[], bool],
) -> Path:
    from blazen.weights import hub

    for name, given, written in (
        ("file", file, wanted.file),
        ("revision", revision, wanted.revision),
    ):
        if given and written and given != written:
            raise ValidationError(f"{wanted} already names a {name}: {name}={given!r} differs")
    repo, file, revision = wanted.repo or "", file or wanted.file, revision or wanted.revision
    if file is None:
        return hub.fetch_folder(
            repo,
            patterns,
            revision=revision,
            cache_dir=cache_dir,
            offline=offline,
            on_progress=on_progress,
            cancelled=cancelled,
        )
    if patterns is not None:
        raise ValidationError(f"{wanted} names one file: patterns= has no meaning")
    parts = split_parts(file)
    if parts:
        folder = hub.fetch_folder(
            repo,
            parts,
            revision=revision,
            cache_dir=cache_dir,
            offline=offline,
            on_progress=on_progress,
            cancelled=cancelled,
        )
        if missing := [part for part in parts if not (folder / part).is_file()]:
            raise ModelNotFoundError(f"{repo} lacks parts of {file}: {', '.join(missing)}")
        return folder / parts[0]
    return hub.fetch_file(
        repo,
        file,
        revision=revision,
        cache_dir=cache_dir,
        offline=offline,
        on_progress=on_progress,
        cancelled=cancelled,
    )


def split_parts(name: str) -> list[str]:
    """Give the names of all parts of a split GGUF; none where it is not split."""
    match = _SPLIT.search(name)
    if match is None:
        return []
    count = int(match[2])
    if not 1 <= int(match[1]) <= count:
        raise ValidationError(f"{name!r} can't be part {match[1]} of {match[2]}")
    return [
        f"{name[: match.start()]}-{i:05}-of-{match[2]}{name[match.end() :]}"
        for i in range(1, count + 1)
    ]


def _check_hash(path: Path, checksum: Checksum, what: str) -> None:
    if path.is_dir():
        raise ValidationError(f"{what} is a folder: sha256= is for one file")
    found = hash_file(path)
    if found != checksum.expected:
        raise DownloadError(f"{path} has the SHA-256 {found}, not {checksum.expected}")
