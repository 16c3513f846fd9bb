"""Python types as JSON schemas."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import ipaddress
import pathlib
import re
import types
import typing
import uuid
from collections.abc import (
    Collection,
    Hashable,
    Iterable,
    Mapping,
    MutableMapping,
    MutableSequence,
    MutableSet,
    Sequence,
    Set,
)
from typing import Any, Literal, Union

from blazen.errors import UnsupportedError, ValidationError

_SIMPLE: dict[Any, dict[str, Any]] = {
    Any: {},
    object: {},
    str: {"type": "string"},
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
    None: {"type": "null"},
    types.NoneType: {"type": "null"},
    dict: {"type": "object"},
    list: {"type": "array"},
    tuple: {"type": "array"},
    set: {"type": "array"},
    frozenset: {"type": "array"},
    datetime.date: {"type": "string", "format": "date"},
    datetime.time: {"type": "string", "format": "time"},
    datetime.datetime: {"type": "string", "format": "date-time"},
    uuid.UUID: {"type": "string", "format": "uuid"},
    ipaddress.IPv4Address: {"type": "string", "format": "ipv4"},
    ipaddress.IPv6Address: {"type": "string", "format": "ipv6"},
    decimal.Decimal: {"type": "number"},
    pathlib.Path: {"type": "string"},
}

_MAPPINGS = (dict, Mapping, MutableMapping)
_SETS = (set, frozenset, Set, MutableSet)
_LISTS = (list, tuple, Sequence, MutableSequence, Collection, Iterable, *_SETS)


def schema_of(tp: Any) -> dict[str, Any]:
    """Give the JSON schema of a Python type: what a model must write for it to be built."""
    return SchemaWriter().whole(tp)


class SchemaWriter:
    """Writes schemas of several types that share their definitions."""

    def __init__(self) -> None:
        self.definitions: dict[str, Any] = {}
        self._classes: dict[str, Any] = {}
        self._used_twice: set[str] = set()

    def whole(self, tp: Any) -> dict[str, Any]:
        """Give the schema of a type with the definitions that it needs."""
        return self.closed(self.of(tp))

    def closed(self, schema: dict[str, Any]) -> dict[str, Any]:
        """Put the definitions that a schema needs into it."""
        key = schema.get("$ref", "").removeprefix("#/$defs/")
        definitions = dict(self.definitions)
        if key and key not in self._used_twice:
            schema = definitions.pop(key) | {k: v for k, v in schema.items() if k != "$ref"}
        return schema | ({"$defs": definitions} if definitions else {})

    def of(self, tp: Any, where: str = "the type") -> dict[str, Any]:
        """Give the schema of a type; a class is a reference to its definition."""
        tp = without_alias(tp)
        origin, args = typing.get_origin(tp), typing.get_args(tp)
        if origin is None and isinstance(tp, Hashable) and tp in _SIMPLE:
            return dict(_SIMPLE[tp])
        if origin is typing.Annotated:
            notes = [note for note in tp.__metadata__ if isinstance(note, str)]
            inner = self.of(args[0], where)
            return inner | {"description": notes[0]} if notes else inner
        if is_key_note(origin):
            return self.of(args[0], where)
        if origin is Literal:
            return {"enum": [self._scalar(value, where) for value in args]}
        if origin is Union or origin is types.UnionType:
            return {"anyOf": [self.of(arg, where) for arg in args]}
        if origin is not None:
            return self._container(origin, args, where)
        if (meant := aliased(tp)) is not None:
            return self.of(meant, where)
        if isinstance(tp, type):
            return self._class(tp, where)
        raise _no_form(tp, where)

    def _container(self, origin: Any, args: tuple[Any, ...], where: str) -> dict[str, Any]:
        if origin in _MAPPINGS:
            if args[0] is not str:
                raise UnsupportedError(f"{where}: the keys of a dict must be str, not {args[0]!r}")
            return {"type": "object", "additionalProperties": self.of(args[1], where)}
        if origin is tuple and args[-1:] != (Ellipsis,):
            each = [self.of(arg, where) for arg in args]
            size = len(each)
            fixed = {"type": "array", "minItems": size, "maxItems": size}
            return fixed | ({"prefixItems": each} if each else {})
        if origin in _LISTS:
            item = typing.get_origin(args[0]) or args[0]
            if origin in _SETS and isinstance(item, type) and item.__hash__ is None:
                raise UnsupportedError(
                    f"{where}: a set can't hold a {item.__name__}, which has no hash: use a list, "
                    "or a frozen class"
                )
            return {"type": "array", "items": self.of(args[0], where)}
        raise _no_form(origin, where)

    def _class(self, tp: type, where: str) -> dict[str, Any]:
        if issubclass(tp, enum.Enum):
            return {"enum": [self._scalar(member, where) for member in tp]}
        fields = class_fields(tp)
        if not is_pydantic(tp) and fields is None:
            raise _no_form(tp, where)
        name = re.sub(r"[^A-Za-z0-9_.-]", "_", tp.__name__)
        while self._classes.setdefault(name, tp) is not tp:
            name += "_"
        if name in self.definitions:
            self._used_twice.add(name)
        else:
            self.definitions[name] = {}
            self.definitions[name] = (
                self._pydantic(tp, name) if fields is None else self._fields(tp, fields)
            )
        return {"$ref": f"#/$defs/{name}"}

    def _fields(self, tp: type, fields: dict[str, tuple[Any, bool]]) -> dict[str, Any]:
        own = own_docstring(tp)
        note = {"description": " ".join(own.strip().split("\n\n")[0].split())} if own else {}
        return {
            "type": "object",
            **note,
            "properties": {
                name: self.of(each, f"{tp.__name__}.{name}") for name, (each, _) in fields.items()
            },
            "required": [name for name, (_, required) in fields.items() if required],
            "additionalProperties": False,
        }

    def _pydantic(self, tp: Any, name: str) -> dict[str, Any]:
        try:
            schema: dict[str, Any] = dict(tp.model_json_schema())
        except Exception as error:  # its own kinds, which can't be named without importing it
            raise UnsupportedError(f"{name} gives no JSON schema: {error}") from error
        own: dict[str, Any] = schema.pop("$defs", {})
        if schema == {"$ref": f"#/$defs/{name}"}:  # it refers to itself
            schema = own.pop(name)
            self._used_twice.add(name)
        for inner, definition in own.items():
            if self.definitions.setdefault(inner, definition) != definition:
                raise UnsupportedError(f"two classes are called {inner!r}: rename one")
            self._classes.setdefault(inner, definition)
            self._used_twice.add(inner)
        return schema

    def _scalar(self, value: Any, where: str) -> Any:
        value = value.value if isinstance(value, enum.Enum) else value
        if value is None or type(value) in (str, int, float, bool):
            return value
        raise UnsupportedError(f"{where}: JSON has no form for the value {value!r:.80}")


def is_key_note(origin: Any, *names: str) -> bool:
    """Tell whether it is a note of a TypedDict's key: Python 3.10 has them from elsewhere."""
    return getattr(origin, "_name", None) in (names or ("Required", "NotRequired"))


def without_alias(tp: Any) -> Any:
    """Give the class that a bare alias such as ``typing.List`` stands for."""
    origin = typing.get_origin(tp)
    return origin if origin is not None and not hasattr(tp, "__args__") else tp


def own_docstring(tp: type) -> str:
    """Give what a class says of itself: not what it inherits, nor what ``@dataclass`` wrote."""
    text = tp.__dict__.get("__doc__") or ""
    return "" if text.startswith(f"{tp.__name__}(") else text


def aliased(tp: Any) -> Any:
    """Give what a ``NewType`` or a ``type`` statement stands for, or ``None``."""
    return getattr(tp, "__supertype__", None) or getattr(tp, "__value__", None)


def is_pydantic(tp: Any) -> bool:
    """Tell whether a class is a Pydantic model: by its methods, so that none is imported."""
    return hasattr(tp, "model_json_schema") and hasattr(tp, "model_validate")


def class_fields(tp: type) -> dict[str, tuple[Any, bool]] | None:
    """Give the fields of a class: its type and whether it is required; ``None``: it has none."""
    if is_pydantic(tp):
        return None
    if dataclasses.is_dataclass(tp):
        hints = _hints(tp)
        missing = dataclasses.MISSING
        return {
            field.name: (
                hint.type if isinstance(hint, dataclasses.InitVar) else hint,
                field.default is missing and field.default_factory is missing,
            )
            # What is only given to __init__ is not among dataclasses.fields().
            for field in tp.__dataclass_fields__.values()
            if field.init and not _is_of_class(hint := hints[field.name])
        }
    if hasattr(tp, "__required_keys__"):
        # Notes that are texts (``from __future__ import annotations``) are not in the key sets.
        return {
            name: (
                each,
                is_key_note(typing.get_origin(each), "Required")
                or (name in tp.__required_keys__ and not is_key_note(typing.get_origin(each))),
            )
            for name, each in _hints(tp).items()
        }
    if issubclass(tp, tuple) and hasattr(tp, "_field_defaults"):
        hints = _hints(tp)
        names: tuple[str, ...] = getattr(tp, "_fields", ())
        return {name: (hints.get(name, Any), name not in tp._field_defaults) for name in names}
    return None


def _is_of_class(hint: Any) -> bool:
    return hint is typing.ClassVar or typing.get_origin(hint) is typing.ClassVar


def _hints(tp: Any) -> dict[str, Any]:
    try:
        return typing.get_type_hints(tp, include_extras=True)
    except Exception as error:  # a note that is a text may be any expression
        raise ValidationError(
            f"the annotations of {getattr(tp, '__name__', tp)!r} can't be read: {error}; what they "
            "name must be at the top of its module"
        ) from error


def _no_form(tp: Any, where: str) -> UnsupportedError:
    name = getattr(tp, "__name__", None) or str(tp)
    return UnsupportedError(
        f"{where}: JSON has no form for {name!r:.80}; use a dataclass, a TypedDict, a Pydantic "
        "model, an Enum, or plain types"
    )
