"""From what comes over the wire to an `Answer`: whole bodies, and events one after the other."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin

from blazen.errors import ProviderError
from blazen.options.compat3d import Compat3dOptions
from blazen.remote import url as urls
from blazen.remote.body import pieces
from blazen.remote.failures import failure_inside, failure_of_job, request_id, shortened
from blazen.remote.retry import retry_after
from blazen.remote.service import Service
from blazen.remote.timeouts import Deadline
from blazen_compat3d.answers import Answer, look, tells_of_error
from blazen_compat3d.events import Events
from blazen_compat3d.formats import (
    begins_json,
    begins_whole,
    described,
    mesh_format,
    missing_bytes,
)

if TYPE_CHECKING:
    import httpx2

_JSON_ROOM = 1024 * 1024
"""What an answer in JSON may hold beside the mesh."""
_JSON_VALUES = 200_000
"""A byte of JSON can become a hundred: more values than this are no answer."""
_HALF = re.compile(rb"\\u[dD][89a-fA-F]")
"""What may be half of a character, which no URL and no message can hold."""
_ENOUGH = 16
"""Bytes by which a stream of events is told from a whole body."""
_BEATS = ("ping", "heartbeat", "keepalive", "keep-alive")


class Reading:
    """Reads answers, and refuses those that are an error or too large."""

    def __init__(self, service: Service, options: Compat3dOptions, deadline: Deadline) -> None:
        self._service = service
        self._options = options
        self._deadline = deadline
        self._limit = int(options.max_bytes)
        self._url = ""
        self._headers: Mapping[str, str] = {}
        self.begun = False
        """Whether there is a job: what fails then is the job, and not the request."""

    @property
    def asked_pause(self) -> float:
        """How many seconds the latest answer asks to wait."""
        return retry_after(self._headers) or 0.0

    async def whole(self, response: httpx2.Response) -> Answer:
        """Read an answer to its end, and close it."""
        self._remember(response)
        is_json = "json" in response.headers.get("content-type", "").lower()
        try:
            body = await self._service.read(
                response,
                self._deadline,
                limit=self._json_limit if is_json else self._limit,
                advice="raise max_bytes if you want it, or ask for a coarser mesh",
            )
        finally:
            await response.aclose()
        accepted = response.status_code in (201, 202)
        if not body and accepted:
            answer = Answer(state="make")
        else:
            answer = await self._told(body, is_json=is_json)
        location = response.headers.get("operation-location") or response.headers.get("location")
        if accepted and location and answer.job is None and answer.job_url is None:
            answer = replace(answer, job_url=self.there(location))
        return answer

    async def events(self, response: httpx2.Response) -> AsyncGenerator[Answer, None]:
        """Read a stream of events up to the mesh, and close it; what is none is read whole."""
        self._remember(response)
        events = Events()
        try:
            async with aclosing(self._incoming(response)) as incoming:
                piece = await anext(incoming)
                if not piece or begins_whole(piece):
                    body = piece + b"".join([piece async for piece in incoming])
                    yield await self._told(body, is_json=False)
                    return
                while True:
                    for name, data in events.feed(piece) if piece else events.end():
                        if name in _BEATS or data.strip() == "[DONE]":
                            continue
                        answer = await self._event(name, data)
                        yield answer
                        if answer.has_mesh or answer.state == "done":
                            return
                    if not piece:
                        return
                    piece = await anext(incoming)
        finally:
            await response.aclose()

    def there(self, target: str) -> str:
        """Give a URL that the answer names, which may be relative to it."""
        try:
            return urljoin(self._url, target)
        except ValueError as error:
            raise self.odd(f"names a URL that is none: {urls.shown(target)!r:.80}") from error

    def odd(self, what: str) -> ProviderError:
        """Give the error for an answer that is not what it should be."""
        service = self._service
        return ProviderError(
            service.hide(f"the answer of {urls.shown(self._url)} {what}"),
            provider=service.provider,
            status=200,
            request_id=request_id(self._headers, service.hide),
        )

    @property
    def _json_limit(self) -> int:
        return self._limit * 4 // 3 + _JSON_ROOM

    def _remember(self, response: httpx2.Response) -> None:
        self._url = str(response.url)
        self._headers = response.headers

    async def _incoming(self, response: httpx2.Response) -> AsyncGenerator[bytes, None]:
        """Give a body as it comes, then ``b""``; the first piece is enough to tell what it is."""
        where = self._service.shown(self._url)
        known_as = request_id(response.headers, self._service.hide)
        size, held = 0, b""
        async with aclosing(pieces(response)) as incoming:
            while True:
                piece = await self._service.step(
                    anext(incoming, b""), self._deadline, where, known_as
                )
                size += len(piece)
                if size > self._json_limit:
                    raise self.odd(f"sends more than max_bytes allows: {self._limit:,}")
                held += piece
                if piece and size < _ENOUGH and b"\n" not in held:
                    continue
                if held:
                    yield held
                    held = b""
                if not piece:
                    yield b""
                    return

    async def _told(self, body: bytes, *, is_json: bool) -> Answer:
        """Tell by its first bytes what a whole body is: servers often name the wrong type."""
        if not body:
            raise self.odd("is empty")
        if begins_json(body) or (is_json and mesh_format(body) is None):
            return await asyncio.to_thread(self._read, body)
        return Answer(mesh=self._checked(body), state="done")

    async def _event(self, name: str, data: str) -> Answer:
        if name == "error":
            data = json.dumps({"error": _parsed(data) or "it gives no reason"})
        return await asyncio.to_thread(self._read, data.encode())

    def _read(self, body: bytes) -> Answer:
        """Find what an answer in JSON holds, and refuse one that is an error."""
        values = body.count(b",") + body.count(b"[") + body.count(b"{")
        if values > _JSON_VALUES:
            raise self.odd(f"holds {values:,} values, and only one of them can be a mesh")
        try:
            parsed = json.loads(body.decode("utf-8-sig"))
            if _HALF.search(body):
                json.dumps(parsed, ensure_ascii=False).encode()
        except (ValueError, RecursionError) as error:
            raise self.odd("is not JSON, although it says so") from error
        try:
            answer = look(parsed, self._options)
        except ValueError as error:
            raise self.odd(f"holds a mesh that can't be read: {shortened(str(error))}") from error
        service = self._service
        facts: dict[str, Any] = {
            "provider": service.provider,
            "where": service.shown(self._url),
            "hide": service.hide,
        }
        if answer.state == "failed" and (self.begun or answer.job):
            raise failure_of_job(parsed, self._headers, **facts)
        if answer.state == "failed" or tells_of_error(parsed):
            raise failure_inside(parsed, self._headers, **facts)
        if answer.mesh is not None:
            self._checked(answer.mesh)
        elif answer.url is not None:
            answer = replace(answer, url=self.there(answer.url))
        return answer

    def _checked(self, data: bytes) -> bytes:
        if len(data) > self._limit:
            raise self.odd(
                f"holds a mesh of {len(data):,} bytes, more than {self._limit:,}: raise max_bytes "
                "if you want it, or ask for a coarser one"
            )
        if mesh_format(data) is None:
            raise self.odd(f"is {described(data)}, and no GLB, OBJ or PLY")
        if missing_bytes(data):
            raise self.odd(f"lacks the last {missing_bytes(data):,} bytes of its mesh")
        return data


def _parsed(text: str) -> Any:
    try:
        parsed = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return parsed.get("error", parsed) if isinstance(parsed, dict) else parsed
