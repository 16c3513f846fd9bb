"""One client for each loop, closed with it, and requests that end in time."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import weakref

import pytest

import blazen
from blazen.remote.client import Clients, open_client
from blazen.remote.timeouts import Deadline, Timeouts
from tests.remote.misbehaving import answering, serving

httpx2 = pytest.importorskip("httpx2")


class Made:
    def __init__(self):
        self.clients = []

    def __call__(self):
        self.clients.append(httpx2.AsyncClient())
        return self.clients[-1]


def test_each_loop_has_its_own_and_closes_it():
    made = Made()
    clients = Clients(made)

    loops = []

    async def twice():
        loops.append(weakref.ref(asyncio.get_running_loop()))
        first, second = await asyncio.gather(clients.get(), clients.get())
        assert first is second is await clients.get()
        assert not first.is_closed
        return first

    one, two = asyncio.run(twice()), asyncio.run(twice())
    assert one is not two
    assert all(client.is_closed for client in made.clients)
    gc.collect()
    assert loops[0]() is None, "a loop that has ended is still held"


async def test_many_at_once_wait_for_the_one_that_is_made():
    made = Made()
    clients = Clients(made)
    asked = [asyncio.create_task(clients.get()) for _ in range(20)]
    await asyncio.sleep(0)
    asked[0].cancel()  # the one that makes it: another one does it then
    await asyncio.wait(asked)
    assert len({task.result() for task in asked[1:]}) == 1
    assert len(made.clients) <= 2
    await clients.aclose()


async def test_closing_is_not_the_end():
    clients = Clients(Made())
    first = await clients.get()
    await clients.aclose()
    await clients.aclose()
    assert first.is_closed
    second = await clients.get()
    assert not second.is_closed
    await second.aclose()  # by whoever got it
    third = await clients.get()
    assert not third.is_closed
    await clients.aclose()


async def test_dropping_closes():
    clients = Clients(Made())
    client = await clients.get()
    del clients
    gc.collect()
    while not client.is_closed:
        await asyncio.sleep(0)


async def test_what_the_garbage_collector_drops_is_closed_in_order():
    # In a cycle all of it is dropped at once: a socket too, that nobody has closed yet.
    async with serving(answering(b"")) as server:
        clients = Clients(httpx2.AsyncClient)
        clients.itself = clients
        await (await clients.get()).get(server.url)
        assert server.connected == 1
        del clients
        gc.collect()
        await asyncio.wait_for(server.until_all_left(), 10)


async def test_a_client_has_the_times_that_were_asked_for():
    async with open_client(Timeouts(connect=3, idle=4), extra="x", what="x") as client:
        assert client.timeout == httpx2.Timeout(4, connect=3, pool=None)
        assert not client.follow_redirects


async def test_a_deadline_ends_a_step_and_leaves_errors_as_they_are():
    assert await Deadline(60, what="x").wait(asyncio.sleep(0, 7)) == 7
    with pytest.raises(blazen.TimeoutError, match=r"x takes longer than the 0\.01 s"):
        await Deadline(0.01, what="x").wait(asyncio.Event().wait())
    await Deadline(60, what="x").pause(0)
    with pytest.raises(blazen.TimeoutError, match="x takes longer than the 60 s"):
        await Deadline(60, what="x").pause(60)  # it would be over by then: not waited for

    async def fail():
        raise TimeoutError("its own")

    with pytest.raises(TimeoutError, match="its own"):
        await Deadline(60, what="x").wait(fail())
    task = asyncio.create_task(Deadline(60, what="x").wait(asyncio.Event().wait()))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize("wrong", [{"connect": 0}, {"idle": -1}, {"total": "x"}])
def test_wrong_timeouts_are_refused(wrong):
    with pytest.raises(blazen.ValidationError, match="timeouts"):
        Timeouts(**wrong)


def test_nothing_imports_an_http_client_before_it_is_used():
    modules = [
        "body",
        "client",
        "failures",
        "keys",
        "lengths",
        "logs",
        "prices",
        "retry",
        "sdk",
        "secret",
        "service",
        "timeouts",
        "url",
    ]
    code = f"import sys, {', '.join(f'blazen.remote.{name}' for name in modules)}; "
    options = "blazen.options.compat3d, blazen.options.provider"
    code = f"import sys, {options}; assert 'asyncio' not in sys.modules; {code}"
    code += "assert not {'httpx2', 'anyio', 'numpy'} & set(sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
