"""What crosses to a worker process and back: values, errors, logs, large things, and what can't."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import logging
import os
import pickle
import resource
import socket
import sys
import threading

import pytest

from blazen import BlazenError, InferenceError, Isolation, blocking
from blazen.errors import LoadError
from blazen.isolation import channel
from blazen.isolation.model import isolate
from blazen.types.progress import Progress
from tests.isolation.engines import EngineError, Poison, Trouble
from tests.isolation.watching import WAIT, Held, until

WORDS = "one two three four"


async def test_everything_happens_in_the_other_process(trouble):
    model = trouble()
    assert model.home == os.getpid()  # not loaded: nothing is there yet
    await model.load()
    assert model.pid not in (None, os.getpid())
    assert model.home == await model.do("pid") == await model.plain("pid") == model.pid
    assert [item async for item in model.count_up(3)] == [(n, model.pid) for n in range(3)]
    assert model.lock is not None  # what can't cross is said on this side
    assert not isinstance(model, Trouble)


async def test_an_engines_own_error_keeps_its_name_its_text_and_its_cause(trouble):
    model = trouble()
    with pytest.raises(InferenceError, match="trouble: EngineError: the engine is sad") as caught:
        await model.complete("mid-stream raise")
    assert isinstance(caught.value.__cause__, EngineError)
    assert isinstance(caught.value.__cause__.__cause__, ValueError)
    assert str(caught.value.__cause__.__cause__) == "the first cause"
    pid = model.pid
    with pytest.raises(BlazenError, match="as it was") as caught:
        await model.do("raise", LoadError("as it was"))
    assert type(caught.value) is LoadError
    with pytest.raises(InferenceError, match="SystemExit: 3"):
        await model.complete("prefill sys.exit")
    assert model.pid == pid


async def test_what_cannot_cross_fails_its_own_request_only(trouble):
    model = trouble()
    await model.load()
    pid = model.pid
    for question in (model.do("lock"), model.do("echo", threading.Lock())):
        with pytest.raises(InferenceError, match=r"pickle '?_thread\.lock"):
            await question
    with pytest.raises(InferenceError, match="can't be read here: it can't be put together"):
        await model.do("poison")
    with pytest.raises(InferenceError, match="it can't be put together"):
        await model.do("echo", Poison())
    for fault, words in (("read", "put together"), ("send", r"pickle '?_thread\.lock")):
        with pytest.raises(InferenceError, match=words):
            await model.complete(f"poison {fault}")
    assert (await model.complete("hello")).content == WORDS
    assert model.pid == pid
    with pytest.raises(LoadError, match="its options can't go to another process"):
        await trouble(payload=threading.Lock()).load()


async def test_an_error_that_cannot_be_read_is_an_error_all_the_same(trouble):
    class Odd(Exception):
        def __str__(self):
            raise RuntimeError

    from blazen.isolation.carried import arrived, carry

    back = arrived(pickle.loads(pickle.dumps(carry(Odd()))))
    assert "its text can't be had" in str(back)


async def test_logs_and_warnings_arrive_with_the_models_name(trouble, ear):
    loud, quiet = (logging.getLogger(f"tests.isolation.{name}") for name in ("loud", "quiet"))
    loud.setLevel(logging.DEBUG)
    quiet.setLevel(logging.WARNING)
    try:
        await trouble(name="talker").do("talk")
        await ear.hears("talker: wanted: 7")
        await ear.hears("UserWarning: it grows old")
    finally:
        loud.setLevel(logging.NOTSET)
        quiet.setLevel(logging.NOTSET)
    (record,) = [one for one in ear.records if one.name == "tests.isolation.loud"]
    assert (record.levelno, record.model) == (logging.DEBUG, "talker")
    assert {one.name for one in ear.records if "grows old" in one.getMessage()} == {"py.warnings"}
    assert not any("not wanted" in message for message in ear.messages)


async def test_a_handler_of_the_app_that_fails_is_its_own_affair(trouble, capsys):
    class Broken(logging.Handler):
        def emit(self, record):
            raise RuntimeError("a broken handler")

    model = trouble()
    await model.load()
    pid = model.pid
    handler = Broken()
    logging.getLogger().addHandler(handler)
    try:
        await model.do("talk")
        assert (await model.complete("hello")).content == WORDS
    finally:
        logging.getLogger().removeHandler(handler)
    assert model.pid == pid
    assert "a broken handler" in capsys.readouterr().err


@pytest.mark.parametrize("level", [logging.WARNING, logging.DEBUG])
async def test_a_flood_on_stderr_blocks_nobody_and_is_kept_in_part(trouble, ear, level):
    logger = logging.getLogger("blazen.isolation.output")
    before = logger.level
    logger.setLevel(level)
    try:
        model = trouble()
        await asyncio.wait_for(asyncio.gather(model.do("flood", 20), model.complete("hello")), WAIT)
        with pytest.raises(BlazenError) as caught:
            await model.complete("prefill exit")
    finally:
        logger.setLevel(before)
    assert caught.value.output.endswith("the last line") or "the last line" in caught.value.output
    assert len(caught.value.output) <= 4096
    printed = [one for one in ear.records if one.name == "blazen.isolation.output"]
    assert bool(printed) == (level == logging.DEBUG)
    assert len(printed) < 10_000  # of 20,000 lines


async def test_requests_run_at_once(trouble):
    model = trouble(parallel=3)
    assert sorted(await asyncio.gather(*(model.do("meet") for _ in range(3)))) == [0, 1, 2]


async def test_who_comes_while_it_loads_hears_how_far_it_is(trouble, ear, tmp_path):
    once, heard, first = tmp_path / "once", [], asyncio.Event()

    def hear(made):
        heard.append(made)
        first.set()

    model = trouble(load="tell", once=once)
    loading = asyncio.create_task(model.load())
    await ear.hears("it begins")
    joining = asyncio.create_task(model.load(on_progress=hear))
    await asyncio.wait_for(first.wait(), WAIT)
    once.touch()
    await asyncio.gather(loading, joining)
    assert heard[0] == Progress("load", 1, unit="steps")
    heard.clear()
    await model.unload()
    await model.load(on_progress=hear)
    assert heard[0] == Progress("load", 0, 1, unit="steps")


async def test_several_loops_share_one_process(trouble):
    model = trouble(parallel=3)
    places, found = [], []

    async def ask():
        places.append(await model.do("meet"))
        found.append(((await model.complete("hello")).content, model.pid))

    threads = [threading.Thread(target=lambda: asyncio.run(ask())) for _ in range(3)]
    for thread in threads:
        thread.start()
    await asyncio.to_thread(lambda: [thread.join(WAIT) for thread in threads])
    assert sorted(places) == [0, 1, 2]
    assert set(found) == {(WORDS, model.pid)}


def test_blocking():
    for _ in range(2):
        before = Held()  # the loop behind it is made once
        with blocking(isolate(Trouble(), Isolation())) as model:
            assert model.complete("hello").content == WORDS
            assert "".join(chunk.content or "" for chunk in model.complete_stream("hello")) == WORDS
            assert model.do("pid") == model.pid
    before.check()


async def test_a_model_can_be_sent_on(trouble):
    model = trouble(name="traveller", isolation=Isolation(nice=3))
    await model.load()
    copy = pickle.loads(pickle.dumps(model))
    assert (type(copy), copy.options, copy.isolation) == (
        type(model),
        model.options,
        model.isolation,
    )
    assert not copy.is_loaded


async def test_a_slow_reader_holds_the_engine_back(trouble):
    model = trouble()
    async with model.complete_stream("endless") as stream:
        await stream.__anext__()
        made = -1
        while made != (made := await model.do("made")):
            await asyncio.sleep(0.2)
        assert made < 2_000
        for _ in range(made + 1):  # it goes on from there
            await stream.__anext__()


async def test_large_things_cross_by_shared_memory(trouble, monkeypatch):
    np = pytest.importorskip("numpy")
    sent, read = [], []
    pack, receive = channel.pack, channel.socket.recv_fds

    def count_sent(*message):
        packed = pack(*message)
        sent.append(len(packed.head))
        return packed

    def count_read(*args):
        found = receive(*args)
        read.append(len(found[0]))
        return found

    model = trouble()
    await model.load()
    monkeypatch.setattr("blazen.isolation.worker.pack", count_sent)
    monkeypatch.setattr(channel.socket, "recv_fds", count_read)
    big = np.arange(4_000_000, dtype=np.float32)
    back = await model.do("double", big)
    assert np.array_equal(back, big * 2)
    assert sum(sent) + sum(read) < 10_000
    back += 1  # it is this side's own
    assert (await model.do("echo", b"x" * 5_000_000)) == b"x" * 5_000_000
    assert sum(sent) + sum(read) < 20_000


async def test_what_is_kept_keeps_no_descriptor(trouble):
    np = pytest.importorskip("numpy")
    model = trouble()
    await model.load()
    before = Held()
    kept = [await model.do("echo", np.full(50_000, number)) for number in range(30)]
    before.check("descriptors")
    assert [int(array[0]) for array in kept] == list(range(30))
    del kept
    before.check("descriptors", "maps")


async def test_no_room_in_shared_memory_fails_the_request_only(trouble, monkeypatch):
    model = trouble()
    await model.load()
    pid = model.pid

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(channel.os, "pwrite", full)
        with pytest.raises(InferenceError, match="No space left"):
            await model.do("echo", b"x" * 1_000_000)
    assert await model.do("echo", b"x" * 1_000_000) == b"x" * 1_000_000
    assert model.pid == pid


async def test_what_comes_in_bits_is_put_together():
    ours, theirs = channel.socket.socketpair()
    receiver = channel.Channel(theirs)
    one, two = channel.pack("call", 1, "text"), channel.pack("call", 2, b"y" * 30_000)
    for byte in one.head[:-1]:
        ours.sendall(bytes([byte]))
        assert receiver.receive() == []
    ours.sendall(one.head[-1:] + two.head + one.head)
    found = []
    while len(found) < 3:
        found += receiver.receive()
    text = ("call", 1, ("text",))
    assert found == [text, ("call", 2, (b"y" * 30_000,)), text]
    ours.close()
    with pytest.raises(channel.Closed):
        receiver.receive()
    receiver.close()


async def test_a_dropped_model_ends_its_process(trouble):
    before = Held()
    model = isolate(Trouble(), Isolation())
    await model.load()
    del model
    before.check()


def test_a_message_is_read_while_another_thread_imports_its_package(tmp_path, monkeypatch):
    """By Python's own order of locks one of the two would get half a package."""
    package = tmp_path / "slowly"
    package.mkdir()
    (package / "__init__.py").write_text(
        "import time\ntime.sleep(0.5)\nfrom slowly.inner import Thing\nwhole = True\n"
    )
    (package / "inner.py").write_text(
        "import slowly\nclass Thing:\n    made_of = slowly.__name__\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    failed = []

    def import_it():
        try:
            importlib.import_module("slowly")
        except BaseException as error:
            failed.append(error)

    pickled = b"cslowly.inner\nThing\n."
    thread = threading.Thread(target=import_it)
    try:
        thread.start()
        until(lambda: "slowly" in sys.modules)
        assert channel.unpickled(pickled).made_of == "slowly"
        assert sys.modules["slowly"].whole
        thread.join(WAIT)
        assert not failed
    finally:
        for name in ("slowly", "slowly.inner"):
            sys.modules.pop(name, None)


def test_a_message_whose_memory_does_not_arrive_is_lost_alone():
    """As where too many files are open: those that follow get what is theirs."""
    here, there = map(channel.Channel, socket.socketpair())
    large = [bytes([number]) * 200_000 for number in (1, 2)]
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    held = []
    try:
        for one in large:
            here.send(channel.pack("done", one[0], one))
        here.send(channel.pack("done", 3, "small"))
        resource.setrlimit(resource.RLIMIT_NOFILE, (512, limits[1]))
        with contextlib.suppress(OSError):  # there are no more of them
            while True:
                held.append(os.open(os.devnull, os.O_RDONLY))
        found = there.receive()
        while held:
            os.close(held.pop())
        while len(found) < 3:
            found += there.receive()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        for fd in held:
            os.close(fd)
        here.close()
        there.close()
    assert [(kind, number) for kind, number, _ in found] == [("done", n) for n in (1, 2, 3)]
    assert "too many files are open" in str(found[0][2].error)
    assert [what for _, _, what in found[1:]] == [(large[1],), ("small",)]


async def test_an_answer_that_finds_no_room_here_fails_its_own_request_only(trouble, monkeypatch):
    model = trouble()
    await model.load()
    pid = model.pid

    def refuse(fd, size):
        os.close(fd)
        raise OSError("no room")

    with monkeypatch.context() as patch:
        patch.setattr(channel, "_mapped", refuse)
        with pytest.raises(InferenceError, match="can't be read here: no room"):
            await model.do("echo", bytes(200_000))
    assert await model.do("echo", bytes(200_000)) == bytes(200_000)
    assert model.pid == pid


def test_who_logs_in_a_worker_waits_for_nobody_elses_record():
    """One that waits for the channel would hold up the finalizer that logs while it is taken."""
    from blazen.isolation.child import _Handler

    sent = threading.Event()
    handler = _Handler(lambda name, level, text: sent.set())
    record = logging.makeLogRecord({"msg": "hello"})
    handler.acquire()
    try:
        threading.Thread(target=handler.handle, args=(record,), daemon=True).start()
        assert sent.wait(WAIT / 2)
    finally:
        handler.release()
        handler.close()
