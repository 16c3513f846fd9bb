"""The HTTP client that an official SDK works with: it signs, bounds and names what goes wrong.

An SDK hands each of its requests to ``send``. What fails there is kept in the `Exchange` of the
request, so that it does not matter which error the SDK makes of it.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, suppress
from contextvars import ContextVar
from typing import Any

import httpx2

from blazen.errors import BlazenError, ProviderError
from blazen.remote import url as urls
from blazen.remote.body import pieces, said
from blazen.remote.failures import (
    broken,
    failure,
    failure_inside,
    network_errors,
    request_id,
    stripped,
)
from blazen.remote.keys import Keys
from blazen.remote.lines import Lines
from blazen.remote.logs import kept_short
from blazen.remote.opening import EVENTS, Opening
from blazen.remote.timeouts import Deadline, Timeouts


class Exchange:
    """One request and its answer, with the time that it has and the error that it met."""

    def __init__(
        self,
        deadline: Deadline,
        *,
        provider: str,
        timeouts: Timeouts,
        keys: Keys,
        wanted: str,
    ) -> None:
        self.deadline = deadline
        self.provider = provider
        self.timeouts = timeouts
        self.keys = keys
        self.wanted = wanted
        """What the answer should be, in words."""
        self.where = deadline.what
        self.response: httpx2.Response | None = None
        self.failure: BlazenError | None = None
        self.left = False
        """Whether nobody reads on."""
        self._timer: asyncio.TimerHandle | None = None

    @property
    def headers(self) -> httpx2.Headers:
        """The headers of the answer, as far as there is one."""
        return httpx2.Headers() if self.response is None else self.response.headers

    @property
    def is_answered(self) -> bool:
        """Whether an answer began that is no refusal."""
        return self.response is not None and self.response.is_success

    def met(self, error: BaseException) -> BaseException:
        """Keep what goes wrong, and give it without the variables that hold the key."""
        if self.failure is not None:
            pass  # this one only follows from it
        elif isinstance(error, network_errors()) and not isinstance(error, BlazenError):
            self.failure = broken(
                error,
                self.timeouts,
                provider=self.provider,
                where=self.where,
                known_as=request_id(self.headers, self.keys.hide),
                hide=self.keys.hide,
            )
            self.failure.__cause__ = error
        elif isinstance(error, BlazenError):
            self.failure = error
        return stripped(error)

    def cut_in_time(self) -> None:
        """Cut the connection when the time is up.

        One timer for all of a stream: a limit around each of its reads would cost as much as they.
        """
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self.deadline.left(), self._cut)

    def _cut(self) -> None:
        if self.failure is None and self.response is not None and not self.response.is_closed:
            self.failure = self.deadline.passed()
            shut(self.response)

    def expect_uncut(self) -> None:
        """Fail if what looked like the end of an answer was the cut."""
        if self.failure is not None:
            raise self.failure

    async def aclose(self) -> None:
        """Close the connection, unless the answer was read to its end; no more of it is given."""
        self.left = True
        if self._timer is not None:
            self._timer.cancel()
        if self.response is not None:
            await self.response.aclose()


def shut(response: httpx2.Response) -> None:
    """End the connection of an answer, whoever reads there now."""
    found = response.extensions["network_stream"].get_extra_info("socket")
    with suppress(OSError), socket.socket(fileno=os.dup(found.fileno())) as connection:
        connection.shutdown(socket.SHUT_RDWR)


current: ContextVar[Exchange] = ContextVar("current")
"""The exchange that the next request of an SDK belongs to."""


class GuardedClient(httpx2.AsyncClient):
    """A client that puts the key in, and accepts no redirect and no endless answer."""

    sdk: Any = None
    """The SDK's client that works with this one."""
    keys: Keys
    max_bytes: int

    async def send(
        self, request: httpx2.Request, *, stream: bool = False, **_: Any
    ) -> httpx2.Response:
        """Send as the service's other requests are sent, however the SDK wants it."""
        exchange = current.get()
        exchange.where = self.keys.hide(urls.shown(str(request.url)))
        request.extensions = {**request.extensions, "timeout": self.timeout.as_dict()}
        try:
            with kept_short():
                response = await super().send(
                    request, stream=True, auth=self.keys.sign, follow_redirects=False
                )
        except BaseException as error:  # noqa: BLE001 - its variables hold the key
            raise exchange.met(error)  # noqa: B904 - the very same
        finally:
            self.keys.unsign(request)
        response.next_request = None
        exchange.response = response
        try:
            self._hide_in(response.headers)
            if not response.is_success:
                return await self._refused(exchange, response)
            response.stream = _Body(exchange, response, self.max_bytes)
            if not stream:
                await response.aread()
        except BaseException:
            await response.aclose()
            raise
        return response

    async def _refused(self, exchange: Exchange, response: httpx2.Response) -> httpx2.Response:
        """Keep the error that a status tells of; the SDK makes its own of the same answer."""
        body = await said(response, exchange.deadline)
        if response.has_redirect_location:
            target = urls.shown(response.headers["location"])
            exchange.failure = ProviderError(
                self.keys.hide(
                    f"{exchange.where} redirects to {target}: what is sent, and the key, go only "
                    "to base_url; set that to the right one"
                ),
                provider=exchange.provider,
                status=response.status_code,
                request_id=request_id(response.headers, self.keys.hide),
            )
        else:
            exchange.failure = failure(
                response.status_code,
                response.headers,
                body,
                provider=exchange.provider,
                where=exchange.where,
                hide=self.keys.hide,
                had_key=bool(self.keys),
            )
        headers = response.headers.copy()
        for name in ("content-encoding", "content-length", "transfer-encoding"):
            headers.pop(name, None)
        return httpx2.Response(
            response.status_code,
            headers=headers,
            content=self.keys.hide(body.decode("utf-8", "replace")).encode(),
            request=response.request,
        )

    def _hide_in(self, headers: httpx2.Headers) -> None:
        for name, value in headers.multi_items():
            hidden = self.keys.hide(value)
            if hidden != value:
                headers[name] = hidden.replace("…", "...")


class _Body(httpx2.AsyncByteStream):
    """An answer as it comes: so many bytes, within its time."""

    def __init__(self, exchange: Exchange, response: httpx2.Response, limit: int) -> None:
        stream = response.stream
        assert isinstance(stream, httpx2.AsyncByteStream)
        self._exchange = exchange
        self._stream: httpx2.AsyncByteStream | None = stream
        self._limit = limit
        self._packed: httpx2.Response | None = None
        self._announced = response.headers.get("content-length", "")
        kind = response.headers.get("content-type", "")
        self._lines = Lines() if kind.startswith("text/event-stream") else None
        self._opening = Opening.doubted(exchange.wanted, kind)
        if response.headers.get("content-encoding", "identity").strip().lower() != "identity":
            # Unpacked here, where it is bounded, and not by the client.
            self._packed = httpx2.Response(200, headers=response.headers, stream=stream)
            del response.headers["content-encoding"]

    async def __aiter__(self) -> AsyncIterator[bytes]:
        exchange, left = self._exchange, self._limit
        lines, opening = self._lines, self._opening
        if self._stream is None:
            return
        try:
            if self._announced.isdigit() and int(self._announced) > left:
                raise self._too_large()
            async with aclosing(self._incoming(self._stream)) as incoming:
                async for piece in incoming:
                    left -= len(piece)
                    if left < 0:
                        raise self._too_large()
                    if opening is not None:
                        piece = opening.add(piece)
                        if not piece:
                            continue
                        opening, lines = None, self._opened()
                    if lines is not None:
                        piece = lines.add(piece)
                        if lines.are_too_many:
                            raise self._refused("an event of far too many lines")
                        if not piece:
                            continue
                    yield piece
                    if exchange.left:
                        raise self._refused("more than anybody reads")
            if opening is not None:
                rest = opening.end()
                self._opened()
                yield rest
            elif lines is not None and (rest := lines.rest()):
                yield rest
        except GeneratorExit:
            raise
        except BaseException as error:  # noqa: BLE001 - its variables hold the key
            raise exchange.met(error)  # noqa: B904 - the very same

    def _incoming(self, stream: httpx2.AsyncByteStream) -> AsyncGenerator[bytes, None]:
        if self._packed is not None:
            return pieces(self._packed)
        return stream.__aiter__()  # type: ignore[return-value]  # it is one

    def _opened(self) -> Lines | None:
        """Refuse an answer that is not what was asked for; give lines to put events together."""
        exchange, opening = self._exchange, self._opening
        assert opening is not None
        if not opening.is_wrong:
            return Lines() if exchange.wanted == EVENTS else None
        told = opening.error()
        if told is None:
            raise self._refused(opening.described(exchange.keys.hide))
        raise failure_inside(
            told,
            exchange.headers,
            provider=exchange.provider,
            where=exchange.where,
            hide=exchange.keys.hide,
        )

    def _too_large(self) -> ProviderError:
        return self._refused(f"more than {self._limit:,} bytes: ask for less, or raise max_bytes")

    def _refused(self, what: str) -> ProviderError:
        exchange = self._exchange
        return ProviderError(
            f"{exchange.where} sends {what}",
            provider=exchange.provider,
            status=None if exchange.response is None else exchange.response.status_code,
            request_id=request_id(exchange.headers, exchange.keys.hide),
        )

    async def aclose(self) -> None:
        # What is below holds the request as it was sent.
        stream, self._stream, self._packed = self._stream, None, None
        if stream is not None:
            await stream.aclose()
