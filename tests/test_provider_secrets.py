"""A key shows up nowhere, whatever happens; and `BLAZEN_OFFLINE` lets nothing out."""

from __future__ import annotations

import copy
import json
import pickle
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

import blazen
from blazen import Model, ModelManager
from blazen.errors import BlazenError, ProviderError
from blazen.middleware import MemoryCache, SqliteCache, with_cache, with_tracing
from blazen.middleware.cache_keys import identity_of
from blazen.remote.timeouts import Timeouts
from tests.curious import overheard, seen_in, seen_of
from tests.remote.misbehaving import Request, Wire, serving

pytestmark = pytest.mark.needs("openai", "anthropic", "gemini")

KEY = "sk-nobody-may-see-this-key-0123456789"
OTHER = "hush-nor-may-they-see-this-header"


@dataclass(frozen=True)
class Provider:
    """How a provider is told where to go, and what it answers."""

    name: str
    variable: str
    whole: Any
    """An answer."""
    events: tuple[str, ...]
    """The same, as it is streamed."""
    path: str = ""
    """What stands behind the server's address in base_url."""
    gateway: str | None = None
    """That it is the provider itself which is there."""


def _data(*bodies: Any, named: bool = False) -> tuple[str, ...]:
    lines = (f"event: {body['type']}\n" if named else "" for body in bodies)
    return tuple(
        f"{line}data: {json.dumps(body)}\n\n" for line, body in zip(lines, bodies, strict=True)
    )


def _openai() -> Provider:
    usage = {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4}
    told = {"id": "chatcmpl-1", "created": 1, "model": "a-model"}

    def chunk(delta: Any, finish_reason: str | None, **more: Any) -> Any:
        choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
        return {**told, "object": "chat.completion.chunk", "choices": [choice], **more}

    message = {"role": "assistant", "content": "yes", "refusal": None}
    return Provider(
        "openai",
        "OPENAI_API_KEY",
        {
            **told,
            "object": "chat.completion",
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": usage,
        },
        (
            *_data(
                chunk({"role": "assistant", "content": "yes"}, None),
                chunk({}, "stop"),
                {**told, "object": "chat.completion.chunk", "choices": [], "usage": usage},
            ),
            "data: [DONE]\n\n",
        ),
        "/v1",
        "openai",
    )


def _anthropic() -> Provider:
    message = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "a-model",
        "content": [{"type": "text", "text": "yes"}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": 3, "output_tokens": 1},
    }
    block = {"type": "text", "text": ""}
    end = {"stop_reason": "end_turn", "stop_sequence": None}
    events = _data(
        {"type": "message_start", "message": {**message, "content": [], "stop_reason": None}},
        {"type": "content_block_start", "index": 0, "content_block": block},
        {
            "type": "content_block_delta",
            "index": 0,
            "delta": {"type": "text_delta", "text": "yes"},
        },
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": end, "usage": {"output_tokens": 1}},
        {"type": "message_stop"},
        named=True,
    )
    return Provider("anthropic", "ANTHROPIC_API_KEY", message, events)


def _gemini() -> Provider:
    content = {"role": "model", "parts": [{"text": "yes"}]}
    answer = {
        "candidates": [{"content": content, "finishReason": "STOP", "index": 0}],
        "usageMetadata": {
            "promptTokenCount": 3,
            "candidatesTokenCount": 1,
            "totalTokenCount": 4,
        },
        "modelVersion": "a-model",
        "responseId": "r1",
    }
    return Provider("gemini", "GEMINI_API_KEY", answer, _data(answer))


PROVIDERS = {each.name: each for each in (_openai(), _anthropic(), _gemini())}


@pytest.fixture(params=PROVIDERS)
def provider(request):
    return PROVIDERS[request.param]


@pytest.fixture(autouse=True)
def _no_other_settings(monkeypatch):
    for each in PROVIDERS.values():
        for name in (each.variable, each.variable.replace("_API_KEY", "_BASE_URL")):
            monkeypatch.delenv(name, raising=False)
    for name in ("GOOGLE_API_KEY", "GOOGLE_GEMINI_BASE_URL", "BLAZEN_OFFLINE"):
        monkeypatch.delenv(name, raising=False)


def built(provider: Provider, url: str, **settings: Any) -> Any:
    """Make a model of the provider that asks at a server of ours."""
    given = {
        "api_key": KEY,
        "base_url": f"{url.removesuffix('/v1')}{provider.path}",
        "headers": {"X-Other": OTHER},
        "retry": {"times": 1, "first": 0},
        "timeouts": Timeouts(connect=5, idle=0.3, total=30),
    }
    if provider.gateway is not None:
        given["gateway"] = provider.gateway
    return Model.from_spec(f"{provider.name}:a-model", **{**given, **settings})


def asked_for_stream(request: Request) -> bool:
    return "stream" in request.path or json.loads(request.body).get("stream") is True


async def right(provider: Provider, wire: Wire, request: Request) -> None:
    if asked_for_stream(request):
        await wire.head(content_type="text/event-stream")
        await wire.events(*provider.events)
        wire.close()
    else:
        await wire.answer(provider.whole)


async def cut(provider: Provider, wire: Wire, request: Request) -> None:
    """The connection breaks in the middle of the answer."""
    if asked_for_stream(request):
        await wire.head(content_type="text/event-stream")
        await wire.events(provider.events[0])
    else:
        await wire.head(200, 1000, content_type="application/json")
        await wire.raw(b'{"id": "')
    wire.reset()


async def reset(provider: Provider, wire: Wire, request: Request) -> None:
    wire.reset()


async def hang(provider: Provider, wire: Wire, request: Request) -> None:
    await wire.until_left()


async def odd(provider: Provider, wire: Wire, request: Request) -> None:
    """What comes is no answer, and holds the key."""
    if asked_for_stream(request):
        await wire.head(content_type="text/event-stream")
        await wire.events(f'event: message_start\ndata: {{"you gave": "{KEY}", {OTHER}\n\n')
        wire.close()
    else:
        await wire.answer(f'{{"you gave {KEY}": {OTHER}'.encode(), content_type="application/json")


async def error_inside(provider: Provider, wire: Wire, request: Request) -> None:
    error = {"type": "invalid_request_error", "message": f"you gave {KEY} and {OTHER}", "code": 400}
    body = {"type": "error", "error": {**error, "status": "INVALID_ARGUMENT"}}
    if asked_for_stream(request):
        await wire.head(content_type="text/event-stream", x_request_id=f"id-{KEY}")
        await wire.events(f"event: error\ndata: {json.dumps(body)}\n\n")
        wire.close()
    else:
        await wire.answer(body)


def refusing(status: int, **headers: Any) -> Any:
    """Refuse, and repeat the key wherever there is room for it."""

    async def refuse(provider: Provider, wire: Wire, request: Request) -> None:
        error = {"type": "error", "message": f"you gave {KEY} and {OTHER}", "code": status}
        await wire.answer(
            {"error": error},
            status,
            **{"x_request_id": f"id-{KEY}", "x_echo": KEY, **headers},
        )

    return refuse


FAULTS = {
    "401": refusing(401),
    "403": refusing(403),
    "429": refusing(429, retry_after=0),
    "500": refusing(500),
    "529": refusing(529),
    "redirect": refusing(307, location=f"http://127.0.0.1:9/{KEY}?key={KEY}"),
    "cut": cut,
    "reset": reset,
    "hang": hang,
    "odd": odd,
    "error inside": error_inside,
}
# What was answered stands in the variables of those who read it; here it repeats the key.
REPEATING = ("odd", "error inside")


@asynccontextmanager
async def using(provider: Provider, behaviour: Any, **settings: Any):
    """A server and a model that asks there."""

    async def behave(wire: Wire, request: Request) -> None:
        await behaviour(provider, wire, request)

    async with serving(behave) as server:
        model = built(provider, server.url, **settings)
        try:
            yield model, server
        finally:
            await model.aclose()
            await server.until_all_left()


async def ask(model: Any, *, streamed: bool) -> Any:
    if not streamed:
        return await model.complete("Hello!", {"max_tokens": 20})
    stream = model.complete_stream("Hello!", {"max_tokens": 20})
    async for _ in stream:
        pass
    return stream.response


def hidden(*texts: str) -> None:
    """Fail where one of the texts holds the key, or the header that is as secret."""
    for text in texts:
        for secret in (KEY, OTHER):
            place = text.find(secret)
            assert place < 0, f"it is seen here: {text[max(0, place - 300) : place + 100]}"


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
async def test_the_key_is_sent_and_seen_nowhere_else(provider, streamed):
    with overheard() as heard:
        async with using(provider, right) as (model, server):
            answer = await ask(model, streamed=streamed)
            assert answer.content == "yes"
            (request,) = server.asked
            assert KEY in "".join(request.headers.values())
            assert request.headers["x-other"] == OTHER
            assert KEY not in request.path
            hidden(repr(model), repr(model.options), repr(answer), json.dumps(answer.to_dict()))
            hidden(seen_of(answer), repr(copy.copy(model.options)), repr(vars(model)))
    assert {"httpx2", "httpcore2"} <= heard.names
    hidden(*heard.texts)


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("fault", FAULTS)
async def test_the_key_is_in_no_error_and_no_log(provider, fault, streamed):
    with overheard() as heard:
        async with using(provider, FAULTS[fault]) as (model, server):
            with pytest.raises(BlazenError) as raised:
                await ask(model, streamed=streamed)
            assert KEY in "".join(server.asked[0].headers.values())
            error = raised.value
            hidden(str(error), repr(error), repr(vars(error)), repr(pickle.dumps(error)))
            if fault not in REPEATING:
                hidden(seen_in(error), seen_of(error))
            again = pickle.loads(pickle.dumps(error))
            assert str(again) == str(error)
            hidden(repr(model), str(getattr(error, "request_id", "")))
    hidden(*heard.texts)
    if fault in ("401", "403", "429", "500", "529"):
        assert error.status == int(fault)
        assert error.request_id == "id-..."


async def test_a_stream_that_is_left_or_cancelled_shows_no_key(provider):
    async def slow(provider, wire, request):
        await wire.head(content_type="text/event-stream")
        await wire.events(*provider.events[:-1] or provider.events)
        await wire.until_left()

    with overheard() as heard:
        async with using(provider, slow) as (model, _):
            stream = model.complete_stream("Hello!", {"max_tokens": 20})
            async with stream:
                async for _ in stream:
                    break
            hidden(repr(stream), seen_of(stream.response))
    hidden(*heard.texts)


def test_a_key_of_the_environment_is_pickled_by_its_name(provider, monkeypatch):
    monkeypatch.setenv(provider.variable, KEY)
    model = Model.from_spec(f"{provider.name}:a-model")
    hidden(repr(model), repr(model.options), repr(vars(model)))
    pickled = pickle.dumps(model)
    hidden(repr(pickled), pickled.decode("latin-1"))
    monkeypatch.setenv(provider.variable, "another-key")
    again = pickle.loads(pickled)
    assert repr(again) == repr(model)


def test_a_key_that_was_given_is_not_pickled(provider):
    model = Model.from_spec(f"{provider.name}:a-model", api_key=KEY)
    with pytest.raises(BlazenError, match="environment variable") as raised:
        pickle.dumps(model)
    hidden(seen_in(raised.value))


def test_a_key_goes_nowhere_in_the_clear(provider, monkeypatch):
    far = {"base_url": "http://models.example/v1"}
    monkeypatch.setenv(provider.variable, KEY)
    with pytest.raises(BlazenError, match="unencrypted") as raised:
        Model.from_spec(f"{provider.name}:m", **far)
    hidden(seen_in(raised.value))
    with pytest.raises(BlazenError, match="unencrypted") as raised:
        Model.from_spec(f"{provider.name}:m", api_key=KEY, **far)
    hidden(str(raised.value), repr(raised.value))
    Model.from_spec(f"{provider.name}:m", allow_http=True, **far)


async def test_a_span_holds_neither_key_nor_words(provider):
    sdk = pytest.importorskip("opentelemetry.sdk.trace")
    export = pytest.importorskip("opentelemetry.sdk.trace.export")
    memory = pytest.importorskip("opentelemetry.sdk.trace.export.in_memory_span_exporter")
    exporter = memory.InMemorySpanExporter()
    spans = sdk.TracerProvider(shutdown_on_exit=False)
    spans.add_span_processor(export.SimpleSpanProcessor(exporter))
    answers = iter((right, FAULTS["401"]))

    async def behave(provider, wire, request):
        await next(answers, FAULTS["401"])(provider, wire, request)

    async with using(provider, behave) as (model, _):
        manager = ModelManager(cpu_ram_gb=1, tracing=spans)
        await manager.register("cloud", model)
        await manager.complete("cloud", "Hello!")
        with pytest.raises(BlazenError):
            await manager.complete("cloud", "Hello!")
        with pytest.raises(BlazenError):
            await with_tracing(model, spans).complete("Hello!")
    told = [span.to_json() for span in exporter.get_finished_spans()]
    assert len(told) >= 3
    hidden(*told)
    assert not [text for text in told if "Hello!" in text]


async def test_a_cache_keeps_no_key(provider, tmp_path):
    """Neither in its file nor in the names under which answers are kept; and it still answers."""
    file = tmp_path / "answers.db"
    stores = (SqliteCache(file), MemoryCache())
    async with using(provider, right, body={"metadata": {}}) as (model, server):
        for store in stores:
            cached = with_cache(model, store)
            first = await ask(cached, streamed=False)
            again = await ask(cached, streamed=True)
            assert first.content == again.content == "yes"
            hidden(repr(cached), repr(store), repr(getattr(store, "__dict__", "")))
            await store.aclose()
        assert len(server.asked) == len(stores)
        hidden(str(identity_of(model)))
        # Another key is no other model: what was paid for once need not be paid for again.
        other = built(provider, server.url, api_key="another-key", body={"metadata": {}})
        assert identity_of(other) == identity_of(model)
    hidden(*(each.read_bytes().decode("latin-1") for each in tmp_path.iterdir()))


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
async def test_offline_nothing_is_sent(provider, streamed, monkeypatch):
    async with using(provider, right) as (model, server):
        monkeypatch.setenv("BLAZEN_OFFLINE", "1")
        with pytest.raises(ProviderError, match="BLAZEN_OFFLINE") as raised:
            await ask(model, streamed=streamed)
        assert raised.value.provider == provider.name
        assert server.asked == []
        monkeypatch.delenv("BLAZEN_OFFLINE")
        assert (await ask(model, streamed=streamed)).content == "yes"


def test_blocking_callers_see_no_key_either(provider):
    model = Model.from_spec(
        f"{provider.name}:m",
        api_key=KEY,
        base_url="http://127.0.0.1:9",
        retry={"times": 0},
    )
    with overheard() as heard, pytest.raises(BlazenError) as raised:
        blazen.blocking(model).complete("Hello!")
    hidden(seen_in(raised.value), *heard.texts)
