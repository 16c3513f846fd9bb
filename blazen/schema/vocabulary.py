"""What the words of JSON schema mean to blazen: which count, which are notes, which are refused."""

from __future__ import annotations

from typing import Any, NoReturn
from urllib.parse import unquote

from blazen.errors import UnsupportedError, ValidationError

TYPES: dict[str, Any] = {
    "object": dict,
    "array": list,
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "null": type(None),
}

ANNOTATIONS = frozenset(
    (
        "title",
        "description",
        "default",
        "example",
        "examples",
        "deprecated",
        "readOnly",
        "writeOnly",
        "$schema",
        "$id",
        "$comment",
        "discriminator",  # OpenAPI's hint at which branch of oneOf is meant; Pydantic writes it
    )
)
"""Notes for a reader, which hold an answer to nothing."""


def refuse_keyword(keyword: str, schema: Any, where: str) -> NoReturn:
    """Raise the error for a keyword that no model can be held to."""
    hints = {
        "uniqueItems": "leave it out, and drop what is there twice from the answer",
        "multipleOf": "leave it out; for whole numbers use type 'integer'",
        "patternProperties": "name the properties, or use additionalProperties",
        "minProperties": "make the properties required that must be there",
        "additionalItems": "use prefixItems and items",
        "nullable": "use a type list: ['string', 'null']",
        "not": "say what may be there instead",
        "if": "use anyOf with a schema for each case",
    }
    hint = f": {hints[keyword]}" if keyword in hints else ""
    raise UnsupportedError(
        f"the schema's {keyword!r} at {where} is not supported, since no model can be held to it"
        f"{hint}"
    )


def resolve(root: Any, pointer: Any, where: str) -> Any:
    """Give the part of a schema that a ``$ref`` points at."""
    if not isinstance(pointer, str):
        raise ValidationError(f"the schema's '$ref' at {where} must be a text, not {pointer!r:.80}")
    if not pointer.startswith("#"):
        raise UnsupportedError(
            f"the schema's '$ref' at {where} points outside: {pointer!r:.80}; put what it means "
            "under '$defs'"
        )
    found = root
    for step in pointer[1:].split("/")[1:]:
        key = unquote(step).replace("~1", "/").replace("~0", "~")
        if isinstance(found, dict) and key in found:
            found = found[key]
        elif isinstance(found, list) and key.isascii() and key.isdigit() and int(key) < len(found):
            found = found[int(key)]
        else:
            raise ValidationError(f"the schema's '$ref' at {where} points nowhere: {pointer!r:.80}")
    if pointer not in ("#",) and not pointer.startswith("#/"):
        raise UnsupportedError(
            f"the schema's '$ref' at {where} names an anchor: {pointer!r:.80}; point with "
            "'#/$defs/...'"
        )
    return found
