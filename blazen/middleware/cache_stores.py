"""Where cached answers are kept: in memory, or in an SQLite file."""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Protocol, TypeVar, runtime_checkable

from blazen.checks import check_range, parse_bytes
from blazen.errors import ValidationError

T = TypeVar("T")

log = logging.getLogger("blazen")


@runtime_checkable
class CacheStore(Protocol):
    """Keeps answers, as bytes, under the hashes of their requests.

    It may be used from several threads and event loops. One that fails logs that and keeps nothing:
    a request must not fail because its answer can't be kept.
    """

    async def get(self, key: str) -> bytes | None:
        """Give what is kept, unless its time is up."""

    async def put(self, key: str, value: bytes, ttl: float | None) -> None:
        """Keep an answer for so many seconds, or for good; the least used go where room lacks."""

    async def clear(self) -> None:
        """Forget all."""

    async def aclose(self) -> None:
        """Give back what the store itself holds open."""


class MemoryCache:
    """Keeps answers in this process, up to an amount of memory."""

    def __init__(self, max_bytes: int | str = "64MiB") -> None:
        self._max = parse_bytes("max_bytes", max_bytes)
        self._clock = time.monotonic
        self._lock = threading.Lock()  # held for a few instructions
        self._kept: OrderedDict[str, tuple[bytes, float | None]] = OrderedDict()
        self._size = 0

    @property
    def size(self) -> int:
        """How many bytes are kept."""
        return self._size

    def __len__(self) -> int:
        return len(self._kept)

    async def get(self, key: str) -> bytes | None:
        """Give what is kept, unless its time is up."""
        with self._lock:
            value, until = self._kept.get(key, (None, None))
            if value is None:
                return None
            if until is not None and until <= self._clock():
                self._drop(key)
                return None
            self._kept.move_to_end(key)
            return value

    async def put(self, key: str, value: bytes, ttl: float | None) -> None:
        """Keep an answer; the least recently used go where room lacks."""
        until = None if ttl is None else self._clock() + ttl
        with self._lock:
            self._drop(key)
            if len(value) + len(key) > self._max:
                return
            self._kept[key] = (value, until)
            self._size += len(value) + len(key)
            while self._size > self._max:
                self._drop(next(iter(self._kept)))

    async def clear(self) -> None:
        """Forget all."""
        with self._lock:
            self._kept.clear()
            self._size = 0

    async def aclose(self) -> None:
        """Do nothing: it holds only memory."""

    def _drop(self, key: str) -> None:
        value, _ = self._kept.pop(key, (None, None))
        if value is not None:
            self._size -= len(value) + len(key)

    def __repr__(self) -> str:
        return f"MemoryCache({len(self)} answers, {self._size:,} of {self._max:,} bytes)"


_APPLICATION = 0x626C7A6E
"""Marks a file as one of these, so that no other database is ever written to."""
_LAYOUT = 1
_TABLE = """
CREATE TABLE answers (
    key TEXT PRIMARY KEY, size INTEGER NOT NULL, used REAL NOT NULL, until REAL, value BLOB NOT NULL
) WITHOUT ROWID;
CREATE INDEX by_use ON answers (used, size);
"""
_NOTE_USE_AFTER = 60.0
"""Seconds for which an answer counts as just used: each note of it is written to the disk."""


class SqliteCache:
    """Keeps answers in an SQLite file, which several processes may share.

    The file is readable by its owner only: it holds what was answered. All work on it is done off
    the event loop.
    """

    def __init__(
        self, path: str | os.PathLike[str], max_bytes: int | str = "1GiB", *, patience: float = 5.0
    ) -> None:
        """Name the file; it is made with the first answer.

        Args:
            path: The file.
            max_bytes: How much is kept: the file itself is a little larger.
            patience: Seconds to wait for another process that writes.
        """
        self._path = Path(path)
        self._max = parse_bytes("max_bytes", max_bytes)
        check_range("patience", patience, at_least=0)
        self._patience = patience
        self._clock = time.time
        self._lock = threading.Lock()  # only ever taken off the event loop
        self._open: tuple[int, sqlite3.Connection] | None = None
        self._warned = False

    async def get(self, key: str) -> bytes | None:
        """Give what is kept, unless its time is up."""
        return await asyncio.to_thread(self._do, self._get, key)

    async def put(self, key: str, value: bytes, ttl: float | None) -> None:
        """Keep an answer; the least recently used go where room lacks."""
        if len(value) <= self._max:
            await asyncio.to_thread(self._do, self._put, key, value, ttl)

    async def clear(self) -> None:
        """Forget all."""
        await asyncio.to_thread(self._do, self._clear)

    async def aclose(self) -> None:
        """Close the file; it is opened again when it is needed."""
        await asyncio.to_thread(self._close)

    def _do(self, work: Callable[..., T], *args: object) -> T | None:
        with self._lock:
            try:
                return work(self._connection(), *args)
            except sqlite3.Error as error:
                if not self._warned:
                    self._warned = True
                    log.warning("the cache %s can't be used for now: %s", self._path, error)
                return None

    def _get(self, db: sqlite3.Connection, key: str) -> bytes | None:
        now = self._clock()
        row = db.execute("SELECT value, used, until FROM answers WHERE key = ?", (key,)).fetchone()
        if row is None or (row[2] is not None and row[2] <= now):
            return None
        if now - row[1] > _NOTE_USE_AFTER:
            db.execute("UPDATE answers SET used = ? WHERE key = ?", (now, key))
        return bytes(row[0])

    def _put(self, db: sqlite3.Connection, key: str, value: bytes, ttl: float | None) -> None:
        now = self._clock()
        until = None if ttl is None else now + ttl
        db.execute("BEGIN IMMEDIATE")
        with db:  # commits, or takes it all back
            db.execute("DELETE FROM answers WHERE until <= ?", (now,))
            db.execute(
                "INSERT OR REPLACE INTO answers (key, size, used, until, value) "
                "VALUES (?, ?, ?, ?, ?)",
                (key, len(value), now, until, value),
            )
            over = db.execute("SELECT total(size) FROM answers").fetchone()[0] - self._max
            if over > 0:
                # The new one is not among them: it was used last.
                old = db.execute(
                    "SELECT key, size FROM answers WHERE key != ? ORDER BY used", (key,)
                )
                going = []
                for name, size in old:
                    going.append((name,))
                    over -= size
                    if over <= 0:
                        break
                db.executemany("DELETE FROM answers WHERE key = ?", going)

    def _clear(self, db: sqlite3.Connection) -> None:
        db.execute("DELETE FROM answers")

    def _connection(self) -> sqlite3.Connection:
        # One that a fork has inherited must not be used there, nor closed.
        if self._open is not None and self._open[0] == os.getpid():
            return self._open[1]
        db = self._opened()
        self._open = (os.getpid(), db)
        return db

    def _opened(self) -> sqlite3.Connection:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600))
        except OSError as error:
            raise ValidationError(f"the cache can't be opened: {error}") from error
        db = sqlite3.connect(
            self._path, timeout=self._patience, isolation_level=None, check_same_thread=False
        )
        try:
            self._prepare(db)
        except sqlite3.OperationalError:  # it is locked, or the disk is full: for now
            db.close()
            raise
        except (sqlite3.DatabaseError, ValidationError) as error:
            db.close()
            raise ValidationError(
                f"{str(self._path)!r} is no cache of blazen's: name another file"
            ) from error
        return db

    def _prepare(self, db: sqlite3.Connection) -> None:
        mark = db.execute("PRAGMA application_id").fetchone()[0]
        if (mark, _version(db)) == (_APPLICATION, _LAYOUT):
            db.execute("PRAGMA synchronous = NORMAL")
            return
        db.execute("BEGIN IMMEDIATE")
        with db:
            tables = db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
            if tables and (db.execute("PRAGMA application_id").fetchone()[0], _version(db)) != (
                _APPLICATION,
                _LAYOUT,
            ):
                raise ValidationError("another program's tables are in it, or another version's")
            if not tables:
                for statement in filter(str.strip, _TABLE.split(";")):
                    db.execute(statement)
                db.execute(f"PRAGMA application_id = {_APPLICATION}")
                db.execute(f"PRAGMA user_version = {_LAYOUT}")
        # So that others may read while one writes.
        with closing(db.execute("PRAGMA journal_mode = WAL")) as answer:
            answer.fetchone()
        db.execute("PRAGMA synchronous = NORMAL")

    def _close(self) -> None:
        with self._lock:
            held, self._open = self._open, None
            if held is not None and held[0] == os.getpid():
                held[1].close()

    def __del__(self) -> None:
        held = getattr(self, "_open", None)
        if held is not None and held[0] == os.getpid():
            held[1].close()

    def __repr__(self) -> str:
        return f"SqliteCache({str(self._path)!r}, at most {self._max:,} bytes)"


def _version(db: sqlite3.Connection) -> int:
    version: int = db.execute("PRAGMA user_version").fetchone()[0]
    return version
