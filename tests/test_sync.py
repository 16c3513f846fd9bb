"""`blazen.blocking`: the asynchronous API without a loop, and inside a running one."""

from __future__ import annotations

import asyncio
import copy
import threading

import pytest

import blazen
from blazen.errors import BlazenError
from tests.programs import run_python


class Thing:
    """Something asynchronous, as a model or a manager is."""

    name = "thing"

    def __init__(self):
        self.closed = 0
        self.loops = set()

    async def double(self, number):
        self.loops.add(id(asyncio.get_running_loop()))
        await asyncio.sleep(0)
        return 2 * number

    async def fail(self):
        raise KeyError("inside")

    def count(self, to):
        return Counter(to)

    def lease(self):
        return Lease()

    def plain(self):
        return 7

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        self.closed += 1


class Lease:
    async def __aenter__(self):
        return Thing()

    async def __aexit__(self, *_):
        return None


class Counter:
    def __init__(self, to):
        self.to, self.at, self.closed = to, 0, False

    def __aiter__(self):
        return self

    async def __anext__(self):
        if self.at == self.to:
            raise StopAsyncIteration
        self.at += 1
        return self.at

    async def aclose(self):
        self.closed = True


def test_awaitables_are_awaited_and_the_rest_passes_through():
    thing = blazen.blocking(Thing())
    assert thing.double(3) == 6
    assert thing.plain() == 7
    assert thing.name == "thing"
    assert "Thing object" in repr(thing)


def test_exceptions_come_as_they_are():
    with pytest.raises(KeyError, match="inside"):
        blazen.blocking(Thing()).fail()


def test_streams_are_iterated_and_leaving_one_ends_it():
    thing = blazen.blocking(Thing())
    assert list(thing.count(3)) == [1, 2, 3]
    ended = threading.Event()

    async def pieces():
        try:
            while True:
                yield blazen.InferenceChunk(content="x")
        finally:
            ended.set()

    stream = blazen.InferenceChunkStream.of(pieces())
    for _ in blazen.blocking(stream):
        if len(stream.response.content) == 3:
            break
    assert ended.wait(20)
    assert stream.response.content == "xxx"


def test_an_iterator_dropped_on_the_serving_loop_does_not_hang_it():
    class Dropping:
        def __init__(self):
            self.held = iter(blazen.blocking(Counter(10)))
            next(self.held)

        async def drop(self):
            del self.held
            return "dropped"

    assert blazen.blocking(Dropping()).drop() == "dropped"
    assert blazen.blocking(Thing()).double(1) == 2


def test_copying_the_blocking_face_does_not_recurse():
    assert copy.copy(blazen.blocking(Thing())).double(1) == 2


def test_with_enters_and_leaves():
    thing = Thing()
    with blazen.blocking(thing) as face:
        assert face.double(1) == 2
    assert thing.closed == 1
    with blazen.blocking(Thing()).lease() as leased:
        assert leased.double(2) == 4


async def test_it_works_where_a_loop_runs_already():
    thing = Thing()
    assert blazen.blocking(thing).double(4) == 8
    assert thing.loops != {id(asyncio.get_running_loop())}


def test_many_threads_share_one_loop():
    thing, results = Thing(), []
    threads = [
        threading.Thread(target=lambda: results.append(blazen.blocking(thing).double(1)))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert results == [2] * 8
    assert len(thing.loops) == 1


def test_a_blocking_call_from_the_serving_loop_is_refused_instead_of_hanging():
    thing = Thing()

    class Nested:
        async def call(self):
            return blazen.blocking(thing).double(1)

    with pytest.raises(BlazenError, match="blocking call"):
        blazen.blocking(Nested()).call()


def test_ctrl_c_cancels_what_runs():
    code = """
    import asyncio, signal, os, threading, blazen
    # A job in a shell's background inherits that Ctrl-C is ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    class Slow:
        async def wait(self):
            try:
                threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
                await asyncio.sleep(600)
            finally:
                print("cancelled", flush=True)
    try:
        blazen.blocking(Slow()).wait()
    except KeyboardInterrupt:
        print("interrupted", flush=True)
    """
    done = run_python(code, "-W", "error", "-X", "dev")
    assert done.split() == ["cancelled", "interrupted"]


def test_the_interpreter_ends_in_silence():
    code = """
    import blazen
    class Quick:
        async def go(self): return 1
    print(blazen.blocking(Quick()).go())
    """
    assert run_python(code, "-W", "error", "-X", "dev") == "1"
