"""What a user sees of an error: one line on stderr, and an exit code that a script can tell apart.

====  =================================================================================
0     done
1     it failed for another reason
2     wrong usage, or a value that can't be right
3     there is no such model, or what it runs on is not installed
4     it does not fit: memory, or the model's context
5     a provider refused or failed, or a download did not arrive
130   stopped by Ctrl-C
141   nobody reads what is written any more
====  =================================================================================

``BLAZEN_DEBUG=1`` shows the whole traceback in place of the line.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

import click

from blazen.cli.output import safe
from blazen.errors import (
    BlazenError,
    BudgetError,
    ContextLengthError,
    DownloadError,
    MissingExtraError,
    ModelNotFoundError,
    ProviderError,
    UnknownBackendError,
    ValidationError,
)

INTERRUPTED = 130
BROKEN_PIPE = 141

_CODES: tuple[tuple[type[BaseException], int], ...] = (
    (ValidationError, 2),
    (ModelNotFoundError, 3),
    (MissingExtraError, 3),
    (UnknownBackendError, 3),
    (BudgetError, 4),
    (ContextLengthError, 4),
    (ProviderError, 5),
    (DownloadError, 5),
)

_EXTRA_OF = {
    "rich": "cli",
    "prompt_toolkit": "cli",
    "tomli": "cli",
    "fastapi": "server",
    "starlette": "server",
    "uvicorn": "server",
    "multipart": "server",
    "python_multipart": "server",
    "gguf": "server",
    "mcp": "mcp",
}


class Failure(click.ClickException):
    """An error as the user sees it: ``blazen: message``, and the program's exit code."""

    def __init__(self, message: str, code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = code  # type: ignore[misc]  # each error has its own

    def show(self, file: IO[Any] | None = None) -> None:
        """Print the line on stderr."""
        name = click.style("blazen: ", fg="red", bold=True)
        color = False if os.environ.get("NO_COLOR") else None
        click.echo(name + safe(self.format_message()), file=file, err=True, color=color)


def exit_code(error: BaseException) -> int:
    """Give the exit code for an error."""
    return next((code for cls, code in _CODES if isinstance(error, cls)), 1)


def debugging() -> bool:
    """Tell whether the user wants tracebacks: ``BLAZEN_DEBUG`` is set, and not to 0."""
    return os.environ.get("BLAZEN_DEBUG", "0") not in ("", "0")


def told_in_a_line(error: Exception) -> None:
    """Show an error where the program goes on after it."""
    if debugging():
        import traceback

        traceback.print_exception(error)
    Failure(_words(error)).show()


@contextmanager
def told() -> Iterator[None]:
    """Turn whatever a command raises into a `Failure`, or into the end that it means."""
    try:
        yield
    except (click.ClickException, click.exceptions.Exit):
        raise
    except (KeyboardInterrupt, click.Abort):
        click.echo(err=True)  # the shell's prompt goes below the ^C
        raise click.exceptions.Exit(INTERRUPTED) from None
    except BrokenPipeError:
        raise click.exceptions.Exit(BROKEN_PIPE) from None
    except Exception as error:
        if debugging():
            raise
        raise Failure(_words(error), exit_code(error)) from error


def _words(error: Exception) -> str:
    if isinstance(error, ImportError) and not isinstance(error, BlazenError):
        extra = _EXTRA_OF.get((error.name or "").partition(".")[0])
        if extra:
            return (
                f"this needs {error.name!r}, which is not installed: pip install 'blazen[{extra}]'"
            )
    if isinstance(error, (BlazenError, OSError)):
        return str(error) or type(error).__name__
    return (
        f"a mistake in blazen itself: {type(error).__name__}: {error} "
        "(BLAZEN_DEBUG=1 shows where; please report it)"
    )
