"""JSON values as values of Python types."""

from __future__ import annotations

import datetime
import decimal
import enum
import ipaddress
import re
import types
import typing
import uuid
from collections.abc import Callable, Mapping, MutableSet, Set
from typing import Any, Literal, Union

from blazen.errors import UnsupportedError, ValidationError
from blazen.schema.python_types import (
    aliased,
    class_fields,
    is_key_note,
    is_pydantic,
    schema_of,
    without_alias,
)
from blazen.schema.value import check_value, equal
from blazen.types.record import decode


def build(tp: Any, data: Any, where: str = "$") -> Any:
    """Turn a JSON value into a value of a type."""
    tp = without_alias(tp)
    origin, args = typing.get_origin(tp), typing.get_args(tp)
    if origin is typing.Annotated or is_key_note(origin):
        return build(args[0], data, where)
    if origin is Union or origin is types.UnionType:
        return _build_union(args, data, where)
    if origin is Literal:
        return _build_literal(args, data, where)
    if isinstance(origin, type):
        return _build_container(origin, args, data, where)
    if (meant := aliased(tp)) is not None:
        return build(meant, data, where)
    if isinstance(tp, type):
        return _build_class(tp, data, where)
    return decode(tp, data, where)


def _build_union(args: tuple[Any, ...], data: Any, where: str) -> Any:
    problems = []
    for arg in args:
        problem, value = _attempt(arg, data, where)
        if problem is None:
            return value
        problems.append(str(problem))
    raise ValidationError("; or ".join(dict.fromkeys(problems)))


def _attempt(tp: Any, data: Any, where: str) -> tuple[ValidationError | None, Any]:
    try:
        check_value(data, schema_of(tp), where)
        return None, build(tp, data, where)
    except ValidationError as error:
        return error, None


def _build_literal(args: tuple[Any, ...], data: Any, where: str) -> Any:
    for value in args:
        plain = value.value if isinstance(value, enum.Enum) else value
        if equal(plain, data):
            return value
    raise ValidationError(f"{where} must be one of {list(args)}, not {data!r:.80}")


def _build_container(origin: type, args: tuple[Any, ...], data: Any, where: str) -> Any:
    if issubclass(origin, Mapping):
        return {key: build(args[1], item, f"{where}.{key}") for key, item in data.items()}
    if issubclass(origin, tuple) and args[-1:] != (Ellipsis,):
        return tuple(
            build(arg, item, f"{where}[{at}]")
            for at, (arg, item) in enumerate(zip(args, data, strict=True))
        )
    items = [build(args[0], item, f"{where}[{at}]") for at, item in enumerate(data)]
    made = _COLLECTIONS.get(origin)
    try:
        return items if made is None else made(items)
    except TypeError as error:
        raise ValidationError(f"{where} can't be a set: {error}") from error


_COLLECTIONS: dict[type, Callable[[Any], Any]] = {
    tuple: tuple,
    set: set,
    frozenset: frozenset,
    MutableSet: set,
    Set: frozenset,
}


def _build_class(tp: Any, data: Any, where: str) -> Any:
    if tp is int and isinstance(data, float) and data.is_integer():
        return int(data)
    try:
        if is_pydantic(tp):
            return tp.model_validate(data)
        if (make := _MAKE.get(tp)) is not None:
            return make(data)
        fields = class_fields(tp)
        if fields is None:
            return decode(tp, data, where)
        known = {
            name: build(fields[name][0], item, f"{where}.{name}")
            for name, item in data.items()
            if name in fields
        }
        return tp(**known)
    except (ValidationError, UnsupportedError):
        raise
    except (ValueError, TypeError, ArithmeticError) as error:
        raise ValidationError(f"{where} is no {tp.__name__}: {error}") from error


def _clock(text: str) -> str:
    """Write a time as Python 3.10 reads it: six digits after the second, and no Z."""
    digits = re.sub(r"\.([0-9]+)", lambda found: "." + found[1].ljust(6, "0"), text)
    return digits.replace("Z", "+00:00")


_MAKE: dict[Any, Callable[[Any], Any]] = {
    datetime.date: datetime.date.fromisoformat,
    datetime.time: lambda text: datetime.time.fromisoformat(_clock(text)),
    datetime.datetime: lambda text: datetime.datetime.fromisoformat(_clock(text)),
    uuid.UUID: uuid.UUID,
    ipaddress.IPv4Address: ipaddress.IPv4Address,
    ipaddress.IPv6Address: ipaddress.IPv6Address,
    decimal.Decimal: lambda number: decimal.Decimal(str(number)),
    tuple: tuple,
    set: set,
    frozenset: frozenset,
}
