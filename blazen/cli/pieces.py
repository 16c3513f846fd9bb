"""Pieces of an answer as plain text, or not shown at all."""

from __future__ import annotations

import click

from blazen.cli.output import emit, is_terminal, is_watched, safe


class Silent:
    """Shows nothing: the whole answer is written at the end."""

    def content(self, text: str) -> None:
        """Take a piece of the answer."""

    def reasoning(self, text: str) -> None:
        """Take a piece of what the model reasons."""

    def end(self) -> None:
        """Hear that no more comes."""


class Pieces:
    """Writes the answer to stdout as it comes; what the model reasons, dimly, to a terminal."""

    def __init__(self) -> None:
        self._last = "\n"
        self._reasons = False
        self._watched = is_terminal() and is_watched()

    def content(self, text: str) -> None:
        """Write a piece of the answer."""
        self._end_reasoning()
        emit(text, newline=False)
        self._last = text[-1]

    def reasoning(self, text: str) -> None:
        """Write a piece of what the model reasons, where someone looks."""
        if self._watched:
            click.secho(safe(text), dim=True, nl=False, err=True)
            self._reasons = True

    def end(self) -> None:
        """End the last line."""
        self._end_reasoning()
        if self._last != "\n":
            click.echo()

    def _end_reasoning(self) -> None:
        if self._reasons:
            click.echo("\n", err=True)
            self._reasons = False
