"""Hold a JSON value to a type as an SDK publishes it: no unknown field, no wrong type."""

from __future__ import annotations

import functools
import types
import typing
from collections.abc import Iterable
from typing import Any, Union

import typing_extensions
from typing_extensions import NotRequired, Required, is_typeddict


class Wrong(Exception):
    """A value is not of its type; ``where`` says where it stands."""

    def __init__(self, where: str, message: str) -> None:
        super().__init__(message)
        self.where = where


def hold(value: Any, tp: Any, where: str = "") -> None:
    """Raise where a value is not of a type: TypedDicts, unions, literals, lists, plain values."""
    origin, args = typing_extensions.get_origin(tp), typing_extensions.get_args(tp)
    if tp is Any or tp is object:
        return
    if origin in (Required, NotRequired, typing_extensions.Annotated):
        hold(value, args[0], where)
    elif origin in (Union, types.UnionType):
        _hold_one(value, args, where)
    elif origin in (typing.Literal, typing_extensions.Literal):
        if not any(value == each and type(value) is type(each) for each in args):
            raise Wrong(where, f"Invalid value: {value!r:.60}. Supported values are: {args!r}.")
    elif is_typeddict(tp):
        _hold_fields(value, tp, where)
    elif origin is not None and isinstance(origin, type) and issubclass(origin, dict):
        if not isinstance(value, dict):
            raise Wrong(where, f"expected an object, but got {value!r:.60} instead")
        for key, item in value.items():
            hold(item, args[1], f"{where}.{key}")
    elif _is_list(origin):
        _hold_items(value, args[0], where)
    elif tp is float:
        if type(value) not in (int, float):
            raise Wrong(where, f"expected a number, but got {value!r:.60} instead")
    elif tp is None or tp is type(None):
        if value is not None:
            raise Wrong(where, f"expected null, but got {value!r:.60} instead")
    elif tp in (str, int, bool):
        if type(value) is not tp:
            raise Wrong(where, f"expected {tp.__name__}, but got {value!r:.60} instead")
    else:
        raise AssertionError(f"{where}: the type {tp!r} is not known here")


def _is_list(origin: Any) -> bool:
    if getattr(origin, "__name__", "") == "SequenceNotStr":
        return True
    return isinstance(origin, type) and issubclass(origin, Iterable)


def _hold_items(value: Any, tp: Any, where: str) -> None:
    if not isinstance(value, list):
        raise Wrong(where, f"expected an array, but got {value!r:.60} instead")
    for place, item in enumerate(value):
        hold(item, tp, f"{where}[{place}]")


def _hold_fields(value: Any, tp: Any, where: str) -> None:
    if not isinstance(value, dict):
        raise Wrong(where, f"expected an object, but got {value!r:.60} instead")
    hints, required = _fields(tp)
    for name in value:
        if name not in hints:
            raise Wrong(f"{where}.{name}".lstrip("."), f"Unknown parameter: '{where}.{name}'.")
    for name in required:
        if name not in value:
            raise Wrong(f"{where}.{name}".lstrip("."), f"Missing required parameter: '{name}'.")
    for name, item in value.items():
        hold(item, hints[name], f"{where}.{name}".lstrip("."))


def _hold_one(value: Any, choices: tuple[Any, ...], where: str) -> None:
    problems = [_problem(value, tp, where) for tp in choices]
    if None not in problems:
        # The choice that was meant is the one that went the furthest.
        raise max(problems, key=lambda wrong: wrong.where.count(".") + wrong.where.count("["))


def _problem(value: Any, tp: Any, where: str) -> Wrong | None:
    try:
        hold(value, tp, where)
    except Wrong as wrong:
        return wrong
    return None


@functools.cache
def _fields(tp: Any) -> tuple[dict[str, Any], frozenset[str]]:
    hints = typing_extensions.get_type_hints(tp, include_extras=True)
    required = {
        name
        for name, hint in hints.items()
        if typing_extensions.get_origin(hint) is Required
        or (name in tp.__required_keys__ and typing_extensions.get_origin(hint) is not NotRequired)
    }
    return hints, frozenset(required)
