"""Where weights are kept on this machine: one folder, filled so that nothing is ever half there.

::

    <cache root>/
    ├── hub/         what came from the hub, in the hub client's own layout
    ├── url/<key>/   one file from one URL
    ├── starter/     what starter models needed to have converted
    └── .locks/      one lock for each thing that is being fetched

What arrives is written beside its place under a name of its own (``.NAME.partial``), flushed to the
disk, and renamed. A receipt (``.NAME.receipt``, JSON) beside it keeps the hashes for `verify`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from blazen.errors import DownloadError
from blazen.types.record import Record

_log = logging.getLogger("blazen.weights")
_BLOCK = 1 << 20
_LONGEST_NAME = 200  # file systems stop at 255 bytes, and we add to the name


@dataclass(frozen=True)
class Receipt(Record):
    """What arrived: where from, and the size and SHA-256 of every file (paths relative to it)."""

    target: str
    url: str | None = None
    etag: str | None = None
    sizes: dict[str, int] = field(default_factory=dict)
    sha256: dict[str, str] = field(default_factory=dict)
    arrived: float = 0.0


def cache_root(override: str | os.PathLike[str] | None = None) -> Path:
    """Give the folder that weights are kept in; it may not exist yet.

    The argument goes first, then ``BLAZEN_CACHE``, then the place where this system keeps caches.
    """
    chosen = override or os.environ.get("BLAZEN_CACHE")
    if chosen:
        return Path(os.path.abspath(Path(chosen).expanduser()))  # noqa: PTH100 - resolve() follows links
    import platformdirs

    return Path(platformdirs.user_cache_dir("blazen", appauthor=False))


@contextlib.contextmanager
def arrive(
    destination: Path,
    *,
    folder: bool = False,
    resume: bool = False,
    locks: Path | None = None,
    ready: Callable[[Path], bool] = Path.exists,
    cancelled: Callable[[], bool] = lambda: False,
) -> Iterator[Path | None]:
    """Fill a file or folder that others see only once it is whole.

    Yields the path to fill (a folder is made, a file is not), or ``None`` where the destination is
    ready by the time that the lock is ours: then there is nothing to do. Leaving the block without
    an error puts it in place; an error leaves the destination as it was. With ``resume`` a partial
    file of an earlier attempt is kept for the next one; else each attempt starts clean. The lock
    holds between threads and processes, and dies with its process. ::

        with arrive(place, folder=True) as partial:
            if partial is not None:
                convert_into(partial)
                write_receipt(place, describe(partial, target="starter:speak"))
    """
    try:
        destination.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DownloadError(f"can't make the folder {destination.parent}: {error}") from error
    with lock(destination, locks=locks, cancelled=cancelled):
        if ready(destination):
            yield None
            return
        partial = partial_path(destination)
        if not resume or folder:
            discard(partial)
        if folder:
            partial.mkdir()
        try:
            yield partial
            _flush(partial)
            _put(partial, destination)
        except BaseException:
            if not resume or folder:
                discard(partial)
            raise


@contextlib.contextmanager
def lock(
    destination: Path,
    *,
    locks: Path | None = None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Iterator[None]:
    """Hold the lock of one destination, between threads and between processes."""
    import filelock

    place = locks or destination.parent / ".locks"
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DownloadError(f"can't make the folder of locks {place}: {error}") from error
    # The whole path names the lock: two destinations in one cache may share their last name.
    digest = hashlib.sha256(os.fsencode(os.path.abspath(destination))).hexdigest()[:32]  # noqa: PTH100
    held = filelock.FileLock(place / f"{digest}.lock")
    told = False
    while True:
        try:
            held.acquire(timeout=0.2)
            break
        except filelock.Timeout:
            if cancelled():
                raise DownloadError(f"waiting for {destination.name} was cancelled") from None
            if not told:
                _log.info("another process is fetching %s: waiting for it", destination.name)
                told = True
        except OSError as error:
            raise DownloadError(f"can't lock {destination}: {error}") from error
    try:
        yield
    finally:
        held.release()


def partial_path(destination: Path) -> Path:
    """Give the path that a file or folder has until it is whole."""
    return destination.with_name(f".{_short(destination.name)}.partial")


def origin_path(partial: Path) -> Path:
    """Give the path of what is known of a partial file: where it comes from, and its mark."""
    return partial.with_name(f"{partial.name}.origin")


def receipt_path(destination: Path) -> Path:
    """Give the path of a destination's receipt."""
    return destination.with_name(f".{_short(destination.name)}.receipt")


def write_receipt(destination: Path, receipt: Receipt) -> None:
    """Keep a receipt; write it before the block of `arrive` ends, so that no arrival lacks one."""
    path = receipt_path(destination)
    fresh = path.with_name(f"{path.name}.new")
    receipt = dataclasses.replace(receipt, arrived=receipt.arrived or time.time())
    fresh.write_text(receipt.to_json(indent=1), encoding="utf-8")
    fresh.replace(path)


def read_receipt(destination: Path) -> Receipt | None:
    """Give the receipt of a destination, or ``None`` where there is none that can be read."""
    try:
        return Receipt.from_json(receipt_path(destination).read_bytes())
    except (OSError, ValueError):
        return None


def describe(path: Path, *, target: str, url: str | None = None) -> Receipt:
    """Hash a file, or every file of a folder, into a receipt."""
    files = files_of(path)
    return Receipt(
        target=target,
        url=url,
        sizes={name: file.stat().st_size for name, file in files.items()},
        sha256={name: hash_file(file) for name, file in files.items()},
    )


def files_of(path: Path) -> dict[str, Path]:
    """Give the files of a folder by their relative names; a file alone has the name ``"."``."""
    if not path.is_dir():
        return {".": path}
    found = (file for file in sorted(path.rglob("*")) if file.is_file())
    return {file.relative_to(path).as_posix(): file for file in found}


def hash_file(path: Path, *, algorithm: str = "sha256", prefix: bytes = b"") -> str:
    """Hash a file block by block."""
    digest = hashlib.new(algorithm, prefix, usedforsecurity=False)
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def discard(path: Path) -> None:
    """Delete a file or a folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _short(name: str) -> str:
    if len(os.fsencode(name)) <= _LONGEST_NAME:
        return name
    return hashlib.sha256(os.fsencode(name)).hexdigest()[:32]


def _put(partial: Path, destination: Path) -> None:
    if destination.is_dir() and not destination.is_symlink():
        # A folder can't be replaced in one step: what is in its place (and was not ready) goes.
        shutil.rmtree(destination)
    partial.replace(destination)
    _flush_folder(destination.parent)


def _flush(path: Path) -> None:
    if not path.is_dir():
        _flush_file(path)
        return
    for file in files_of(path).values():
        _flush_file(file)
    for folder in (path, *(inner for inner in path.rglob("*") if inner.is_dir())):
        _flush_folder(folder)


def _flush_file(path: Path) -> None:
    with path.open("rb+") as stream:
        os.fsync(stream.fileno())


def _flush_folder(path: Path) -> None:
    if os.name == "nt":  # a folder can't be opened there, and needs no flush
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
