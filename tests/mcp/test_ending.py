"""A signal ends what runs, in order."""

from __future__ import annotations

import asyncio
import signal
import sys

import pytest

from blazen.mcp.ending import ended_by

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows ends a program at once")


async def test_a_signal_ends_the_block_and_nothing_after_it() -> None:
    cleaned = False
    with ended_by(signal.SIGTERM):
        try:
            signal.raise_signal(signal.SIGTERM)
            await asyncio.Event().wait()
        finally:
            cleaned = True
    assert cleaned
    await asyncio.sleep(0)  # the task goes on
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


async def test_another_cancelling_goes_on() -> None:
    async def work() -> None:
        with ended_by(signal.SIGTERM):
            await asyncio.Event().wait()

    task = asyncio.ensure_future(work())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
