"""Every official SDK on our own HTTP client: errors, retries, limits, loops, hidden keys."""

from __future__ import annotations

import asyncio
import gzip
import json
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Any

import pytest

pytestmark = pytest.mark.needs("openai", "anthropic", "gemini")
pytest.importorskip("httpx2")

from blazen.errors import (  # noqa: E402
    AuthError,
    BlazenError,
    ContextLengthError,
    ProviderError,
    RateLimitError,
    TimeoutError,  # noqa: A004 - the name that users expect
    ValidationError,
)
from blazen.options.provider import ProviderOptions  # noqa: E402
from blazen.remote.sdk import Sdk  # noqa: E402
from blazen.remote.secret import Secret  # noqa: E402
from tests.curious import overheard, seen_in  # noqa: E402
from tests.remote.misbehaving import (  # noqa: E402
    Behaviour,
    Request,
    Server,
    Wire,
    answering,
    serving,
    serving_apart,
)
from tests.wire.faults import FAULTS, KEY, Speech, check  # noqa: E402

ASKED = [{"role": "user", "content": "Hello!"}]


def _openai(client: Any, url: str) -> Any:
    import openai

    return openai.AsyncOpenAI(
        api_key="placeholder", base_url=f"{url}/v1", http_client=client, max_retries=0
    )


def _anthropic(client: Any, url: str) -> Any:
    import anthropic

    return anthropic.AsyncAnthropic(
        api_key="placeholder", base_url=url, http_client=client, max_retries=0
    )


def _gemini(client: Any, url: str) -> Any:
    from google import genai
    from google.genai import types

    options = types.HttpOptions(base_url=url, httpx_async_client=client)
    return genai.Client(api_key="placeholder", http_options=options, vertexai=False).aio


class Kind:
    """How an SDK is opened and asked, and how its service speaks."""

    def __init__(
        self,
        name: str,
        open_: Callable[[Any, str], Any],
        header: tuple[str, str],
        whole: Any,
        event: Any,
        last: str,
        refusal: Callable[[int, str], Any],
    ) -> None:
        self.name, self.open, self.header, self.whole = name, open_, header, whole
        kind = f"event: {event['type']}\n" if name == "anthropic" else ""
        self.event = f"{kind}data: {json.dumps(event)}\n\n"
        self.last = last
        told = json.dumps(refusal(529, "overloaded"))
        kind = "event: error\n" if name == "anthropic" else ""
        self.error_event = f"{kind}data: {told}\n\n"
        self.refusal = refusal

    async def plain(self, client: Any) -> Any:
        if self.name == "openai":
            return await client.chat.completions.create(model="m", messages=ASKED)
        if self.name == "anthropic":
            return await client.messages.create(model="m", max_tokens=5, messages=ASKED)
        return await client.models.generate_content(model="m", contents="Hello!")

    async def stream(self, client: Any) -> AsyncIterator[Any]:
        if self.name == "openai":
            return await client.chat.completions.create(model="m", messages=ASKED, stream=True)
        if self.name == "anthropic":
            return await client.messages.create(
                model="m", max_tokens=5, messages=ASKED, stream=True
            )
        return await client.models.generate_content_stream(model="m", contents="Hello!")

    def text(self, event: Any) -> str:
        if self.name == "openai":
            return event.choices[0].delta.content
        return event.delta.text if self.name == "anthropic" else event.text

    def sdk(self, url: str, *, key: str | None = KEY, **settings: Any) -> Sdk[Any]:
        settings.setdefault("retry", {"times": 0})
        settings.pop("api_key", None)
        name, prefix = self.header
        return Sdk(
            ProviderOptions(**settings),
            provider=self.name,
            extra=self.name,
            base_url=url,
            key=None if key is None else Secret(key),
            key_header=name,
            key_prefix=prefix,
            open=self.open,
        )


def _said(status: int, message: str) -> Any:
    return {"error": {"message": message, "type": "overloaded_error", "code": status}}


KINDS = {
    kind.name: kind
    for kind in (
        Kind(
            "openai",
            _openai,
            ("Authorization", "Bearer "),
            {
                "id": "1",
                "object": "chat.completion",
                "created": 1,
                "model": "m",
                "choices": [
                    {
                        "index": 0,
                        "message": {"role": "assistant", "content": "yes"},
                        "finish_reason": "stop",
                    }
                ],
            },
            {
                "id": "1",
                "object": "chat.completion.chunk",
                "created": 1,
                "model": "m",
                "choices": [{"index": 0, "delta": {"content": "yes"}}],
            },
            "data: [DONE]\n\n",
            _said,
        ),
        Kind(
            "anthropic",
            _anthropic,
            ("x-api-key", ""),
            {
                "id": "1",
                "type": "message",
                "role": "assistant",
                "model": "m",
                "content": [{"type": "text", "text": "yes"}],
                "stop_reason": "end_turn",
                "usage": {"input_tokens": 1, "output_tokens": 1},
            },
            {
                "type": "content_block_delta",
                "index": 0,
                "delta": {"type": "text_delta", "text": "yes"},
            },
            'event: message_stop\ndata: {"type": "message_stop"}\n\n',
            lambda status, message: {"type": "error", **_said(status, message)},
        ),
        Kind(
            "gemini",
            _gemini,
            ("x-goog-api-key", ""),
            {"candidates": [{"content": {"role": "model", "parts": [{"text": "yes"}]}}]},
            {"candidates": [{"content": {"role": "model", "parts": [{"text": "yes"}]}}]},
            "",
            lambda status, message: {
                "error": {"message": message, "status": "UNAVAILABLE", "code": status}
            },
        ),
    )
}


@pytest.fixture(params=KINDS)
def kind(request):
    return KINDS[request.param]


@pytest.fixture(autouse=True)
def _no_other_settings(monkeypatch):
    for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GEMINI_API_KEY", "BLAZEN_OFFLINE"):
        monkeypatch.delenv(name, raising=False)


def streaming(kind: Kind, *events: str) -> Behaviour:
    async def behave(wire: Wire, request: Request) -> None:
        await wire.head(content_type="text/event-stream")
        await wire.events(*events, kind.last)
        wire.close()

    return behave


@asynccontextmanager
async def using(
    kind: Kind, *behaviours: Behaviour, **settings: Any
) -> AsyncIterator[tuple[Sdk[Any], Server]]:
    async with serving(*behaviours) as server:
        sdk = kind.sdk(server.url.removesuffix("/v1"), **settings)
        try:
            yield sdk, server
        finally:
            await sdk.aclose()
            await asyncio.wait_for(server.until_all_left(), 10)


async def texts(kind: Kind, sdk: Sdk[Any], **settings: Any) -> list[str]:
    events = [event async for event in sdk.events(kind.stream, **settings)]
    return [
        kind.text(event)
        for event in events
        if getattr(event, "type", "content_block_delta") == "content_block_delta"
    ]


class Bare:
    """An `Sdk` in the form of a model, for the faults that every provider must stand."""

    def __init__(self, kind: Kind, url: str, **settings: Any) -> None:
        self.kind = kind
        self.sdk = kind.sdk(url, **settings)
        self.aclose = self.sdk.aclose

    async def ask(self, streamed: bool) -> None:
        if streamed:
            await texts(self.kind, self.sdk)
        else:
            await self.sdk.call(self.kind.plain)


def _speech(kind: Kind) -> Speech:
    return Speech(
        name=kind.name,
        model=lambda url, **settings: Bare(kind, url, **settings),
        whole=kind.whole,
        events=(kind.event, kind.last),
        refusal=kind.refusal,
        error_event=kind.error_event,
        odd=None,
        odd_event="",
        ask=Bare.ask,
    )


# What only the provider's own reading can know: the SDKs take nearly anything for an answer.
OF_THE_PROVIDER = ("wrong types", "ended early", "no JSON")


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("fault", [name for name in FAULTS if name not in OF_THE_PROVIDER])
async def test_each_fault_ends_in_its_error(kind, fault, streamed):
    if fault == "error inside" and not streamed:
        pytest.skip("the provider sees to it: see the test of error_inside")
    await check(_speech(kind), fault, streamed=streamed)


async def test_answers_come_as_the_sdk_gives_them(kind):
    async with using(kind, answering(kind.whole), streaming(kind, kind.event, kind.event)) as (
        sdk,
        server,
    ):
        answer = await sdk.call(kind.plain)
        assert "yes" in repr(answer)
        assert await texts(kind, sdk) == ["yes", "yes"]
        assert [request.headers[kind.header[0].lower()] for request in server.asked] == [
            kind.header[1] + KEY
        ] * 2


async def test_without_a_key_the_placeholder_is_not_sent(kind):
    async with using(kind, answering(kind.whole), key=None) as (sdk, server):
        await sdk.call(kind.plain)
    assert "placeholder" not in "".join(server.asked[0].headers.values())


async def test_no_key_of_another_kind_goes_along(kind, monkeypatch):
    # Its SDK would send this one too.
    monkeypatch.setenv("ANTHROPIC_AUTH_TOKEN", "token-of-the-environment")
    async with using(kind, answering(kind.whole), headers={"X-Other": "mine"}) as (sdk, server):
        await sdk.call(kind.plain)
    sent = server.asked[0].headers
    assert sent["x-other"] == "mine"
    assert {"authorization", "x-api-key", "x-goog-api-key"} & set(sent) == {kind.header[0].lower()}
    assert "token-of" not in "".join(sent.values())


async def test_busy_servers_are_asked_again(kind):
    async with using(
        kind,
        answering(kind.refusal(503, "busy"), 503),
        answering(kind.refusal(429, "slow down"), 429, retry_after=0),
        answering(kind.whole),
        answering(kind.refusal(529, "busy"), 529),
        streaming(kind, kind.event),
        retry={"times": 2, "first": 0},
    ) as (sdk, server):
        await sdk.call(kind.plain)
        assert await texts(kind, sdk) == ["yes"]
        assert len(server.asked) == 5


async def test_what_may_have_been_done_is_asked_again_only_if_that_is_harmless(kind):
    async with using(
        kind,
        answering(kind.refusal(500, "oops"), 500),
        answering(kind.refusal(500, "oops"), 500),
        answering(kind.whole),
        retry={"times": 2, "first": 0},
    ) as (sdk, server):
        with pytest.raises(ProviderError):
            await sdk.call(kind.plain)
        assert len(server.asked) == 1
        await sdk.call(kind.plain, twice=True)
        assert len(server.asked) == 3


async def test_a_stream_that_begins_with_an_error_is_asked_for_again(kind):
    async with using(
        kind,
        streaming(kind, kind.error_event),
        streaming(kind, kind.event),
        retry={"times": 1, "first": 0},
    ) as (sdk, server):
        assert await texts(kind, sdk) == ["yes"]
        assert len(server.asked) == 2


async def test_an_event_of_endless_lines_is_refused(kind):
    async def behave(wire: Wire, request: Request) -> None:
        await wire.head(content_type="text/event-stream")
        await wire.events(kind.event)
        while True:
            await wire.raw(b"data: 1\n" * 1000)

    async with using(kind, behave) as (sdk, _):
        with pytest.raises(ProviderError, match="too many lines"):
            await texts(kind, sdk)


async def test_a_stream_is_not_begun_again_once_something_came(kind):
    async with using(
        kind, streaming(kind, kind.event, kind.error_event), retry={"times": 5, "first": 0}
    ) as (sdk, server):
        events = sdk.events(kind.stream)
        assert kind.text(await anext(events)) == "yes"
        with pytest.raises(ProviderError) as raised:
            await anext(events)
        assert raised.value.status == 529
        assert len(server.asked) == 1


async def test_a_long_wish_to_wait_is_raised_at_once(kind):
    async with using(
        kind, answering(kind.refusal(429, "later"), 429, retry_after=3600), retry={"times": 5}
    ) as (sdk, server):
        with pytest.raises(RateLimitError) as raised:
            await sdk.call(kind.plain)
        assert raised.value.retry_after == 3600
        assert len(server.asked) == 1


async def test_the_cause_is_the_error_of_the_sdk(kind):
    async with using(kind, answering(kind.refusal(401, f"bad key {KEY}"), 401)) as (sdk, _):
        with pytest.raises(AuthError, match="check the key") as raised:
            await sdk.call(kind.plain)
    cause = raised.value.__cause__
    assert type(cause).__module__.startswith((kind.name, "google.genai"))
    assert KEY not in f"{cause!s}{cause!r}{vars(cause)!r}"
    assert "bad key" in str(cause)


async def test_an_error_in_a_whole_answer_is_made_one_by_the_provider(kind):
    async def ask(client: Any) -> Any:
        await kind.plain(client)
        raise sdk.error_inside(kind.refusal(529, f"overloaded, {KEY}"))

    async with using(
        kind,
        answering(kind.whole, x_request_id="id-1"),
        retry={"times": 1, "first": 0},
    ) as (sdk, server):
        with pytest.raises(ProviderError, match="overloaded") as raised:
            await sdk.call(ask)
        assert len(server.asked) == 2
    assert raised.value.status == 529
    assert raised.value.request_id == "id-1"
    assert KEY not in str(raised.value)


async def test_an_answer_that_makes_no_sense_is_told_of(kind):
    sdk = kind.sdk("http://127.0.0.1:9")
    cause = KeyError("choices")
    error = sdk.malformed(f"it has no choices, {KEY}", cause)
    assert (type(error), error.provider, error.__cause__) == (ProviderError, kind.name, cause)
    assert "no choices" in str(error)
    assert KEY not in str(error)


async def test_what_the_sdk_refuses_is_one_of_our_errors(kind):
    async def ask(client: Any) -> Any:
        raise TypeError("messages must not be None")

    sdk = kind.sdk("http://127.0.0.1:9")
    with pytest.raises(ProviderError, match=r"nothing was sent .*messages must not be None"):
        await sdk.call(ask)
    with pytest.raises(ProviderError, match="nothing was sent"):
        await anext(sdk.events(ask))
    await sdk.aclose()


@pytest.mark.parametrize(
    ("message", "tokens", "limit"),
    [
        (
            "The maximum context length is 8192 tokens. However, you requested 9001 tokens.",
            9001,
            8192,
        ),
        ("prompt is too long: 210,000 tokens > 200,000 maximum", 210_000, 200_000),
        (
            "Input token count (1048577) exceeds the maximum number of tokens allowed (1048576)",
            1048577,
            1048576,
        ),
        (
            "the request (5000 tokens) exceeds the available context size (4096 tokens)",
            5000,
            4096,
        ),
        ("Your input exceeds the context window of this model.", None, None),
    ],
)
async def test_a_prompt_that_is_too_long_is_told_apart(kind, message, tokens, limit):
    async with using(kind, answering(kind.refusal(400, message), 400)) as (sdk, _):
        with pytest.raises(ContextLengthError, match="shorter") as raised:
            await sdk.call(kind.plain)
    assert (raised.value.tokens, raised.value.limit) == (tokens, limit)


@pytest.mark.parametrize(
    "message",
    [
        "max_tokens must be less than 4096",
        "Unknown field: context_window",
        "Request too large on tokens per minute (TPM): Limit 6000, Requested 7000",
    ],
)
async def test_other_refusals_are_not_about_the_length(kind, message):
    async with using(kind, answering(kind.refusal(400, message), 400)) as (sdk, _):
        with pytest.raises(ProviderError):
            await sdk.call(kind.plain)


async def test_packed_answers_are_read(kind):
    packed = gzip.compress(json.dumps(kind.whole).encode())
    async with using(
        kind, answering(packed, content_type="application/json", content_encoding="gzip")
    ) as (sdk, server):
        assert "yes" in repr(await sdk.call(kind.plain))
    assert server.asked[0].headers["accept-encoding"] == "identity"


async def test_the_deadline_covers_all_tries(kind):
    async with using(
        kind,
        answering(kind.refusal(503, "busy"), 503),
        retry={"times": 20, "first": 0.05, "longest": 0.05},
        timeouts={"total": 0.3},
    ) as (sdk, server):
        with pytest.raises((TimeoutError, ProviderError)):
            await sdk.call(kind.plain)
        assert len(server.asked) < 20


async def test_nobody_who_waits_is_left_waiting(kind):
    async with serving(answering()) as server:
        url = server.url.removesuffix("/v1")
    sdk = kind.sdk(url)  # nobody listens there any more
    with pytest.raises(ProviderError, match="could not be reached"):
        await sdk.call(kind.plain)
    with pytest.raises(ProviderError, match="could not be reached"):
        await texts(kind, sdk)
    await sdk.aclose()


@pytest.mark.parametrize("how", ["leaving", "cancelling", "closing the sdk"])
async def test_a_stream_that_is_left_closes_its_connection(kind, how):
    async def behave(wire: Wire, request: Request) -> None:
        await wire.head(content_type="text/event-stream")
        await wire.events(kind.event)
        await wire.until_left()

    async with using(kind, behave) as (sdk, server):
        first = asyncio.Event()

        async def read() -> None:
            async with aclosing(sdk.events(kind.stream)) as events:
                async for _ in events:
                    first.set()
                    if how == "leaving":
                        break

        reading = asyncio.create_task(read())
        await first.wait()
        if how == "cancelling":
            reading.cancel()
        elif how == "closing the sdk":
            await sdk.aclose()
        if how == "leaving":
            await reading
        else:
            with pytest.raises((asyncio.CancelledError, ProviderError)):
                await reading
        await asyncio.wait_for(server.until_all_left(), 10)


async def test_a_call_that_is_cancelled_closes_its_connection(kind):
    async def behave(wire: Wire, request: Request) -> None:
        await wire.until_left()

    async with using(kind, behave) as (sdk, server):
        asking = asyncio.create_task(sdk.call(kind.plain))
        await server.arrived.wait()
        asking.cancel()
        with pytest.raises(asyncio.CancelledError) as raised:
            await asking
        assert KEY not in seen_in(raised.value)
        await asyncio.wait_for(server.until_all_left(), 10)


async def test_two_hundred_streams_at_once_lose_nothing(kind):
    waiting = asyncio.Event()
    numbers = iter(range(200))

    async def behave(wire: Wire, request: Request) -> None:
        number = next(numbers)
        if number == 199:
            waiting.set()
        await wire.head(content_type="text/event-stream")
        for step in range(10):
            await wire.events(kind.event.replace("yes", f"{number}.{step}"))
            await waiting.wait()
        await wire.events(kind.last)
        wire.close()

    async with using(kind, behave) as (sdk, _):
        answers = await asyncio.gather(*(texts(kind, sdk) for _ in range(200)))
    told = sorted(answers, key=lambda answer: int(answer[0].partition(".")[0]))
    assert told == [[f"{number}.{step}" for step in range(10)] for number in range(200)]


def test_one_sdk_serves_loop_after_loop(kind):
    async def once() -> None:
        await sdk.call(kind.plain)
        assert await texts(kind, sdk) == ["yes"]

    async def behave(wire: Wire, request: Request) -> None:
        streamed = "stream" in request.path or json.loads(request.body).get("stream")
        await (streaming(kind, kind.event) if streamed else answering(kind.whole))(wire, request)

    with serving_apart(behave) as server:
        sdk = kind.sdk(server.url.removesuffix("/v1"))
        # Each client goes with its loop: the warning of an open socket would be an error here.
        for _ in range(3):
            asyncio.run(once())
        threads = [threading.Thread(target=asyncio.run, args=(once(),)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(server.asked) == 14


async def test_it_opens_again_after_it_was_closed(kind):
    async with using(kind, answering(kind.whole)) as (sdk, _):
        await sdk.call(kind.plain)
        await sdk.aclose()
        await sdk.call(kind.plain)


async def test_offline_nothing_is_sent(kind, monkeypatch):
    monkeypatch.setenv("BLAZEN_OFFLINE", "1")
    async with using(kind, answering(kind.whole)) as (sdk, server):
        for asked in (sdk.call(kind.plain), anext(sdk.events(kind.stream))):
            with pytest.raises(ProviderError, match="BLAZEN_OFFLINE"):
                await asked
        assert server.asked == []


def test_no_key_goes_in_the_clear_to_another_machine(kind):
    with pytest.raises(ValidationError, match="unencrypted"):
        kind.sdk("http://models.example")
    with pytest.raises(ValidationError, match="unencrypted"):
        kind.sdk("http://models.example", key=None, headers={"X-Token": "hush"})
    kind.sdk("http://models.example", allow_http=True)
    kind.sdk("http://models.example", key=None)
    kind.sdk("http://localhost:1")
    kind.sdk("https://models.example")


async def test_proxies_of_the_environment_are_used(kind, monkeypatch):
    async with serving(answering(kind.whole)) as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url.removesuffix("/v1"))
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)
        sdk = kind.sdk("http://models.example", allow_http=True)
        await sdk.call(kind.plain)
        await sdk.aclose()
        assert proxy.asked[0].path.startswith("http://models.example/")
        # What is on this machine is not told to a proxy.
        async with using(kind, answering(kind.whole)) as (near, server):
            await near.call(kind.plain)
        assert len(proxy.asked) == len(server.asked) == 1


async def test_the_key_is_seen_nowhere(kind):
    with overheard() as heard:
        async with using(
            kind, answering(kind.whole), streaming(kind, kind.event), answering(b"", 500)
        ) as (sdk, _):
            await sdk.call(kind.plain)
            await texts(kind, sdk)
            with pytest.raises(BlazenError) as raised:
                await sdk.call(kind.plain)
            held = repr(vars(sdk))
    assert {"httpx2", "httpcore2"} <= heard.names
    for text in (*heard.texts, seen_in(raised.value), held, repr(sdk)):
        assert KEY not in text
