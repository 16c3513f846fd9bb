"""What holds for every model that a provider runs: when it asks, and what is left of it."""

from __future__ import annotations

import asyncio
import gc
import types
import weakref
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import pytest

from blazen import (
    TTS,
    Audio,
    EmbeddingModel,
    Image,
    ImageGeneration,
    Mesh,
    Model,
    ProviderError,
    ThreeD,
    Transcription,
)
from tests.remote.misbehaving import Request, Wire, answering, serving
from tests.wire import anthropic, gemini, openai_media
from tests.wire.every import EveryProvider


@dataclass(frozen=True)
class Kind:
    """A kind of model at a provider."""

    needs: str
    made: Callable[[str], Any]
    """Makes one, of where its server is."""
    ask: Callable[[Any], Awaitable[Any]]
    """Has it answer whole."""
    stream: Callable[[Any], Any] | None = None
    """Has it answer piece by piece."""
    below: str = ""
    """What stands behind the server in a base_url."""

    def at(self, url: str) -> Any:
        return self.made(url.removesuffix("/v1") + self.below)


ONCE = {"retry": {"times": 0}}


def _chat(needs: str, key: str, below: str = "", **named: Any) -> Kind:
    return Kind(
        needs,
        lambda url: getattr(Model, needs)(base_url=url, api_key=key, **named, **ONCE),
        lambda model: model.complete("Hello", {"max_tokens": 50}),
        lambda model: model.complete_stream("one two three four five", {"max_tokens": 50}),
        below,
    )


def _openai(kind: Any, ask: Any, stream: Any = None, **named: Any) -> Kind:
    key = openai_media.KEY
    return Kind(
        "openai",
        lambda url: kind.openai(base_url=url, api_key=key, gateway="openai", **named, **ONCE),
        ask,
        stream,
        "/v1",
    )


def _sound() -> Audio:
    return Audio.from_samples([0.0] * 8000, 16000)


def _box() -> bytes:
    return Mesh([(0, 0, 0), (1, 0, 0), (0, 1, 0)], [(0, 1, 2)]).to_bytes("glb")


def _drawing() -> Image:
    return Image.from_array([[(1.0, 0.0, 0.0)] * 4] * 4)


KINDS = {
    "openai": _chat("openai", openai_media.KEY, "/v1", gateway="openai"),
    "openai responses": _chat("openai", openai_media.KEY, "/v1", gateway="openai", api="responses"),
    "openai embedding": _openai(EmbeddingModel, lambda model: model.embed("Hello")),
    "openai transcription": _openai(
        Transcription,
        lambda model: model.transcribe(_sound()),
        lambda model: model.transcribe_stream(_sound()),
    ),
    "openai speech": _openai(
        TTS, lambda model: model.speak("Hello!"), lambda model: model.speak_stream("Hello!")
    ),
    "openai images": _openai(
        ImageGeneration,
        lambda model: model.generate("a boat"),
        lambda model: model.generate_stream("a boat"),
        previews=2,
    ),
    "anthropic": _chat("anthropic", anthropic.KEY),
    "gemini": _chat("gemini", gemini.KEY),
    "gemini embedding": Kind(
        "gemini",
        lambda url: EmbeddingModel.gemini(base_url=url, api_key=gemini.KEY, **ONCE),
        lambda model: model.embed("Hello"),
    ),
    "compat3d": Kind(
        "compat3d",
        lambda url: ThreeD.compat3d(base_url=url, **ONCE),
        lambda model: model.image_to_mesh(_drawing()),
        lambda model: model.image_to_mesh_stream(_drawing()),
        "/v1",
    ),
}
STREAMED = [name for name, kind in KINDS.items() if kind.stream is not None]


def kinds(names: Any) -> Any:
    return pytest.mark.parametrize(
        "name",
        [pytest.param(name, marks=pytest.mark.needs(KINDS[name].needs)) for name in names],
    )


def speaking(name: str) -> Any:
    if name == "compat3d":
        return answering(_box(), content_type="model/gltf-binary")
    return EveryProvider()


async def refusing(wire: Wire, request: Request) -> None:
    await wire.answer({"error": {"message": "no"}}, 500)


@kinds(STREAMED)
async def test_what_can_not_start_fails_where_the_stream_is_awaited(name):
    kind = KINDS[name]
    async with serving(refusing) as server:
        model = kind.at(server.url)
        stream = kind.stream(model)
        assert not server.asked
        with pytest.raises(ProviderError) as raised:
            await stream
        assert raised.value.status == 500
        assert len(server.asked) == 1
        assert [piece async for piece in stream] == []
        await model.aclose()


@kinds(STREAMED)
async def test_a_stream_that_is_awaited_was_asked_for(name):
    kind = KINDS[name]
    async with serving(speaking(name)) as server:
        model = kind.at(server.url)
        stream = await kind.stream(model)
        assert len(server.asked) == 1
        assert [piece async for piece in stream]
        assert len(server.asked) == 1
        await model.aclose()


@kinds(STREAMED)
async def test_a_stream_that_still_waits_for_its_answer_can_be_closed(name):
    async def silent(wire: Wire, request: Request) -> None:
        await wire.until_left()

    kind = KINDS[name]
    async with serving(silent) as server:
        model = kind.at(server.url)
        stream = kind.stream(model)
        reading = asyncio.create_task(_read(stream))
        await server.arrived.wait()
        await stream.aclose()
        await asyncio.wait_for(server.until_all_left(), 5)
        assert await reading == []
        await model.aclose()


async def _read(stream: Any) -> list[Any]:
    return [piece async for piece in stream]


async def _until_gone(gone: weakref.ref[Any]) -> None:
    """Wait for it: a thread that has given its answer lets go of what it was called with after."""
    while gone() is not None:
        await asyncio.sleep(0.001)


@kinds(KINDS)
async def test_one_that_is_dropped_is_gone_and_its_connections_with_it(name):
    kind = KINDS[name]
    async with serving(speaking(name)) as server:
        model = kind.at(server.url)
        await kind.ask(model)
        if kind.stream is not None:
            await kind.stream(model).collect()
        gone = weakref.ref(model)
        gc.collect()
        gc.disable()
        try:
            del model
            await asyncio.wait_for(_until_gone(gone), 5)
            await asyncio.wait_for(server.until_all_left(), 5)
        finally:
            gc.enable()


@kinds(STREAMED)
@pytest.mark.parametrize("way", ["closed", "dropped"])
async def test_nothing_of_a_stream_is_left_to_the_garbage_collector(name, way):
    kind = KINDS[name]
    async with serving(speaking(name)) as server:
        model = kind.at(server.url)
        await kind.ask(model)
        gc.collect()
        before = set(map(id, _generators()))
        gc.disable()
        try:
            stream = await kind.stream(model)
            await anext(aiter(stream))
            known = asyncio.all_tasks()
            if way == "closed":
                await stream.aclose()
            del stream
            await asyncio.sleep(0)
            if closing := asyncio.all_tasks() - known:
                await asyncio.wait(closing, timeout=5)
            # Were it to close them, it might on another thread than the loop's, and in any order.
            assert [each for each in _generators() if id(each) not in before] == []
        finally:
            gc.enable()
        await model.aclose()


def _generators() -> list[Any]:
    """Give the generators that have begun and not ended."""
    kept = [each for each in gc.get_objects() if isinstance(each, types.AsyncGeneratorType)]
    return [each for each in kept if each.ag_frame is not None]
