"""Requests to the API through google-genai, with what Google says about a failure."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, TypeVar

from blazen.remote.sdk import Sdk
from blazen_gemini.problems import refined

if TYPE_CHECKING:
    from blazen.remote.guarded import Exchange

T = TypeVar("T")


async def ask(
    sdk: Sdk[Any], method: str, is_empty: Callable[[Any], bool], fields: dict[str, Any]
) -> Any:
    """Give the answer of one of the SDK's methods, in one piece.

    ``is_empty`` says that it holds nothing of what was asked for: then the body may tell of an
    error, which the SDK does not look for.
    """

    async def request(client: Any) -> Any:
        exchange = _exchange()
        answer = await _told(sdk, exchange, getattr(client.aio.models, method)(**fields))
        if is_empty(answer):
            body = _body(exchange)
            if isinstance(body, dict) and "error" in body:
                raise refined(sdk.error_inside(body), body)
            raise sdk.malformed(f"an answer that holds nothing: {body!r:.200}")
        return answer

    return await sdk.call(request, twice=True)


def listen(sdk: Sdk[Any], method: str, fields: dict[str, Any]) -> AsyncGenerator[Any, None]:
    """Give the events of one of the SDK's streams; close what this gives."""

    async def request(client: Any) -> AsyncIterator[Any]:
        exchange = _exchange()
        stream = await getattr(client.aio.models, method)(**fields)
        return _told_of(sdk, exchange, stream)

    return sdk.events(request, twice=True)


def _exchange() -> Exchange:
    """Give the exchange that a request of the SDK belongs to, with the error that it met."""
    from blazen.remote.guarded import current  # here, for it brings the HTTP client

    return current.get()


async def _told(sdk: Sdk[Any], exchange: Exchange, answer: Awaitable[T]) -> T:
    try:
        return await answer
    except Exception as error:
        _refine(sdk, exchange, error)
        raise


async def _told_of(
    sdk: Sdk[Any], exchange: Exchange, stream: AsyncGenerator[T, None]
) -> AsyncGenerator[T, None]:
    async with aclosing(stream):
        try:
            async for event in stream:
                yield event
        except Exception as error:
            _refine(sdk, exchange, error)
            raise


def _refine(sdk: Sdk[Any], exchange: Exchange, error: Exception) -> None:
    """Keep the error that Google's own words make, for whoever looks for what went wrong."""
    told = getattr(error, "details", None)
    if told is None:
        return
    known = exchange.failure or sdk.error_inside(told)
    better = refined(known, told)
    if better is not known:
        better.__cause__ = known.__cause__
    exchange.failure = better


def _body(exchange: Exchange) -> Any:
    try:
        return None if exchange.response is None else exchange.response.json()
    except ValueError:
        return None
