"""An event loop whose time passes at once: nothing in it ever really sleeps."""

from __future__ import annotations

import asyncio
import selectors
from typing import Any


class Stuck(AssertionError):
    """Everything waits, and nothing will ever happen."""


class _Selector(selectors.DefaultSelector):  # type: ignore[misc,valid-type]
    loop: VirtualLoop

    def select(self, timeout: float | None = None) -> Any:
        found = super().select(0)
        if found or timeout == 0:
            return found
        if timeout is None:
            raise Stuck("everything waits, and nothing will ever happen")
        self.loop.now += timeout
        return found


class VirtualLoop(asyncio.SelectorEventLoop):
    """Jumps to the next timer where a real loop would sleep until then."""

    def __init__(self) -> None:
        selector = _Selector()
        selector.loop = self
        self.now = 0.0
        self.problems: list[str] = []
        super().__init__(selector)
        self.set_exception_handler(self._note)

    def time(self) -> float:
        return self.now

    def _note(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self.problems.append(f"{context.get('message')}: {context.get('exception')!r}")

    def run(self, work: Any) -> Any:
        """Run something to its end."""
        return self.run_until_complete(work)

    def turn(self, times: int = 1) -> None:
        """Let all that is ready have its turn."""

        async def turns() -> None:
            for _ in range(times):
                await asyncio.sleep(0)

        self.run_until_complete(turns())

    def pass_time(self, seconds: float) -> None:
        self.run_until_complete(asyncio.sleep(seconds))
