"""Saying no to a part of a request, by its name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from blazen.server.failures import Refusal
from blazen.server.fields import Body


class RefusedError(Refusal):
    """A request that can't be served as it is; ``param`` names the field that is to blame."""

    def __init__(self, message: str, *, param: str | None = None, code: str | None = None) -> None:
        super().__init__(400, message, param=param, code=code)


def refuse(body: Body, reasons: Mapping[str, str]) -> None:
    """Refuse fields that an API knows and this server can't serve: a reason for each name.

    Empty ones pass (``null``, ``false``, ``[]``): clients send them without meaning anything.
    """
    for name, reason in reasons.items():
        if _says_something(getattr(body, name, None)):
            raise RefusedError(
                f"{name!r} is not supported: {reason}", param=name, code="unsupported_parameter"
            )


def _says_something(value: Any) -> bool:
    return value is not None and value is not False and value not in ("", [], {})
