"""What every suite has: questions, answers that can be compared, and what must hold for any model.

The suites know nothing of an engine. Each protocol's suite says what a request is (`questions`,
`ask`) and when two answers are the same (`same`); a backend's author overrides what does not fit.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterable, Awaitable, Callable
from typing import Any

import pytest

import blazen
from blazen.errors import BlazenError
from blazen.testing.running import Ticks, cancelled, on_loop, run_watched


class Suite:
    """What holds for a model of any kind. Inherit a protocol's suite, not this one."""

    protocol: type = object
    """The protocol that the model fulfils."""
    limit_seconds = 300.0
    """After this long a test counts as hanging."""
    concurrency = 20
    """How many requests are made at once."""
    stops_early = True
    """Whether the engine stops when its caller goes; ``False`` where it can't be interrupted."""

    @pytest.fixture
    def model(self) -> Any:
        """Give the model to test. Override this; with ``scope="class"`` it loads less often."""
        raise NotImplementedError(f"{type(self).__name__} needs a fixture 'model' that gives one")

    def questions(self, count: int) -> list[Any]:
        """Give different inputs for requests that are quickly answered."""
        raise NotImplementedError

    def long_question(self) -> Any:
        """Give an input for a request that takes a while: there must be time to cancel it."""
        raise NotImplementedError

    async def ask(self, model: Any, question: Any) -> Any:
        """Make a request."""
        raise NotImplementedError

    def same(self, answer: Any, expected: Any) -> bool:
        """Compare two answers to one question."""
        return bool(answer == expected)

    def check_same(self, answer: Any, expected: Any) -> None:
        """Fail where two answers to one question differ."""
        assert self.same(answer, expected), f"{answer!r} is not the answer {expected!r}"

    async def check_refused(
        self, request: Callable[[], Any], error: type[BaseException] = blazen.ValidationError
    ) -> None:
        """Fail where a request is not refused, with the right error and a message."""
        try:
            with pytest.raises(error) as refusal:
                await _to_the_end(request)
        except Exception as other:
            raise AssertionError(
                f"{error.__name__} was expected, not {type(other).__name__}: {other}"
            ) from other
        assert str(refusal.value).strip(), "the error says nothing"

    async def check_answers_or_blazen_error(self, model: Any, question: Any) -> None:
        """Fail where an odd request brings another error than a `BlazenError`, or does harm."""
        try:
            await self.ask(model, question)
        except BlazenError:
            pass
        except Exception as other:
            raise AssertionError(f"{type(other).__name__} came out raw: {other}") from other
        await self.ask(model, self.questions(1)[0])

    def test_it_fulfils_the_protocol(self, model: Any) -> None:
        """It has the methods, by inheritance or not."""
        assert isinstance(model, self.protocol)

    def test_the_model_prints_well(self, model: Any) -> None:
        """Its repr is written for people."""
        check_repr(model)

    @on_loop
    async def test_answers_are_repeatable(self, model: Any) -> None:
        """The same question has the same answer, and the answer serialises and prints."""
        question = self.questions(1)[0]
        first = await self.ask(model, question)
        self.check_same(await self.ask(model, question), first)
        check_json(first)
        check_repr(first)

    @on_loop
    async def test_concurrent_requests_each_get_their_own_answer(self, model: Any) -> None:
        """Many at once are answered as they are one by one."""
        questions = self.questions(self.concurrency)
        alone = [await self.ask(model, question) for question in questions]
        together = await asyncio.gather(*(self.ask(model, question) for question in questions))
        for question, answer, expected in zip(questions, together, alone, strict=True):
            assert self.same(answer, expected), (
                f"asked {question!r} beside others, it answered {answer!r}, and alone {expected!r}"
            )

    @on_loop
    async def test_the_loop_goes_on_while_the_engine_works(self, model: Any) -> None:
        """The engine is off the loop's thread: the loop gives signs of life during requests."""
        await self.ask(model, self.questions(1)[0])  # loading is another test's matter
        with Ticks() as ticks:
            while ticks.count < 50:
                await self.ask(model, self.long_question())
            counted, answered = ticks.count, ticks.answered
        # Pure Python engines share the interpreter's lock with the loop: hence not each tick.
        assert answered * 5 >= counted, (
            f"the loop gave {answered} signs of life in {counted} ticks: the engine blocks it"
        )

    @on_loop
    async def test_a_cancelled_request_frees_the_model(self, model: Any) -> None:
        """Cancelled in its middle, a request ends early, and the next is answered as ever."""
        question = self.questions(1)[0]
        expected = await self.ask(model, question)
        with Ticks() as ticks:

            async def stop() -> tuple[int, int]:
                whole = await ticks.during(self.ask(model, self.long_question()))
                task = asyncio.create_task(self.ask(model, self.long_question()))
                await ticks.pass_by(whole // 4)
                if task.done():
                    return 0, whole
                before = ticks.count
                await cancelled(task)
                return ticks.count - before, whole

            await self.check_stops_early(stop)
        self.check_same(await self.ask(model, question), expected)

    @on_loop
    async def test_a_request_cancelled_at_once_frees_the_model(self, model: Any) -> None:
        """Cancelled before it began, or queued behind another, it costs the others nothing."""
        question = self.questions(1)[0]
        expected = await self.ask(model, question)
        tasks = [asyncio.create_task(self.ask(model, question)) for _ in range(6)]
        await asyncio.sleep(0)
        for task in tasks[1::2]:
            task.cancel()
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        for answer in answers[::2]:
            self.check_same(answer, expected)
        assert all(isinstance(answer, asyncio.CancelledError) for answer in answers[1::2])
        self.check_same(await self.ask(model, question), expected)

    async def check_stops_early(self, stop: Callable[[], Awaitable[tuple[int, int]]]) -> None:
        """Fail where stopping takes as long as going on.

        ``stop`` gives the ticks that it took to stop, and those of a whole request. A busy machine
        may let a thread wait for as long; an engine that never hears of it fails each time.
        """
        for _ in range(3):
            ticks, whole = await stop()
            # Below this, the machine's own noise is as large as what would be compared.
            if not self.stops_early or whole < 40 or ticks * 2 < whole:
                return
        pytest.fail(
            f"it took {ticks} ticks to stop, of a request that takes {whole} in all: "
            "the engine does not stop when its caller goes"
        )

    def test_two_loops_at_once(self, model: Any) -> None:
        """Two event loops in two threads may share the model."""
        questions = self.questions(4)

        async def one_by_one() -> list[Any]:
            return [await self.ask(model, question) for question in questions]

        expected = run_watched(one_by_one, self.limit_seconds)
        answers: dict[int, list[Any] | BaseException] = {}
        start = threading.Barrier(2)

        def serve(number: int) -> None:
            start.wait()
            try:
                answers[number] = run_watched(one_by_one, self.limit_seconds)
            except BaseException as error:  # noqa: BLE001 - compared below
                answers[number] = error

        threads = [threading.Thread(target=serve, args=(number,)) for number in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for got in answers.values():
            if isinstance(got, BaseException):
                raise got
            for answer, wanted in zip(got, expected, strict=True):
                self.check_same(answer, wanted)

    def test_callers_without_a_loop(self, model: Any) -> None:
        """``blazen.blocking(model)`` gives the same answers."""
        question = self.questions(1)[0]

        async def once() -> Any:
            return await self.ask(model, question)

        expected = run_watched(once, self.limit_seconds)
        self.check_same(self.ask_blocking(blazen.blocking(model), question), expected)

    def ask_blocking(self, model: Any, question: Any) -> Any:
        """Make a request of a blocking model."""
        # A blocking method answers at once, so there is nothing left in `ask` to wait for.
        request = self.ask(_Awaited(model), question)
        try:
            request.send(None)
        except StopIteration as end:
            return end.value
        request.close()
        raise AssertionError("a blocking method gave something that is still to be awaited")


class _Awaited:
    """A blocking model whose answers can be awaited, for code that is written for both."""

    def __init__(self, model: Any) -> None:
        self._model = model

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._model, name)

        async def call(*args: Any, **kwargs: Any) -> Any:
            return method(*args, **kwargs)

        return call


async def _to_the_end(request: Callable[[], Any]) -> None:
    answer = request()
    if isinstance(answer, AsyncIterable):
        async for _ in answer:
            pass
    elif isinstance(answer, Awaitable):
        await answer


def check_json(value: Any) -> None:
    """Fail where a value does not come back from JSON as it was."""
    text = json.dumps(value.to_dict())
    again = type(value).from_dict(json.loads(text))
    assert again == value, f"{value!r} came back from JSON as {again!r}"


def check_repr(value: Any) -> None:
    """Fail where a repr is of no use to people."""
    text = repr(value)
    assert type(value).__name__ in text, f"the repr does not name the type: {text:.200}"
    assert " object at 0x" not in text, f"the repr is Python's own: {text:.200}"
    assert "\\x" not in text, f"the repr dumps bytes: {text:.200}"
    assert len(text) < 10_000, f"the repr dumps all that it holds: {text:.200}"
