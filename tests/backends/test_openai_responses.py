"""OpenAI's Responses API, through its SDK, against a server that speaks the published API."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

pytest.importorskip("openai")

from blazen.errors import OutputError, ProviderError, RateLimitError, UnsupportedError
from blazen.options.openai import OpenAiOptions
from blazen.testing import ModelSuite
from blazen.types.chat import ChatMessage, Tool
from blazen.types.completion import FinishReason
from blazen.types.image import Image
from blazen_openai import OpenAiProvider
from tests.remote.misbehaving import serving, serving_apart
from tests.wire.faults import FAULTS, Speech, check
from tests.wire.openai import CONTEXT, KEY, OpenAiWire
from tests.wire.openai_answers import Script, written

pytestmark = pytest.mark.needs("openai")

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJg"
    "gg=="
)
LOOK_UP = Tool(
    "look_up", "Look it up.", {"type": "object", "properties": {"q": {"type": "string"}}}
)
PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string"}},
    "required": ["name"],
    "additionalProperties": False,
}


MADE: list[OpenAiProvider] = []


def provider(url: str, **more: Any) -> OpenAiProvider:
    given = {"model": "gpt-4.1", "gateway": "openai", "api_key": KEY, "base_url": url, **more}
    MADE.append(OpenAiProvider(OpenAiOptions(api="responses", **given)))
    return MADE[-1]


@pytest.fixture(scope="module")
def echoing() -> Any:
    with serving_apart(OpenAiWire(repeat=30, pause=0.001)) as server:
        yield provider(server.url)


class TestResponses(ModelSuite):
    too_long_prompt = "word " * (CONTEXT + 1)
    samples = False

    @pytest.fixture
    def model(self, echoing: Any) -> Any:
        return echoing


@pytest.fixture
async def api() -> Any:
    """Give the API, with where it is."""
    wire = OpenAiWire()
    async with serving(wire) as server:
        wire.url = server.url  # type: ignore[attr-defined]
        wire.server = server  # type: ignore[attr-defined]
        yield wire
        while MADE:
            await MADE.pop().aclose()


async def both(model: Any, messages: Any, options: Any = None) -> tuple[Any, Any]:
    """Answer whole and in pieces."""
    return (
        await model.complete(messages, options),
        await model.complete_stream(messages, options).collect(),
    )


async def test_a_request_is_written_as_the_api_has_it(api):
    options = {
        "max_tokens": 50,
        "temperature": 0.5,
        "top_p": 0.9,
        "logprobs": 2,
        "tools": [LOOK_UP],
        "tool_choice": "look_up",
        "parallel_tool_calls": False,
        "response_format": PERSON,
    }
    chat = [
        ChatMessage.system("Be brief."),
        ChatMessage.user("What?", Image.from_bytes(PNG)),
        ChatMessage.assistant("That."),
    ]
    await provider(api.url, body={"user": "me"}).complete(chat, options)
    data = base64.b64encode(PNG).decode()
    image = {"type": "input_image", "image_url": f"data:image/png;base64,{data}", "detail": "auto"}
    function = {"type": "function", "name": "look_up", "description": "Look it up."}
    assert api.bodies[0] == {
        "model": "gpt-4.1",
        "input": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": [{"type": "input_text", "text": "What?"}, image]},
            {"role": "assistant", "content": "That."},
        ],
        "max_output_tokens": 50,
        "temperature": 0.5,
        "top_p": 0.9,
        "top_logprobs": 2,
        "include": ["message.output_text.logprobs"],
        "store": False,
        "text": {
            "format": {"type": "json_schema", "name": "answer", "schema": PERSON, "strict": True}
        },
        "tools": [{**function, "parameters": LOOK_UP.parameters, "strict": False}],
        "tool_choice": {"type": "function", "name": "look_up"},
        "parallel_tool_calls": False,
        "user": "me",
    }


async def test_what_was_reasoned_travels_with_the_conversation(api):
    """Nothing is kept at the provider: the sealed thoughts go back before the call they led to."""
    api.scripts += [
        Script(calls=[("look_up", '{"q": "a"}')], finish="tool_calls", reasoning="Look."),
    ] * 2
    model = provider(api.url, model="gpt-6-luna")
    asked = [ChatMessage.user("Look")]
    for answer in await both(model, asked, {"tools": [LOOK_UP], "reasoning": True}):
        assert answer.reasoning == "Look."
        assert answer.finish_reason is FinishReason.ToolCalls
        told = ChatMessage.from_json(answer.message.to_json())
        done = ChatMessage.tool("found", tool_call_id=answer.tool_calls[0].id)
        await model.complete([*asked, told, done], {"tools": [LOOK_UP]})
        sent = api.bodies[-1]["input"]
        assert [item.get("type", "message") for item in sent] == [
            "message",
            "reasoning",
            "function_call",
            "function_call_output",
        ]
        assert sent[1]["encrypted_content"] == "gAAAA-sealed"
        assert sent[2]["call_id"] == sent[3]["call_id"]
    assert api.bodies[0]["reasoning"] == {"effort": "medium", "summary": "auto"}
    assert api.bodies[0]["include"] == ["reasoning.encrypted_content"]


async def test_an_answer_that_was_changed_is_sent_as_it_is(api):
    model = provider(api.url, model="gpt-6-luna")
    answer = await model.complete("Hello")
    for text in ("Hello", "Goodbye"):
        said = ChatMessage.assistant(text, state=answer.state)
        await model.complete([ChatMessage.user("Hello"), said, ChatMessage.user("And?")])
    kept, changed = (body["input"][1:-1] for body in api.bodies[1:])
    assert [item["type"] for item in kept] == ["reasoning", "message"]
    assert changed == [{"role": "assistant", "content": "Goodbye"}]


async def test_several_calls_keep_their_places(api):
    calls = [("look_up", '{"q": "one"}'), ("look_up", '{"q": "two, and more of it"}')]
    api.scripts += [Script(calls=calls, finish="tool_calls")] * 2
    for answer in await both(provider(api.url), "Look", {"tools": [LOOK_UP]}):
        assert [(call.name, call.arguments) for call in answer.tool_calls] == calls
        assert [call.id for call in answer.tool_calls] == ["call_0", "call_1"]


async def test_the_end_of_an_answer_is_told(api):
    api.scripts += [Script("Half", finish="length")] * 2
    api.scripts += [Script("Half", finish="content_filter")] * 2
    for wanted in (FinishReason.Length, FinishReason.ContentFilter):
        for answer in await both(provider(api.url), "Hello"):
            assert (answer.content, answer.finish_reason) == ("Half", wanted)


async def test_a_refusal_is_told_and_never_taken_for_an_answer(api):
    api.scripts += [Script(refusal="I can't help with that.")] * 3
    for answer in await both(provider(api.url), "Who?"):
        assert answer.content == "I can't help with that."
        assert answer.finish_reason is FinishReason.ContentFilter
    with pytest.raises(OutputError, match="refuses"):
        await provider(api.url).complete("Who?", {"response_format": PERSON})


async def test_usage_has_its_details(api):
    usage = {
        "input_tokens": 1000,
        "output_tokens": 200,
        "input_tokens_details": {"cached_tokens": 400, "cache_write_tokens": 0},
        "output_tokens_details": {"reasoning_tokens": 150},
    }
    api.scripts += [Script("Hello", usage=usage)] * 2
    for answer in await both(provider(api.url, model="gpt-6-sol"), "Hello"):
        assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (1000, 200)
        assert (answer.usage.cached_tokens, answer.usage.reasoning_tokens) == (400, 150)
        assert answer.usage.cost == pytest.approx((600 * 2 + 400 * 0.2 + 200 * 10) / 1e6)
        assert answer.raw["id"].startswith("resp_")


@pytest.mark.parametrize("name", ["seed", "stop", "presence_penalty", "logit_bias", "top_k"])
async def test_what_the_api_lacks_is_refused_by_name(api, name):
    value: Any = {"stop": "x", "logit_bias": {1: 1.0}}.get(name, 1)
    with pytest.raises(UnsupportedError, match=f"takes no '{name}'"):
        await provider(api.url).complete("Hello", {name: value})
    assert api.server.asked == []


FAILED = {"id": "r", "object": "response", "status": "failed", "output": []}
LIMITED = {"code": "rate_limit_exceeded", "message": "Slow down."}
BROKEN = {"code": "server_error", "message": "It broke."}
EVENTS: dict[str, tuple[Any, type[Exception]]] = {
    "failed": ({"type": "response.failed", "response": {**FAILED, "error": BROKEN}}, ProviderError),
    "limited": (
        {"type": "response.failed", "response": {**FAILED, "error": LIMITED}},
        RateLimitError,
    ),
    "an error": ({"type": "error", "sequence_number": 1, **LIMITED}, RateLimitError),
    "no type": ({"hello": 1}, ProviderError),
    "a delta that is a number": ({"type": "response.output_text.delta", "delta": 5}, ProviderError),
    "arguments of no call": (
        {"type": "response.function_call_arguments.delta", "output_index": 3, "delta": "{"},
        ProviderError,
    ),
    "an item that is a text": (
        {"type": "response.output_item.added", "output_index": 0, "item": "x"},
        ProviderError,
    ),
    "an unknown end": (
        {"type": "response.completed", "response": {**FAILED, "status": "gone", "error": None}},
        ProviderError,
    ),
    "nothing more": ({"type": "response.created", "response": {}}, ProviderError),
}


@pytest.mark.parametrize("what", EVENTS)
async def test_a_stream_that_fails_says_how(what):
    event, wanted = EVENTS[what]

    async def behave(wire: Any, request: Any) -> None:
        await wire.head(content_type="text/event-stream")
        await wire.events({"type": "response.in_progress", "response": {}}, event)
        wire.close()

    async with serving(behave) as server:
        with pytest.raises(wanted) as told:
            await provider(server.url).complete_stream("Hello").collect()
        assert type(told.value) is wanted


@pytest.mark.parametrize(
    "body",
    [
        [],
        {"status": "completed"},
        {"status": "completed", "output": 5},
        {"status": "completed", "output": [5]},
        {"status": "completed", "output": [{"type": "message", "content": 5}]},
        {"status": "completed", "output": [{"type": "function_call", "name": "x"}]},
        {"status": "completed", "output": [], "usage": {"input_tokens": "3"}},
        {"status": "in_progress", "output": []},
    ],
    ids=json.dumps,
)
async def test_an_answer_of_wrong_types_is_an_error(body):
    async def behave(wire: Any, request: Any) -> None:
        await wire.answer(body)

    async with serving(behave) as server:
        with pytest.raises(ProviderError, match="can't be understood"):
            await provider(server.url).complete("Hello")


async def test_items_that_are_not_known_are_kept(api):
    item = {"id": "ws_1", "type": "web_search_call", "status": "completed"}
    api.scripts += [Script("Hello", more={"output": [item]})]
    answer = await provider(api.url).complete("Hello")
    assert answer.raw["output"] == [item]


def _event(kind: str, **more: Any) -> str:
    return written({"type": kind, "sequence_number": 1, **more}, named=True).decode()


DONE = {"id": "r", "object": "response", "status": "completed", "error": None, "output": []}
SPEECH = Speech(
    name="openai",
    model=lambda url, **more: provider(f"{url}/v1", **more),
    whole=DONE,
    events=(
        _event("response.output_text.delta", delta="Hi", output_index=0, logprobs=[]),
        _event("response.completed", response=DONE),
    ),
    refusal=lambda status, text: {"error": {"message": text, "type": "x", "code": status}},
    error_event=_event("error", code="server_error", message="It broke.", param=None),
    odd={**DONE, "output": 5},
    odd_event=_event("response.output_text.delta", delta=5, output_index=0),
)


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("fault", FAULTS)
async def test_faults(fault, streamed):
    await check(SPEECH, fault, streamed=streamed)
