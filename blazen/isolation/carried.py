"""Errors that cross from a worker process, with their type, message and cause."""

from __future__ import annotations

import pickle
import sys
import traceback
from dataclasses import dataclass
from typing import Any

from blazen.errors import BlazenError
from blazen.isolation.channel import unpickled

_DEEPEST = 8
_LONGEST = 20_000


@dataclass(frozen=True)
class Carried:
    """One error on its way. What only the other side knows stays a text."""

    module: str
    name: str
    text: str
    trace: str
    pickled: bytes | None
    cause: Carried | None


def carry(error: BaseException, depth: int = 0) -> Carried:
    """Make an error ready to cross."""
    cls = type(error)
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    pickled = None
    if isinstance(error, BlazenError) or cls.__module__ == "builtins":
        try:
            pickled = pickle.dumps(error)
        except Exception:  # noqa: BLE001 - what it holds can't cross: its text does
            pickled = None
    return Carried(
        cls.__module__,
        cls.__qualname__,
        _text(error),
        "".join(traceback.format_tb(error.__traceback__))[-_LONGEST:],
        pickled,
        carry(cause, depth + 1) if cause is not None and depth < _DEEPEST else None,
    )


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception as problem:  # noqa: BLE001 - it must cross all the same
        return f"its text can't be had: {type(problem).__name__}"


def arrived(carried: Carried) -> BaseException:
    """Give the error on this side; an engine's own becomes one of the same name."""
    error = _rebuilt(carried)
    note = f"in the worker process:\n{carried.trace}" if carried.trace else ""
    if note and hasattr(error, "add_note"):
        error.add_note(note)
    if carried.cause is not None:
        error.__cause__ = arrived(carried.cause)
    return error


def _rebuilt(carried: Carried) -> BaseException:
    if carried.pickled is not None:
        try:
            error: Any = unpickled(carried.pickled)
        except Exception:  # noqa: BLE001 - its class is not to be had here
            error = None
        if isinstance(error, BaseException):
            return error
    # Its module is not imported for this: that would bring the engine in.
    known: Any = getattr(sys.modules.get(carried.module), carried.name, None)
    if isinstance(known, type) and issubclass(known, BaseException):
        try:
            return known(carried.text)
        except Exception:  # noqa: BLE001 - it wants more than a text
            known = None
    name = carried.name.rpartition(".")[2]
    stranger: type[Exception] = type(name, (Exception,), {"__module__": carried.module})
    return stranger(carried.text)
