"""Bars for long work: on stderr, where that is a terminal, and only for what takes a while."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from blazen.cli.output import amount, is_watched
from blazen.types.progress import OnProgress, Progress

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

SOON = 0.4
"""Seconds that work may take before a bar is worth a look, and the import of what draws it."""


@contextmanager
def progress(*, after: float = SOON) -> Iterator[OnProgress]:
    """Give a callback for ``on_progress``: it shows a bar for each stage and each thing.

    It may be called from any thread. Where stderr is no terminal it shows nothing.
    """
    shown = _Shown(after)
    try:
        yield shown
    finally:
        shown.close()


class _Shown:
    def __init__(self, after: float) -> None:
        self._terminal = is_watched()
        self._since: float | None = None
        self._after = after
        self._lock = threading.Lock()
        self._bars: Bars | None = None
        self._tasks: dict[tuple[str, str], TaskID] = {}
        self._closed = False

    def __call__(self, report: Progress) -> None:
        if not self._terminal:
            return
        with self._lock:
            now = time.monotonic()
            if self._since is None:
                self._since = now
            if self._closed or (self._bars is None and now - self._since < self._after):
                return
            self._show(report)

    def close(self) -> None:
        """Take the bars away."""
        with self._lock:
            self._closed = True
            if self._bars is not None:
                self._bars.stop()

    def _show(self, report: Progress) -> None:
        if self._bars is None:
            self._bars = _bars()
            self._bars.start()
        key = (report.stage, report.detail)
        if key not in self._tasks:
            self._tasks[key] = self._bars.add_task(
                report.stage, total=report.total, detail=_short(report.detail), amount=""
            )
        self._bars.update(
            self._tasks[key],
            completed=report.done,
            total=report.total,
            amount=_amount(report),
        )


def _bars() -> Bars:
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    columns: list[Any] = [
        TextColumn("{task.description}"),
        TextColumn("{task.fields[detail]}", markup=False),
        BarColumn(bar_width=None),
        TextColumn("{task.fields[amount]}", markup=False),
        TimeRemainingColumn(compact=True),
    ]
    return Bars(*columns, console=Console(stderr=True), transient=True)


def _amount(report: Progress) -> str:
    if report.unit == "bytes":
        done, total = amount(report.done), amount(report.total)
        return f"{done} of {total}" if total else done
    done, total = str(report.done), "" if report.total is None else str(report.total)
    return f"{done} of {total} {report.unit}" if total else f"{done} {report.unit}"


def _short(text: str, most: int = 40) -> str:
    return text if len(text) <= most else "…" + text[1 - most :]
