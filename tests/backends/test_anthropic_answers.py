"""What comes from Anthropic's API: blocks, calls, reasons, counts, and a stream that is left."""

from __future__ import annotations

import asyncio
import json
import logging
import pickle
import subprocess
import sys
import time

import pytest

pytest.importorskip("anthropic")

from blazen import (
    AnthropicOptions,
    AnthropicProvider,
    AuthError,
    ChatMessage,
    ContextLengthError,
    FinishReason,
    OutputError,
    ProviderError,
    Tool,
)
from blazen.remote.prices import Price
from blazen.remote.retry import Retry
from tests.remote.misbehaving import Request, Wire, answering, serving, serving_apart
from tests.wire.anthropic import (
    KEY,
    AnthropicWire,
    Script,
    stream_events,
    written,
)
from tests.wire.anthropic_rules import signature

TIME = Tool("get_time", "Look up the time.", {"properties": {"city": {"type": "string"}}})
NOTHING = Tool("wait")
SHORT = {"max_tokens": 100}
LONG = {"max_tokens": 10_000}
TEXT = {"type": "text", "text": "Good day to you."}
MESSAGE = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude-haiku-4-5",
    "content": [TEXT],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {"input_tokens": 3, "output_tokens": 4},
}


def made(url: str, model: str = "claude-haiku-4-5", **settings) -> AnthropicProvider:
    settings = {"retry": Retry(first=0.001, times=2), **settings}
    return AnthropicProvider(AnthropicOptions(model, api_key=KEY, base_url=url, **settings))


async def said(script: Script, options=None, messages="Hello", **settings):
    """Give what is made of what the API says, and see that it is the same when it is streamed."""
    wire = AnthropicWire()
    wire.scripts += [script, script]
    async with serving(wire) as server:
        provider = made(server.url, **settings)
        answer = await provider.complete(messages, options)
        stream = provider.complete_stream(messages, options)
        pieces = [piece async for piece in stream]
        await provider.aclose()
        await server.until_all_left()
    timeless = [{**a.to_dict(), "timing": None} for a in (answer, stream.response)]
    for one in timeless:
        one["raw"].pop("id")
    assert timeless[0] == timeless[1]
    return answer, pieces


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        ("end_turn", FinishReason.Stop),
        ("stop_sequence", FinishReason.Stop),
        ("max_tokens", FinishReason.Length),
        ("model_context_window_exceeded", FinishReason.Length),
        ("tool_use", FinishReason.ToolCalls),
        ("refusal", FinishReason.ContentFilter),
        ("pause_turn", FinishReason.Length),
        ("a_reason_of_next_year", FinishReason.Stop),
    ],
)
@pytest.mark.parametrize("options", [SHORT, LONG])
async def test_why_an_answer_ended(told, reason, options):
    answer, pieces = await said(Script([TEXT], told), options)
    assert answer.finish_reason is pieces[-1].finish_reason is reason
    assert answer.raw["stop_reason"] == told
    assert answer.content == "Good day to you."
    assert answer.model == "claude-haiku-4-5"


async def test_a_refusal_says_why_and_an_empty_answer_is_no_error():
    details = {"type": "refusal", "category": "bio", "explanation": "No."}
    answer, _ = await said(Script([], "refusal", more={"stop_details": details}), SHORT)
    assert answer.content == ""
    assert answer.finish_reason is FinishReason.ContentFilter
    assert answer.raw["stop_details"] == details
    spent, _ = await said(Script([], "max_tokens"), SHORT)
    assert (spent.content, spent.finish_reason) == ("", FinishReason.Length)


async def test_a_stop_text_is_told():
    script = Script([TEXT], "stop_sequence", more={"stop_sequence": "END"})
    answer, _ = await said(script, SHORT)
    assert answer.raw["stop_sequence"] == "END"


@pytest.mark.parametrize("options", [SHORT, LONG])
async def test_counts_are_of_the_whole_and_hold_what_was_cached(options):
    usage = {
        "input_tokens": 10,
        "cache_read_input_tokens": 200,
        "cache_creation_input_tokens": 30,
        "output_tokens": 50,
        "output_tokens_details": {"thinking_tokens": 20},
    }
    answer, pieces = await said(Script([TEXT], usage=usage), options)
    counted = answer.usage
    assert (counted.prompt_tokens, counted.completion_tokens) == (240, 50)
    assert (counted.cached_tokens, counted.reasoning_tokens) == (200, 20)
    assert pieces[-1].usage == counted
    assert answer.raw["usage"]["cache_creation_input_tokens"] == 30


async def test_counts_replace_and_are_never_added():
    events = list(stream_events(MESSAGE))
    counts = [
        {
            "type": "message_delta",
            "delta": {"stop_reason": None},
            "usage": {"output_tokens": number},
        }
        for number in (2, 3)
    ]
    answer = await streamed([*events[:-2], *counts, *events[-2:]])
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (3, 4)


async def test_an_answer_says_what_it_costs():
    price = Price(10, 50, cached_input=1, cache_write=12.5)
    usage = {
        "input_tokens": 100,
        "cache_read_input_tokens": 1000,
        "cache_creation_input_tokens": 300,
        "cache_creation": {"ephemeral_5m_input_tokens": 200, "ephemeral_1h_input_tokens": 100},
        "output_tokens": 40,
    }
    answer, _ = await said(Script([TEXT], usage=usage), SHORT, price=price)
    expected = 100 * 10 + 1000 * 1 + 200 * 12.5 + 100 * 20 + 40 * 50
    assert answer.usage.cost == pytest.approx(expected / 1_000_000)
    known, _ = await said(Script([TEXT]), SHORT)
    assert known.usage.cost is not None
    unknown, _ = await said(Script([TEXT]), SHORT, model="a-model")
    assert unknown.usage.cost is None


@pytest.mark.parametrize(
    "more",
    [
        {"speed": "fast"},
        {"service_tier": "priority"},
        {"inference_geo": "us"},
        {"server_tool_use": {"web_search_requests": 1, "web_fetch_requests": 0}},
    ],
)
async def test_what_has_a_price_of_its_own_is_not_guessed(more):
    answer, _ = await said(Script([TEXT], usage=more), SHORT)
    assert answer.usage.cost is None


@pytest.mark.parametrize("options", [SHORT, LONG])
@pytest.mark.parametrize(
    ("words", "tokens", "limit"),
    [
        ("prompt is too long: 215000 tokens > 200000 maximum", 215_000, 200_000),
        (
            "input length and `max_tokens` exceed context limit: 190000 + 20000 > 204698, decrease",
            None,
            204_698,
        ),
        ("prompt is too long", None, None),
    ],
)
async def test_a_prompt_that_is_too_long_is_told_apart(options, words, tokens, limit):
    error = {"type": "error", "error": {"type": "invalid_request_error", "message": words}}
    async with serving(answering(error, 400)) as server:
        provider = made(server.url)
        with pytest.raises(ContextLengthError) as failure:
            await provider.complete("Hello", options)
        await provider.aclose()
    assert (failure.value.tokens, failure.value.limit) == (tokens, limit)


# ---- calls ----


def call(name: str, number: int, **given):
    return {"type": "tool_use", "id": f"toolu_{number}", "name": name, "input": given}


async def test_calls_at_once_have_indices_of_their_own():
    content = [
        TEXT,
        call("get_time", 1, city="Oslo"),
        call("wait", 2),
        call("get_time", 3, city=""),
    ]
    answer, pieces = await said(Script(content, "tool_use"), {"tools": [TIME, NOTHING]})
    assert [(one.id, one.name, one.parsed()) for one in answer.tool_calls] == [
        ("toolu_1", "get_time", {"city": "Oslo"}),
        ("toolu_2", "wait", {}),
        ("toolu_3", "get_time", {"city": ""}),
    ]
    assert answer.finish_reason is FinishReason.ToolCalls
    deltas = [delta for piece in pieces for delta in piece.tool_calls]
    assert {delta.index for delta in deltas} == {0, 1, 2}
    assert len([delta for delta in deltas if delta.index == 0]) > 2  # its input came in pieces


async def test_pieces_of_calls_that_come_mixed_are_told_apart():
    message = {**MESSAGE, "content": [call("get_time", 1, city="Oslo"), call("wait", 2, long=1)]}
    events = list(stream_events({**message, "stop_reason": "tool_use"}))
    start, deltas, end = events[:2], events[2:-2], events[-2:]
    one, other = ([e for e in deltas if e["index"] == index] for index in (0, 1))
    mixed = [event for pair in zip(one, other, strict=False) for event in pair]
    left = one[len(other) :] + other[len(one) :]
    answer = await streamed([*start, *mixed, *left, *end], {"tools": [TIME, NOTHING]})
    assert [one.parsed() for one in answer.tool_calls] == [{"city": "Oslo"}, {"long": 1}]


@pytest.mark.parametrize("told", ["max_tokens", "model_context_window_exceeded", "refusal"])
async def test_arguments_that_were_cut_stay_as_they_are(told):
    content = [call("wait", 1), call("get_time", 2, city="Oslo")]
    answer, _ = await said(Script(content, told, cut=True), {"tools": [TIME, NOTHING]})
    assert answer.tool_calls[0].arguments == "{}"
    assert answer.tool_calls[1].arguments == '{"city":'
    empty, _ = await said(Script([call("get_time", 1)], told), {"tools": [TIME]})
    assert empty.tool_calls[0].arguments == ""


# ---- reasoning, and what the API wants back ----

THOUGHT = {"type": "thinking", "thinking": "Hm. So?", "signature": signature("Hm. So?")}
HIDDEN = {"type": "redacted_thinking", "data": "b3BhcXVl"}


async def test_reasons_come_apart_from_the_text():
    answer, pieces = await said(Script([THOUGHT, HIDDEN, TEXT]), LONG)
    assert answer.reasoning == "Hm. So?"
    assert answer.content == TEXT["text"]
    assert answer.message.state == {"anthropic": [THOUGHT, HIDDEN, TEXT]}
    assert answer.raw["content"] == [HIDDEN]
    assert [bool(piece.reasoning) for piece in pieces[:2]] == [True, False]


async def test_a_plain_answer_needs_no_state():
    answer, _ = await said(Script([{**TEXT, "citations": None}]), SHORT)
    assert answer.state is None


@pytest.mark.parametrize("options", [{"tools": [TIME]}, {"tools": [TIME], "max_tokens": 3000}])
async def test_signed_thoughts_go_back_unchanged(options):
    wire = AnthropicWire()
    silent = {"type": "thinking", "thinking": "", "signature": signature("")}
    content = [THOUGHT, HIDDEN, TEXT, silent, call("get_time", 1, city="Oslo")]
    wire.scripts.append(Script(content, "tool_use"))
    async with serving(wire) as server:
        provider = made(server.url)
        chat = [ChatMessage.user("The time?")]
        answer = await provider.complete(chat, options)
        # It goes to JSON and back, as conversations that are kept do.
        chat += [ChatMessage.from_json(answer.message.to_json())]
        chat += [ChatMessage.tool("noon", tool_call_id="toolu_1")]
        await provider.complete(chat, options)
        await provider.aclose()
    assert wire.bodies[1]["messages"][1] == {"role": "assistant", "content": content}


async def test_a_message_that_was_changed_goes_as_it_now_is():
    wire = AnthropicWire()
    wire.scripts.append(Script([THOUGHT, TEXT]))
    async with serving(wire) as server:
        provider = made(server.url)
        answer = await provider.complete("Hi", LONG)
        changed = ChatMessage.assistant("Good night.", state=answer.state)
        await provider.complete([ChatMessage.user("Hi"), changed, ChatMessage.user("?")], LONG)
        await provider.aclose()
    assert wire.bodies[1]["messages"][1] == {"role": "assistant", "content": "Good night."}


async def test_what_has_no_place_of_its_own_is_in_raw_and_goes_back():
    search = {
        "type": "server_tool_use",
        "id": "srvtoolu_1",
        "name": "web_search",
        "input": {"query": "tea"},
    }
    cited = {**TEXT, "citations": [{"type": "char_location", "cited_text": "tea"}]}
    answer, _ = await said(Script([search, cited], "pause_turn"), LONG)
    assert answer.raw["content"] == [search]
    assert answer.raw["citations"] == cited["citations"]
    assert answer.state == {"anthropic": [search, cited]}


async def test_a_paused_answer_goes_on():
    search = {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {}}
    wire = AnthropicWire()
    wire.scripts += [Script([search], "pause_turn"), Script([TEXT])]
    async with serving(wire) as server:
        provider = made(server.url, "claude-opus-5-5")
        first = await provider.complete("Tea?", LONG)
        answer = await provider.complete([ChatMessage.user("Tea?"), first.message], LONG)
        await provider.aclose()
    assert answer.content == TEXT["text"]
    assert wire.bodies[1]["messages"][1]["content"] == [search]


# ---- a stream that is not as it should be ----


def events_of(*events, after=None):
    async def behave(wire: Wire, request: Request) -> None:
        await wire.head(content_type="text/event-stream", request_id="req_7")
        for event in events:
            await wire.raw(event if isinstance(event, bytes) else written(event))
        if after is not None:
            await after(wire)
        wire.close()

    return behave


async def streamed(events, options=None):
    async with serving(events_of(*events)) as server:
        provider = made(server.url)
        try:
            return await provider.complete("Hello", options or LONG)
        finally:
            await provider.aclose()


async def test_events_and_blocks_of_next_year_are_no_error():
    events = list(stream_events(MESSAGE))
    new = {"type": "content_block_start", "index": 9, "content_block": {"type": "hologram"}}
    odd = {"type": "content_block_delta", "index": 9, "delta": {"type": "light", "colour": "red"}}
    answer = await streamed([events[0], {"type": "weather"}, new, odd, *events[1:]])
    assert answer.content == TEXT["text"]
    assert answer.raw["content"] == [{"type": "hologram"}]


@pytest.mark.parametrize("cut", [1, 3, 5, -1])
async def test_a_stream_without_its_end_is_an_error(cut):
    events = list(stream_events(MESSAGE))[:cut]
    with pytest.raises(ProviderError, match="message_stop"):
        await streamed(events)


@pytest.mark.parametrize(
    "wrong",
    [
        {"type": "content_block_delta", "index": 7, "delta": {"type": "text_delta", "text": "a"}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": 5}},
        {"type": "content_block_delta", "index": 0, "delta": None},
        {"type": "content_block_delta", "index": [], "delta": {}},
        {"type": "content_block_start", "index": "x", "content_block": {"type": "text"}},
        {"type": "message_delta", "delta": {}, "usage": {"output_tokens": "many"}},
        {"type": "message_delta", "delta": {}, "usage": [3]},
        {"type": "message_delta", "delta": {"stop_reason": 5}, "usage": {}},
        b"event: message_delta\ndata: [1, 2]\n\n",
        b"event: message_delta\ndata: {\n\n",
        b"event: message_delta\ndata: \xff\xfe\n\n",
    ],
)
async def test_an_event_of_the_wrong_shape_is_the_providers_error(wrong):
    events = list(stream_events(MESSAGE))
    with pytest.raises(ProviderError) as failure:
        await streamed([*events[:4], wrong, events[-1]])
    assert failure.value.provider == "anthropic"


@pytest.mark.parametrize("wrong", [[], "text", 5, {"type": "completion"}, {**MESSAGE, "usage": 5}])
async def test_an_answer_of_the_wrong_shape_is_the_providers_error(wrong):
    async with serving(answering(wrong)) as server:
        provider = made(server.url)
        with pytest.raises(ProviderError, match="understood"):
            await provider.complete("Hello", SHORT)
        await provider.aclose()


OVERLOADED = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}


@pytest.mark.parametrize("options", [SHORT, LONG])
async def test_an_overload_inside_an_answer_is_tried_again_before_its_first_word(options):
    plain = options is SHORT
    busy = answering(OVERLOADED) if plain else events_of(OVERLOADED)
    async with serving(busy, AnthropicWire()) as server:
        provider = made(server.url)
        assert (await provider.complete("Hello there", options)).content == "Hello there"
        await provider.aclose()
    assert len(server.asked) == 2


async def test_an_overload_after_the_first_word_is_raised_with_what_came():
    events = list(stream_events(MESSAGE))
    async with serving(events_of(*events[:5], OVERLOADED), AnthropicWire()) as server:
        provider = made(server.url)
        stream = provider.complete_stream("Hello", LONG)
        with pytest.raises(ProviderError, match="Overloaded") as failure:
            await stream.collect()
        await provider.aclose()
        await server.until_all_left()
    assert (failure.value.status, failure.value.request_id) == (529, "req_7")
    assert stream.response.content == "Good day"
    assert len(server.asked) == 1


async def test_a_shape_that_was_refused_is_an_error_that_says_so():
    wire = AnthropicWire()
    wire.scripts.append(Script([{"type": "text", "text": "I can't."}], "refusal"))
    shape = {"type": "object", "properties": {"a": {"type": "string"}}}
    async with serving(wire) as server:
        provider = made(server.url)
        stream = provider.complete_stream("Hello", {"response_format": shape})
        with pytest.raises(OutputError):
            await stream.collect()
        await provider.aclose()
    assert stream.response.finish_reason is FinishReason.ContentFilter


# ---- leaving, and keeping a secret ----


@pytest.mark.parametrize("way", ["cancel", "close", "break"])
async def test_leaving_a_stream_closes_its_connection_at_once(way):
    gone = asyncio.Event()
    left: list[float] = []

    async def after(wire: Wire) -> None:
        await wire.until_left()
        left.append(time.monotonic())
        gone.set()

    events = list(stream_events(MESSAGE))[:5]
    async with serving(events_of(*events, after=after)) as server:
        provider = made(server.url)
        stream = provider.complete_stream("Hello", LONG)
        begun = asyncio.Event()

        async def read() -> None:
            async for piece in stream:
                if piece.content:
                    begun.set()
                if way == "break" and stream.response.content == "Good day":
                    break

        task = asyncio.create_task(read())
        await begun.wait()
        asked = time.monotonic()
        if way == "cancel":
            task.cancel()
        elif way == "close":
            await stream.aclose()
        await asyncio.wait_for(gone.wait(), 20)
        assert left[0] - asked < 0.1
        await asyncio.gather(task, return_exceptions=True)
        assert stream.response.finish_reason is FinishReason.Cancelled
        await server.until_all_left()
        await provider.aclose()


@pytest.mark.parametrize("options", [SHORT, LONG])
async def test_a_request_that_is_cancelled_before_its_answer_leaves_nobody_connected(options):
    async def hang(wire: Wire, request: Request) -> None:
        await wire.until_left()

    async with serving(hang) as server:
        provider = made(server.url)
        task = asyncio.create_task(provider.complete("Hello", options))
        await server.arrived.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await server.until_all_left()
        await provider.aclose()


async def test_200_streams_at_once_lose_nothing():
    wire = AnthropicWire()
    async with serving(wire) as server:
        provider = made(server.url)
        questions = [f"{number} " + "word " * 20 for number in range(200)]
        answers = await asyncio.gather(*(provider.complete(one, LONG) for one in questions))
        await provider.aclose()
    assert [answer.content.split() for answer in answers] == [one.split() for one in questions]


async def test_the_key_shows_up_nowhere(caplog):
    caplog.set_level(logging.DEBUG)
    wrong = answering({"type": "error", "error": {"message": f"{KEY} is no key"}}, 401)
    async with serving(wrong) as server:
        provider = made(server.url)
        with pytest.raises(AuthError) as failure:
            await provider.complete("Hello", LONG)
        await provider.aclose()
    assert server.asked[0].headers["x-api-key"] == KEY
    for shown in (repr(provider), repr(provider.options), str(failure.value), caplog.text):
        assert KEY not in shown


def test_it_travels_with_the_name_of_the_keys_variable(monkeypatch):
    monkeypatch.delenv("ANTHROPIC_BASE_URL", raising=False)
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    provider = AnthropicProvider(AnthropicOptions("claude-opus-5-5", effort="low"))
    carried = pickle.dumps(provider)
    assert KEY.encode() not in carried
    with serving_apart(AnthropicWire()) as server:
        monkeypatch.setenv("ANTHROPIC_BASE_URL", server.url)
        again = pickle.loads(carried)
        assert again.options == provider.options
        answer = asyncio.run(again.complete("Hello there", {"max_tokens": 99}))
    assert answer.content == "Hello there"


def test_without_a_key_it_says_where_one_belongs(monkeypatch):
    for name in ("ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(AuthError, match="ANTHROPIC_API_KEY"):
        AnthropicProvider()


def test_nothing_of_the_sdk_is_imported_before_the_first_request():
    program = (
        "import sys, blazen\n"
        "model = blazen.Model.anthropic('claude-opus-5-5', api_key='a-key')\n"
        "stream = model.complete_stream('Hello')\n"
        "print([name for name in ('anthropic', 'httpx2', 'pydantic') if name in sys.modules])\n"
    )
    out = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout
    assert json.loads(out.replace("'", '"')) == []
