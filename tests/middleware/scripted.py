"""A model elsewhere that does what a test has written down for it."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Callable
from typing import Any

from blazen.types.completion import (
    FinishReason,
    InferenceChunk,
    InferenceChunkStream,
    InferenceUsage,
    ModelResponse,
)
from tests.manager.virtual import VirtualLoop

USAGE = InferenceUsage(3, 2)


class Scripted:
    """Each request takes the next script; the last one serves all that follow.

    A script is a list: a number is a pause in seconds, an error is raised, a text is a piece.
    An error or a pause before ``...`` comes while the stream begins.
    """

    def __init__(self, *scripts: list[Any], usage: InferenceUsage | None = USAGE) -> None:
        self._scripts = list(scripts)
        self._usage = usage
        self.requests: list[Any] = []
        self.times: list[float] = []
        self.running = 0
        self.stopped = 0

    def __repr__(self) -> str:
        return "Scripted()"

    def _next(self, messages: Any) -> list[Any]:
        self.requests.append(messages)
        self.times.append(asyncio.get_running_loop().time())
        return self._scripts.pop(0) if len(self._scripts) > 1 else self._scripts[0]

    def complete_stream(self, messages: Any, options: Any = None) -> InferenceChunkStream:
        async def start() -> Any:
            script = self._next(messages)
            place = script.index(...) if ... in script else 0
            for step in script[:place]:
                await _do(step)
            return await InferenceChunkStream.of(self._pieces(script[place:])).begin()

        return InferenceChunkStream(start)

    async def _pieces(self, script: list[Any]) -> Any:
        self.running += 1
        try:
            for step in script:
                if isinstance(step, str):
                    yield InferenceChunk(step)
                else:
                    await _do(step)
            yield InferenceChunk(finish_reason=FinishReason.Stop, usage=self._usage)
        except BaseException:
            self.stopped += 1
            raise
        finally:
            self.running -= 1

    async def complete(self, messages: Any, options: Any = None) -> ModelResponse:
        script = self._next(messages)
        self.running += 1
        try:
            for step in script:
                if not isinstance(step, str):
                    await _do(step)
        except BaseException:
            self.stopped += 1
            raise
        finally:
            self.running -= 1
        text = "".join(step for step in script if isinstance(step, str))
        return ModelResponse(text, finish_reason=FinishReason.Stop, usage=self._usage)


async def _do(step: Any) -> None:
    if isinstance(step, BaseException):
        raise step
    if isinstance(step, (int, float)):
        await asyncio.sleep(step)


class _Loop(VirtualLoop):
    """Does at once what would be done on another thread: no time would pass for that."""

    def run_in_executor(self, executor, function, *args):
        future = self.create_future()
        try:
            future.set_result(function(*args))
        except BaseException as error:
            future.set_exception(error)
        return future


def in_virtual_time(test: Callable[..., Any]) -> Callable[..., None]:
    """Run an async test on a loop on which no time is waited for; no task may be left."""

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        loop = _Loop()
        try:
            loop.run_until_complete(_whole(test(*args, **kwargs)))
            loop.run_until_complete(loop.shutdown_asyncgens())
            assert not loop.problems, loop.problems
        finally:
            loop.close()

    run.__signature__ = inspect.signature(test)  # type: ignore[attr-defined]  # pytest's fixtures
    return run


async def _whole(body: Any) -> None:
    await body
    for _ in range(3):
        await asyncio.sleep(0)
    left = asyncio.all_tasks() - {asyncio.current_task()}
    assert not left, f"these tasks are left: {left}"


async def texts(stream: Any) -> list[str]:
    return [piece.content async for piece in stream if piece.content]


def now() -> float:
    return asyncio.get_running_loop().time()
