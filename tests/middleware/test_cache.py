"""Equal requests are asked once; what is kept comes back as it was."""

from __future__ import annotations

import asyncio
import dataclasses
import gc
import multiprocessing
import sqlite3
import stat
import struct
import threading
import zlib
from dataclasses import dataclass

import pytest

from blazen.errors import OutputError, ProviderError, ValidationError
from blazen.middleware import (
    MemoryCache,
    SqliteCache,
    with_cache,
    with_fallback,
    with_retry,
    with_timeout,
)
from blazen.middleware.cache_keys import identity_of
from blazen.remote.secret import Secret
from blazen.testing import EchoModel, EchoOptions
from blazen.types.audio import Audio
from blazen.types.chat import ChatMessage
from blazen.types.completion import (
    FinishReason,
    InferenceChunk,
    InferenceChunkStream,
    InferenceTiming,
    LikelyToken,
    ModelResponse,
    TokenLogprob,
    ToolCallDelta,
)
from blazen.types.image import Image
from tests.middleware.scripted import USAGE, Scripted, in_virtual_time, now, texts


def png(shade: int) -> bytes:
    """The smallest picture there is: one pixel."""

    def part(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    head = struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)
    pixel = zlib.compress(bytes([0, shade]))
    return b"\x89PNG\r\n\x1a\n" + part(b"IHDR", head) + part(b"IDAT", pixel) + part(b"IEND", b"")


@pytest.fixture(params=["memory", "file"])
def store(request, tmp_path):
    return MemoryCache() if request.param == "memory" else SqliteCache(tmp_path / "answers.db")


@in_virtual_time
async def test_an_equal_request_is_not_asked_again(store):
    model = Scripted(["yes", " sir"], ["no"])
    cached = with_cache(model, store, identity="m")
    first = await cached.complete("hi")
    again = await cached.complete([{"role": "user", "content": "hi"}], {})
    assert again == first
    assert first.route is None
    assert again.route.answered == "cache"
    stream = cached.complete_stream("hi")
    assert await texts(stream) == ["yes sir"]
    assert stream.response == first
    assert stream.route.answered == "cache"
    assert len(model.requests) == 1
    await cached.aclose()


@in_virtual_time
async def test_a_stream_is_replayed_piece_by_piece(store):
    model = Scripted(["yes", " sir", " \ud83d"], ["no"])
    cached = with_cache(model, store, identity="m")
    stream = cached.complete_stream("hi")
    pieces = [piece async for piece in stream]
    replayed = cached.complete_stream("hi")
    assert [piece async for piece in replayed] == pieces
    assert replayed.response == stream.response
    assert (await cached.complete("hi")) == stream.response
    assert replayed.response.usage == USAGE
    assert len(model.requests) == 1
    await cached.aclose()


@dataclass
class Animal:
    legs: int


@in_virtual_time
async def test_all_that_an_answer_holds_comes_back(store):
    pieces = [
        InferenceChunk(reasoning="hm", model="m-1", raw={"id": "x", "odd": [1, None]}),
        InferenceChunk(
            '{"legs": 4}',
            logprobs=(
                TokenLogprob(
                    "a",
                    -0.5,
                    (LikelyToken("b", -1)),
                ),
            ),
        ),
        InferenceChunk(tool_calls=(ToolCallDelta(1, "id-1", "f", '{"a'),), state={"p": [1]}),
        InferenceChunk(tool_calls=(ToolCallDelta(1, arguments='": 1}'),)),
        InferenceChunk(
            finish_reason=FinishReason.ToolCalls, usage=USAGE, timing=InferenceTiming(first_token=1)
        ),
    ]
    pieces[1] = InferenceChunk(
        '{"legs": 4}', logprobs=(TokenLogprob("a", -0.5, (LikelyToken("b", -1.0),)),)
    )

    class Full:
        def complete_stream(self, messages, options=None):
            async def give():
                for piece in pieces:
                    yield piece

            return InferenceChunkStream.of(give())

    cached = with_cache(Full(), store, identity="m")
    first = await cached.complete("hi")
    again = await cached.complete("hi")
    for field in dataclasses.fields(ModelResponse):
        if field.name != "route":
            assert getattr(again, field.name) == getattr(first, field.name), field.name
    assert again.raw == {"id": "x", "odd": [1, None]}
    assert again.state == {"p": [1]}
    await cached.aclose()


@in_virtual_time
async def test_shapes_are_read_again_and_what_has_none_is_not_kept(store):
    model = Scripted(['{"legs": "four"}'], ['{"legs": ', "4}"], ["no"])
    cached = with_cache(model, store, identity="m")
    wanted = {"response_format": Animal}
    with pytest.raises(OutputError):
        await texts(cached.complete_stream("hi", wanted))
    for _ in range(2):
        stream = cached.complete_stream("hi", wanted)
        await texts(stream)
        assert stream.response.parsed == Animal(4)
        assert (await cached.complete("hi", wanted)).parsed == Animal(4)
    assert len(model.requests) == 2
    await cached.aclose()


@in_virtual_time
async def test_requests_that_differ_are_asked():
    model = Scripted(["yes"])
    cached = with_cache(model)
    different = [
        ("hi", {}),
        ("ho", {}),
        ([ChatMessage.system("hi")], {}),
        ([ChatMessage.user("hi"), ChatMessage.user("hi")], {}),
        ("hi", {"temperature": 0}),
        ("hi", {"max_tokens": 5}),
        ("hi", {"seed": 1}),
        ("hi", {"seed": 2}),
        ("hi", {"tools": [test_requests_that_differ_are_asked]}),
        ([ChatMessage.user("hi", Image.from_bytes(png(1)))], {}),
        ([ChatMessage.user("hi", Image.from_bytes(png(2)))], {}),
        ([ChatMessage.user("hi", Audio.from_bytes(b"RIFF\x24\0\0\0WAVEfmt "))], {}),
    ]
    for messages, options in different * 2:
        await cached.complete(messages, options)
    assert len(model.requests) == len(different)


@in_virtual_time
async def test_pictures_are_compared_by_content(tmp_path):
    model = Scripted(["yes"])
    cached = with_cache(model)
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(png(7))
        await cached.complete([ChatMessage.user("hi", Image.from_file(tmp_path / name))])
    assert len(model.requests) == 1
    (tmp_path / "a.png").write_bytes(png(8))
    await cached.complete([ChatMessage.user("hi", Image.from_file(tmp_path / "a.png"))])
    assert len(model.requests) == 2


@in_virtual_time
async def test_who_asks_for_chance_gets_it():
    model = Scripted(["yes"])
    cached = with_cache(model)
    for _ in range(2):
        await cached.complete("hi", {"temperature": 0.7})
        await texts(cached.complete_stream("hi", {"temperature": 0.7}))
    assert len(model.requests) == 4
    for options in ({"temperature": 0.7, "seed": 1}, {"temperature": 0}, {}):
        await cached.complete("hi", options)
        await cached.complete("hi", options)
    assert len(model.requests) == 7
    also = with_cache(model, sampled=True)
    await also.complete("hi", {"temperature": 0.7})
    await also.complete("hi", {"temperature": 0.7})
    assert len(model.requests) == 8


@pytest.mark.parametrize("way", ["error", "aclose", "cancel", "break", "drop"])
@in_virtual_time
async def test_an_answer_that_was_left_is_not_kept(way, store):
    failure = ProviderError("no", provider="p", status=500)
    model = Scripted(["a", failure] if way == "error" else ["a", 5, "b"], ["whole"])
    cached = with_cache(model, store, identity="m")
    stream = cached.complete_stream("hi")
    if way == "error":
        with pytest.raises(ProviderError):
            await texts(stream)
    elif way == "cancel":
        task = asyncio.create_task(texts(stream))
        while not stream.response.content:
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait((task,))
    elif way == "break":
        async for _ in stream:
            break
    else:
        await anext(stream)
        if way == "aclose":
            await stream.aclose()
        else:
            del stream
            gc.collect()
    await asyncio.sleep(1)  # one who asks before it has stopped may still have it
    assert (await cached.complete("hi")).content == "whole"
    assert model.running == 0
    assert model.stopped == 1
    await cached.aclose()


@in_virtual_time
async def test_equal_requests_at_once_share_one_call():
    model = Scripted([5, "a", 5, "b"])
    cached = with_cache(model)
    answers = await asyncio.gather(
        cached.complete("hi"), texts(cached.complete_stream("hi")), cached.complete("hi")
    )
    assert len(model.requests) == 1
    assert [answers[0].content, answers[1], answers[2].content] == ["ab", ["ab"], "ab"]
    assert answers[2].route.reasons == ("an equal request was under way",)
    assert now() == 10


@pytest.mark.parametrize("leaves", [0, 1, 2])
@in_virtual_time
async def test_one_who_leaves_does_not_take_the_others_along(leaves):
    model = Scripted([2, "a", 2, "b"])
    cached = with_cache(model)
    streams = [cached.complete_stream("hi") for _ in range(3)]
    tasks = [asyncio.create_task(texts(stream)) for stream in streams]
    await asyncio.sleep(3)
    tasks[leaves].cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(results.pop(leaves), asyncio.CancelledError)
    assert results == [["a", "b"], ["a", "b"]]
    assert (len(model.requests), model.stopped, now()) == (1, 0, 4)
    assert (await cached.complete("hi")).content == "ab"


@in_virtual_time
async def test_the_last_who_leaves_ends_the_call():
    model = Scripted([2, "a", 20, "b"])
    cached = with_cache(model)
    tasks = [asyncio.create_task(cached.complete("hi")) for _ in range(2)]
    await asyncio.sleep(3)
    for task in tasks:
        task.cancel()
        await asyncio.wait((task,))
    assert (model.running, model.stopped, now()) == (0, 1, 3)


@in_virtual_time
async def test_all_who_share_a_call_hear_of_its_failure():
    failure = ProviderError("no", provider="p", status=500)
    cached = with_cache(Scripted([5, failure]))
    results = await asyncio.gather(
        *(cached.complete("hi") for _ in range(3)), return_exceptions=True
    )
    assert [str(result) for result in results] == ["no"] * 3
    assert len({id(result) for result in results}) == 3


@in_virtual_time
async def test_an_answer_has_its_time(store):
    store._clock = asyncio.get_running_loop().time
    model = Scripted(["old"], ["new"])
    cached = with_cache(model, store, ttl=60, identity="m")
    await cached.complete("hi")
    await asyncio.sleep(59)
    assert (await cached.complete("hi")).content == "old"
    await asyncio.sleep(2)
    assert (await cached.complete("hi")).content == "new"
    await cached.aclose()


@pytest.mark.parametrize("kind", [MemoryCache, SqliteCache])
@in_virtual_time
async def test_the_least_used_go_where_room_lacks(kind, tmp_path):
    store = MemoryCache(1000) if kind is MemoryCache else SqliteCache(tmp_path / "a.db", 1000)
    store._clock = asyncio.get_running_loop().time
    for name in "abc":
        await store.put(name, b"x" * 300, None)
        await asyncio.sleep(100)
    assert await store.get("a") is not None
    await asyncio.sleep(100)
    await store.put("d", b"x" * 300, None)
    assert [name for name in "abcd" if await store.get(name) is not None] == ["a", "c", "d"]
    await store.put("e", b"x" * 1001, None)
    assert await store.get("e") is None
    assert await store.get("d") is not None
    await store.clear()
    assert await store.get("d") is None
    await store.aclose()


def test_a_file_is_shared_by_processes_and_loops(tmp_path):
    path = tmp_path / "deep" / "answers.db"
    context = multiprocessing.get_context("spawn")
    with context.Pool(2) as pool:
        told = pool.map(_ask_all, [str(path)] * 4)
    assert all(answers == told[0] for answers in told)
    answers: list[list[str]] = []
    store = SqliteCache(path)
    threads = [threading.Thread(target=lambda: answers.append(_ask_all(store))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [told[0]] * 4
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    asyncio.run(store.aclose())


def _ask_all(store) -> list[str]:
    async def ask() -> list[str]:
        model = EchoModel(EchoOptions())
        cached = with_cache(model, store)
        every = await asyncio.gather(*(cached.complete(f"number {n}") for n in range(20)))
        again = [await cached.complete(f"number {n}") for n in range(20)]
        assert {answer.route.answered for answer in again} == {"cache"}
        await model.unload()
        await cached.aclose()
        return [answer.content for answer in every]

    return asyncio.run(ask())


def test_a_file_of_others_is_refused_and_left_alone(tmp_path):
    text = tmp_path / "notes.txt"
    text.write_text("These are notes, and no database. " * 50)
    other = tmp_path / "other.db"
    with sqlite3.connect(other) as db:
        db.execute("CREATE TABLE mine (x)")
    db.close()
    for path in (text, other, tmp_path):
        before = path.read_bytes() if path.is_file() else None
        cached = with_cache(Scripted(["a"]), path, identity="m")
        with pytest.raises(ValidationError, match="cache"):
            asyncio.run(cached.complete("hi"))
        assert (path.read_bytes() if path.is_file() else None) == before


def test_a_file_that_is_locked_costs_only_the_keeping(tmp_path, caplog):
    path = tmp_path / "answers.db"
    store = SqliteCache(path, patience=0.05)
    asyncio.run(store.put("k", b"v", None))
    with sqlite3.connect(path, isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        cached = with_cache(Scripted(["a"]), store, identity="m")
        assert asyncio.run(cached.complete("hi")).content == "a"
        other.execute("ROLLBACK")
    other.close()
    assert "locked" in caplog.text
    asyncio.run(store.aclose())


@in_virtual_time
async def test_what_cannot_be_read_is_asked_for_anew(store):
    model = Scripted(["a"])
    cached = with_cache(model, store, identity="m")
    await cached.complete("hi")
    key = await cached._key("hi", cached_options())
    for spoiled in (b"", b"{}x", b"[1]", b'[{"unknown": 1}]', b"\xff"):
        await store.put(key, spoiled, None)
        assert (await cached.complete("hi")).content == "a"
    assert len(model.requests) == 6
    await cached.aclose()


def cached_options():
    from blazen.types.completion import CompletionOptions

    return CompletionOptions()


@dataclass(frozen=True)
class Options:
    model: str = "m"
    api_key: object = None
    headers: object = None
    body: object = None
    secret_thing: str = ""
    retry: object = None


class Remote(Scripted):
    def __init__(self, **options):
        super().__init__(["a"])
        self.options = Options(**options)


def test_a_model_is_known_by_what_its_answers_depend_on_and_by_no_secret():
    plain = identity_of(Remote())
    assert plain is not None
    hidden = Remote(
        api_key=Secret("sk-very-secret"),
        headers={"X-Auth": "sk-very-secret"},
        body={"access_token": "sk-very-secret", "n": 1},
        secret_thing="sk-very-secret",
        retry=object(),
    )
    assert "very" not in identity_of(hidden)
    assert identity_of(hidden) == identity_of(Remote(body={"n": 1}))
    assert identity_of(Remote(body={"n": 2})) != identity_of(Remote(body={"n": 1}))
    assert identity_of(Remote(body={"max_tokens": 5})) != plain
    assert identity_of(Remote(body={"tokenizer": "a"})) != identity_of(
        Remote(body={"tokenizer": "b"})
    )
    nested = Remote(body={"tools": [{"accessToken": "sk-very-secret", "apiKey": "very", "n": 1}]})
    assert "very" not in identity_of(nested)
    assert identity_of(Remote(model="other")) != plain
    assert identity_of(with_retry(with_timeout(Remote(), 5))) == plain
    both = identity_of(with_fallback(Remote(), Remote(model="other")))
    assert both not in (None, plain)
    assert identity_of(Scripted(["a"])) is None
    assert identity_of(EchoModel(EchoOptions("a"))) != identity_of(EchoModel(EchoOptions("b")))


@in_virtual_time
async def test_models_that_nothing_tells_apart_share_nothing(tmp_path):
    shared = MemoryCache()
    one, other = Scripted(["one"]), Scripted(["other"])
    assert (await with_cache(one, shared).complete("hi")).content == "one"
    assert (await with_cache(other, shared).complete("hi")).content == "other"
    with pytest.raises(ValidationError, match="identity"):
        with_cache(one, tmp_path / "a.db")
    with pytest.raises(ValidationError):
        with_cache(one, ttl=0)
    with pytest.raises(ValidationError):
        with_cache(one, 5)


@in_virtual_time
async def test_no_secret_is_in_a_file(tmp_path):
    path = tmp_path / "answers.db"
    cached = with_cache(Remote(api_key=Secret("sk-very-secret")), path)
    await cached.complete("what I asked")
    await cached.aclose()
    for file in tmp_path.iterdir():
        data = file.read_bytes()
        assert b"sk-very-secret" not in data
        assert b"what I asked" not in data
