"""The bridge: threads, streams, cancellation, and every way for them to end."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import os
import textwrap
import threading
import weakref
from queue import SimpleQueue

import pytest

from blazen import bridge
from blazen.bridge import EngineThread, Job, StreamJob, StreamReader
from tests.programs import run_python

WAIT = 20  # seconds: an upper limit for what must happen, never a measure


class Engine:
    def __init__(self) -> None:
        self.closed = threading.Event()
        self.calls_at_once = 0
        self.most_at_once = 0
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        with self._lock:
            self.calls_at_once += 1
            self.most_at_once = max(self.most_at_once, self.calls_at_once)

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self.calls_at_once -= 1


@pytest.fixture
async def thread():
    """A thread with an open engine; at the end it stops, and is seen to."""
    thread = EngineThread("test", close=lambda engine: engine.closed.set())
    await bridge.outcome(thread.open(lambda job: Engine()))
    yield thread
    await asyncio.wait_for(bridge.wait(thread.stop()), WAIT)
    for left in threading.enumerate():
        if left.name.startswith("blazen:test"):
            left.join(WAIT)  # it has closed the engine, and needs a moment to end
            assert not left.is_alive()


async def run(thread, work):
    job = Job(work)
    assert thread.submit(job)
    return await bridge.outcome(job)


def read(thread, work, limit=bridge.BUFFERED_ITEMS):
    job = StreamJob(work, limit)
    assert thread.submit(job)
    return StreamReader(job)


def emit_forever(stopped):
    def work(job):
        number = 0
        while job.emit(number):
            number += 1
        stopped.set()

    return work


async def test_work_runs_on_the_engines_own_thread(thread):
    name = await run(thread, lambda job: threading.current_thread().name)
    assert name.startswith("blazen:test")


async def test_an_exception_arrives_with_its_cause(thread):
    def work(job):
        try:
            raise OSError("disk")
        except OSError as error:
            raise ValueError("read") from error

    with pytest.raises(ValueError, match="read") as caught:
        await run(thread, work)
    assert isinstance(caught.value.__cause__, OSError)
    assert await run(thread, lambda job: 1) == 1


async def test_context_variables_reach_the_engine(thread):
    variable = contextvars.ContextVar("variable", default="none")
    variable.set("mine")
    assert await run(thread, lambda job: variable.get()) == "mine"


async def test_cancelling_waits_until_the_engine_has_stopped(thread):
    started, stopped = threading.Event(), threading.Event()

    def work(job):
        told = threading.Event()
        job.on_cancel(told.set)
        started.set()
        assert told.wait(WAIT)
        assert job.cancelled
        stopped.set()

    task = asyncio.create_task(run(thread, work))
    await asyncio.to_thread(started.wait, WAIT)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert stopped.is_set()
    assert await run(thread, lambda job: "usable") == "usable"


async def test_a_job_cancelled_in_the_queue_never_runs_and_is_not_waited_for(thread):
    gate, ran = threading.Event(), []
    first = asyncio.create_task(run(thread, lambda job: gate.wait(WAIT)))
    second = asyncio.create_task(run(thread, lambda job: ran.append(1)))
    await asyncio.sleep(0)
    second.cancel()
    with pytest.raises(asyncio.CancelledError):
        await second  # the first still holds the thread
    gate.set()
    assert await first
    assert await run(thread, lambda job: list(ran)) == []


async def test_on_cancel_set_late_is_called_at_once():
    job, calls = Job(lambda job: None), []
    job.cancel()
    job.on_cancel(lambda: calls.append(1))
    assert calls == [1]


async def test_a_stream_loses_nothing_and_keeps_order(thread):
    def work(job):
        for number in range(20_000):
            job.emit(number)

    assert [number async for number in read(thread, work)] == list(range(20_000))


async def test_all_that_is_ready_crosses_with_one_wake_up(thread):
    """The loop stands still while 200 items are emitted: one wake-up must carry them all."""
    emitted, wakes = threading.Event(), []
    loop = asyncio.get_running_loop()
    plain = loop.call_soon_threadsafe
    loop.call_soon_threadsafe = lambda *args: (wakes.append(1), plain(*args))[1]
    go = threading.Event()

    def work(job):
        go.wait(WAIT)
        for number in range(200):
            job.emit(number)
        emitted.set()

    reader = read(thread, work)
    first = asyncio.create_task(reader.__anext__())
    await asyncio.sleep(0.01)
    go.set()
    assert emitted.wait(WAIT)
    wakes_while_emitting = len(wakes)
    assert await first == 0
    assert [number async for number in reader] == list(range(1, 200))
    assert wakes_while_emitting == 1


async def test_an_engine_is_held_back_when_no_one_reads(thread):
    emitted = []

    def work(job):
        for number in range(1000):
            emitted.append(number)
            job.emit(number)

    reader = read(thread, work, limit=10)
    got = [await reader.__anext__() for _ in range(25)]
    await asyncio.sleep(0.05)
    assert len(emitted) <= 25 + 2 * 10 + 1
    assert got + [number async for number in reader] == list(range(1000))


async def test_an_error_comes_after_what_was_emitted_before_it(thread):
    def work(job):
        job.emit("a")
        job.emit("b")
        raise RuntimeError("late")

    reader = read(thread, work)
    assert [await reader.__anext__(), await reader.__anext__()] == ["a", "b"]
    with pytest.raises(RuntimeError, match="late"):
        await reader.__anext__()


async def test_closing_stops_the_engine(thread):
    stopped = threading.Event()
    reader = read(thread, emit_forever(stopped))
    assert await reader.__anext__() == 0
    await reader.aclose()
    assert stopped.is_set()
    await reader.aclose()
    assert await run(thread, lambda job: "usable") == "usable"


async def test_cancelling_the_reader_stops_the_engine(thread):
    started, stopped = threading.Event(), threading.Event()

    def work(job):
        job.on_cancel(stopped.set)
        started.set()
        assert stopped.wait(WAIT)

    reader = read(thread, work)
    task = asyncio.create_task(reader.__anext__())
    await asyncio.to_thread(started.wait, WAIT)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert stopped.is_set()


async def test_dropping_the_reader_stops_the_engine(thread):
    stopped = threading.Event()
    reader = read(thread, emit_forever(stopped))
    assert await reader.__anext__() == 0
    del reader
    gc.collect()
    assert await asyncio.to_thread(stopped.wait, WAIT)


async def test_dropping_a_reader_under_constant_collection_never_deadlocks(thread):
    """Finalizers then run inside every other call, where taking a lock would hang."""
    threshold = gc.get_threshold()
    gc.freeze()  # or each collection goes through all that the tests before this one left
    gc.set_threshold(1, 1, 1)
    try:
        for _ in range(50):
            stopped = threading.Event()
            reader = read(thread, emit_forever(stopped), limit=4)
            await reader.__anext__()
            cycle = [reader]
            cycle.append(cycle)
            del cycle, reader
            assert await asyncio.to_thread(stopped.wait, WAIT)
    finally:
        gc.set_threshold(*threshold)
        gc.unfreeze()


async def test_stopping_does_not_wait_for_a_reader_that_stalls(thread):
    def work(job):
        for number in range(100):
            job.emit(number)

    reader = read(thread, work, limit=5)
    assert await reader.__anext__() == 0
    await asyncio.wait_for(bridge.wait(thread.stop()), WAIT)
    assert [number async for number in reader] == list(range(1, 100))


async def test_a_stopping_thread_takes_no_job(thread):
    thread.stop()
    assert thread.is_stopping
    assert not thread.submit(Job(lambda job: None))


async def test_the_loop_goes_on_while_the_engine_works(thread):
    release, ticks = threading.Event(), 0
    work = asyncio.create_task(run(thread, lambda job: release.wait(WAIT)))
    for _ in range(1000):
        await asyncio.sleep(0)
        ticks += 1
    assert not work.done()
    release.set()
    assert await work
    assert ticks == 1000


async def test_a_reader_that_always_finds_items_lets_others_run(thread):
    ticks, done = 0, False

    async def tick():
        nonlocal ticks
        while not done:
            ticks += 1
            await asyncio.sleep(0)

    def work(job):
        for number in range(20_000):
            job.emit(number)

    ticking = asyncio.create_task(tick())
    count = 0
    async for _ in read(thread, work):
        count += 1
    done = True
    await ticking
    assert ticks >= count / bridge.BUFFERED_ITEMS


@pytest.mark.parametrize("width", [1, 3])
async def test_width_is_how_many_calls_run_at_once(width):
    thread = EngineThread("wide", close=lambda engine: None, width=width)
    await bridge.outcome(thread.open(lambda job: Engine()))
    together = threading.Barrier(width)

    def work(job):
        with thread.engine:
            together.wait(WAIT)

    await asyncio.gather(*(run(thread, work) for _ in range(2 * width)))
    assert thread.engine.most_at_once == width
    await bridge.wait(thread.stop())


async def test_the_engine_is_closed_when_its_owner_is_dropped():
    closed = threading.Event()
    thread = EngineThread("dropped", close=lambda engine: closed.set())
    await bridge.outcome(thread.open(lambda job: Engine()))
    del thread
    gc.collect()
    assert await asyncio.to_thread(closed.wait, WAIT)


async def test_a_stopped_engine_is_not_kept_alive(thread):
    engine = weakref.ref(thread.engine)
    await bridge.wait(thread.stop())
    assert engine() is None


async def test_jobs_are_freed_without_the_collector(thread):
    gc.collect()
    gc.disable()
    try:
        job = Job(lambda job: 1)
        thread.submit(job)
        assert await bridge.outcome(job) == 1
        gone = weakref.ref(job)
        del job
        await run(thread, lambda job: None)
        assert gone() is None
    finally:
        gc.enable()


def test_two_loops_use_one_engine():
    thread = EngineThread("shared", close=lambda engine: None)
    asyncio.run(_open(thread))
    results = []

    def client(number):
        async def main():
            def work(job):
                for item in range(500):
                    job.emit((number, item))

            got = [item async for item in read(thread, work, limit=7)]
            results.append(got == [(number, item) for item in range(500)])

        asyncio.run(main())

    clients = [threading.Thread(target=client, args=(n,)) for n in range(4)]
    for one in clients:
        one.start()
    for one in clients:
        one.join(WAIT)
    assert results == [True] * 4
    asyncio.run(_close(thread))


def test_a_loop_that_closes_in_mid_stream_frees_the_engine():
    thread = EngineThread("orphaned", close=lambda engine: None)
    asyncio.run(_open(thread))
    stopped, kept = threading.Event(), []

    async def leave():
        reader = read(thread, emit_forever(stopped), limit=3)
        await reader.__anext__()
        kept.append(reader)  # still referred to, but its loop is gone

    asyncio.run(leave())

    async def after():
        kept[0].abandon()
        return await run(thread, lambda job: "usable")

    assert asyncio.run(asyncio.wait_for(after(), WAIT)) == "usable"
    assert stopped.is_set()
    asyncio.run(_close(thread))


def test_a_result_for_a_closed_loop_is_dropped_in_silence(caplog):
    thread = EngineThread("silent", close=lambda engine: None)
    asyncio.run(_open(thread))
    release = threading.Event()
    job = Job(lambda job: release.wait(WAIT))

    async def leave():
        thread.submit(job)
        waiting = asyncio.ensure_future(bridge.wait(job.future))
        await asyncio.sleep(0.01)
        waiting.cancel()

    asyncio.run(leave())
    release.set()
    assert job.future.result(WAIT)
    asyncio.run(_close(thread))
    assert caplog.records == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_fork_is_refused_with_a_reason():
    code = """
    import asyncio, os, sys
    from blazen import bridge
    from blazen.bridge import EngineThread, Job
    thread = EngineThread("forked", close=lambda engine: None)
    async def open(): await bridge.outcome(thread.open(lambda job: object()))
    asyncio.run(open())
    child = os.fork()
    if child == 0:
        for use in (lambda: thread.submit(Job(lambda job: None)), thread.stop):
            try:
                use()
            except Exception as error:
                print(type(error).__name__, error, flush=True)
        sys.exit(0)
    os.waitpid(child, 0)
    """
    said = run_python(code, "-W", "ignore::DeprecationWarning")
    assert said.count("BlazenError forked was loaded in process") == 2
    assert "load it after forking" in said


EXITS = {
    "idle": "",
    "in a call that can be stopped": """
        def work(job):
            told = threading.Event()
            job.on_cancel(told.set)
            started.set()
            told.wait()
        thread.submit(Job(work)); started.wait()
    """,
    "in mid-stream": """
        def work(job):
            started.set()
            while job.emit(0): pass
        job = StreamJob(work); thread.submit(job); started.wait()
        reader = StreamReader(job)
    """,
    "with a queue": """
        def work(job):
            told = threading.Event()
            job.on_cancel(told.set)
            started.set()
            told.wait()
        thread.submit(Job(work)); started.wait()
        for _ in range(50): thread.submit(Job(lambda job: time.sleep(60)))
    """,
}


@pytest.mark.parametrize("state", EXITS)
def test_the_interpreter_ends_in_silence_and_closes_the_engine(state):
    code = f"""
    import asyncio, threading, time
    from blazen import bridge
    from blazen.bridge import EngineThread, Job, StreamJob, StreamReader
    started = threading.Event()
    thread = EngineThread("exit", close=lambda engine: print("closed", flush=True))
    async def main():
        await bridge.outcome(thread.open(lambda job: object()))
{textwrap.indent(textwrap.dedent(EXITS[state]), " " * 8)}
    asyncio.run(main())
    """
    assert run_python(code, "-W", "error", "-X", "dev") == "closed"


def test_the_interpreter_waits_for_the_engine_of_a_dropped_model():
    """It closes on its own thread: torch aborts the process where it is still freeing then."""
    code = """
    import asyncio, atexit, threading
    from blazen import bridge
    closing, ending = threading.Event(), threading.Event()
    def close(engine):
        closing.set()
        ending.wait()
        print("closed", flush=True)
    async def main():
        thread = bridge.EngineThread("dropped", close=close)
        await bridge.outcome(thread.open(lambda job: object()))
    asyncio.run(main())
    closing.wait()
    join = threading.Thread.join
    threading.Thread.join = lambda one, timeout=None: (ending.set(), join(one, timeout))
    atexit._run_exitfuncs()
    print([one.name for one in threading.enumerate() if one.name.startswith("blazen:")])
    """
    assert run_python(code, "-W", "error", "-X", "dev") == "closed\n[]"


def test_the_interpreter_does_not_wait_for_ever_for_an_engine_that_will_not_stop():
    code = """
    import asyncio, threading, time
    from blazen import bridge
    bridge.EXIT_GRACE_SECONDS = 0.2
    thread = bridge.EngineThread("deaf", close=lambda engine: None)
    started = threading.Event()
    async def main():
        await bridge.outcome(thread.open(lambda job: object()))
        thread.submit(bridge.Job(lambda job: (started.set(), time.sleep(600))))
        started.wait()
    asyncio.run(main())
    print("end")
    """
    assert run_python(code, "-W", "error") == "end"


def test_an_engine_in_use_can_not_be_asked_for_before_it_is_open():
    thread: EngineThread[Engine] = EngineThread("closed", close=lambda engine: None)
    with pytest.raises(AssertionError):
        _ = thread.engine
    assert thread.stop().done()


async def _open(thread):
    await bridge.outcome(thread.open(lambda job: Engine()))


async def _close(thread):
    await bridge.wait(thread.stop())


async def test_a_thread_that_ends_while_it_is_stopped_is_closed_once():
    class EndsAtOnce:
        """A queue whose reader has ended by the time that it was told to."""

        def __init__(self) -> None:
            self._queue: SimpleQueue = SimpleQueue()
            self.get = self._queue.get

        def put(self, job) -> None:
            self._queue.put(job)
            if job is None and threading.current_thread() is threading.main_thread():
                for left in threading.enumerate():
                    if left.name.startswith("blazen:quick"):
                        left.join(WAIT)

    thread = EngineThread("quick", close=lambda engine: engine.closed.set())
    thread._state._queue = EndsAtOnce()
    await bridge.outcome(thread.open(lambda job: Engine()))
    closed = thread.stop()
    assert closed.done()
    assert closed.result() is None


async def test_one_thread_may_serve_several_readers_without_waiting_for_any(thread):
    """`push` never blocks: it tells who is far behind, and that call's own thread waits."""
    told = SimpleQueue()

    def work(job):
        told.put([job.push(number) for number in range(4)])
        told.put(job.wait_room())

    reader = read(thread, work, limit=3)
    assert told.get(timeout=WAIT) == [True, True, False, False]
    assert told.empty(), "the reader has taken nothing yet"
    assert [number async for number in reader] == [0, 1, 2, 3]
    assert told.get(timeout=WAIT) is True


async def test_who_waits_for_room_hears_that_the_reader_has_gone(thread):
    told = SimpleQueue()

    def work(job):
        job.push(1)
        told.put("full")
        told.put(job.wait_room())

    reader = read(thread, work, limit=1)
    assert told.get(timeout=WAIT) == "full"
    await reader.aclose()
    assert told.get(timeout=WAIT) is False


async def test_who_wants_the_whole_is_woken_once(thread):
    woken = []

    def work(job):
        for number in range(2000):  # more than an engine may else run ahead
            job.emit(number)

    reader = read(thread, work)
    loop = asyncio.get_running_loop()
    wake = loop.call_soon_threadsafe
    loop.call_soon_threadsafe = lambda *args: woken.append(args) or wake(*args)
    try:
        reader.gather()
        assert [number async for number in reader] == list(range(2000))
    finally:
        del loop.call_soon_threadsafe
    assert len(woken) <= 2


async def test_who_wants_the_whole_may_still_leave(thread):
    going = threading.Event()

    def work(job):
        while job.emit(0):
            going.set()

    reader = read(thread, work)
    reader.gather()
    task = asyncio.create_task(anext(aiter(reader)))
    await asyncio.to_thread(going.wait)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await asyncio.wait_for(reader.aclose(), 30)


async def test_items_can_be_handed_on_where_they_come_from_and_none_is_lost(thread):
    early, go_on = threading.Event(), threading.Event()
    heard = []

    def work(job):
        for number in range(3):
            job.emit(number)
        early.set()
        go_on.wait(WAIT)
        for number in range(3, 1000):
            job.emit(number)

    reader = read(thread, work, limit=10)
    await asyncio.to_thread(early.wait, WAIT)
    task = asyncio.create_task(
        reader.hand_on(lambda item: heard.append((item, threading.current_thread().name)))
    )
    await asyncio.sleep(0)
    go_on.set()
    await asyncio.wait_for(task, WAIT)
    assert [item for item, _ in heard] == list(range(1000))
    assert {name for item, name in heard if item >= 3} == {"blazen:test:1"}


async def test_an_engine_that_is_held_back_goes_on_when_it_may(thread):
    heard: SimpleQueue[int] = SimpleQueue()

    def hear(item):
        if item == 4:
            reader.hold()
        heard.put(item)

    def work(job):
        begun.wait(WAIT)
        for number in range(10):
            job.emit(number)

    begun = threading.Event()
    reader = read(thread, work)
    task = asyncio.create_task(reader.hand_on(hear))
    await asyncio.sleep(0)
    begun.set()
    assert [await asyncio.to_thread(heard.get, timeout=WAIT) for _ in range(5)] == list(range(5))
    await asyncio.sleep(0.05)
    assert heard.empty()
    reader.go_on()
    await asyncio.wait_for(task, WAIT)
    assert [heard.get_nowait() for _ in range(5)] == list(range(5, 10))


def test_an_engine_let_go_for_good_in_the_middle_of_being_held_is_free():
    class Torn(StreamJob):
        """Let go, as by another thread, just before it is held."""

        def __setattr__(self, name, value):
            if name == "_held" and value:
                self.release()
            super().__setattr__(name, value)

    job = Torn(lambda job: None)
    job.hold()
    assert not job._is_full()


async def test_who_wants_the_whole_is_not_held_back(thread):
    heard = []

    def hear(item):
        reader.hold()
        heard.append(item)

    def work(job):
        for number in range(10):
            job.emit(number)

    reader = read(thread, work)
    reader.gather()
    await asyncio.wait_for(reader.hand_on(hear), WAIT)
    assert heard == list(range(10))


async def test_what_ends_an_engine_comes_out_where_its_items_are_handed_on(thread):
    def fail(job):
        job.emit("a")
        raise RuntimeError("late")

    heard = []
    with pytest.raises(RuntimeError, match="late"):
        await read(thread, fail).hand_on(heard.append)
    assert heard == ["a"]

    started, stopped = threading.Event(), threading.Event()
    task = asyncio.create_task(
        read(thread, emit_forever(stopped)).hand_on(lambda item: started.set())
    )
    await asyncio.to_thread(started.wait, WAIT)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert stopped.is_set()
