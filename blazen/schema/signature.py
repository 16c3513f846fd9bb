"""Functions as tools: their parameters as a schema, and a model's arguments as theirs."""

from __future__ import annotations

import functools
import inspect
import re
import typing
from collections.abc import Callable, Mapping
from typing import Any

from blazen.errors import ValidationError
from blazen.schema.building import build
from blazen.schema.python_types import SchemaWriter, own_docstring
from blazen.schema.value import check_value


def tool_schema(function: Callable[..., Any]) -> tuple[str, dict[str, Any]]:
    """Give a function's description and the JSON schema of its parameters."""
    description, notes = _read_docstring(_docstring(function))
    writer = SchemaWriter()
    properties: dict[str, Any] = {}
    required = []
    for name, (tp, is_required) in _parameters(function).items():
        properties[name] = writer.of(tp, f"the parameter {name!r} of {_name(function)!r}")
        if name in notes:
            properties[name] = properties[name] | {"description": notes[name]}
        if is_required:
            required.append(name)
    schema = {
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }
    return description, writer.closed(schema)


def read_arguments(function: Callable[..., Any], arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Give a model's arguments as the types that the function names; a wrong one is an error."""
    given = dict(arguments)
    check_value(given, tool_schema(function)[1], _name(function))
    known = _parameters(function)
    return {name: build(known[name][0], item, name) for name, item in given.items()}


def _parameters(function: Callable[..., Any]) -> dict[str, tuple[Any, bool]]:
    name = _name(function)
    try:
        signature = inspect.signature(function)
        hints = {
            key: hint
            for part in _annotated(function)
            for key, hint in typing.get_type_hints(part, include_extras=True).items()
        }
    except Exception as error:  # an annotation that is a text may be any expression
        raise ValidationError(
            f"the signature of {name!r} can't be read: {error}; what its annotations name must be "
            "at the top of its module"
        ) from error
    found = {}
    for each in signature.parameters.values():
        if each.name in _given(function):
            continue
        if each.kind not in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY):
            raise ValidationError(
                f"the parameter {str(each).partition(':')[0]!r} of {name!r} can't be given by "
                "name: a tool takes no *args, no **kwargs and no positional-only parameters"
            )
        if each.name not in hints:
            raise ValidationError(
                f"the parameter {each.name!r} of {name!r} has no annotation: say of what type it is"
            )
        found[each.name] = (hints[each.name], each.default is each.empty)
    return found


def _annotated(function: Any) -> tuple[Any, ...]:
    """Give what holds the annotations of a function's parameters."""
    function = inner(function)
    if isinstance(function, type):
        made: Any = function
        return (made, made.__init__)
    if inspect.isroutine(function) or hasattr(function, "__wrapped__"):
        return (function,)
    return (type(function).__call__,)


def inner(function: Any) -> Any:
    """Give the function that is within ``functools.partial``."""
    while isinstance(function, functools.partial):
        function = function.func
    return function


def _given(function: Any) -> Mapping[str, Any]:
    """Give what ``functools.partial`` gives by name already: it is not the model's to say."""
    return function.keywords if isinstance(function, functools.partial) else {}


def _docstring(function: Any) -> str:
    function = inner(function)
    if isinstance(function, type):
        return inspect.cleandoc(own_docstring(function))
    return inspect.getdoc(function) or ""


def _name(function: Any) -> str:
    function = inner(function)
    return str(getattr(function, "__name__", None) or type(function).__name__)


def _read_docstring(text: str) -> tuple[str, dict[str, str]]:
    """Give the first paragraph, and what an ``Args:`` or ``Parameters`` section says of each."""
    first = re.split(r"\n\s*\n|^(?:Args|Arguments|Parameters):[ \t]*$", text.strip(), flags=re.M)[0]
    description = " ".join(first.split())
    google = re.search(r"^(?:Args|Arguments|Parameters):[ \t]*\n((?:[ \t]+.*\n?|\n)+)", text, re.M)
    if google is not None:
        return description, _google(inspect.cleandoc("\n" + google[1]))
    numpy = re.search(
        r"^Parameters[ \t]*\n-{3,}[ \t]*\n(.*?)(?:\n[^\n]*\n-{3,}|\Z)", text, re.M | re.S
    )
    return description, _numpy(numpy[1]) if numpy is not None else {}


def _google(section: str) -> dict[str, str]:
    """Read lines such as ``city (str): Where.``, with what is indented under them."""
    pieces = re.split(r"^(\w+)[ \t]*(?:\([^\n]*?\))?:", section, flags=re.M)
    return _joined(pieces)


def _numpy(section: str) -> dict[str, str]:
    """Read lines such as ``city : str``, with the description indented under them."""
    return _joined(re.split(r"^(\w+)[ \t]*(?::[^\n]*)?$", section, flags=re.M))


def _joined(pieces: list[str]) -> dict[str, str]:
    named = zip(pieces[1::2], pieces[2::2], strict=True)
    return {name: " ".join(words.split()) for name, words in named if words.split()}
