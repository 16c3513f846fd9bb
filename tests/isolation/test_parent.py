"""The app's own end, forks and pauses: no worker outlives it, and none dies of what is no end."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import textwrap

import pytest

from tests.isolation.watching import WAIT, gone, until
from tests.programs import run_python

_HEAD = """
import asyncio, logging, os, signal, sys, time
import blazen
from blazen import Isolation
from blazen.isolation.model import isolate
from tests.isolation.engines import Trouble, TroubleOptions
from tests.isolation.watching import WAIT, Ear, Held, gone, until

def make(isolation=None, **options):
    return isolate(Trouble(TroubleOptions(**options)), isolation or Isolation())

ear = Ear()
logging.getLogger().addHandler(ear)
logging.raiseExceptions = False

"""

_AT_EVERY_STAGE = (
    _HEAD
    + """
async def main():
    pids, tasks = [], []
    async def held(stage, task):
        tasks.append(task)
        pids.append(await ear.pid_at(stage))
        ear.records.clear()
    await held("load", asyncio.create_task(make(load="wait").load()))
    await held("prefill", asyncio.create_task(make().complete("prefill hold")))
    talking = make()
    await held("mid-stream", asyncio.create_task(talking.complete("mid-stream wait")))
    pids += [await talking.do("start another"), await talking.do("fork")]
    leaving = make(unload="wait")
    await leaving.load()
    await held("unload", asyncio.create_task(leaving.unload()))
    idle = make(Isolation(spare=True))
    await idle.load()
    until(lambda: len(Held.children() - {*pids, idle.pid}) > 0, "a spare")
    pids += sorted(Held.children() - set(pids))
    assert idle.pid in pids
    print(*pids, flush=True)
    {end}

asyncio.run(main())
"""
)


@contextlib.contextmanager
def start(code):
    """Run a program, and end it however the test ends."""
    program = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with program:
        try:
            yield program
        finally:
            program.kill()


def numbers(program, wanted):
    line = program.stdout.readline()
    pids = [int(word) for word in re.findall(r"\d+", line)]
    assert len(pids) >= wanted, line + (program.stderr.read() if not line else "")
    return pids


def test_an_app_that_is_killed_leaves_no_process_at_whatever_stage():
    """A lock of Python that an engine holds does not keep its process alive either."""
    with start(_AT_EVERY_STAGE.replace("{end}", "await asyncio.Event().wait()")) as program:
        pids = numbers(program, 8)
        assert not any(map(gone, pids))
        program.kill()
        for pid in pids:
            until(lambda pid=pid: gone(pid), f"the end of {pid}")


@pytest.mark.long
def test_an_app_that_ends_with_models_at_every_stage_leaves_no_process():
    """It ends soon, too: an engine that hangs is not waited for."""
    with start(_AT_EVERY_STAGE.replace("{end}", "pass")) as app:
        pids = numbers(app, 8)
        assert app.wait(WAIT) == 0
        for pid in pids:
            until(lambda pid=pid: gone(pid), f"the end of {pid}")


def test_an_app_that_ends_in_the_moment_it_starts_a_worker_leaves_none():
    code = (
        _HEAD
        + """
    from blazen.isolation.spawn import start
    print(start(Isolation()).process.pid, flush=True)
    os._exit(0)
    """.replace("\n    ", "\n")
    )
    with start(code) as program:
        (pid,) = numbers(program, 1)
        until(lambda: gone(pid))


def test_a_fork_neither_keeps_a_worker_alive_nor_ends_it():
    code = (
        _HEAD
        + """
model = make(Isolation(spare=True))
loop = asyncio.new_event_loop()
loop.run_until_complete(model.load())
until(lambda: len(Held.children()) == 2, "a spare")
if (short := os.fork()) == 0:
    try:
        asyncio.run(model.complete("hello"))
    except blazen.BlazenError as error:
        assert "can't be used in its fork" in str(error), error
        sys.exit(7)  # by the hooks at the end
    os._exit(1)
assert os.waitstatus_to_exitcode(os.waitpid(short, 0)[1]) == 7
if (long := os.fork()) == 0:
    time.sleep(600)
assert loop.run_until_complete(model.complete("hello")).content == "one two three four"
print(long, *(Held.children() - {long}), flush=True)
time.sleep(600)
"""
    )
    with start(code) as program:
        fork, *workers = numbers(program, 3)
        program.kill()
        try:
            for pid in workers:
                until(lambda pid=pid: gone(pid), f"the end of {pid}")
            assert not gone(fork)
        finally:
            os.kill(fork, signal.SIGKILL)


def test_a_disk_that_is_full_is_no_matter():
    pytest.importorskip("numpy")
    code = (
        _HEAD
        + """
    import numpy as np
    from tests.isolation.engines import ACTIONS
    ACTIONS["refuse files"](None)

    async def main():
        async with make() as model:
            await model.do("refuse files")
            big = np.arange(300_000)
            assert (await model.do("double", big)).sum() == 2 * big.sum()
            print((await model.complete("hello")).content)
            try:
                open("/tmp/blazen-never-written", "w")
            except OSError as error:
                print(error.strerror)

    asyncio.run(main())
    """.replace("\n    ", "\n")
    )
    assert run_python(code).splitlines() == ["one two three four", "No space left on device"]


def test_a_fork_in_the_moment_of_a_start_keeps_no_worker_alive():
    code = (
        _HEAD
        + """
import threading
from blazen.isolation import spawn

now, done, forks = threading.Event(), threading.Event(), []

class Popen(subprocess.Popen):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        now.set()
        done.wait(0.5)  # it is not to be, before the start is over

def fork():
    now.wait()
    if (pid := os.fork()) == 0:
        time.sleep(600)
    forks.append(pid)
    done.set()

subprocess.Popen = Popen
other = threading.Thread(target=fork)
other.start()
started = spawn.start(Isolation())
other.join()
print(started.process.pid, *forks, flush=True)
time.sleep(600)
"""
    ).replace("import asyncio,", "import subprocess, asyncio,")
    with start(code) as program:
        worker, fork = numbers(program, 2)
        program.kill()
        try:
            until(lambda: gone(worker), f"the end of {worker}")
            assert not gone(fork)
        finally:
            os.kill(fork, signal.SIGKILL)
