"""Google's own SDK against a server that speaks the Gemini API: the suite, every fault, errors."""

from __future__ import annotations

import asyncio
import logging
import pickle
import subprocess
import sys
import time
from functools import partial

import pytest

pytest.importorskip("google.genai")

from blazen import (
    AuthError,
    ContextLengthError,
    Model,
    ProviderError,
    RateLimitError,
    ValidationError,
)
from blazen.options.gemini import GeminiOptions
from blazen.testing import ModelSuite
from blazen_gemini import GeminiProvider
from tests.remote.misbehaving import answering, serving, serving_apart
from tests.wire.faults import FAULTS, Speech, check
from tests.wire.gemini import (
    KEY,
    GeminiWire,
    Script,
    joined,
    response,
    status,
    written,
)

PATIENCE = 20
NAMES = {401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 429: "RESOURCE_EXHAUSTED"}


def provider(url: str, model: str = "gemini-2.5-flash", **settings) -> GeminiProvider:
    # The SDK takes seconds to gather an event of many megabytes.
    settings = {"api_key": KEY, "max_bytes": "4MiB", **settings}
    return GeminiProvider(GeminiOptions(model, base_url=url, **settings))


def refusal(code: int, message: str) -> dict:
    return status(code, message, NAMES.get(code, "INTERNAL"))


PIECES = [response({"text": "Good day"}), response({"text": " to you."}, finish="STOP")]
ODD = {"candidates": "many", "usageMetadata": [5]}
SPEECH = Speech(
    name="gemini",
    model=provider,
    whole=joined(PIECES),
    events=tuple(written(piece).decode() for piece in PIECES),
    refusal=refusal,
    error_event=written(refusal(529, "Overloaded")).decode(),
    odd=ODD,
    odd_event=written(ODD).decode(),
)


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("fault", FAULTS)
async def test_what_goes_wrong_is_the_right_error_and_leaves_nothing(fault, streamed):
    await check(SPEECH, fault, streamed=streamed)


@pytest.fixture(scope="module")
def api():
    with serving_apart(GeminiWire(repeat=2, pause=0.0005)) as server:
        yield server


@pytest.fixture(scope="module")
def thinking_api():
    with serving_apart(GeminiWire(thinks=True)) as server:
        yield server


class TestGemini(ModelSuite):
    """The suite of chat models, with a model that takes sampling settings."""

    too_long_prompt = "word " * 6_000
    samples = False
    limit_seconds = 60.0
    concurrency = 10

    @pytest.fixture
    def model(self, api):
        return provider(api.url)

    async def answer(self, model, **more):
        more.pop("parallel_tool_calls", None)  # the API has no such switch
        return await super().answer(model, **more)


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
async def test_a_model_that_thinks_and_calls(thinking_api, streamed):
    """As the API is now: no sampling settings, thoughts, signatures that must come back."""
    model = provider(thinking_api.url, "gemini-3.8-flash", thinking_level="low")
    tools = [{"name": "look", "parameters": {"type": "object", "properties": {"text": {}}}}]
    chat = [{"role": "user", "content": "Look!"}]
    options = {"tools": tools, "tool_choice": "required", "reasoning": True}

    async def ask(messages, options):
        if streamed:
            return await model.complete_stream(messages, options).collect()
        return await model.complete(messages, options)

    answer = await ask(chat, options)
    assert answer.reasoning == "I think."
    (call,) = answer.tool_calls
    chat = [*chat, answer.message, {"role": "tool", "content": "sea", "tool_call_id": call.id}]
    answer = await ask(chat, {"tools": tools})
    assert answer.content == '{"output": "sea"}'
    assert answer.state is not None
    chat = [*chat, answer.message, {"role": "user", "content": "Thanks"}]
    assert (await ask(chat, {"tools": tools})).content == "Thanks"
    await model.aclose()


# What Google says about a failure.

RETRY_INFO = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34.07s"}
QUOTA = {
    "@type": "type.googleapis.com/google.rpc.QuotaFailure",
    "violations": [{"quotaId": "GenerateRequestsPerMinutePerProjectPerModel-FreeTier"}],
}
LIMITED = status(429, "You exceeded your current quota.", "RESOURCE_EXHAUSTED", QUOTA, RETRY_INFO)
TOO_LONG = status(
    400,
    "The input token count (1200293) exceeds the maximum number of tokens allowed (1048576).",
    "INVALID_ARGUMENT",
)
BUSY = status(503, "The model is overloaded. Please try again later.", "UNAVAILABLE")


async def refused(script, *, streamed, **settings):
    """The error for a script, and how often the server was asked."""
    wire = GeminiWire()
    wire.scripts = [script, script]
    async with serving(wire) as server:
        model = provider(server.url, **settings)
        ask = (
            model.complete_stream("Hello").collect if streamed else partial(model.complete, "Hello")
        )
        with pytest.raises((ProviderError, ContextLengthError)) as raised:
            await ask()
        await model.aclose()
        return raised.value, len(server.asked)


@pytest.mark.parametrize("inside", [False, True], ids=["by its status", "in the body"])
@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
async def test_google_says_when_to_come_back(streamed, inside):
    script = Script([LIMITED], 200 if inside else 429)
    error, asked = await refused(script, streamed=streamed)
    assert isinstance(error, RateLimitError)
    assert error.status == 429
    assert error.retry_after == pytest.approx(34.07)
    assert "exceeded your current quota" in str(error)
    assert asked == 1, "it was asked again sooner than the server wants"


async def test_a_list_of_one_is_what_a_stream_is_refused_with():
    async with serving(answering([LIMITED], 429)) as server:
        model = provider(server.url)
        with pytest.raises(RateLimitError) as raised:
            await model.complete_stream("Hello").collect()
        await model.aclose()
    assert raised.value.retry_after == pytest.approx(34.07)


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
async def test_a_prompt_that_is_too_long_says_how_much(streamed):
    error, _ = await refused(Script([TOO_LONG], 400), streamed=streamed)
    assert isinstance(error, ContextLengthError)
    assert (error.tokens, error.limit) == (1_200_293, 1_048_576)


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
async def test_a_wrong_key_is_an_auth_error_although_google_says_400(streamed):
    error, _ = await refused(Script([]), streamed=streamed, api_key="AIza-another-key")
    assert isinstance(error, AuthError)
    assert error.status == 400
    assert "AIza-another-key" not in repr(vars(error)) + str(error)


async def test_a_model_that_is_not_there():
    error, _ = await refused(Script([]), streamed=False, model="gemini-none")
    assert (error.status, "gemini-none is not found" in str(error)) == (404, True)


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
async def test_a_busy_server_is_asked_again_by_us_and_not_by_the_sdk(streamed):
    wire = GeminiWire()
    wire.scripts = [Script([BUSY], 503), Script([BUSY], 503), Script(PIECES)]
    async with serving(wire) as server:
        model = provider(server.url, retry={"times": 2, "first": 0.01})
        answer = await (
            model.complete_stream("Hello").collect() if streamed else model.complete("Hello")
        )
        await model.aclose()
        assert len(server.asked) == 3
    assert answer.content == "Good day to you."
    error, asked = await refused(Script([BUSY], 503), streamed=streamed, retry={"times": 0})
    assert (error.status, asked) == (503, 1)


async def test_an_error_in_a_streams_middle_keeps_what_came():
    wire = GeminiWire()
    wire.scripts = [Script([PIECES[0], LIMITED])]
    async with serving(wire) as server:
        model = provider(server.url)
        stream = model.complete_stream("Hello")
        with pytest.raises(RateLimitError) as raised:
            async for _ in stream:
                pass
        await model.aclose()
        assert len(server.asked) == 1
    assert raised.value.retry_after == pytest.approx(34.07)
    assert stream.response.content == "Good day"


# Cancelling.


@pytest.mark.parametrize("way", ["whole", "streamed", "before the first event", "close", "break"])
async def test_leaving_closes_the_connection_at_once(way):
    """Seen by the server: no later than 100 ms."""
    left = asyncio.Event()
    times = {}

    async def endless(wire, request):
        if way != "before the first event" and "stream" in request.path:
            await wire.head(content_type="text/event-stream")
            await wire.raw(written(PIECES[0]))
        times["asked"] = time.monotonic()
        await wire.until_left()
        times["left"] = time.monotonic()
        left.set()

    async with serving(endless) as server:
        model = provider(server.url)
        stream = model.complete_stream("Hello")

        async def read():
            if way == "whole":
                await model.complete("Hello")
            async for _ in stream:
                pass

        if way in ("close", "break"):
            async for _ in stream:
                break
            begun = time.monotonic()
            if way == "close":
                await stream.aclose()
            else:
                del stream
        else:
            task = asyncio.create_task(read())
            await server.arrived.wait()
            while "asked" not in times or (way == "streamed" and not stream.response.content):
                await asyncio.sleep(0.001)
            begun = time.monotonic()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        await asyncio.wait_for(left.wait(), PATIENCE)
        assert times["left"] - begun < 0.1
        await model.aclose()


# What the SDK would take from its surroundings.

ELSEWHERE = {
    "GOOGLE_GENAI_USE_VERTEXAI": "true",
    "GOOGLE_GENAI_USE_ENTERPRISE": "true",
    "GOOGLE_CLOUD_PROJECT": "a-project",
    "GOOGLE_CLOUD_LOCATION": "us-central1",
    "GOOGLE_GENAI_API_VERSION": "v9",
    "GOOGLE_GENAI_CLIENT_MODE": "replay",
    "GOOGLE_GENAI_REPLAYS_DIRECTORY": "/nowhere",
    "GOOGLE_GENAI_REPLAY_ID": "x",
    "GOOGLE_API_KEY": "AIza-from-the-environment",
    "GEMINI_API_KEY": "AIza-from-the-environment-too",
    "GOOGLE_GEMINI_BASE_URL": "http://127.0.0.1:1",
    "GOOGLE_VERTEX_BASE_URL": "http://127.0.0.1:1",
    "GOOGLE_APPLICATION_CREDENTIALS": "/nowhere.json",
    "GCE_METADATA_HOST": "127.0.0.1:1",
}


async def test_the_sdk_takes_nothing_from_the_environment(monkeypatch, caplog):
    for name, value in ELSEWHERE.items():
        monkeypatch.setenv(name, value)
    caplog.set_level(logging.DEBUG)
    async with serving(GeminiWire()) as server:
        model = provider(server.url)
        assert (await model.complete("Hello")).content == "Hello"
        await model.aclose()
        (asked,) = server.asked
    assert asked.path == "/v1/models/gemini-2.5-flash:generateContent"
    assert asked.headers["x-goog-api-key"] == KEY
    assert "AIza" not in "".join(asked.headers.values()).replace(KEY, "")
    assert "AIza" not in caplog.text
    assert "GOOGLE_API_KEY" not in caplog.text, "the SDK tells of a key that is not used"


async def test_a_setting_that_the_sdk_can_not_use_is_our_error(monkeypatch):
    import google.genai

    def refuse(**settings):
        raise ImportError("httpx is configured, but not installed")

    monkeypatch.setattr(google.genai, "Client", refuse)
    model = provider("http://127.0.0.1:1")
    with pytest.raises(ValidationError, match="httpx is configured"):
        await model.complete("Hello")
    await model.aclose()


def test_nothing_is_imported_before_the_first_request():
    code = (
        "import sys, blazen\n"
        "model = blazen.Model.gemini(api_key='AIza-a-key')\n"
        "blazen.EmbeddingModel.gemini(api_key='AIza-a-key')\n"
        "print(repr(model))\n"
        "print([n for n in sys.modules if n.split('.')[0] in ('google', 'httpx2', 'pydantic')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    shown, loaded = done.stdout.splitlines()
    assert (
        shown == "<GeminiProvider 'gemini-3.8-flash' at https://generativelanguage.googleapis.com>"
    )
    assert loaded == "[]"


def test_it_pickles_with_the_name_of_its_key(monkeypatch):
    monkeypatch.setenv("GEMINI_API_KEY", KEY)
    model = Model.gemini("gemini-2.5-pro", thinking_budget=200)
    packed = pickle.dumps(model)
    assert KEY.encode() not in packed
    again = pickle.loads(packed)
    assert again.options == model.options
    assert KEY not in repr(again)
