"""What OpenAI's API takes beside chat: fields of the right kind, in JSON or in a form.

And how it streams: a body in chunks, whose end is told.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from tests.remote.misbehaving import Request, Wire
from tests.wire.openai import Refused


def is_text(value: Any) -> bool:
    return isinstance(value, str)


def is_whole(low: int, high: int) -> Callable[[Any], bool]:
    return lambda value: type(value) is int and low <= value <= high


def is_number(low: float, high: float) -> Callable[[Any], bool]:
    return lambda value: type(value) in (int, float) and low <= value <= high


def is_one_of(*choices: str) -> Callable[[Any], bool]:
    return lambda value: value in choices


def is_flag(value: Any) -> bool:
    return isinstance(value, bool)


Checks = Mapping[str, Callable[[Any], bool]]


def checked(given: Mapping[str, Any], checks: Checks, *required: str) -> Mapping[str, Any]:
    for name in required:
        if name not in given:
            said = f"Missing required parameter: '{name}'."
            raise Refused(said, param=name, code="missing_required_parameter")
    for name, value in given.items():
        if name not in checks:
            said = f"Unknown parameter: '{name}'."
            raise Refused(said, param=name, code="unknown_parameter")
        if not checks[name](value):
            raise Refused(f"Invalid value for '{name}'.", param=name, code="invalid_value")
    return given


def json_of(request: Request) -> dict[str, Any]:
    if not request.headers.get("content-type", "").startswith("application/json"):
        raise Refused("The body must be JSON.")
    body = json.loads(request.body.decode())
    if not isinstance(body, dict):
        raise Refused("The body must be an object.")
    return body


def form_of(
    request: Request, numbers: Mapping[str, type], flags: tuple[str, ...]
) -> dict[str, Any]:
    """Read a form: files become (name, bytes, media type), ``name[]`` becomes a list."""
    found = re.fullmatch(
        r"multipart/form-data; boundary=(\S+)", request.headers.get("content-type", "")
    )
    if found is None:
        raise Refused("The body must be a form.")
    boundary = b"--" + found[1].encode()
    form: dict[str, Any] = {}
    for part in request.body.split(boundary)[1:-1]:
        head, _, content = part[2:-2].partition(b"\r\n\r\n")
        told = head.decode()
        name = re.search(r'name="([^"]*)"', told)[1]
        file_name = re.search(r'filename="([^"]*)"', told)
        media_type = re.search(r"(?i)content-type: (\S+)", told)
        value: Any = (file_name[1], content, media_type[1]) if file_name else content.decode()
        if name in numbers:
            value = numbers[name](value)
        elif name in flags:
            value = {"true": True, "false": False}[value]
        if name.endswith("[]"):
            form.setdefault(name[:-2], []).append(value)
        else:
            form[name] = value
    return form


class Chunked:
    """A body whose end is told, so that a cut is seen."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    async def begin(self, content_type: str) -> None:
        await self._wire.head(
            transfer_encoding="chunked", content_type=content_type, x_request_id="req_7"
        )

    async def send(self, data: bytes) -> None:
        await self._wire.raw(b"%x\r\n%s\r\n" % (len(data), data))

    async def event(self, event: Mapping[str, Any], *, named: bool = False) -> None:
        name = f"event: {event['type']}\n" if named else ""
        await self.send(f"{name}data: {json.dumps(event)}\n\n".encode())

    async def end(self) -> None:
        await self._wire.raw(b"0\r\n\r\n")
