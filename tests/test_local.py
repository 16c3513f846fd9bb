"""The lifecycle that every local backend shares."""

from __future__ import annotations

import asyncio
import dataclasses
import gc
import logging
import threading
import weakref

import pytest

from blazen import hardware
from blazen.errors import BlazenError, InferenceError, LoadError, ValidationError
from blazen.local import FixedThreads, LocalBackend
from blazen.protocols.local import SharesThreads, Sized, Threaded
from blazen.types.footprint import Footprint
from blazen.types.progress import Progress
from blazen.types.stream import Stream

WAIT = 20


@dataclasses.dataclass(frozen=True)
class Options:
    model_id: str = "toy"


class Engine:
    opened = 0

    def __init__(self):
        Engine.opened += 1
        self.is_open = True


class Toy(LocalBackend[Engine]):
    """A backend whose load can be held, stopped and made to fail."""

    def __init__(self):
        super().__init__(Options())
        self.may_load = threading.Event()
        self.may_load.set()
        self.loading = threading.Event()
        self.fail: Exception | None = None
        self.engines: list[Engine] = []

    def _open(self, job, report):
        self.loading.set()
        report(Progress("load", 0, 2, unit="steps"))
        while not self.may_load.wait(0.01):
            if job.cancelled:
                raise LoadError("stopped")
        if self.fail is not None:
            raise self.fail
        report(Progress("load", 2, 2, unit="steps"))
        engine = Engine()
        self.engines.append(engine)
        return engine

    @staticmethod
    def _close(engine):
        engine.is_open = False

    async def ask(self, work=lambda engine, job: engine.is_open):
        return await self._call(work)

    def stream(self, count=10):
        def work(engine, job):
            for number in range(count):
                if not job.emit(number):
                    return

        return Numbers(lambda: self._source(work))


class Numbers(Stream[int, list]):
    def __init__(self, *args):
        super().__init__(*args)
        self._numbers = []

        self.was_whole = False

    def _add(self, piece):
        self._numbers.append(piece)

    def _end(self, *, whole):
        self.was_whole = whole

    @property
    def response(self):
        return list(self._numbers)


@pytest.fixture
async def toy():
    Engine.opened = 0
    toy = Toy()
    yield toy
    toy.may_load.set()
    await toy.unload()


async def test_load_and_unload_are_idempotent(toy):
    assert not toy.is_loaded
    await toy.unload()
    await toy.load()
    await toy.load()
    assert toy.is_loaded
    assert Engine.opened == 1
    await toy.unload()
    await toy.unload()
    assert not toy.is_loaded
    assert not toy.engines[0].is_open


async def test_the_first_request_loads_and_one_after_unload_loads_again(toy):
    assert await toy.ask()
    await toy.unload()
    assert await toy.ask()
    assert Engine.opened == 2


async def test_all_who_ask_share_one_load(toy):
    toy.may_load.clear()
    asks = [asyncio.create_task(toy.ask()) for _ in range(20)]
    await asyncio.to_thread(toy.loading.wait, WAIT)
    toy.may_load.set()
    assert await asyncio.gather(*asks) == [True] * 20
    assert Engine.opened == 1


async def test_a_waiter_that_leaves_does_not_stop_the_load_of_the_others(toy):
    toy.may_load.clear()
    stays, leaves = asyncio.create_task(toy.load()), asyncio.create_task(toy.load())
    await asyncio.to_thread(toy.loading.wait, WAIT)
    leaves.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaves
    toy.may_load.set()
    await stays
    assert toy.is_loaded
    assert Engine.opened == 1


async def test_the_last_waiter_that_leaves_stops_the_load(toy):
    toy.may_load.clear()
    waiters = [asyncio.create_task(toy.load()) for _ in range(3)]
    await asyncio.to_thread(toy.loading.wait, WAIT)
    for waiter in waiters:
        waiter.cancel()
    await asyncio.gather(*waiters, return_exceptions=True)
    assert not toy.is_loaded
    assert Engine.opened == 0
    toy.may_load.set()
    assert await toy.ask()


async def test_a_load_that_fails_raises_for_all_and_can_be_tried_again(toy):
    toy.fail = OSError("no disk")
    results = await asyncio.gather(*(toy.load() for _ in range(3)), return_exceptions=True)
    for error in results:
        assert isinstance(error, LoadError)
        assert isinstance(error.__cause__, OSError)
        assert "'toy'" in str(error) or "toy" in str(error)
    assert not toy.is_loaded
    toy.fail = None
    assert await toy.ask()


async def test_a_blazen_error_while_loading_arrives_as_it_is(toy):
    toy.fail = ValidationError("bad file")
    with pytest.raises(ValidationError, match="bad file"):
        await toy.load()


async def test_unload_waits_for_the_calls_in_flight(toy):
    release, started = threading.Event(), threading.Event()

    def work(engine, job):
        started.set()
        assert release.wait(WAIT)
        return engine.is_open

    asking = asyncio.create_task(toy.ask(work))
    await asyncio.to_thread(started.wait, WAIT)
    unloading = asyncio.create_task(toy.unload())
    await asyncio.sleep(0.02)
    assert not unloading.done()
    release.set()
    assert await asking is True
    await unloading
    assert not toy.is_loaded


async def test_unloading_inside_a_stream_does_not_hang_and_loses_nothing(toy):
    got = []
    async for number in toy.stream(1000):
        got.append(number)
        if number == 3:
            await asyncio.wait_for(toy.unload(), WAIT)
    assert got == list(range(1000))


async def test_a_request_during_unload_waits_and_loads_again(toy):
    release, started = threading.Event(), threading.Event()
    asking = asyncio.create_task(
        toy.ask(lambda engine, job: (started.set(), release.wait(WAIT))[1])
    )
    await asyncio.to_thread(started.wait, WAIT)
    unloading = asyncio.create_task(toy.unload())
    await asyncio.sleep(0)
    late = asyncio.create_task(toy.ask())
    await asyncio.sleep(0.02)
    assert Engine.opened == 1
    release.set()
    assert await late is True
    await asyncio.gather(asking, unloading)
    assert Engine.opened == 2


async def test_loads_unloads_and_requests_at_once_leave_a_usable_model(toy):
    for _ in range(20):
        await asyncio.gather(
            *(toy.load() for _ in range(3)),
            *(toy.unload() for _ in range(3)),
            *(toy.ask() for _ in range(3)),
        )
    assert await toy.ask() is True
    await toy.unload()
    assert not any(engine.is_open for engine in toy.engines)


async def test_an_engines_exception_becomes_an_inference_error(toy):
    def work(engine, job):
        raise KeyError("engine")

    with pytest.raises(InferenceError, match="KeyError") as caught:
        await toy.ask(work)
    assert isinstance(caught.value.__cause__, KeyError)
    assert await toy.ask() is True


async def test_cancelling_a_request_frees_the_model(toy):
    started = threading.Event()

    def work(engine, job):
        told = threading.Event()
        job.on_cancel(told.set)
        started.set()
        assert told.wait(WAIT)

    asking = asyncio.create_task(toy.ask(work))
    await asyncio.to_thread(started.wait, WAIT)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert await toy.ask() is True


async def test_progress_is_told_on_the_callers_loop(toy):
    told = []

    def listener(progress):
        told.append((progress.done, threading.current_thread() is threading.main_thread()))

    await toy.load(on_progress=listener)
    await asyncio.sleep(0)
    assert told == [(0, True), (2, True)]


async def test_async_with_loads_and_unloads(toy):
    async with toy as model:
        assert model is toy
        assert toy.is_loaded
    assert not toy.is_loaded


async def test_a_dropped_model_closes_its_engine(toy):
    dropped = Toy()
    await dropped.load()
    engine, gone = dropped.engines[0], weakref.ref(dropped)
    del dropped
    for _ in range(1000):  # its thread may just be leaving the call that loaded it
        gc.collect()
        if gone() is None and not engine.is_open:
            break
        await asyncio.sleep(0.005)
    assert gone() is None
    assert not engine.is_open


async def test_what_it_is_and_whether_it_is_loaded_shows(toy, caplog):
    caplog.set_level(logging.INFO, "blazen")
    assert repr(toy) == "<Toy 'toy' on cpu, not loaded>"
    assert toy.memory_bytes is None
    await toy.load()
    assert repr(toy) == "<Toy 'toy' on cpu, loaded>"
    assert isinstance(toy.memory_bytes, int)
    await toy.unload()
    assert [record.message.split()[0] for record in caplog.records] == ["loaded", "unloaded"]


def test_two_loops_share_one_load():
    toy, results = Toy(), []
    Engine.opened = 0

    def client():
        async def main():
            results.append([await toy.ask() for _ in range(20)])

        asyncio.run(main())

    clients = [threading.Thread(target=client) for _ in range(4)]
    for one in clients:
        one.start()
    for one in clients:
        one.join(WAIT)
    assert results == [[True] * 20] * 4
    assert Engine.opened == 1
    asyncio.run(toy.unload())


async def test_a_stream_is_read_by_one_reader_only(toy):
    stream = await toy.stream(5)
    first = asyncio.create_task(stream.__anext__())
    second = asyncio.create_task(stream.__anext__())
    results = await asyncio.gather(first, second, return_exceptions=True)
    assert sum(isinstance(result, Exception) for result in results) <= 1
    await stream.aclose()


async def test_leaving_the_loop_keeps_what_came(toy):
    stream = toy.stream(100_000)
    async for number in stream:
        if number == 4:
            break
    assert stream.response == [0, 1, 2, 3, 4]
    assert [number async for number in stream] == []
    assert await toy.ask() is True


async def test_a_stream_that_was_never_read_starts_nothing(toy):
    stream = toy.stream(3)
    await stream.aclose()
    assert not toy.is_loaded
    assert stream.response == []


async def test_collect_gives_the_whole(toy):
    assert await toy.stream(3).collect() == [0, 1, 2]
    stream = await toy.stream(3)
    assert [number async for number in stream] == [0, 1, 2]
    async with toy.stream(3) as entered:
        assert await entered.__anext__() == 0


async def test_a_request_made_while_reading_a_stream_does_not_wait_for_its_reader(toy):
    """The stream is longer than what is buffered, and the engine takes one request at a time."""
    got = []
    async for number in toy.stream(2000):
        got.append(number)
        if number == 5:
            assert await asyncio.wait_for(toy.ask(), WAIT) is True
    assert got == list(range(2000))


async def test_a_single_piece_can_be_taken_without_keeping_the_iterator(toy):
    stream = toy.stream(5)
    assert await stream.__aiter__().__anext__() == 0
    assert stream.response == [0]


async def test_a_stream_that_others_stopped_is_not_taken_for_whole(toy):
    stream = await toy.stream(10**9)
    await stream.__anext__()
    toy._loading.thread.cancel_all()
    with pytest.raises(InferenceError, match="stopped"):
        await stream.collect()


async def test_a_dropped_model_is_freed_without_the_collector():
    gc.collect()
    gc.disable()
    try:
        dropped = Toy()
        await dropped.load()
        engine, gone = dropped.engines[0], weakref.ref(dropped)
        del dropped
        for _ in range(1000):  # its thread may just be leaving the call that loaded it
            if gone() is None and not engine.is_open:
                break
            await asyncio.sleep(0.005)
        assert gone() is None
        assert not engine.is_open
    finally:
        gc.enable()


class Panic(BaseException):
    """What engines in Rust raise."""


async def test_a_panic_is_an_error_like_any_other(toy):
    def work(engine, job):
        raise Panic("at the disco")

    with pytest.raises(InferenceError, match="Panic: at the disco"):
        await toy.ask(work)
    await toy.unload()
    toy.fail = Panic("loading")
    with pytest.raises(LoadError, match="Panic: loading"):
        await toy.load()
    toy.fail = None
    assert await toy.ask() is True


async def test_a_kept_error_keeps_no_engine():
    class Forgetful(Toy):
        def _open(self, job, report):
            engine = Engine()
            self.engine_ref = weakref.ref(engine)
            return engine

    toy = Forgetful()

    def work(engine, job):
        raise KeyError("kept")

    with pytest.raises(InferenceError) as kept:
        await toy.ask(work)
    await toy.unload()
    assert toy.engine_ref() is None
    assert "KeyError" in str(kept.value)


async def test_stopping_after_the_end_does_not_reach_the_engine(toy):
    """The engine may be busy with the next request by then."""
    calls = []

    def work(engine, job):
        job.on_cancel(lambda: calls.append(1))
        job.emit(1)

    async with Numbers(lambda: toy._source(work)) as stream:
        assert [number async for number in stream] == [1]
    assert calls == []


async def test_an_engine_that_fails_to_close_says_so_once(toy, monkeypatch):
    monkeypatch.setattr(Toy, "_close", staticmethod(lambda engine: 1 / 0))
    await toy.load()
    with pytest.raises(InferenceError, match="could not be closed"):
        await toy.unload()
    monkeypatch.undo()
    assert await toy.ask() is True


async def test_a_thread_that_can_not_start_is_told_and_tried_again(toy, monkeypatch):
    def refuse(thread):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with pytest.raises(BlazenError, match="no thread could be started"):
        await toy.load()
    monkeypatch.undo()
    assert await asyncio.wait_for(toy.ask(), WAIT) is True


async def test_a_stream_that_fails_to_start_is_never_whole(toy):
    toy.fail = OSError("no disk")
    stream = toy.stream(3)
    with pytest.raises(LoadError):
        await stream
    assert await stream.collect() == []
    assert not stream.was_whole


async def test_closing_a_stream_while_it_starts_stops_it(toy):
    toy.may_load.clear()
    stream = toy.stream(10**9)
    starting = asyncio.ensure_future(stream.__aenter__())
    await asyncio.to_thread(toy.loading.wait, WAIT)
    with pytest.raises(BlazenError, match="one reader"):
        await stream.__anext__()
    await stream.aclose()
    toy.may_load.set()
    await starting
    assert await asyncio.wait_for(toy.ask(), WAIT) is True
    assert stream.response == []


async def test_a_refused_reader_does_not_end_the_stream_of_the_other(toy):
    stream = await toy.stream(3000)
    got = []

    async def read():
        async for number in stream:
            got.append(number)
            await asyncio.sleep(0)

    first = asyncio.create_task(read())
    while not got:
        await asyncio.sleep(0)
    stream._busy = True  # as it is while the first waits for a piece
    with pytest.raises(BlazenError, match="one reader"):
        await read()
    stream._busy = False
    await first
    assert got == list(range(3000))


async def test_a_generated_stream_can_be_closed_while_it_is_read():
    cleaned = []

    async def pieces():
        try:
            yield 1
            await asyncio.sleep(600)
        finally:
            cleaned.append(True)

    stream = Numbers.of(pieces())
    reading = asyncio.create_task(stream.collect())
    while not stream.response:
        await asyncio.sleep(0)
    await asyncio.sleep(0)
    await asyncio.wait_for(stream.aclose(), WAIT)
    assert await reading == [1]
    assert cleaned == [True]


class SizedToy(Toy):
    """A backend that knows what it will take, and may be held while it looks."""

    def __init__(self):
        super().__init__()
        self.looking = threading.Event()
        self.left = threading.Event()

    def _footprint(self, job):
        self.looking.set()
        while not self.may_load.wait(0.01):
            if job.cancelled:
                self.left.set()
                raise LoadError("stopped")
        if self.fail is not None:
            raise self.fail
        return Footprint(resident={"cpu": sharing()}, per_request={"cpu": 1})


def sharing():
    return hardware.thread_budget(cores=12)


async def test_what_a_model_takes_is_said_without_loading_it(toy):
    assert await toy.footprint() is None
    sized = SizedToy()
    with hardware.sharing_cores(4):
        assert await sized.footprint() == Footprint({"cpu": 3}, per_request={"cpu": 1})
    assert not sized.is_loaded
    assert isinstance(sized, Sized)


async def test_whoever_leaves_stops_the_look_at_the_files():
    sized = SizedToy()
    sized.may_load.clear()
    task = asyncio.create_task(sized.footprint())
    assert await asyncio.to_thread(sized.looking.wait, WAIT)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert sized.left.is_set()


async def test_a_failure_to_say_it_is_an_error_of_ours():
    sized = SizedToy()
    sized.fail = KeyError("no header")
    with pytest.raises(LoadError, match="could not be sized: KeyError") as caught:
        await sized.footprint()
    assert isinstance(caught.value.__cause__, KeyError)
    sized.fail = ValidationError("no weights")
    with pytest.raises(ValidationError):
        await sized.footprint()


def test_an_engine_with_fixed_threads_keeps_the_number_that_it_loaded_with(monkeypatch):
    monkeypatch.setenv("BLAZEN_THREADS", "6")

    class Fixed(FixedThreads):
        options = Threads()

    fixed = Fixed()
    assert fixed.threads == 6
    with hardware.sharing_cores(3):
        assert fixed._take_threads() == 2
    assert fixed.threads == 2
    assert isinstance(fixed, Threaded)
    assert not isinstance(fixed, SharesThreads)


@dataclasses.dataclass(frozen=True)
class Threads:
    threads: int | None = None
