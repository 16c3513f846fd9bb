"""Answers that come piece by piece, as server-sent events or lines of JSON."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, NamedTuple, TypeAlias

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from blazen.server.failures import Refusal, Shape, answer_of, body_of, log
from blazen.server.service import Service, service_of


class Event(NamedTuple):
    """A named event: ``event: name``, then its data."""

    name: str
    data: Mapping[str, Any] | str


Item: TypeAlias = Mapping[str, Any] | str | bytes | Event
"""Bytes are events written out already, one or several: they are sent as they are."""

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode
EVENT_STREAM: dict[str, Any] = {
    "text/event-stream": {
        "schema": {
            "type": "object",
            "properties": {"event": {"type": "string"}, "data": {"type": "string"}},
            "required": ["data"],
        }
    }
}
"""A stream of events in the API's description: what each of them holds."""

_DONE = b"data: [DONE]\n\n"
_COMMENT = b": still here\n\n"
_BREATH = 64
"""Pieces after which a stream that never waits gives way."""


def to_json(value: Any) -> bytes:
    """Give a value as JSON, in UTF-8."""
    try:
        return _encode(value).encode()
    except UnicodeEncodeError:  # half of a character that UTF-8 has no place for
        return json.dumps(value, separators=(",", ":"), allow_nan=False).encode()


def sse(
    request: Request,
    events: AsyncIterator[Item],
    shape: Shape,
    *,
    done: bool = False,
    endless: bool = False,
) -> Response:
    """Send events as they come; ``done`` ends with ``data: [DONE]``.

    The answer begins with the first event, so that an error before it is answered as an error,
    with its status; one in mid-stream is an event in the API's shape. ``events`` is closed when the
    client has gone. ``endless`` events are ended at once when the server stops.
    """
    return _Stream(
        service_of(request),
        request.url.path,
        events,
        encode=_event,
        failed=lambda error: _failed_event(shape, error),
        end=_DONE if done else b"",
        heartbeat=_COMMENT,
        media_type="text/event-stream",
        endless=endless,
    )


def ndjson(
    request: Request,
    lines: AsyncIterator[Mapping[str, Any]],
    shape: Shape,
    *,
    endless: bool = False,
) -> Response:
    """Send objects as they come, one a line; otherwise as `sse`, without signs of life."""
    return _Stream(
        service_of(request),
        request.url.path,
        lines,
        encode=_line,
        failed=lambda error: _line(body_of(shape, error)),
        end=b"",
        heartbeat=b"",
        media_type="application/x-ndjson",
        endless=endless,
    )


def raw(request: Request, pieces: AsyncIterator[bytes], media_type: str) -> Response:
    """Send bytes as they come, as one file.

    An error in mid-stream breaks the connection, so that what came does not pass for the whole.
    """
    return _Stream(
        service_of(request),
        request.url.path,
        pieces,
        encode=bytes,
        failed=_broken,
        end=b"",
        heartbeat=b"",
        media_type=media_type,
        endless=False,
    )


def _broken(error: BaseException) -> bytes:
    raise error


def _event(item: Item) -> bytes:
    if isinstance(item, bytes):
        return item
    if isinstance(item, Event):
        return b"event: " + item.name.encode() + b"\n" + _event(item.data)
    if isinstance(item, str):
        # A line break in data would end the event.
        lines = item.replace("\r\n", "\n").replace("\r", "\n").split("\n")
        return "".join(f"data: {line}\n" for line in lines).encode("utf-8", "replace") + b"\n"
    return b"data: " + to_json(item) + b"\n\n"


def _failed_event(shape: Shape, error: BaseException) -> bytes:
    name = b"" if shape is Shape.OpenAi else b"event: error\n"
    return name + _event(body_of(shape, error))


def _line(item: Any) -> bytes:
    return to_json(item) + b"\n"


class _Stream(Response):
    """Pumps pieces into the connection in one task, while another hears of the client's going."""

    def __init__(
        self,
        service: Service,
        path: str,
        pieces: AsyncIterator[Any],
        *,
        encode: Callable[[Any], bytes],
        failed: Callable[[BaseException], bytes],
        end: bytes,
        heartbeat: bytes,
        media_type: str,
        endless: bool,
    ) -> None:
        self.status_code = 200
        self.background = None
        self.media_type = media_type
        self.init_headers({"cache-control": "no-cache", "x-accel-buffering": "no"})
        self._service, self._path, self._pieces = service, path, pieces
        self._encode, self._failed = encode, failed
        self._end, self._heartbeat, self._endless = end, heartbeat, endless
        self._started = False
        self._busy = False
        self._count = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the pieces, and end them with the client."""
        loop = asyncio.get_running_loop()
        pump = loop.create_task(self._pump(send))
        watch = loop.create_task(self._watch(receive, send))
        endless = self._service.endless
        if self._endless:
            endless.add(pump)
            if self._service.stopping:
                pump.cancel()
        try:
            await asyncio.wait((pump, watch), return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            await self._stop(pump, watch)
            await self._end_with(send, self._failed(Refusal(503, "the server is stopping")))
            raise
        finally:
            endless.discard(pump)
        gone = watch.done()
        await self._stop(pump, watch)
        if not pump.cancelled():
            pump.result()
        elif not gone:
            await self._end_with(send, b"")

    async def _stop(self, pump: asyncio.Task[None], watch: asyncio.Task[None]) -> None:
        """End both, and wait for it: what made the pieces has then given back what it held."""
        pump.cancel()
        watch.cancel()
        await asyncio.wait((pump, watch))
        if not watch.cancelled() and (error := watch.exception()) is not None:
            log.debug("a client of %s could not be watched", self._path, exc_info=error)

    async def _pump(self, send: Send) -> None:
        pieces, encode = self._pieces, self._encode
        last = self._end
        try:
            async for piece in pieces:
                data = encode(piece)
                if not self._started:
                    await self._begin(send)
                self._busy = True
                await send({"type": "http.response.body", "body": data, "more_body": True})
                self._busy = False
                self._count += 1
                if not self._count % _BREATH:
                    await asyncio.sleep(0)  # pieces that are all there already let others in too
        except Exception as error:
            if not self._started:
                raise  # nothing was sent: it is answered as any error
            answer_of(self._path, error)  # for the log
            last = self._failed(error) + last
        finally:
            await _close(pieces)
        if not self._started:
            await self._begin(send)
        self._busy = True
        await send({"type": "http.response.body", "body": last, "more_body": False})

    async def _begin(self, send: Send) -> None:
        self._started = True
        await send(
            {
                "type": "http.response.start",
                "status": self.status_code,
                "headers": self.raw_headers,
            }
        )

    async def _end_with(self, send: Send, data: bytes) -> None:
        if not self._started:
            await self._begin(send)
        await send({"type": "http.response.body", "body": data, "more_body": False})

    async def _watch(self, receive: Receive, send: Send) -> None:
        """Return once the client has gone; meanwhile say that the stream is alive."""
        heard = asyncio.ensure_future(receive())
        try:
            while True:
                before = self._count
                done, _ = await asyncio.wait((heard,), timeout=self._service.settings.heartbeat)
                if done:
                    if heard.result()["type"] == "http.disconnect":
                        return
                    heard = asyncio.ensure_future(receive())
                elif self._heartbeat and before == self._count and not self._busy:
                    if not self._started:
                        await self._begin(send)
                    await send(
                        {"type": "http.response.body", "body": self._heartbeat, "more_body": True}
                    )
        finally:
            heard.cancel()


async def _close(pieces: AsyncIterator[Any]) -> None:
    close = getattr(pieces, "aclose", None)
    if close is not None:
        await close()
