"""What headers said, kept for the next run: a hundred files would take seconds each time."""

from __future__ import annotations

import contextlib
import json
import os
import threading
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from blazen.weights.cache import cache_root

_FILE = "headers.json"
_MOST = 5_000
_LARGEST = 8 << 20


class Remembered:
    """Facts about files, for as long as neither their size nor their time changes.

    It is only ever a shortcut: what can't be read or written is done without.
    """

    def __init__(self) -> None:
        self._facts: dict[str, tuple[int, int, dict[str, Any]]] = {}
        self._from: Path | None = None
        self._new = False
        self._lock = threading.Lock()

    def get(self, path: Path, size: int, time: int) -> dict[str, Any] | None:
        """Give what is known of a file as it is now."""
        with self._lock:
            self._read()
            known = self._facts.get(str(path))
        return known[2] if known is not None and known[:2] == (size, time) else None

    def put(self, path: Path, size: int, time: int, facts: dict[str, Any]) -> None:
        """Note what a file says."""
        with self._lock:
            self._facts[str(path)] = (size, time, facts)
            self._new = True

    @contextlib.contextmanager
    def kept(self) -> Iterator[None]:
        """Write down what comes to be known, at the end; also of a search that was stopped."""
        try:
            yield
        finally:
            self._keep()

    def _keep(self) -> None:
        with self._lock:
            place = cache_root() / _FILE
            if not self._new or not place.parent.is_dir():  # a folder is not made for this alone
                return
            self._new = False
            # Whoever was asked for last stays.
            latest = dict(list(self._facts.items())[-_MOST:])
            text = json.dumps({"made_by": _made_by(), "files": latest})
        fresh = place.with_name(f".{_FILE}.{os.getpid()}.new")
        with contextlib.suppress(OSError):
            fresh.write_text(text, encoding="utf-8")
            fresh.replace(place)

    def _read(self) -> None:
        place = cache_root() / _FILE
        if self._from == place:
            return
        self._from, self._facts, self._new = place, {}, False
        try:
            if place.stat().st_size > _LARGEST:
                return
            kept = json.loads(place.read_bytes())
            if kept["made_by"] == _made_by():
                for path, (size, time, facts) in kept["files"].items():
                    self._facts[path] = (int(size), int(time), dict(facts))
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            self._facts = {}


def _made_by() -> str:
    """Name the version: another one may read headers otherwise."""
    try:
        return version("blazen")
    except PackageNotFoundError:
        return ""
