"""The one-line progress bar that a terminal shows when no callback was given."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import time
from collections.abc import Iterator
from typing import TextIO

from blazen.types.progress import OnProgress, Progress

_EVERY = 0.1  # seconds between two drawings: more often only makes a terminal flicker
_UNITS = ("B", "kB", "MB", "GB", "TB")


@contextlib.contextmanager
def reporting(on_progress: OnProgress | None) -> Iterator[OnProgress]:
    """Give what to report to: the callback, or a bar where stderr is a terminal, or nothing."""
    stream = sys.stderr
    if on_progress is not None:
        yield on_progress
    elif os.environ.get("BLAZEN_NO_PROGRESS", "0") not in ("", "0") or not _is_terminal(stream):
        yield _silent
    else:
        bar = Bar(stream)
        try:
            yield bar
        finally:
            bar.close()


class Bar:
    """Draws name, percent, speed and time left of one piece of work over one line."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._what = ""
        self._from = (0.0, 0)
        self._drawn = float("-inf")
        self._line = ""

    def __call__(self, progress: Progress) -> None:
        """Draw a report, unless the last drawing was just now."""
        now = time.monotonic()
        what = progress.detail or progress.stage
        if what != self._what:
            self.close()
            # What an earlier attempt left does not count as speed.
            self._what, self._from = what, (now, progress.done)
        ended = progress.total is not None and progress.done >= progress.total
        if now - self._drawn < _EVERY and not ended:
            return
        self._drawn = now
        self._draw(line(progress, now - self._from[0], progress.done - self._from[1]))

    def close(self) -> None:
        """Leave the last state standing, and go to the next line."""
        if self._line:
            self._write("\n")
        self._line, self._what = "", ""

    def _draw(self, text: str) -> None:
        text = text[: max(20, shutil.get_terminal_size().columns - 1)]
        self._write("\r" + text.ljust(len(self._line)))
        self._line = text

    def _write(self, text: str) -> None:
        # A terminal that went away, or that can't show a file's name, must not stop a download.
        with contextlib.suppress(OSError, ValueError):
            self._stream.write(text)
            self._stream.flush()


def line(progress: Progress, seconds: float, gained: int) -> str:
    """Word one report, given how much came in how many seconds."""
    name = progress.detail or progress.stage
    name = name if len(name) <= 40 else f"…{name[-39:]}"
    parts = [name]
    if progress.fraction is not None and progress.total is not None:
        parts.append(f"{progress.fraction:4.0%} of {amount(progress.total, progress.unit)}")
    else:
        parts.append(amount(progress.done, progress.unit))
    speed = gained / seconds if seconds > 0 else 0.0
    if speed > 0:
        parts.append(f"{amount(speed, progress.unit)}/s")
        if progress.total is not None and progress.done < progress.total:
            left = int((progress.total - progress.done) / speed)
            hours, rest = divmod(left, 3600)
            clock = f"{rest // 60:02}:{rest % 60:02}"
            parts.append(f"{hours}:{clock} left" if hours else f"{clock} left")
    return "  ".join(parts)


def amount(number: float, unit: str = "bytes") -> str:
    """Word a number of bytes (or of something else) for a person."""
    if unit != "bytes":
        return f"{number:.0f} {unit}"
    index = 0
    while number >= 1000 and index < len(_UNITS) - 1:
        number, index = number / 1000, index + 1
    return f"{number:.0f} {_UNITS[index]}" if index < 2 else f"{number:.1f} {_UNITS[index]}"


def _silent(progress: Progress) -> None:
    pass


def _is_terminal(stream: TextIO | None) -> bool:
    try:
        return stream is not None and stream.isatty()
    except ValueError:  # a closed stream
        return False
