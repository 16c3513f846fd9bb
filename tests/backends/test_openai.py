"""OpenAI's Chat Completions, through its SDK, against a server that speaks the published API."""

from __future__ import annotations

import asyncio
import base64
import json
import pickle
import subprocess
import sys
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import pytest

pytest.importorskip("openai")

from blazen import Audio, Image, Model, Prompt, ProviderOptions
from blazen.errors import AuthError, OutputError, ProviderError, UnsupportedError, ValidationError
from blazen.options.openai import OpenAiOptions
from blazen.remote.prices import Price
from blazen.testing import ModelSuite
from blazen.types.chat import ChatMessage, Tool, ToolCall
from blazen.types.completion import FinishReason
from blazen_openai import OpenAiProvider
from tests.remote.misbehaving import serving, serving_apart
from tests.wire.faults import FAULTS, Speech, check
from tests.wire.openai import CONTEXT, KEY, OpenAiWire
from tests.wire.openai_answers import Script, send, written

pytestmark = pytest.mark.needs("openai")

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJg"
    "gg=="
)
LOOK_UP = Tool(
    "look_up", "Look it up.", {"type": "object", "properties": {"q": {"type": "string"}}}
)


MADE: list[OpenAiProvider] = []


def provider(url: str, **more: Any) -> OpenAiProvider:
    given = {"model": "gpt-4.1", "gateway": "openai", "api_key": KEY, "base_url": url, **more}
    MADE.append(OpenAiProvider(OpenAiOptions(**given)))
    return MADE[-1]


@pytest.fixture(scope="module")
def echoing() -> Any:
    with serving_apart(OpenAiWire(repeat=30, pause=0.001)) as server:
        yield provider(server.url)


class TestOpenAi(ModelSuite):
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


# Who answers, and with which key.


async def test_the_first_form_of_the_documentation(api):
    options = ProviderOptions(api_key=KEY, base_url=api.url, model="gpt-4.1")
    answer = await OpenAiProvider(options=options).complete("Hello there")
    assert answer.content == "Hello there"
    for model in (Model.openai("gpt-4.1", api_key=KEY), Model.from_spec("openai:gpt-4.1")):
        assert isinstance(model, OpenAiProvider)
        assert model.options.model == "gpt-4.1"


def test_it_shows_its_model_and_place_and_never_its_key():
    shown = repr(Model.openai(api_key=KEY))
    assert shown == "<OpenAiProvider 'gpt-6-luna' at https://api.openai.com/v1>"
    assert KEY not in repr(OpenAiOptions(api_key=KEY, headers={"X-Other": KEY}))


async def test_a_key_is_looked_up_where_it_is_needed(api, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(AuthError, match="OPENAI_API_KEY") as refusal:
        await OpenAiProvider().complete("Hello")
    assert refusal.value.provider == "openai"
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    assert (await provider(api.url, api_key=None).complete("Hello")).content == "Hello"


async def test_it_pickles_by_its_options(api, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    model = provider(api.url, api_key=None)
    await model.complete("Hello")
    packed = pickle.dumps(model)
    assert KEY.encode() not in packed
    assert (await pickle.loads(packed).complete("Hello")).content == "Hello"


async def test_what_the_sdk_finds_in_the_environment_is_not_sent(api, monkeypatch):
    monkeypatch.setenv("OPENAI_ORG_ID", "org-env")
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "X-Secret: of-somebody")
    for more in ({}, {"organization": "org-1", "project": "proj-1"}):
        async with aclosing(provider(api.url, **more)) as model:
            await model.complete("Hello")
    assert not {"openai-organization", "x-secret"} & set(api.headers[0])
    assert api.headers[1]["openai-organization"] == "org-1"
    assert api.headers[1]["openai-project"] == "proj-1"


async def test_the_environment_may_say_where_openai_is(api, monkeypatch):
    monkeypatch.setenv("OPENAI_BASE_URL", api.url)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    for named in ({}, {"gateway": "openai"}):
        model = Model.openai("gpt-4.1", **named)
        assert (await model.complete("Hello")).content == "Hello"
        await model.aclose()
    assert Model.openai("a", gateway="groq", api_key="k").base_url.startswith("https://api.groq")


def test_nothing_is_imported_before_it_is_used():
    program = (
        "import sys, blazen_openai\n"
        "blazen_openai.OpenAiProvider(blazen_openai.OpenAiProvider.Options(api_key='k'))\n"
        "print([name for name in ('openai', 'httpx2', 'numpy', 'pydantic') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


async def test_offline_nothing_is_sent(api, monkeypatch):
    monkeypatch.setenv("BLAZEN_OFFLINE", "1")
    for request in (provider(api.url).complete, provider(api.url).complete_stream):
        with pytest.raises(ProviderError, match="BLAZEN_OFFLINE"):
            await _to_the_end(request("Hello"))
    assert api.server.asked == []


async def _to_the_end(request: Any) -> Any:
    return await request.collect() if hasattr(request, "collect") else await request


# Messages.


async def test_images_are_sent_as_they_are_or_by_their_url(api):
    model = provider(api.url)
    await model.complete([ChatMessage.user("What?", Image.from_bytes(PNG))])
    await model.complete([ChatMessage.user(Image.from_url("https://example.com/cat.jpg"))])
    first, second = (body["messages"][0]["content"] for body in api.bodies)
    assert first[0] == {"type": "text", "text": "What?"}
    data = base64.b64encode(PNG).decode()
    assert first[1]["image_url"]["url"] == f"data:image/png;base64,{data}"
    assert second[0]["image_url"]["url"] == "https://example.com/cat.jpg"


async def test_an_image_in_another_format_becomes_png(api):
    pytest.importorskip("PIL")
    bitmap = Image.from_bytes(Image.from_bytes(PNG).to_bytes("bmp"))
    await provider(api.url).complete([ChatMessage.user(bitmap)])
    assert api.bodies[0]["messages"][0]["content"][0]["image_url"]["url"].startswith(
        "data:image/png;base64,"
    )


async def test_audio_is_sent_to_a_model_that_hears(api):
    pytest.importorskip("numpy")
    sound = Audio.from_samples([0.0, 0.5, -0.5, 0.0], 16_000)
    asked = [ChatMessage.user("What is this?", sound)]
    await provider(api.url, model="gpt-audio").complete(asked)
    part = api.bodies[0]["messages"][0]["content"][1]
    assert part["input_audio"]["format"] == "wav"
    assert base64.b64decode(part["input_audio"]["data"]).startswith(b"RIFF")
    with pytest.raises(UnsupportedError, match="audio"):
        await provider(api.url).complete(asked)


async def test_images_stand_only_where_the_api_takes_them(api):
    shown = ChatMessage("system", [Image.from_bytes(PNG)])
    with pytest.raises(UnsupportedError, match="images in a message of the role 'system'"):
        await provider(api.url).complete([shown])
    assert api.server.asked == []


async def test_a_conversation_with_calls_goes_back_as_it_came(api):
    call = ToolCall("call_1", "look_up", '{"q": "a')
    chat = [
        ChatMessage("user", "Look", name="ann"),
        ChatMessage.assistant(tool_calls=[call]),
        ChatMessage.tool("nothing", tool_call_id="call_1"),
    ]
    await provider(api.url).complete(chat, {"tools": [LOOK_UP]})
    user, assistant, tool = api.bodies[0]["messages"]
    assert user["name"] == "ann"
    assert assistant["content"] is None
    assert assistant["tool_calls"][0]["function"]["arguments"] == '{"q": "a'
    assert tool == {"role": "tool", "content": "nothing", "tool_call_id": "call_1"}


# Options.


async def test_options_are_named_as_the_api_has_them(api):
    options = {
        "max_tokens": 5,
        "temperature": 0.5,
        "top_p": 0.9,
        "presence_penalty": 0.1,
        "frequency_penalty": 0.2,
        "seed": 7,
        "stop": "x",
        "logit_bias": {5: -100.0},
        "logprobs": 0,
    }
    await provider(api.url, body={"user": "me"}).complete("Hello", options)
    assert api.bodies[0] == {
        "model": "gpt-4.1",
        "messages": [{"role": "user", "content": "Hello"}],
        "max_completion_tokens": 5,
        "temperature": 0.5,
        "top_p": 0.9,
        "presence_penalty": 0.1,
        "frequency_penalty": 0.2,
        "seed": 7,
        "stop": ["x"],
        "logit_bias": {"5": -100},
        "logprobs": True,
        "top_logprobs": 0,
        "user": "me",
    }


@pytest.mark.parametrize("name", ["top_k", "min_p", "typical_p", "repeat_penalty", "mirostat"])
async def test_what_the_api_lacks_is_refused_by_name(api, name):
    for request in (provider(api.url).complete, provider(api.url).complete_stream):
        with pytest.raises(UnsupportedError, match=f"takes no '{name}'"):
            await request("Hello", {name: 1})
    assert api.server.asked == []


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"stop": list("abcde")}, "stop"),
        ({"tools": [Tool("a.b")]}, "a.b"),
        ({"reasoning": True}, "reasoning"),
        ({"response_format": {"kind": "regex", "rule": "a+"}}, "response_format"),
    ],
)
async def test_what_a_model_can_not_is_refused_by_name(api, options, named):
    with pytest.raises(UnsupportedError, match=named):
        await provider(api.url).complete("Hello", options)
    assert api.server.asked == []


ALWAYS = ("o3", "o4-mini", "gpt-5", "gpt-5-mini-2025-08-07", "gpt-5.3-codex", "ft:gpt-5-mini:me::1")


@pytest.mark.parametrize("model", [*ALWAYS, "gpt-5.5", "gpt-6-luna", "gpt-6.1-sol"])
@pytest.mark.parametrize("option", ["temperature", "top_p", "presence_penalty", "logprobs", "stop"])
async def test_reasoning_models_refuse_what_they_have_fixed(api, model, option):
    value: Any = "x" if option == "stop" else 1
    with pytest.raises(UnsupportedError, match=f"takes no '{option}'"):
        await provider(api.url, model=model).complete("Hello", {option: value})


@pytest.mark.parametrize("model", ALWAYS)
async def test_some_models_can_not_stop_reasoning(api, model):
    with pytest.raises(UnsupportedError, match="always reasons"):
        await provider(api.url, model=model).complete("Hello", {"reasoning": False})


async def test_reasoning_off_makes_sampling_possible(api):
    model = provider(api.url, model="gpt-6-luna")
    await model.complete("Hello", {"reasoning": False, "temperature": 0, "max_tokens": 9})
    assert api.bodies[0]["reasoning_effort"] == "none"
    assert api.bodies[0]["temperature"] == 0
    await model.complete("Hello", {"reasoning": True})
    assert api.bodies[1]["reasoning_effort"] == "medium"
    with pytest.raises(UnsupportedError, match="api='responses'"):
        await model.complete("Hello", {"reasoning": True, "tools": [LOOK_UP]})


# Shapes.


@dataclass
class Person:
    name: str
    age: int = 3


async def test_a_shape_goes_in_strict_mode(api):
    api.scripts += [Script('{"name": "Ann", "age": 4}')] * 2
    for answer in await both(provider(api.url), "Who?", {"response_format": Person}):
        assert answer.parsed == Person("Ann", 4)
    told = api.bodies[0]["response_format"]["json_schema"]
    assert (told["name"], told["strict"]) == ("Person", True)
    assert told["schema"]["required"] == ["name", "age"]
    assert told["schema"]["additionalProperties"] is False
    assert "default" not in json.dumps(told)


async def test_bounds_that_strict_mode_lacks_are_checked_afterwards(api):
    schema = {
        "type": "object",
        "properties": {"code": {"type": "string", "minLength": 3}},
        "required": ["code"],
    }
    api.scripts += [Script('{"code": "a"}')]
    with pytest.raises(OutputError, match="code"):
        await provider(api.url).complete("Who?", {"response_format": schema})
    told = api.bodies[0]["response_format"]["json_schema"]
    assert told["strict"] is True
    assert "minLength" not in json.dumps(told)


async def test_what_strict_mode_can_not_say_is_asked_for_and_checked(api):
    schema = {"type": "object", "additionalProperties": {"type": "integer"}}
    api.scripts += [Script('{"a": 1}'), Script('{"a": "one"}')]
    model = provider(api.url)
    assert (await model.complete("?", {"response_format": schema})).parsed == {"a": 1}
    told = api.bodies[0]["response_format"]["json_schema"]
    assert told == {"name": "answer", "schema": schema, "strict": False}
    with pytest.raises(OutputError, match="does not fit"):
        await model.complete("?", {"response_format": schema})


async def test_json_is_named_in_the_messages_where_they_do_not(api):
    model = provider(api.url)
    await model.complete("Hello", {"response_format": "json"})
    await model.complete("Give me JSON", {"response_format": "json"})
    assert [message["role"] for message in api.bodies[0]["messages"]] == ["system", "user"]
    assert [message["role"] for message in api.bodies[1]["messages"]] == ["user"]
    chat = [ChatMessage.system("Be brief."), ChatMessage.user("Hello")]
    await model.complete(chat, {"response_format": "json"})
    told = "Be brief.\n\nAnswer with a JSON object."
    assert api.bodies[2]["messages"][0] == {"role": "system", "content": told}


async def test_a_refusal_is_told_and_never_taken_for_an_answer(api):
    api.scripts += [Script(refusal="I can't help with that.")] * 4
    model = provider(api.url)
    for answer in await both(model, "Who?"):
        assert answer.content == "I can't help with that."
        assert answer.finish_reason is FinishReason.ContentFilter
        assert answer.raw["refusal"] == "I can't help with that."
    for request in (model.complete, model.complete_stream):
        with pytest.raises(OutputError, match="refuses") as told:
            await _to_the_end(request("Who?", {"response_format": Person}))
        assert told.value.text == "I can't help with that."


async def test_a_filtered_answer_says_so(api):
    api.scripts += [Script("Half of", finish="content_filter")] * 2
    for answer in await both(provider(api.url), "Who?"):
        assert (answer.content, answer.finish_reason) == ("Half of", FinishReason.ContentFilter)


async def test_a_spent_budget_says_so(api):
    spent = {"completion_tokens_details": {"reasoning_tokens": 40}, "completion_tokens": 40}
    api.scripts += [Script("", finish="length", usage=spent)] * 2
    for answer in await both(provider(api.url, model="o3"), "Who?", {"max_tokens": 40}):
        assert (answer.content, answer.finish_reason) == ("", FinishReason.Length)
        assert answer.usage.reasoning_tokens == answer.usage.completion_tokens == 40


# Tools.


async def test_several_calls_at_once_keep_their_places(api):
    calls = [("look_up", '{"q": "one"}'), ("look_up", '{"q": "two, and more of it"}')]
    api.scripts += [Script(calls=calls, finish="tool_calls")] * 2
    for answer in await both(provider(api.url), "Look", {"tools": [LOOK_UP]}):
        assert [(call.name, call.arguments) for call in answer.tool_calls] == calls
        assert [call.id for call in answer.tool_calls] == ["call_0", "call_1"]
        assert answer.finish_reason is FinishReason.ToolCalls


async def test_a_required_call_that_does_not_come_is_an_error(api):
    api.scripts += [Script("I'd rather not.")] * 2
    model = provider(api.url)
    for request in (model.complete, model.complete_stream):
        with pytest.raises(OutputError, match="no tool was called") as told:
            await _to_the_end(request("Look", {"tools": [LOOK_UP], "tool_choice": "required"}))
        assert told.value.text == "I'd rather not."


async def test_a_named_call_that_is_another_one_is_an_error(api):
    api.scripts += [Script(calls=[("look_up", "{}")], finish="tool_calls")] * 2
    model = provider(api.url)
    wanted = {"tools": [LOOK_UP, Tool("other")], "tool_choice": "other"}
    for request in (model.complete, model.complete_stream):
        with pytest.raises(OutputError, match="look_up was called, though other was required"):
            await _to_the_end(request("Look", wanted))


async def test_the_arguments_of_a_cut_call_stay_as_they_are(api):
    api.scripts += [Script(calls=[("look_up", '{"q": "on')], finish="length")] * 2
    for answer in await both(provider(api.url), "Look", {"tools": [LOOK_UP]}):
        assert answer.tool_calls[0].arguments == '{"q": "on'
        assert answer.finish_reason is FinishReason.Length


async def test_a_tool_is_strict_only_as_it_stands(api):
    closed = {**LOOK_UP.parameters, "required": ["q"], "additionalProperties": False}
    tools = [LOOK_UP, Tool("other", "", closed), Tool("bare")]
    await provider(api.url).complete("Look", {"tools": tools})
    told = [tool["function"] for tool in api.bodies[0]["tools"]]
    assert [function["strict"] for function in told] == [False, True, True]
    assert told[0]["parameters"] == LOOK_UP.parameters


def _pieces(*pieces: Any) -> Any:
    """Stream tool calls in odd pieces."""

    async def behave(wire: Any, request: Any) -> None:
        await wire.head(transfer_encoding="chunked", content_type="text/event-stream")
        for number, piece in enumerate(pieces):
            end = "tool_calls" if number == len(pieces) - 1 else None
            choice = {"index": 0, "delta": {"tool_calls": piece}, "finish_reason": end}
            event = {"id": "c", "object": "chat.completion.chunk", "choices": [choice]}
            await send(wire, written(event, named=False))
        await send(wire, b"data: [DONE]\n\n")
        await wire.raw(b"0\r\n\r\n")

    return behave


def _call(arguments: Any, **more: Any) -> dict[str, Any]:
    function = {"arguments": arguments, **({"name": more.pop("name")} if "name" in more else {})}
    return {"type": "function", "function": function, **more}


ODD_CALLS = {
    "all have the index 0": (
        [_call('{"q": 1}', name="look_up", index=0, id="a")],
        [_call('{"q": 2}', name="look_up", index=0, id="b")],
    ),
    "no index": (
        [_call('{"q": 1}', name="look_up", id="a"), _call('{"q": 2}', name="look_up", id="b")],
    ),
    "the id in each piece": (
        [_call('{"q"', name="look_up", index=0, id="a")],
        [_call(": 1}", index=0, id="a"), _call('{"q": 2}', name="look_up", index=1, id="b")],
    ),
    "one id for both": (
        [_call('{"q": 1}', name="look_up", index=0, id="a")],
        [_call('{"q": 2}', name="look_up", index=1, id="a")],
    ),
    "no id": (
        [_call('{"q": 1}', name="look_up", index=0), _call('{"q": 2}', name="look_up", index=1)],
    ),
    "arguments that were read": (
        [_call({"q": 1}, name="look_up", index=0, id="a")],
        [_call({"q": 2}, name="look_up", index=1, id="b")],
    ),
    "indices in disorder": (
        [_call(None, name="look_up", index=3, id="a")],
        [_call('{"q": 2}', name="look_up", index=1, id="b"), _call('{"q": 1}', index=3)],
    ),
}


@pytest.mark.parametrize("how", ODD_CALLS)
async def test_calls_in_odd_pieces_are_put_together(how):
    async with serving(_pieces(*ODD_CALLS[how])) as server:
        model = provider(server.url)
        answer = await model.complete_stream("Look", {"tools": [LOOK_UP]}).collect()
        assert [call.parsed() for call in answer.tool_calls] == [{"q": 1}, {"q": 2}]
        assert len({call.id for call in answer.tool_calls}) == 2
        assert all(call.id and call.name == "look_up" for call in answer.tool_calls)


# What is told beside the text.


async def test_usage_is_asked_for_and_read_with_its_details(api):
    usage = {
        "prompt_tokens": 1000,
        "completion_tokens": 200,
        "prompt_tokens_details": {"cached_tokens": 400},
        "completion_tokens_details": {"reasoning_tokens": 150},
    }
    api.scripts += [Script("Hello", usage=usage)] * 2
    model = provider(api.url, model="o3", price=Price(2.0, 8.0, cached_input=0.5))
    for answer in await both(model, "Hello"):
        assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (1000, 200)
        assert (answer.usage.cached_tokens, answer.usage.reasoning_tokens) == (400, 150)
        assert answer.usage.cost == pytest.approx((600 * 2 + 400 * 0.5 + 200 * 8) / 1e6)
        assert not answer.usage.estimated
        assert answer.model == "o3-2026-01-01"
    assert api.bodies[1]["stream_options"] == {"include_usage": True}


async def test_the_cost_is_none_where_the_price_is_not_known(api):
    costs = []
    for name in ("ft:gpt-4.1:me", "gpt-3.5-turbo"):
        async with aclosing(provider(api.url, model=name)) as model:
            costs.append((await model.complete("Hello")).usage.cost)
    assert costs == [None, pytest.approx((1 * 0.5 + 1 * 1.5) / 1e6)]


async def test_another_tier_has_another_price(api):
    api.scripts += [Script("Hello", more={"service_tier": "priority"})] * 2
    for answer in await both(provider(api.url, price=Price(2.0, 8.0)), "Hello"):
        assert answer.usage.cost is None


async def test_usage_that_does_not_come_is_estimated(api):
    wire = OpenAiWire(usage=False)
    async with serving(wire) as server:
        stream = provider(server.url).complete_stream("Say it, please: hello my friends")
        usage = (await stream.collect()).usage
        few = provider(server.url).complete_stream("Incomprehensibilities!", {"max_tokens": 2})
        assert (await few.collect()).usage.completion_tokens == 2
    assert usage.estimated
    assert usage.prompt_tokens > 0
    assert usage.completion_tokens > 2


async def test_a_stream_tells_how_long_it_took(api):
    whole, streamed = await both(provider(api.url), "Hello")
    assert whole.timing is None
    assert 0 < streamed.timing.first_token < 60
    assert streamed.timing.decode >= 0


async def test_reasoning_text_is_kept_apart(api):
    api.scripts += [Script("Four.", reasoning="Two and two.")] * 2
    api.scripts += [Script("Four.", reasoning="Two and two.", reasoning_field="reasoning")] * 2
    for _ in range(2):
        for answer in await both(provider(api.url), "2 + 2?"):
            assert (answer.content, answer.reasoning) == ("Four.", "Two and two.")


async def test_what_is_beyond_our_types_is_kept(api):
    more = {"citations": ["https://example.com"], "service_tier": "flex"}
    message = {"annotations": [{"type": "url_citation"}]}
    api.scripts += [Script("Hello", more=more, message=message)] * 2
    for answer in await both(provider(api.url), "Hello"):
        assert answer.raw["citations"] == ["https://example.com"]
        assert answer.raw["annotations"] == [{"type": "url_citation"}]
        assert answer.raw["service_tier"] == "flex"
        assert answer.raw["id"].startswith("chatcmpl-")
        assert not {"choices", "usage_", "model"} & set(answer.raw)


async def test_the_answer_goes_on_as_a_message(api):
    model = provider(api.url)
    answer = await model.complete("Hello")
    await model.complete([ChatMessage.user("Hello"), answer.message, ChatMessage.user("More")])
    assert api.bodies[1]["messages"][1] == {"role": "assistant", "content": "Hello"}


# When it goes wrong.


@pytest.mark.parametrize(
    "event",
    [
        [],
        {"choices": 5},
        {"choices": [5]},
        {"choices": [{"delta": 5}]},
        {"choices": [{"delta": {"content": 5}}]},
        {"choices": [{"delta": {"tool_calls": {}}}]},
        {"choices": [{"delta": {"tool_calls": [{"index": "0"}]}}]},
        {"choices": [{"delta": {}, "finish_reason": 5}]},
        {"choices": [{"delta": {}, "logprobs": {"content": [{"token": 5, "logprob": 0}]}}]},
        {"choices": [], "usage": {"prompt_tokens": "3"}},
        {"hello": 1},
    ],
    ids=repr,
)
async def test_wrong_types_are_an_error_and_nothing_raw(event):
    async def behave(wire: Any, request: Any) -> None:
        if json.loads(request.body).get("stream"):
            await wire.head(content_type="text/event-stream")
            await wire.events(event)
            wire.close()
        else:
            text = json.dumps(event).replace('"delta"', '"message"')
            await wire.answer(json.loads(text))

    async with serving(behave) as server:
        model = provider(server.url)
        for request in (model.complete, model.complete_stream):
            with pytest.raises(ProviderError, match="can't be understood"):
                await _to_the_end(request("Hello"))
        await model.aclose()
        await server.until_all_left()


async def test_a_stream_that_just_ends_is_no_answer():
    async def behave(wire: Any, request: Any) -> None:
        await wire.head(content_type="text/event-stream")
        await wire.events({"id": "c", "choices": [{"delta": {"content": "Half"}}]})
        wire.close()

    async with serving(behave) as server:
        stream = provider(server.url).complete_stream("Hello")
        with pytest.raises(ProviderError, match="ends before"):
            await stream.collect()
        assert stream.response.content == "Half"
        assert stream.response.finish_reason is FinishReason.Cancelled


@pytest.mark.parametrize("whole", [True, False])
async def test_cancelling_closes_the_connection_at_once(whole):
    async def behave(wire: Any, request: Any) -> None:
        if not whole:
            await wire.head(content_type="text/event-stream")
            await wire.events({"id": "c", "choices": [{"delta": {"content": "Half"}}]})
        await wire.until_left()

    seconds = []
    async with serving(behave) as server:
        model = provider(server.url)
        for _ in range(3):  # a busy machine may be late once
            server.arrived.clear()
            request = model.complete if whole else model.complete_stream("Hello").collect
            task = asyncio.create_task(request("Hello") if whole else request())
            await server.arrived.wait()
            await asyncio.sleep(0.01)
            began = asyncio.get_running_loop().time()
            task.cancel()
            await server.until_all_left()
            seconds.append(asyncio.get_running_loop().time() - began)
            with pytest.raises(asyncio.CancelledError):
                await task
    assert min(seconds) < 0.1


def _event(event: Any) -> str:
    return written(event, named=False).decode()


def _choice(**more: Any) -> dict[str, Any]:
    return {"id": "c", "object": "chat.completion.chunk", "choices": [{"index": 0, **more}]}


SPEECH = Speech(
    name="openai",
    model=lambda url, **more: provider(f"{url}/v1", **more),
    whole={
        "id": "c",
        "object": "chat.completion",
        "model": "gpt-4.1",
        "choices": [{"message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}],
    },
    events=(
        _event(_choice(delta={"content": "Hi"}, finish_reason=None)),
        _event(_choice(delta={}, finish_reason="stop")),
        "data: [DONE]\n\n",
    ),
    refusal=lambda status, text: {"error": {"message": text, "type": "x", "code": status}},
    error_event=_event({"error": {"message": "The server is overloaded", "type": "server_error"}}),
    odd={"choices": [{"message": {"content": 5}, "finish_reason": "stop"}]},
    odd_event=_event(_choice(delta={"content": 5})),
)


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("fault", FAULTS)
async def test_faults(fault, streamed):
    await check(SPEECH, fault, streamed=streamed)


async def test_options_that_are_wrong_are_refused():
    for body in ({"stream": True}, {"n": 2}):
        with pytest.raises(ValidationError, match="body"):
            Model.openai(api_key=KEY, body=body)
    with pytest.raises(ValidationError, match="api"):
        OpenAiOptions(api="assistants")
    with pytest.raises(ValidationError, match="did you mean 'groq'"):
        Model.openai("m", gateway="grok")
    with pytest.raises(UnsupportedError, match="Prompt"):
        await Model.openai(api_key=KEY).complete(Prompt("Once"))
