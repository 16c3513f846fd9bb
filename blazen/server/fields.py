"""Values of request bodies, taken as JSON has them: a text is no number, and a number no flag.

Pydantic by itself would take ``"1"`` and ``true`` for a number; with its strict numbers ``1.0``
were no whole number, which JSON says it is.
"""

from __future__ import annotations

import json
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    Strict,
)
from pydantic_core import CoreSchema


def _whole(value: Any) -> Any:
    if isinstance(value, (bool, str, bytes)):
        raise ValueError("must be a whole number")  # noqa: TRY004 - pydantic reads this one
    return value


def writable_text(value: str) -> str:
    """Refuse half of a surrogate pair: it is no character, and engines stumble over it."""
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise ValueError("holds half of a surrogate pair, which is no character") from error
    return value


def _writable(value: Any) -> Any:
    """Refuse what JSON of UTF-8 can't hold: an engine would stumble over it."""
    try:
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except RecursionError as error:
        raise ValueError("is nested too deeply") from error
    except UnicodeEncodeError as error:
        raise ValueError("holds half of a surrogate pair, which is no character") from error
    return value


WHOLE = BeforeValidator(_whole)
"""Stands last where a whole number has bounds: ``Annotated[int, Field(ge=1), WHOLE]``."""

Whole = Annotated[int, WHOLE]
Number = Annotated[float, Strict()]
Flag = Annotated[bool, Strict()]
Text = Annotated[str, AfterValidator(writable_text)]
JsonObject = Annotated[dict[str, Any], AfterValidator(_writable)]

TokenId = Annotated[int, Field(ge=0, lt=2**31), WHOLE]


def _refused_early(schema: Any) -> None:
    if isinstance(schema, dict):
        if schema.get("type") == "list":
            schema["fail_fast"] = True
        for inner in schema.values():
            _refused_early(inner)
    elif isinstance(schema, (list, tuple)):
        for inner in schema:
            _refused_early(inner)


class Body(BaseModel):
    """A request's body, or a part of one; what it does not know it keeps in ``model_extra``."""

    model_config = ConfigDict(extra="allow", allow_inf_nan=False)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Have its lists be refused at the first item that is wrong.

        Pydantic would go on and describe each of half a million: gigabytes, and half a minute in
        which nobody else is served.
        """
        schema = handler(source)
        _refused_early(schema)
        return schema
