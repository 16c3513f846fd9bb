"""Values that print well, compare by content, and go to JSON and back.

`Record` is the base of every public dataclass. A class that is no dataclass (an image, a mesh)
joins by having ``to_dict`` and ``from_dict`` of its own; where a field may hold one of several of
these, each names itself by a class attribute ``kind``, which its dictionary holds too.
"""

from __future__ import annotations

import base64
import dataclasses
import enum
import functools
import json
import re
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar, Union, runtime_checkable

from blazen.errors import ValidationError

if TYPE_CHECKING:
    from typing_extensions import Self

T = TypeVar("T")


class Record:
    """A dataclass that serialises: ``to_dict``/``from_dict`` and ``to_json``/``from_json``."""

    __slots__ = ()

    def to_dict(self) -> dict[str, Any]:
        """Give a dictionary of plain JSON values; fields that hold their default are left out."""
        out: dict[str, Any] = {}
        for field in dataclasses.fields(self):  # type: ignore[arg-type]  # every subclass is one
            value = getattr(self, field.name)
            if not _is_default(field, value):
                out[field.name] = encode(value)
        return out

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Build one from what ``to_dict`` gave; an unknown key is an error."""
        return decode(cls, data, cls.__name__)

    def to_json(self, *, indent: int | None = None) -> str:
        """Give a JSON text."""
        return json.dumps(self.to_dict(), ensure_ascii=False, indent=indent)

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Build one from what ``to_json`` gave."""
        return cls.from_dict(parse_json(text))


class Settings(Record):
    """A record of choices that a caller may also give as a dictionary, or leave out."""

    __slots__ = ()

    @classmethod
    def of(cls, value: Self | Mapping[str, Any] | None) -> Self:
        """Give checked settings."""
        if value is None:
            return cls()
        if isinstance(value, cls):
            return value
        if isinstance(value, Mapping):
            return cls.from_dict(value)
        raise ValidationError(f"expected {cls.__name__} or a dictionary, not {value!r:.80}")


@runtime_checkable
class Encodable(Protocol):
    """What `encode` accepts beside plain values."""

    def to_dict(self) -> dict[str, Any]:
        """Give plain JSON values."""
        ...


_PLAIN: dict[type, str] = {bool: "true or false", int: "a whole number", str: "a text"}


def parse_json(text: str | bytes) -> Any:
    """Read a JSON text; a broken one is a `ValidationError`."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValidationError(f"this is not JSON: {text!r:.80} ({error})") from error


def encode(value: Any) -> Any:
    """Turn a value into plain JSON values."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value.value if isinstance(value, enum.Enum) else value
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, Encodable) and not isinstance(value, type):
        return value.to_dict()
    if isinstance(value, (bytes, bytearray, memoryview)):
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): encode(item) for key, item in value.items()}
    if isinstance(value, (Sequence, set, frozenset)):
        return [encode(item) for item in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: encode(getattr(value, f.name)) for f in dataclasses.fields(value)}
    raise ValidationError(f"a {type(value).__name__} has no JSON form: {value!r:.80}")


def decode(tp: type[T], data: Any, where: str = "value") -> T:
    """Turn plain JSON values into a value of a type; what does not fit says where it stands."""
    result: T = _decode(tp, data, where)
    return result


def _decode(tp: Any, data: Any, where: str) -> Any:
    if tp is Any or tp is object:
        return data
    if tp is None or tp is types.NoneType:
        return _expect(data is None, data, where, "null")
    origin, args = typing.get_origin(tp), typing.get_args(tp)
    if origin is Union or origin is types.UnionType:
        return _decode_union(args, data, where)
    if origin is Literal:
        return _expect(data in args, data, where, f"one of {list(args)}")
    if origin is not None:
        return _decode_container(origin, args, data, where)
    if tp not in _PLAIN and isinstance(data, tp):
        return data  # a dictionary written in Python may hold the value itself
    if issubclass(tp, enum.Enum):
        try:
            return tp(data)
        except ValueError:
            return _expect(False, data, where, f"one of {[member.value for member in tp]}")
    if tp is bytes:
        return _decode_bytes(data, where)
    if issubclass(tp, Path):
        return tp(_expect(isinstance(data, str), data, where, "a path"))
    if tp is float:
        number = isinstance(data, (int, float)) and not isinstance(data, bool)
        return float(_expect(number, data, where, "a number"))
    if tp in _PLAIN:
        return _expect(type(data) is tp, data, where, _PLAIN[tp])
    if tp in (dict, list):
        return _expect(isinstance(data, tp), data, where, f"of type {tp.__name__}")
    _expect(isinstance(data, Mapping), data, where, f"an object ({tp.__name__})")
    if dataclasses.is_dataclass(tp):
        return _decode_dataclass(tp, data, where)
    return tp.from_dict(data)


def _decode_union(args: tuple[Any, ...], data: Any, where: str) -> Any:
    if data is None and types.NoneType in args:
        return None
    if isinstance(data, Mapping) and "kind" in data:
        for tp in args:
            if getattr(tp, "kind", None) == data["kind"]:
                return _decode(tp, data, where)
    problems = []
    for tp in args:
        if tp is types.NoneType:
            continue
        try:
            return _decode(tp, data, where)
        except ValidationError as error:
            problems.append(str(error))
    raise ValidationError("; or ".join(problems))


def _decode_container(origin: Any, args: tuple[Any, ...], data: Any, where: str) -> Any:
    if issubclass(origin, Mapping):
        _expect(isinstance(data, Mapping), data, where, "an object")
        return {
            _decode_key(args[0], key, where): _decode(args[1], item, f"{where}.{key}")
            for key, item in data.items()
        }
    _expect(isinstance(data, (list, tuple)), data, where, "a list")
    if issubclass(origin, tuple) and args[-1] is not Ellipsis:
        _expect(len(data) == len(args), data, where, f"a list of {len(args)}")
        return tuple(
            _decode(a, d, f"{where}[{i}]") for i, (a, d) in enumerate(zip(args, data, strict=True))
        )
    items = [_decode(args[0], item, f"{where}[{i}]") for i, item in enumerate(data)]
    return tuple(items) if issubclass(origin, tuple) else items


def _decode_bytes(data: Any, where: str) -> bytes:
    try:
        return base64.b64decode(data, validate=True)
    except (TypeError, ValueError):
        raise ValidationError(f"{where} must be base64 text, not {data!r:.80}") from None


def _decode_key(tp: Any, key: Any, where: str) -> Any:
    if tp is int and isinstance(key, str) and re.fullmatch(r"-?[0-9]+", key):
        return int(key)  # JSON knows only texts as keys
    return _decode(tp, key, f"{where}'s key")


def _decode_dataclass(tp: Any, data: Mapping[str, Any], where: str) -> Any:
    hints = _hints(tp)
    names = {field.name for field in dataclasses.fields(tp) if field.init}
    unknown = set(data) - names
    if unknown:
        import difflib

        odd = ", ".join(sorted(map(repr, unknown)))
        near = difflib.get_close_matches(str(min(unknown, key=str)), names, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValidationError(
            f"{where}: unknown {odd}; known are: {', '.join(sorted(names))}{hint}"
        )
    values = {key: _decode(hints[key], item, f"{where}.{key}") for key, item in data.items()}
    try:
        return tp(**values)
    except TypeError as error:
        raise ValidationError(f"{where}: {error}") from error


@functools.cache
def _hints(tp: type) -> dict[str, Any]:
    return typing.get_type_hints(tp)


def _expect(ok: bool, data: Any, where: str, what: str) -> Any:
    if not ok:
        raise ValidationError(f"{where} must be {what}, not {data!r:.80}")
    return data


def _is_default(field: dataclasses.Field[Any], value: Any) -> bool:
    if field.default is not dataclasses.MISSING:
        return value is field.default or (
            type(value) is type(field.default) and bool(value == field.default)
        )
    if field.default_factory is not dataclasses.MISSING:
        return bool(value == field.default_factory())
    return False
