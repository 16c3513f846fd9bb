"""Several options of the command line that a command gets as one value."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


def gathered(
    keyword: str,
    options: Sequence[tuple[tuple[str, ...], dict[str, Any]]],
    make: Callable[..., Any],
) -> Callable[[F], F]:
    """Add options to a command, which gets under one keyword what ``make`` makes of them.

    Each option is given as `click.option` takes it; ``make`` gets them by their names, unset ones
    as ``None`` or empty.
    """

    def decorate(command: F) -> F:
        names: list[str] = []

        @functools.wraps(command)
        def with_one(*args: Any, **settings: Any) -> Any:
            given = {name: settings.pop(name) for name in names}
            return command(*args, **{keyword: make(**given)}, **settings)

        decorated: Any = with_one
        for flags, about in reversed(options):
            made = click.Option(flags, **about)
            assert made.name is not None
            names.append(made.name)
            decorated = click.option(*flags, **about)(decorated)
        result: F = decorated
        return result

    return decorate
