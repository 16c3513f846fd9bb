"""One file coming in over HTTP, attempt after attempt, until it is whole and has the right hash."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from blazen.errors import DownloadError, ValidationError
from blazen.types.progress import OnProgress, Progress
from blazen.weights.cache import Receipt, origin_path
from blazen.weights.download import web
from blazen.weights.download.bar import amount
from blazen.weights.target import public_url, url_key

if TYPE_CHECKING:
    from http.client import HTTPResponse
    from io import FileIO

_BLOCK = 1 << 18
_ATTEMPTS = 5  # in a row without one new byte
_SPARE = 16 << 20  # left free on the disk for everybody else
_FULL = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))


@dataclass(frozen=True)
class Checksum:
    """A hash that a file must have."""

    algorithm: str
    expected: str
    prefix: bytes = b""

    @classmethod
    def sha256(cls, text: str) -> Checksum:
        """Read a SHA-256 in hexadecimal."""
        digest = text.lower().removeprefix("sha256:")
        if not re.fullmatch("[0-9a-f]{64}", digest):
            raise ValidationError(f"a SHA-256 has 64 hexadecimal digits, not {text!r:.80}")
        return cls("sha256", digest)

    @classmethod
    def git(cls, oid: str, size: int) -> Checksum:
        """Give git's hash of a file: what the hub knows of the files that it keeps in git."""
        return cls("sha1", oid, b"blob %d\0" % size)


def check_space(folder: Path, needed: int, what: str) -> None:
    """Refuse to start what the disk has no room for."""
    try:
        free = shutil.disk_usage(folder).free
    except OSError:  # some network drives don't tell
        return
    if free < needed + _SPARE:
        raise DownloadError(
            f"{what} needs {amount(needed)} and {folder} has {amount(free)} free: free some space, "
            "or keep weights on another disk (cache_dir=… or BLAZEN_CACHE)"
        )


class Transfer:
    """One file on its way: what has come, what is known of it, and its hashes so far."""

    def __init__(
        self,
        url: str,
        partial: Path,
        size: int | None,
        checksum: Checksum | None,
        name: str,
        report: OnProgress,
        cancelled: Callable[[], bool],
    ) -> None:
        self.url = url
        self.public = public_url(url)
        self.partial = partial
        self.origin = origin_path(partial)
        self.size = size
        self.total = size
        self.checksum = checksum
        self.name = name
        self.report = report
        self.cancelled = cancelled
        self.validator: str | None = None
        self.done = 0
        self.reported = -1
        self._digests: list[Any] = []

    def receipt(self, target: str) -> Receipt:
        """Give the receipt of what arrived."""
        return Receipt(
            target=target,
            url=self.public,
            etag=self.validator,
            sizes={".": self.done},
            sha256={".": self._digests[0].hexdigest()},
        )

    def run(self, headers: dict[str, str], timeout: float) -> None:
        """Fetch until it is whole and checked."""
        self._pick_up()
        resumed = self.done > 0
        while True:
            self._fetch_all(headers, timeout)
            if self.checksum is None or self._digests[-1].hexdigest() == self.checksum.expected:
                self._tell(force=True)
                return
            found = self._digests[-1].hexdigest()
            self._start_over()  # what is wrong must not be resumed from
            if not resumed:
                raise DownloadError(
                    f"{self.name} from {self.public} has the hash {found}, not "
                    f"{self.checksum.expected}: it was damaged on its way, or it is another file"
                )
            resumed = False

    def _fetch_all(self, headers: dict[str, str], timeout: float) -> None:
        failures = 0
        while self.total is None or self.done < self.total or not self.partial.exists():
            before = self.done
            try:
                with web.opened(self.url, headers | self._range(), timeout) as response:
                    self._begin(response)
                    self._receive(response)
                if self.total is None or self.done >= self.total:
                    return
                problem = web.Transient(f"arrived truncated: {self.done} of {self.total} bytes")
            except web.Transient as error:
                if error.status == 416:  # our partial file is no beginning of the server's file
                    self._start_over()
                problem = error
            failures = failures + 1 if self.done <= before else 1
            if failures >= _ATTEMPTS:
                raise DownloadError(
                    f"{self.name} from {self.public}: {problem} (tried {failures} times); what has "
                    "come is kept, and the next call goes on from there"
                ) from problem
            web.pause(failures, problem.retry_after, self._check_cancelled)

    def _range(self) -> dict[str, str]:
        if not self.done:
            return {}
        headers = {"Range": f"bytes={self.done}-"}
        # A hash finds a changed file out by itself, and hosts of one file mark it differently.
        if self.validator and self.checksum is None:
            headers["If-Range"] = self.validator
        return headers

    def _begin(self, response: HTTPResponse) -> None:
        total = web.length(response)
        if response.status == 206:
            start, total = web.content_range(response)
            if start != self.done or (self.total is not None and total not in (None, self.total)):
                self._start_over()
                raise web.Transient("the server sent another part than was asked for")
        elif self.done:  # the file changed meanwhile, or this server can't resume
            self._start_over()
        if self.size is not None and total is not None and total != self.size:
            raise DownloadError(
                f"{self.name} from {self.public} has {total} bytes, not the {self.size} that were "
                "announced"
            )
        self.total = total if total is not None else self.size
        self.validator = web.validator(response)
        facts = {"key": url_key(self.url), "validator": self.validator, "total": self.total}
        self.origin.write_text(json.dumps(facts | {"url": self.public}), encoding="utf-8")
        if self.total is not None:
            check_space(self.partial.parent, self.total - self.done, self.name)

    def _receive(self, response: HTTPResponse) -> None:
        # Unbuffered: a full disk is met at the write, not when the file is closed.
        with self.partial.open("ab", buffering=0) as file:
            self._tell(force=True)
            while block := web.read(response, _BLOCK):
                self._write(file, block)
                self._check_cancelled()
        if self.total is not None and self.done > self.total:
            self._start_over()
            raise web.Transient("the server sent more than it announced")

    def _write(self, file: FileIO, block: bytes) -> None:
        rest = memoryview(block)
        with self._disk_full():
            while rest:
                rest = rest[file.write(rest) :]
        for digest in self._digests:
            digest.update(block)
        self.done += len(block)
        self._tell()

    def _pick_up(self) -> None:
        """Take over what an earlier attempt left, if it is surely the beginning of this file."""
        self._fresh_digests()
        try:
            facts = json.loads(self.origin.read_bytes())
            size = self.partial.stat().st_size
            same = facts["key"] == url_key(self.url)
            self.validator, total = facts["validator"], facts["total"]
        except (OSError, ValueError, KeyError, TypeError):
            same = False
        # Without a mark of the server's, or a hash, nothing says that the file is still the same.
        if not same or not (self.validator or self.checksum) or (total and size > total):
            self._start_over()
            return
        with self.partial.open("rb") as file:
            while block := file.read(_BLOCK):
                for digest in self._digests:
                    digest.update(block)
        self.done = size
        self.total = self.size or total

    def _start_over(self) -> None:
        self.partial.unlink(missing_ok=True)
        self.origin.unlink(missing_ok=True)
        self.done, self.total, self.validator = 0, self.size, None
        self._fresh_digests()

    def _fresh_digests(self) -> None:
        self._digests = [hashlib.sha256()]
        if self.checksum is not None and self.checksum.algorithm != "sha256":
            check = self.checksum
            self._digests.append(hashlib.new(check.algorithm, check.prefix, usedforsecurity=False))

    def _tell(self, *, force: bool = False) -> None:
        if (force and self.done != self.reported) or self.done - self.reported >= _BLOCK:
            self.reported = self.done
            self.report(Progress("download", self.done, self.total, detail=self.name))

    def _check_cancelled(self) -> None:
        if self.cancelled():
            raise DownloadError(
                f"the download of {self.name} was cancelled after {amount(self.done)}; the next "
                "call goes on from there"
            )

    @contextlib.contextmanager
    def _disk_full(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno in _FULL:
                raise DownloadError(
                    f"the disk of {self.partial.parent} is full after {amount(self.done)} of "
                    f"{self.name}: free some space and call again, it goes on from there"
                ) from error
            raise DownloadError(f"can't write {self.partial}: {error}") from error
