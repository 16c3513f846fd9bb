"""What is sent to Anthropic's API, which the server holds to its schema, and what is refused."""

from __future__ import annotations

import base64
import dataclasses
import json

import pytest

pytest.importorskip("anthropic")

from blazen import (
    AnthropicOptions,
    AnthropicProvider,
    Audio,
    ChatMessage,
    Image,
    Model,
    Prompt,
    ProviderError,
    ProviderOptions,
    Tool,
    ToolCall,
    UnsupportedError,
    ValidationError,
)
from blazen_anthropic.models import abilities
from blazen_anthropic.schema import narrowed
from tests.remote.misbehaving import serving
from tests.wire.anthropic import KEY, AnthropicWire, Script

PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNkYAAAAAYAAjCB0C8AAAAASUVORK5CYII="
)
TIME = Tool("get_time", "Look up the time.", {"properties": {"city": {"type": "string"}}})
NOTHING = Tool("wait")


def made(url: str, model: str | None = "claude-haiku-4-5", **settings) -> AnthropicProvider:
    return AnthropicProvider(AnthropicOptions(model, api_key=KEY, base_url=url, **settings))


async def sent(messages, options=None, model: str | None = "claude-haiku-4-5", **settings):
    """Give the body that a request becomes, which the server has accepted."""
    wire = AnthropicWire(thinks=True)
    async with serving(wire) as server:
        provider = made(server.url, model, **settings)
        await provider.complete(messages, options)
        await provider.aclose()
    return wire.bodies[0]


def refused(match: str, messages="Hello", options=None, error=UnsupportedError, **settings):
    """See that a request is refused before it is sent: nobody listens there."""
    provider = made("http://127.0.0.1:9", **settings)
    with pytest.raises(error, match=match):
        provider.complete_stream(messages, options)


async def test_the_plainest_request():
    assert await sent("Hello there", {"max_tokens": 50}) == {
        "model": "claude-haiku-4-5",
        "max_tokens": 50,
        "messages": [{"role": "user", "content": "Hello there"}],
    }


async def test_the_systems_texts_stand_apart_and_in_order():
    chat = [ChatMessage.system("Be brief."), ChatMessage.system("Be kind."), ChatMessage.user("Hi")]
    body = await sent(chat)
    assert body["system"] == [
        {"type": "text", "text": "Be brief."},
        {"type": "text", "text": "Be kind."},
    ]
    assert body["messages"] == [{"role": "user", "content": "Hi"}]


async def test_a_system_message_within_goes_where_it_stands_if_the_model_takes_that():
    chat = [ChatMessage.user("Hi"), ChatMessage.system("Now in rhyme.")]
    body = await sent(chat, model="claude-opus-5-5")
    assert body["messages"][1] == {"role": "system", "content": "Now in rhyme."}
    refused(
        "claude-sonnet-5 takes system's messages at the beginning", chat, model="claude-sonnet-5"
    )
    refused("only system's messages", chat[1:], error=ValidationError)


async def test_pictures_go_as_bytes_or_as_the_url_that_the_api_can_fetch(tmp_path):
    path = tmp_path / "pixel.png"
    path.write_bytes(PIXEL)
    url = "https://example.com/cat.png"
    chat = [ChatMessage.user("What is it?", Image.from_file(path), Image.from_url(url))]
    body = await sent(chat)
    assert body["messages"][0]["content"] == [
        {"type": "text", "text": "What is it?"},
        {
            "type": "image",
            "source": {
                "type": "base64",
                "media_type": "image/png",
                "data": base64.b64encode(PIXEL).decode(),
            },
        },
        {"type": "image", "source": {"type": "url", "url": url}},
    ]


async def test_a_format_that_the_api_does_not_know_goes_as_png():
    pytest.importorskip("PIL")
    picture = Image.from_bytes(Image.from_bytes(PIXEL).to_bytes("bmp"))
    body = await sent([ChatMessage.user(picture)])
    source = body["messages"][0]["content"][0]["source"]
    assert source["media_type"] == "image/png"
    assert base64.b64decode(source["data"]).startswith(b"\x89PNG")


async def test_answers_of_tools_stand_in_one_message():
    calls = [ToolCall("a", "get_time", '{"city": "Oslo"}'), ToolCall("b", "wait", "{}")]
    chat = [
        ChatMessage.user("The time?"),
        ChatMessage.assistant(tool_calls=calls),
        ChatMessage.tool("noon", tool_call_id="a"),
        ChatMessage.tool("", tool_call_id="b"),
        ChatMessage.user("And now?"),
    ]
    body = await sent(chat, {"tools": [TIME, NOTHING]})
    assert body["messages"][1:] == [
        {
            "role": "assistant",
            "content": [
                {"type": "tool_use", "id": "a", "name": "get_time", "input": {"city": "Oslo"}},
                {"type": "tool_use", "id": "b", "name": "wait", "input": {}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "a", "content": "noon"},
                {"type": "tool_result", "tool_use_id": "b"},
            ],
        },
        {"role": "user", "content": "And now?"},
    ]


def test_a_call_that_was_cut_is_not_sent_as_if_it_were_empty():
    cut = ChatMessage.assistant(tool_calls=[ToolCall("a", "get_time", '{"city": "Os')])
    refused("get_time", [ChatMessage.user("?"), cut], error=ValidationError)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, None),
        ({"tool_choice": "required"}, {"type": "any"}),
        ({"tool_choice": "wait"}, {"type": "tool", "name": "wait"}),
        ({"tool_choice": "none"}, {"type": "none"}),
        ({"parallel_tool_calls": False}, {"type": "auto", "disable_parallel_tool_use": True}),
        (
            {"parallel_tool_calls": False, "tool_choice": "required"},
            {"type": "any", "disable_parallel_tool_use": True},
        ),
    ],
)
async def test_how_tools_are_chosen(options, expected):
    body = await sent("Hi", {"tools": [TIME, NOTHING], **options})
    assert body.get("tool_choice") == expected
    assert body["tools"] == [
        {
            "name": "get_time",
            "description": "Look up the time.",
            "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}},
        },
        {"name": "wait", "input_schema": {"type": "object", "properties": {}}},
    ]


@pytest.mark.parametrize(
    ("model", "settings", "options", "expected"),
    [
        ("claude-opus-5-5", {}, {"reasoning": True}, {"type": "adaptive", "display": "summarized"}),
        ("claude-opus-5-5", {}, {}, None),
        ("claude-opus-5", {}, {"reasoning": False}, {"type": "disabled"}),
        ("claude-sonnet-5-5", {}, {"reasoning": False}, {"type": "between_tools"}),
        ("claude-haiku-4-5", {}, {"reasoning": True}, {"type": "enabled", "budget_tokens": 16_384}),
        (
            "claude-haiku-4-5-20251001",
            {},
            {"reasoning": True, "max_tokens": 1500},
            {"type": "enabled", "budget_tokens": 1024},
        ),
        (
            "claude-opus-4-6",
            {"thinking_budget": 2000},
            {},
            {"type": "enabled", "budget_tokens": 2000},
        ),
        ("some-model", {}, {"reasoning": True}, {"type": "adaptive", "display": "summarized"}),
    ],
)
async def test_how_reasoning_is_asked_for(model, settings, options, expected):
    body = await sent("Hi", options, model=model, **settings)
    assert body.get("thinking") == expected


async def test_effort_cache_stops_and_whatever_else_the_api_has():
    more = {"metadata": {"user_id": "nobody"}}
    settings = {"effort": "low", "cache": "1h", "body": more, "model": "claude-opus-5-5"}
    body = await sent("Hi", {"stop": ["END", "\n\nQ:"], "max_tokens": 9}, **settings)
    assert body["output_config"] == {"effort": "low"}
    assert body["cache_control"] == {"type": "ephemeral", "ttl": "1h"}
    assert body["stop_sequences"] == ["END", "\n\nQ:"]
    assert body["metadata"] == more["metadata"]


async def test_what_else_the_api_has_joins_what_is_asked_for():
    search = {"type": "web_search_20250305", "name": "web_search"}
    more = {"tools": [search], "output_config": {"effort": "low"}, "max_tokens": 7}
    shape = {"type": "object", "properties": {"a": {"type": "string"}}}
    options = {"tools": [NOTHING], "response_format": shape}
    wire = AnthropicWire()
    wire.scripts.append(Script([{"type": "text", "text": "{}"}]))
    async with serving(wire) as server:
        provider = made(server.url, "claude-opus-5", body=more)
        await provider.complete("Hi", options)
        await provider.aclose()
    body = wire.bodies[0]
    assert [tool["name"] for tool in body["tools"]] == ["wait", "web_search"]
    assert set(body["output_config"]) == {"effort", "format"}
    assert body["max_tokens"] == 7


async def test_a_name_that_only_the_api_refuses_comes_back_as_its_error():
    with pytest.raises(ProviderError, match="Extra inputs are not permitted") as refusal:
        await sent("Hi", body={"colour": "red"})
    assert refusal.value.status == 400
    assert refusal.value.request_id == "req_0001"


async def test_how_long_an_answer_may_be_is_the_models_own_limit():
    assert (await sent("Hi"))["max_tokens"] == 64_000
    assert (await sent("Hi", model="claude-opus-5-5"))["max_tokens"] == 128_000
    assert (await sent("Hi", model="some-model"))["max_tokens"] == 64_000
    assert (await sent("Hi", model=None))["model"] == "claude-haiku-5-5"


async def test_only_a_short_answer_without_tools_comes_whole():
    assert "stream" not in await sent("Hi", {"max_tokens": 4096})
    assert (await sent("Hi", {"max_tokens": 4097}))["stream"] is True
    assert (await sent("Hi", {"max_tokens": 10, "tools": [NOTHING]}))["stream"] is True


async def test_sampling_goes_with_the_older_version_of_the_api():
    options = {"temperature": 0.5, "top_k": 20}
    body = await sent("Hi", options, version="2023-06-01")
    assert {name: body[name] for name in options} == options
    both = {"temperature": 0.5, "top_p": 0.9}
    refused("'top_p': claude-haiku-4-5 takes it or", options=both, version="2023-06-01")
    newer = {"model": "claude-opus-5", "version": "2023-06-01"}
    refused("'temperature': claude-opus-5 has no", options={"temperature": 1}, **newer)
    refused("at most 1", options={"temperature": 1.5}, version="2023-06-01")
    thinking = {"temperature": 0.5, "reasoning": True}
    refused("'temperature'.*while it reasons", options=thinking, version="2023-06-01")


@pytest.mark.parametrize("name", ["temperature", "top_p", "top_k"])
def test_sampling_is_refused_as_the_api_does(name):
    refused(f"no '{name}'.*version='2023-06-01'", options={name: 1})


@pytest.mark.parametrize(
    ("model", "settings", "options", "match"),
    [
        ("claude-opus-5-5", {}, {"reasoning": False}, "'reasoning'.*always reasons"),
        ("claude-opus-5", {"effort": "max"}, {"reasoning": False}, "'reasoning'.*'max'"),
        ("claude-opus-5-5", {"thinking_budget": 2000}, {}, "'thinking_budget'.*'effort'"),
        ("claude-haiku-4-5", {"effort": "low"}, {}, "no effort 'low'.*none"),
        ("claude-opus-4-6", {"effort": "xhigh"}, {}, "no effort 'xhigh'"),
        ("claude-haiku-4-5", {}, {"reasoning": True, "max_tokens": 1024}, "'reasoning'"),
        (
            "claude-sonnet-5-5",
            {},
            {"tools": [NOTHING], "tool_choice": "required"},
            "'tool_choice'.*can't be made",
        ),
        (
            "claude-haiku-4-5",
            {},
            {"tools": [NOTHING], "tool_choice": "wait", "reasoning": True},
            "'tool_choice'.*while it reasons",
        ),
        ("claude-haiku-4-5", {}, {"tools": [Tool("a.b")]}, r"called 'a\.b'"),
        ("claude-haiku-4-5", {}, {"stop": ["\n"]}, "'stop'.*blank"),
        ("claude-haiku-4-5", {}, {"response_format": "json"}, "'response_format'.*schema"),
    ],
)
def test_what_a_model_does_not_do_is_refused_by_name(model, settings, options, match):
    refused(match, options=options, model=model, **settings)


def test_a_budget_beyond_the_answer_is_refused():
    options = {"max_tokens": 1500}
    refused("thinking_budget", options=options, error=ValidationError, thinking_budget=2000)


def test_messages_that_have_no_place_are_refused():
    numpy = pytest.importorskip("numpy")
    sound = Audio.from_samples(numpy.zeros(1600, "float32"), 16_000)
    refused("no audio", [ChatMessage.user("What?", sound)])
    refused("no bare Prompt", Prompt("Once"))
    refused("'name'", [ChatMessage("user", "Hi", name="Ann")])
    seen = ChatMessage("system", ["See:", Image.from_bytes(PIXEL)])
    refused("no images in a message of the system", [seen, ChatMessage.user("Hi")])
    begun = [ChatMessage.user("Count."), ChatMessage.assistant("One,")]
    refused("does not go on with an answer", begun, model="claude-opus-4-6")


async def test_an_older_model_goes_on_with_an_answer():
    body = await sent([ChatMessage.user("Count."), ChatMessage.assistant("One,")])
    assert body["messages"][-1] == {"role": "assistant", "content": "One,"}


def test_every_model_of_the_table_is_found_by_its_dated_names():
    assert abilities("claude-haiku-4-5-20251001") == abilities("claude-haiku-4-5")
    assert abilities("claude-opus-5-5") != abilities("claude-opus-5")
    assert not abilities("claude-opus-9").refuses


# ---- shapes ----


@dataclasses.dataclass
class Bird:
    name: str
    wings: int | None = None


async def test_a_shape_goes_as_the_api_takes_it_and_comes_back_checked():
    wire = AnthropicWire()
    wire.scripts.append(Script([{"type": "text", "text": json.dumps({"name": "heron"})}]))
    async with serving(wire) as server:
        provider = made(server.url)
        answer = await provider.complete("A bird.", {"response_format": Bird})
        await provider.aclose()
    assert answer.parsed == Bird("heron")
    schema = wire.bodies[0]["output_config"]["format"]["schema"]
    assert schema["additionalProperties"] is False
    assert schema["required"] == ["name"]


def test_limits_on_values_are_told_and_shapes_are_kept():
    assert narrowed(
        {
            "type": "object",
            "properties": {
                "legs": {"type": "integer", "minimum": 0, "description": "How many."},
                "tags": {"type": ["array", "null"], "items": {"type": "string"}, "maxItems": 3},
                "when": {"type": "string", "format": "date"},
                "next": {"$ref": "#/definitions/Point"},
            },
            "definitions": {"Point": {"type": "object", "properties": {"x": {"type": "number"}}}},
        }
    ) == {
        "type": "object",
        "properties": {
            "legs": {"type": "integer", "description": "How many. (minimum: 0)"},
            "tags": {
                "anyOf": [
                    {
                        "type": "array",
                        "items": {"type": "string"},
                        "description": "(maxItems: 3)",
                    },
                    {"type": "null"},
                ]
            },
            "when": {"type": "string", "format": "date"},
            "next": {"$ref": "#/$defs/Point"},
        },
        "$defs": {
            "Point": {
                "type": "object",
                "properties": {"x": {"type": "number"}},
                "additionalProperties": False,
            }
        },
        "additionalProperties": False,
    }


@pytest.mark.parametrize(
    ("schema", "match"),
    [
        ({"type": "object"}, "names"),
        ({"type": "object", "additionalProperties": {"type": "integer"}}, "names"),
        ({"type": "array", "prefixItems": [{"type": "string"}]}, "prefixItems"),
        ({"not": {"type": "string"}}, "not"),
        ({"type": "object", "properties": {"any": {}}}, "anything"),
        (
            {
                "$ref": "#/$defs/Tree",
                "$defs": {
                    "Tree": {"type": "object", "properties": {"left": {"$ref": "#/$defs/Tree"}}}
                },
            },
            "holds itself",
        ),
    ],
)
def test_a_shape_that_the_api_cant_hold_to_is_refused(schema, match):
    with pytest.raises(UnsupportedError, match=match):
        narrowed(schema)


# ---- the provider itself ----


def test_it_is_made_as_the_others_are(monkeypatch):
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    monkeypatch.setenv("ANTHROPIC_BASE_URL", "http://127.0.0.1:9/v1/")
    plain = AnthropicProvider(options=ProviderOptions("claude-opus-5-5", api_key=KEY))
    assert isinstance(plain.options, AnthropicOptions)
    assert repr(plain) == "<AnthropicProvider 'claude-opus-5-5' at http://127.0.0.1:9>"
    assert isinstance(Model.anthropic("claude-opus-5-5"), AnthropicProvider)
    assert isinstance(Model.from_spec("anthropic:claude-opus-5-5"), AnthropicProvider)


@pytest.mark.parametrize(
    "wrong",
    [
        {"effort": "huge"},
        {"thinking_budget": 12},
        {"cache": "2h"},
        {"version": "2024-01-01"},
        {"model": 3},
    ],
)
def test_options_that_cant_be_right_are_refused(wrong):
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        AnthropicOptions(**wrong)
