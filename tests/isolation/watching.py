"""What tests of worker processes wait for, hear, and count."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import psutil

WAIT = 60  # seconds: an upper limit for what must happen, never a measure


def gone(pid: int) -> bool:
    """Whether there is no process of a number; one that is dead and waits for its parent is one."""
    return not psutil.pid_exists(pid)


def until(condition: Callable[[], Any], what: str = "it") -> None:
    """Wait until something holds."""
    end = time.monotonic() + WAIT
    while not condition():
        assert time.monotonic() < end, f"{what} does not come to pass"
        time.sleep(0.01)


class Ear(logging.Handler):
    """Hears what models log."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    @property
    def messages(self) -> list[str]:
        return [record.getMessage() for record in self.records]

    async def hears(self, words: str, times: int = 1) -> str:
        """Wait until something is logged, so many times."""
        end = time.monotonic() + WAIT
        while True:
            found = [message for message in self.messages if words in message]
            if len(found) >= times:
                return found[0]
            assert time.monotonic() < end, f"{words!r} is not logged: {self.messages}"
            await asyncio.sleep(0.005)

    async def pid_at(self, stage: str, times: int = 1) -> int:
        """Wait until an engine is at a stage with so many requests, and give its process."""
        return int((await self.hears(f"at {stage} in", times)).rpartition(" ")[2])


class Held:
    """What this process holds: children, threads, descriptors, shared memory."""

    def __init__(self) -> None:
        gc.collect()
        self.found = self._now()

    def check(self, *kinds: str) -> None:
        """See that nothing came to it, or nothing of some kinds."""
        gc.collect()
        until(lambda: self._fewer(kinds) or gc.collect(), f"that {self._now()} is {self.found}")

    def _fewer(self, kinds: Sequence[str]) -> bool:
        now = self._now()
        return all(now[kind] <= self.found[kind] for kind in kinds or now)

    @staticmethod
    def children() -> set[int]:
        """The processes that were started here, and theirs."""
        return {child.pid for child in psutil.Process().children(recursive=True)}

    @staticmethod
    def _now() -> dict[str, Any]:
        names = map(_target, Path("/proc/self/fd").iterdir())
        return {
            "children": Held.children(),
            "threads": {one.name for one in threading.enumerate() if "blazen" in one.name},
            "descriptors": sum(name.startswith(("socket", "pipe", "/memfd")) for name in names),
            "maps": Path("/proc/self/maps").read_text().count("memfd:blazen"),
        }


def _target(link: Path) -> str:
    try:
        return os.readlink(link)
    except OSError:  # it was closed just now
        return ""
