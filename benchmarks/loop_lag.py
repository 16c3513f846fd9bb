"""How late an event loop comes while something runs beside it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable
from typing import Any

PERIOD = 0.002


async def lag_during(*work: Awaitable[Any]) -> dict[str, float]:
    """Do some work at once; a ticker asks for a turn every 2 ms, and its lateness is the lag."""
    late: list[float] = []
    ticker = asyncio.create_task(_tick(late))
    await asyncio.gather(*work)
    ticker.cancel()
    late.sort()
    return {
        "p50_ms": late[len(late) // 2],
        "p99_ms": late[int(len(late) * 0.99)],
        "maximum_ms": late[-1],
        "ticks": len(late),
    }


async def _tick(late: list[float]) -> None:
    while True:
        due = time.perf_counter() + PERIOD
        await asyncio.sleep(PERIOD)
        late.append(max(0.0, time.perf_counter() - due) * 1000)
