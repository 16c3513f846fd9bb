"""Work that ends when the client that asked for it has gone."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.requests import Request
from starlette.types import Receive

from blazen.server.failures import Refusal

T = TypeVar("T")

GONE = 499
"""What the log and the metrics call a request whose client went; nobody reads that answer."""


async def while_connected(request: Request, coroutine: Coroutine[Any, Any, T]) -> T:
    """Do some work, and end it when the client has gone."""
    loop = asyncio.get_running_loop()
    work, gone = loop.create_task(coroutine), loop.create_task(until_gone(request.receive))
    try:
        await asyncio.wait((work, gone), return_when=asyncio.FIRST_COMPLETED)
        if work.done():
            return work.result()
    finally:
        work.cancel()
        gone.cancel()
        # The work has ended when this returns: a lease that it held is given back.
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait((work, gone))
    raise Refusal(GONE, "the client has gone")


async def until_gone(receive: Receive) -> None:
    """Return once the client has gone; its request must be there whole."""
    while (await receive())["type"] != "http.disconnect":
        pass
