"""What can go wrong at a provider, each with the error that must come; for every provider alike.

A provider's tests say how it speaks (`Speech`) and are parametrised over `FAULTS`::

    @pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
    @pytest.mark.parametrize("fault", FAULTS)
    async def test_faults(fault, streamed):
        await check(SPEECH, fault, streamed=streamed)
"""

from __future__ import annotations

import asyncio
import functools
import itertools
import json
import pickle
import traceback
import zlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from blazen.errors import AuthError, BlazenError, ProviderError, RateLimitError
from blazen.errors import TimeoutError as OurTimeoutError
from tests.curious import seen_in
from tests.remote.misbehaving import Request, Wire, serving

KEY = "sk-nobody-may-see-this-key-0123456789"
REQUEST_ID = "request-17"
MEGABYTE = b"x" * (1 << 20)


async def ask(model: Any, streamed: bool) -> Any:
    """Ask a chat model, and read its answer to the end."""
    if not streamed:
        return await model.complete("Hello!", {"max_tokens": 20})
    return await model.complete_stream("Hello!", {"max_tokens": 20}).collect()


@dataclass(frozen=True)
class Speech:
    """How a provider speaks."""

    name: str
    """The ``provider`` of its errors."""
    model: Callable[..., Any]
    """Makes a model: ``model(url, api_key=..., timeouts=..., ...)``, of a URL without a path."""
    whole: Any
    """A right answer."""
    events: tuple[str, ...]
    """The events of one as they are sent, the first of them with something to give."""
    refusal: Callable[[int, str], Any]
    """The body of an error: of a status, with a message."""
    error_event: str
    """An event that tells of an error."""
    odd: Any
    """An answer whose values are of the wrong types."""
    odd_event: str
    """An event like that."""
    ask: Callable[[Any, bool], Awaitable[Any]] = ask
    cut_is_told: bool = True
    """Whether a stream that lacks its last event, and ends well otherwise, is known to be cut."""


Behave = Callable[[Speech, Wire, bool], Awaitable[None]]


@dataclass(frozen=True)
class Fault:
    """What the server does, and what must come of it."""

    behave: Behave
    kind: type[BlazenError] = ProviderError
    status: int | None = None
    retry_after: float | None = None
    said: str = ""
    settings: dict[str, Any] = field(default_factory=dict)
    known: bool = False
    """Whether the server told its name of the request."""
    repeats: bool = False
    """Whether what it sends holds the key: variables of those who read it hold it then too."""
    whole: bool = True
    streamed: bool = True


async def check(speech: Speech, name: str, *, streamed: bool) -> None:
    """Fail unless a fault ends in its error, with nothing left behind and no key to be seen."""
    fault = FAULTS[name]
    if not (fault.streamed if streamed else fault.whole):
        pytest.skip("it can't happen there")
    if name == "ended early" and not speech.cut_is_told:
        pytest.skip("its streams have no last event")

    async def behave(wire: Wire, request: Request) -> None:
        await fault.behave(speech, wire, streamed)

    before = asyncio.all_tasks()
    async with serving(behave) as server:
        settings = {
            "api_key": KEY,
            "retry": {"times": 0},
            "timeouts": {"connect": 10, "idle": 10, "total": 30},
            **fault.settings,
        }
        model = speech.model(server.url.removesuffix("/v1"), **settings)
        try:
            with pytest.raises(fault.kind) as raised:
                await speech.ask(model, streamed)
            _right(raised.value, speech, fault)
            assert len(server.asked) == 1, "it was asked again"
            assert KEY in "".join(server.asked[0].headers.values())
        finally:
            await model.aclose()
        await asyncio.wait_for(server.until_all_left(), 10)
        await _none_left(before | server._tasks)


def _right(error: BlazenError, speech: Speech, fault: Fault) -> None:
    if isinstance(error, ProviderError):
        assert error.provider == speech.name
        if fault.status is not None:
            assert error.status == fault.status
        assert error.retry_after == fault.retry_after
        assert not fault.known or error.request_id == REQUEST_ID
    assert fault.said in str(error)
    again = pickle.loads(pickle.dumps(error))
    shown = [str(error), repr(error), repr(vars(error)), repr(vars(again))]
    shown += traceback.format_exception(error)
    if not fault.repeats:
        shown.append(seen_in(error))
    for text in shown:
        assert KEY not in text


async def _none_left(known: set[Any]) -> None:
    """Wait until every task has ended that was begun since: those of closing need a turn or two."""
    left = asyncio.all_tasks() - known
    if left:
        await asyncio.wait(left, timeout=5)
    left = asyncio.all_tasks() - known
    assert not left, f"these tasks are left: {left}"


def _refuses(status: int, **headers: str | int) -> Behave:
    async def behave(speech: Speech, wire: Wire, streamed: bool) -> None:
        body = speech.refusal(status, f"no: {KEY}")
        await wire.answer(body, status, x_request_id=REQUEST_ID, request_id=REQUEST_ID, **headers)

    return behave


async def _begin(speech: Speech, wire: Wire, *, with_event: bool = True) -> None:
    """Begin a stream that would end with a last chunk of length 0."""
    await wire.head(content_type="text/event-stream", transfer_encoding="chunked")
    if with_event:
        await _chunk(wire, speech.events[0])


async def _chunk(wire: Wire, text: str | bytes) -> None:
    data = text.encode() if isinstance(text, str) else text
    await wire.raw(b"%x\r\n%s\r\n" % (len(data), data))


async def _cut(speech: Speech, wire: Wire, streamed: bool) -> None:
    if streamed:
        await _begin(speech, wire)
    else:
        body = json.dumps(speech.whole).encode()
        await wire.head(200, len(body), content_type="application/json")
        await wire.raw(body[: len(body) // 2])
    wire.close()


async def _ended_early(speech: Speech, wire: Wire, streamed: bool) -> None:
    await _begin(speech, wire)
    await wire.raw(b"0\r\n\r\n")


async def _reset(speech: Speech, wire: Wire, streamed: bool) -> None:
    wire.reset()


async def _reset_within(speech: Speech, wire: Wire, streamed: bool) -> None:
    await _begin(speech, wire)
    wire.reset()


async def _malformed(speech: Speech, wire: Wire, streamed: bool) -> None:
    if streamed:
        await _begin(speech, wire)
        name, _, _ = speech.events[0].partition("data:")
        await _chunk(wire, f'{name}data: {{"a": [1, \n\n')
        await wire.raw(b"0\r\n\r\n")
    else:
        await wire.answer(b'{"a": [1, ', content_type="application/json")


async def _odd(speech: Speech, wire: Wire, streamed: bool) -> None:
    if streamed:
        await _begin(speech, wire, with_event=False)
        await _chunk(wire, speech.odd_event)
        await wire.raw(b"0\r\n\r\n")
    else:
        await wire.answer(speech.odd)


async def _no_json(speech: Speech, wire: Wire, streamed: bool) -> None:
    await wire.answer(
        b"<html><body>Sign in to this network</body></html>", content_type="text/html"
    )


async def _drip(speech: Speech, wire: Wire, streamed: bool) -> None:
    if streamed:
        await _begin(speech, wire)
    else:
        await wire.head(200, 10_000, content_type="application/json")
    for piece in itertools.cycle(speech.events[0] if streamed else " "):
        await (_chunk(wire, piece) if streamed else wire.raw(piece.encode()))
        await asyncio.sleep(0.02)


async def _hang(speech: Speech, wire: Wire, streamed: bool) -> None:
    await wire.until_left()


async def _hang_within(speech: Speech, wire: Wire, streamed: bool) -> None:
    if streamed:
        await _begin(speech, wire)
    else:
        await wire.head(200, 10_000, content_type="application/json")
        await wire.raw(b"{")
    await wire.until_left()


async def _error_inside(speech: Speech, wire: Wire, streamed: bool) -> None:
    if streamed:
        await _begin(speech, wire)
        await _chunk(wire, speech.error_event)
        await wire.raw(b"0\r\n\r\n")
    else:
        await wire.answer(speech.refusal(529, "overloaded"))


async def _huge(speech: Speech, wire: Wire, streamed: bool) -> None:
    if streamed:
        await _begin(speech, wire)
    else:
        await wire.head(content_type="application/json")
    for _ in range(50):
        await (_chunk(wire, b"data: " + MEGABYTE) if streamed else wire.raw(MEGABYTE))
    wire.close()


async def _huge_announced(speech: Speech, wire: Wire, streamed: bool) -> None:
    kind = "text/event-stream" if streamed else "application/json"
    await wire.head(200, 50 << 20, content_type=kind)
    await wire.until_left()


async def _bomb(speech: Speech, wire: Wire, streamed: bool) -> None:
    kind = "text/event-stream" if streamed else "application/json"
    await wire.answer(_packed(), content_type=kind, content_encoding="gzip")


@functools.cache
def _packed() -> bytes:
    pack = zlib.compressobj(wbits=31)
    return b"".join([*(pack.compress(MEGABYTE) for _ in range(50)), pack.flush()])


async def _endless_refusal(speech: Speech, wire: Wire, streamed: bool) -> None:
    await wire.head(503, content_type="text/plain")
    while True:
        await wire.raw(MEGABYTE)


async def _redirect(speech: Speech, wire: Wire, streamed: bool) -> None:
    await wire.answer(b"", 307, location="/elsewhere")


FAULTS: dict[str, Fault] = {
    "401": Fault(_refuses(401), AuthError, 401, known=True),
    "403": Fault(_refuses(403), AuthError, 403, known=True),
    "429": Fault(_refuses(429, retry_after=7), RateLimitError, 429, retry_after=7.0, known=True),
    "500": Fault(_refuses(500), status=500, known=True),
    "529": Fault(_refuses(529), status=529, known=True),
    "cut": Fault(_cut),
    "ended early": Fault(_ended_early, whole=False),
    "reset": Fault(_reset),
    "reset within": Fault(_reset_within, whole=False),
    "malformed": Fault(_malformed),
    "wrong types": Fault(_odd),
    "no JSON": Fault(_no_json),
    "drip": Fault(
        _drip, OurTimeoutError, said="total", settings={"timeouts": {"idle": 10, "total": 0.6}}
    ),
    "hang": Fault(_hang, OurTimeoutError, said="idle", settings={"timeouts": {"idle": 0.2}}),
    "hang within": Fault(
        _hang_within, OurTimeoutError, said="idle", settings={"timeouts": {"idle": 0.2}}
    ),
    "hang for all of its time": Fault(
        _hang_within, OurTimeoutError, said="total", settings={"timeouts": {"total": 0.3}}
    ),
    "error inside": Fault(_error_inside),
    # Of what is announced the usual limit is held to; to read that much takes half a second.
    "50 MB": Fault(_huge, said="bytes", settings={"max_bytes": "4MiB"}),
    "50 MB announced": Fault(_huge_announced, said="bytes"),
    "50 MB packed": Fault(_bomb, said="bytes", settings={"max_bytes": "4MiB"}),
    "an endless refusal": Fault(_endless_refusal, status=503),
    "a redirect": Fault(_redirect, status=307, said="base_url"),
}
