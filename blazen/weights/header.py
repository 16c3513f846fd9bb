"""Opening a model file of unknown origin: what is no regular file never gets as far as a parser."""

from __future__ import annotations

import contextlib
import io
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

from blazen.errors import ModelNotFoundError, ValidationError

_NO_FILE = (FileNotFoundError, NotADirectoryError)
_LOOKALIKES = {
    b"version https://git-lfs": "a Git LFS pointer: fetch the file itself with 'git lfs pull'",
    b"<!DOCTYPE": "a web page: the download answered with a page instead of the file",
    b"<!doctype": "a web page: the download answered with a page instead of the file",
    b"<html": "a web page: the download answered with a page instead of the file",
    b"PK\x03\x04": "a ZIP archive or a PyTorch checkpoint",
    b"GGUF": "a GGUF file: read it with read_gguf()",
}


def model_path(path: str | os.PathLike[str]) -> Path:
    """Turn what the user gave into a path, ``~`` expanded."""
    if not isinstance(path, (str, os.PathLike)) or not str(path) or "\0" in str(path):
        raise ValidationError(f"a model file must be given by its path, not {path!r}")
    with contextlib.suppress(RuntimeError):  # there may be no home folder to expand to
        return Path(path).expanduser()
    return Path(path)


class Readable(Protocol):
    """What a header is read from."""

    def seek(self, offset: int, /) -> int:
        """Go to a place."""

    def read(self, size: int, /) -> bytes:
        """Give the bytes from there on, up to so many."""


class Incoming:
    """A file that comes in: what has come is kept, so that it can be read again."""

    def __init__(self, more: Callable[[int], bytes]) -> None:
        self._more = more
        self._bytes = bytearray()
        self._at = 0

    def seek(self, offset: int, /) -> int:
        """Go to a place."""
        self._at = offset
        return offset

    def read(self, size: int, /) -> bytes:
        """Give the bytes from there on, up to so many; they are waited for."""
        while (missing := self._at + size - len(self._bytes)) > 0:
            block = self._more(missing)
            if not block:
                break
            self._bytes += block
        return bytes(self._bytes[self._at : self._at + size])


@contextlib.contextmanager
def open_model_file(path: Path) -> Iterator[tuple[io.FileIO, int]]:
    """Open a regular file for unbuffered reading and give it with its size."""
    file = io.FileIO(_descriptor(path), "rb")
    with file:
        size = os.fstat(file.fileno()).st_size
        if size == 0:
            raise ValidationError(f"{path} is empty: download it again")
        try:
            yield file, size
        except OSError as error:
            raise ValidationError(f"{path} can't be read: {error.strerror or error}") from error


def looks_like(start: bytes) -> str:
    """Say what a file rather is, by its first bytes."""
    for magic, what in _LOOKALIKES.items():
        if start.startswith(magic):
            return f"it is {what}"
    return f"it starts with {start[:8]!r}"


def _descriptor(path: Path) -> int:
    try:
        # A FIFO would block when opened and a device may act on it, so look first.
        _check_kind(path, path.stat().st_mode)
        flags = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
        descriptor = os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
    except _NO_FILE as error:
        raise ModelNotFoundError(f"there is no file {path}") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ValidationError(f"{path} can't be read: {reason}") from error
    try:
        _check_kind(path, os.fstat(descriptor).st_mode)
    except ValidationError:
        os.close(descriptor)
        raise
    return descriptor


def _check_kind(path: Path, mode: int) -> None:
    if stat.S_ISDIR(mode):
        raise ValidationError(f"{path} is a folder: name the model file in it")
    if not stat.S_ISREG(mode):
        raise ValidationError(f"{path} is no regular file, but a pipe, a socket or a device")
