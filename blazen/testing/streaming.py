"""What holds for answers that arrive piece by piece, of whatever kind."""

from __future__ import annotations

import asyncio
import contextlib
import gc
from collections.abc import AsyncIterator
from typing import Any

import pytest

import blazen
from blazen.testing.running import Ticks, on_loop, run_watched
from blazen.testing.suite import Suite, check_json, check_repr

WAYS_TO_LEAVE = ("aclose", "break", "leave the with", "cancel the task", "drop")


class StreamSuite(Suite):
    """What a streaming twin does beside its whole answer."""

    def stream(self, model: Any, question: Any) -> Any:
        """Begin a request that answers piece by piece."""
        raise NotImplementedError

    def joined(self, pieces: list[Any]) -> Any:
        """Join what the pieces of a stream carry."""
        raise NotImplementedError

    def content(self, answer: Any) -> Any:
        """Give what the joined pieces of that answer must equal."""
        raise NotImplementedError

    def same_content(self, joined: Any, content: Any) -> bool:
        """Compare joined pieces with a whole answer's content."""
        return bool(joined == content)

    def says_something(self, piece: Any) -> bool:
        """Say whether a piece carries a part of the answer."""
        return True

    def check_pieces(self, pieces: list[Any], answer: Any) -> None:
        """Check what else must hold of a stream's pieces; ``answer`` is the whole one."""

    def check_partial(self, partial: Any, whole: Any) -> None:
        """Check what a stream kept that was left early; ``whole`` is what it would have given."""

    @on_loop
    async def test_a_stream_gives_what_the_whole_answer_holds(self, model: Any) -> None:
        """Its pieces join to the whole answer, and so does its ``response``."""
        question = self.questions(1)[0]
        answer = await self.ask(model, question)
        stream = self.stream(model, question)
        pieces = [piece async for piece in stream]
        assert pieces, "the stream gave nothing"
        joined = self.joined(pieces)
        assert self.same_content(joined, self.content(answer)), (
            f"the pieces join to {joined!r}, and the whole answer is {self.content(answer)!r}"
        )
        self.check_same(stream.response, answer)
        self.check_pieces(pieces, answer)
        check_repr(stream)
        for piece in pieces:
            check_json(piece)
            check_repr(piece)

    @pytest.mark.parametrize(
        "way", ["await it", "enter it", "read it at once", "await, then enter"]
    )
    @on_loop
    async def test_a_stream_begins_in_any_way(self, model: Any, way: str) -> None:
        """It can be awaited, entered, or read at once."""
        question = self.questions(1)[0]
        stream = self.stream(model, question)
        if way.startswith("await"):
            assert await stream is stream, "awaiting a stream gives the stream"
        if way.endswith("enter") or way == "enter it":
            async with stream as entered:
                pieces = [piece async for piece in entered]
        else:
            pieces = [piece async for piece in stream]
        joined = self.joined(pieces)
        assert self.same_content(joined, self.content(await self.ask(model, question)))

    @pytest.mark.parametrize("way", WAYS_TO_LEAVE)
    @on_loop
    async def test_leaving_a_stream_frees_the_model(self, model: Any, way: str) -> None:
        """Whichever way it is left, what came is kept and the next request is answered."""
        question = self.questions(1)[0]
        expected = await self.ask(model, question)
        whole = await self.ask(model, self.long_question())
        partial = await self.leave(self.stream(model, self.long_question()), way)
        if partial is not None:
            self.check_partial(partial, whole)
        self.check_same(await self.ask(model, question), expected)

    @pytest.mark.parametrize("way", WAYS_TO_LEAVE)
    @on_loop
    async def test_leaving_a_stream_stops_the_engine(self, model: Any, way: str) -> None:
        """The engine works no further for a reader that has gone."""
        short = self.questions(1)[0]
        await self.ask(model, short)
        with Ticks() as ticks:

            async def stop() -> tuple[int, int]:
                whole = await ticks.during(self._read(model, self.long_question()))
                alone = await ticks.during(self.ask(model, short))
                stream = self.stream(model, self.long_question())
                pieces = aiter(stream)
                await self._first(pieces)
                before = ticks.count
                # Only the next request shows when an engine stopped that nobody waits for.
                await self.leave(stream, way, pieces)
                del stream, pieces
                await self.ask(model, short)
                return ticks.count - before - alone, whole

            await self.check_stops_early(stop)

    @on_loop
    async def test_streams_left_early_do_not_touch_the_others(self, model: Any) -> None:
        """Of several streams at once some are left, and the rest give their own answers."""
        questions = self.questions(6)
        alone = [self.content(await self.ask(model, question)) for question in questions]

        async def read(number: int) -> Any:
            stream = self.stream(model, questions[number])
            if number % 2:
                return await self.leave(stream, "break")
            return self.joined([piece async for piece in stream])

        together = await asyncio.gather(*map(read, range(len(questions))))
        for number in range(0, len(questions), 2):
            assert self.same_content(together[number], alone[number]), (
                f"beside streams that were left, {questions[number]!r} was answered with "
                f"{together[number]!r}, and alone with {alone[number]!r}"
            )

    @on_loop
    async def test_a_stream_that_nobody_starts_costs_nothing(self, model: Any) -> None:
        """Made and dropped, it leaves no warning and no trace."""
        question = self.questions(1)[0]
        self.stream(model, question)
        await self.stream(model, question).aclose()
        self.check_same(await self.ask(model, question), await self.ask(model, question))

    @on_loop
    async def test_closing_twice_and_reading_on_are_harmless(self, model: Any) -> None:
        """After its end a stream gives nothing more, and closing it again does nothing."""
        stream = self.stream(model, self.questions(1)[0])
        kept = await stream.collect()
        await stream.aclose()
        await stream.aclose()
        assert [piece async for piece in stream] == []
        self.check_same(stream.response, kept)

    def test_streams_without_a_loop(self, model: Any) -> None:
        """``blazen.blocking(model)`` gives streams for a plain ``for``, which may be left early."""
        question = self.questions(1)[0]

        async def once() -> Any:
            return self.content(await self.ask(model, question))

        expected = run_watched(once, self.limit_seconds)
        face = blazen.blocking(model)
        pieces = list(self.stream(face, question))
        assert self.same_content(self.joined(pieces), expected)
        for _ in self.stream(face, self.long_question()):
            break
        assert self.same_content(self.joined(list(self.stream(face, question))), expected)

    async def leave(self, stream: Any, way: str, pieces: AsyncIterator[Any] | None = None) -> Any:
        """Leave a stream after its first piece; give what it kept, unless it is dropped."""
        if way == "aclose":
            await self._first(pieces or stream)
            await stream.aclose()
        elif way == "break":
            async for piece in pieces or stream:
                if self.says_something(piece):
                    break
        elif way == "leave the with":
            async with stream:
                await self._first(pieces or stream)
        elif way == "cancel the task":
            await self._read_and_cancel(pieces or stream)
        else:
            await self._first(pieces or stream)
            del stream, pieces
            gc.collect()
            return None
        return stream.response

    async def _first(self, pieces: Any) -> None:
        while not self.says_something(await anext(pieces)):
            pass

    async def _read(self, model: Any, question: Any) -> None:
        async for _ in self.stream(model, question):
            pass

    async def _read_and_cancel(self, pieces: Any) -> None:
        seen = asyncio.Event()

        async def read() -> None:
            async for piece in pieces:
                if self.says_something(piece):
                    seen.set()
            seen.set()

        task = asyncio.create_task(read())
        await seen.wait()
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):  # a quick engine may have finished
            await task
