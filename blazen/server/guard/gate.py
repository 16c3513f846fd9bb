"""The gate: every request passes it, and what leaves the server too."""

from __future__ import annotations

import asyncio
import logging
import time

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from blazen.remote.secret import Secret
from blazen.server.failures import Refusal, answer_of
from blazen.server.guard.body import Body
from blazen.server.guard.head import Head, changes_something
from blazen.server.guard.hosts import Hosts, Origins, is_own
from blazen.server.guard.keys import Key, is_open
from blazen.server.guard.turns import Turns
from blazen.server.metrics import RequestCounters
from blazen.server.settings import ServerSettings
from blazen.server.work import GONE

access = logging.getLogger("blazen.server.access")

_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
_ALWAYS = {
    b"x-content-type-options": b"nosniff",
    b"referrer-policy": b"no-referrer",
    b"x-frame-options": b"DENY",
    b"cross-origin-resource-policy": b"same-origin",
    b"content-security-policy": b"default-src 'none'; frame-ancestors 'none'",
    b"cache-control": b"no-store",
}
"""Headers of every answer that does not say otherwise itself."""
_EXPOSED = b"retry-after, x-request-id"


class Gate:
    """Lets requests in that may come in, within the limits; gives answers their safe headers."""

    def __init__(
        self, app: ASGIApp, *, settings: ServerSettings, counters: RequestCounters
    ) -> None:
        self._app = app
        self._settings, self._counters = settings, counters
        self._hosts, self._origins = Hosts(settings), Origins(settings.cors_origins)
        key = settings.api_key
        assert key is None or isinstance(key, Secret)
        self._key = Key(key)
        self._turns = Turns(settings, counters)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request in, or say why not."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        start = time.perf_counter()
        answer = _Answer(send, scope["method"])
        try:
            await self._pass(scope, receive, answer)
        finally:
            seconds = time.perf_counter() - start
            route = getattr(scope.get("route"), "path", "(none)")
            method = scope["method"] if scope["method"] in _METHODS else "(other)"
            status = answer.status or GONE
            self._counters.add(route, method, status, seconds)
            if self._settings.access_log:
                self._log(scope, status, seconds)

    async def _pass(self, scope: Scope, receive: Receive, answer: _Answer) -> None:
        path = scope["path"]
        try:
            head = Head(scope, self._settings)
            self._admit(scope, head, answer)
        except Refusal as refusal:
            answer.closes = True
            await answer_of(path, refusal)(scope, receive, answer.send)
            return
        if head.preflight:
            await self._preflight(head)(scope, receive, answer.send)
            return
        body = Body(receive, head, self._settings, self._turns)
        answer.body = body
        try:
            head.check_body(self._settings)
            head.corrected(scope)
            await self._app(scope, body.receive, answer.send)
        except asyncio.CancelledError:
            if not scope["app"].state.service.stopping:
                raise
            if not answer.status:
                await answer_of(path, Refusal(503, "the server is stopping"))(
                    scope, receive, answer.send
                )
        except Exception as error:
            if answer.status:
                raise  # part of it has gone out: only the end of the connection tells
            if body.refused is None:
                await answer_of(path, error)(scope, receive, answer.send)
        finally:
            body.release()
        if body.refused is not None:
            await answer.refuse(answer_of(path, body.refused), scope, receive)

    def _admit(self, scope: Scope, head: Head, answer: _Answer) -> None:
        """Refuse who asks for another server, comes from another site's page, or has no key."""
        if head.host and not self._hosts.knows(head.host):
            raise Refusal(
                403,
                f"this server is not called {head.host!r:.100}: ask for it by its address, or "
                "start it with --allowed-host and this name",
            )
        origin, own = head.origin, False
        if origin is not None:
            own = is_own(origin, head.host)
            if not own and self._origins.allows(origin):
                answer.origin = origin.encode("latin-1")
        foreign = (
            not own if origin is not None else head.site in (b"cross-site", b"same-site")
        ) and answer.origin is None
        # A look, too, may have a model loaded. Pages may be led to: they tell nothing.
        if foreign and (
            head.preflight or changes_something(scope["method"]) or not is_open(scope["path"])
        ):
            raise Refusal(
                403,
                f"a page of {origin or 'another site'!r:.100} may not ask this server: start it "
                "with --cors and this origin if it should",
            )
        if head.preflight or is_open(scope["path"]):
            return
        if not self._key.fits(head.authorization, head.api_key):
            raise Refusal(
                401,
                "this server asks for its key: send it as 'Authorization: Bearer ...'",
                headers={"WWW-Authenticate": "Bearer"},
                code="invalid_api_key",
            )

    def _preflight(self, head: Head) -> Response:
        headers = {
            "Access-Control-Allow-Methods": "GET, POST, PUT, PATCH, DELETE",
            "Access-Control-Allow-Headers": head.wanted_headers.decode("latin-1") or "*",
            "Access-Control-Max-Age": "600",
        }
        if head.private_network:
            headers["Access-Control-Allow-Private-Network"] = "true"
        return Response(status_code=204, headers=headers)

    def _log(self, scope: Scope, status: int, seconds: float) -> None:
        client = scope.get("client") or ("-",)
        # The raw path: what it spells, such as a line break, is still spelled out.
        path = scope.get("raw_path", b"").decode("latin-1")
        access.info(
            '%s "%s %s" %d %.1f ms', client[0], scope["method"], path, status, seconds * 1000
        )


class _Answer:
    """What goes out: with the headers that make it safe."""

    def __init__(self, send: Send, method: str) -> None:
        self._send, self._method = send, method
        self.status = 0
        """Once it has begun."""
        self.body: Body | None = None
        self.origin: bytes | None = None
        """The page of another site that may read it."""
        self.closes = False

    async def send(self, message: Message) -> None:
        """Send a piece of the application's answer."""
        body = self.body
        if body is not None and body.refused is not None and not self.closes:
            return  # the refusal is the answer, whatever the application made of it
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message["headers"] = self._headers(message.get("headers", ()))
        await self._send(message)

    async def refuse(self, response: Response, scope: Scope, receive: Receive) -> None:
        """Answer with a refusal, and let a client that is still sending hear it."""
        if self.status:
            return
        self.closes = True
        await response(scope, receive, self._lingering)

    async def _lingering(self, message: Message) -> None:
        if message["type"] == "http.response.start" or self.body is None:
            await self.send(message)
            return
        await self.send({**message, "more_body": True})
        await self.body.drain()
        await self.send({"type": "http.response.body", "body": b"", "more_body": False})

    def _headers(self, given: object) -> list[tuple[bytes, bytes]]:
        headers: list[tuple[bytes, bytes]] = list(given)  # type: ignore[call-overload]
        names = {name for name, _ in headers}
        headers += ((name, value) for name, value in _ALWAYS.items() if name not in names)
        if self.origin is not None:
            headers = [pair for pair in headers if pair[0] != b"cross-origin-resource-policy"]
            headers += (
                (b"access-control-allow-origin", self.origin),
                (b"access-control-expose-headers", _EXPOSED),
                (b"cross-origin-resource-policy", b"cross-origin"),
                (b"vary", b"Origin"),
            )
        if self.closes or (self.body is not None and not self.body.complete):
            headers.append((b"connection", b"close"))
        return headers
