"""The gateways that speak OpenAI's API, each in its own way."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("openai")

from blazen import ChatMessage, Image, Model, ResponseFormat, Tool
from blazen.errors import AuthError, OutputError, ProviderError, UnsupportedError, ValidationError
from blazen.options.openai import OpenAiOptions
from blazen.types.completion import FinishReason
from blazen_openai import OpenAiProvider
from blazen_openai.gateways import GATEWAYS, find_gateway
from blazen_openai.strict import is_strict, strict_form
from tests.remote.misbehaving import serving
from tests.wire.openai import KEY, OpenAiWire
from tests.wire.openai_answers import Script

pytestmark = pytest.mark.needs("openai")

CHAT = [name for name, row in GATEWAYS.items() if "chat" in row.apis]
RESPONSES = [name for name, row in GATEWAYS.items() if "responses" in row.apis]
NAMED = {"openrouter", "groq", "together", "mistral", "deepseek", "fireworks", "perplexity", "xai"}
NAMED |= {"cohere", "azure", "ollama", "lmstudio", "vllm", "llamacpp", "tgi"}
SCHEMA = {
    "type": "object",
    "properties": {"n": {"type": "integer"}},
    "required": ["n"],
    "additionalProperties": False,
}
TOOL = Tool("look_up", "", {"type": "object", "properties": {"q": {"type": "string"}}})


@pytest.fixture
async def api() -> Any:
    """Give a server that speaks the API, and knows more fields than OpenAI."""
    wire = OpenAiWire(lenient=True)
    async with serving(wire) as server:
        wire.url = server.url  # type: ignore[attr-defined]
        wire.server = server  # type: ignore[attr-defined]
        yield wire
        while MADE:
            await MADE.pop().aclose()


MADE: list[OpenAiProvider] = []


def at(gateway: str, url: str, **more: Any) -> OpenAiProvider:
    given = {"model": "some-model", "api_key": KEY, "base_url": url, "gateway": gateway, **more}
    MADE.append(OpenAiProvider(OpenAiOptions(**given)))
    return MADE[-1]


@pytest.mark.parametrize("name", GATEWAYS)
def test_a_row_is_whole(name):
    row = GATEWAYS[name]
    assert row.name == name
    assert row.docs.startswith("https://")
    assert re.fullmatch(r"20\d\d-\d\d-\d\d", row.checked)
    assert row.base_url is None or re.match(r"https://|http://localhost:", row.base_url)
    assert row.keys or not row.needs_key
    assert set(row.kinds) <= {"model", "embedding", "transcription", "tts", "image"}
    names = set(vars(__import__("blazen").CompletionOptions()))
    assert {*row.fields, *row.refuses} <= names
    assert not set(row.fields) & set(row.refuses)


def test_the_rows_that_were_asked_for_are_there():
    assert {"openai", "compatible"} | NAMED <= set(GATEWAYS)


@pytest.mark.parametrize("name", CHAT)
async def test_a_row_answers_whole_and_in_pieces(api, name):
    model = at(name, api.url, api="chat")
    whole = await model.complete("Hello there, you", {"max_tokens": 2})
    stream = await model.complete_stream("Hello there, you", {"max_tokens": 2}).collect()
    for answer in (whole, stream):
        assert answer.content == "Hello there,"
        assert answer.finish_reason is FinishReason.Length
        assert answer.usage.prompt_tokens > 0
    row = GATEWAYS[name]
    first, second = api.bodies
    assert row.max_tokens in first
    assert ("stream_options" in second) is row.stream_usage
    assert stream.usage.estimated is not row.stream_usage
    assert set(row.body) <= set(first)


@pytest.mark.parametrize("name", RESPONSES)
async def test_a_row_answers_in_the_responses_api(api, name):
    model = at(name, api.url, api="responses")
    answer = await model.complete_stream("Hello there", {"max_tokens": 5}).collect()
    assert answer.content == "Hello there"
    assert api.server.asked[0].path == "/v1/responses"
    assert ("store" in api.bodies[0]) is GATEWAYS[name].stores


@pytest.mark.parametrize("name", GATEWAYS)
async def test_its_key_goes_into_its_header(api, name):
    row = GATEWAYS[name]
    await at(name, api.url).complete("Hello")
    sent = api.server.asked[0].headers
    assert sent[row.key_header.lower()] == row.key_prefix + KEY
    if row.key_header != "Authorization":
        assert "authorization" not in sent


@pytest.mark.parametrize("name", [name for name, row in GATEWAYS.items() if row.needs_key])
async def test_its_key_is_looked_up_in_its_own_variable(name, monkeypatch):
    row = GATEWAYS[name]
    for variable in row.keys:
        monkeypatch.delenv(variable, raising=False)
    if row.base_url is None:
        with pytest.raises(ValidationError, match="base_url"):
            Model.openai("m", gateway=name)
        return
    with pytest.raises(AuthError, match=row.keys[0]) as refusal:
        await Model.openai("m", gateway=name).complete("Hello")
    assert refusal.value.provider == name
    monkeypatch.setenv(row.keys[0], KEY)
    monkeypatch.setenv("BLAZEN_OFFLINE", "1")
    with pytest.raises(ProviderError, match="OFFLINE"):
        await Model.openai("m", gateway=name).complete("Hello")


@pytest.mark.parametrize(
    ("name", "option"),
    [(name, option) for name, row in GATEWAYS.items() for option in row.refuses],
)
async def test_what_a_row_refuses_is_refused_by_name(api, name, option):
    values: dict[str, Any] = {
        "logit_bias": {1: 1.0},
        "tool_choice": "required",
        "parallel_tool_calls": False,
        "reasoning": True,
        "response_format": "json",
    }
    options: dict[str, Any] = {"tools": [TOOL], option: values.get(option, 1)}
    with pytest.raises(UnsupportedError, match=f"the '{name}' backend takes no '{option}'"):
        await at(name, api.url).complete("Hello", options)
    assert api.server.asked == []


@pytest.mark.parametrize(
    ("name", "option", "field"),
    [
        (name, option, field)
        for name, row in GATEWAYS.items()
        for option, field in row.fields.items()
    ],
)
async def test_what_a_row_names_otherwise_is_sent_so(api, name, option, field):
    value = 2 if option in ("mirostat", "seed", "top_k") else 0.5
    await at(name, api.url, api="chat").complete("Hello", {option: value})
    assert api.bodies[0][field] == value


@pytest.mark.parametrize("on", [True, False])
@pytest.mark.parametrize("name", [name for name in CHAT if GATEWAYS[name].reasoning is not None])
async def test_reasoning_is_switched_in_its_way(api, name, on):
    await at(name, api.url, api="chat").complete("Hello", {"reasoning": on})
    fields = GATEWAYS[name].reasoning[0 if on else 1]
    assert {field: api.bodies[0][field] for field in fields} == fields


SHAPES: dict[str, Any] = {
    "openai": {"json_schema": {"name": "answer", "schema": SCHEMA, "strict": True}},
    "groq": {"json_schema": {"name": "answer", "schema": SCHEMA, "strict": False}},
    "together": {"json_schema": {"name": "answer", "schema": SCHEMA, "strict": True}},
    "tgi": {"value": SCHEMA},
}


@pytest.mark.parametrize("name", SHAPES)
async def test_a_schema_is_sent_in_its_way(api, name):
    api.scripts += [Script('{"n": 1}')]
    answer = await at(name, api.url).complete("Hello", {"response_format": SCHEMA})
    assert answer.parsed == {"n": 1}
    told = {k: v for k, v in api.bodies[0]["response_format"].items() if k != "type"}
    assert told == SHAPES[name]


async def test_a_grammar_holds_all_shapes_at_llama_cpp(api):
    wanted = [
        SCHEMA,
        "json",
        ResponseFormat.regex("[0-9]+"),
        ResponseFormat.grammar('root ::= "7"'),
    ]
    for shape, text in zip(wanted, ('{"n": 1}', "{}", "7", "7"), strict=True):
        api.scripts += [Script(text)]
        await at("llamacpp", api.url).complete("Hello", {"response_format": shape})
    assert all("root ::=" in body["grammar"] for body in api.bodies)


async def test_other_shapes_go_where_they_are_known(api):
    api.scripts += [Script("7")] * 3
    digits = ResponseFormat.regex("[0-9]+")
    await at("vllm", api.url).complete("Hello", {"response_format": digits})
    await at("tgi", api.url).complete("Hello", {"response_format": digits})
    grammar = ResponseFormat.grammar('root ::= "7"')
    await at("fireworks", api.url).complete("Hello", {"response_format": grammar})
    assert api.bodies[0]["structured_outputs"] == {"regex": "[0-9]+"}
    assert api.bodies[1]["response_format"] == {"type": "regex", "value": "[0-9]+"}
    assert api.bodies[2]["response_format"]["grammar"] == 'root ::= "7"'
    for name in ("groq", "deepseek", "ollama"):
        with pytest.raises(UnsupportedError, match="'regex'"):
            await at(name, api.url).complete("Hello", {"response_format": digits})
    with pytest.raises(UnsupportedError, match="'schema'"):
        await at("deepseek", api.url).complete("Hello", {"response_format": SCHEMA})


async def test_images_go_in_its_way(api):
    pytest.importorskip("PIL")
    picture = Image.from_array([[0.0, 1.0]])
    await at("ollama", api.url).complete([ChatMessage.user(picture)])
    assert api.bodies[0]["messages"][0]["content"][0]["image_url"]["url"].startswith("data:")
    with pytest.raises(UnsupportedError, match="reads text only"):
        await at("deepseek", api.url).complete([ChatMessage.user(picture)])


async def test_a_named_tool_is_sent_alone_where_no_name_is_taken(api):
    tools = [TOOL, Tool("other")]
    await at("llamacpp", api.url).complete("Hello", {"tools": tools, "tool_choice": "other"})
    assert [tool["function"]["name"] for tool in api.bodies[0]["tools"]] == ["other"]
    assert api.bodies[0]["tool_choice"] == "required"


async def test_a_required_call_is_named_where_required_is_ignored(api):
    calls = [("look_up", "{}")]
    api.scripts += [Script(calls=calls)]
    model = at("llamacpp-python", api.url)
    await model.complete("Hello", {"tools": [TOOL], "tool_choice": "required"})
    assert api.bodies[0]["tool_choice"]["function"] == {"name": "look_up"}
    with pytest.raises(UnsupportedError, match="'tool_choice' of 'required'"):
        await model.complete("Hello", {"tools": [TOOL, Tool("b")], "tool_choice": "required"})


@pytest.mark.parametrize("name", ["llamacpp", "llamacpp-python"])
async def test_a_required_call_that_a_server_does_not_hold_its_model_to_is_an_error(api, name):
    api.scripts += [Script("I'd rather not.")] * 2
    model, wanted = at(name, api.url), {"tools": [TOOL], "tool_choice": "required"}
    with pytest.raises(OutputError, match="no tool was called"):
        await model.complete("Hello", wanted)
    with pytest.raises(OutputError, match="no tool was called"):
        await model.complete_stream("Hello", wanted).collect()


async def test_a_message_without_a_text_is_an_empty_one_where_null_is_not_known(api):
    api.scripts += [Script(calls=[("look_up", "{}")], finish="tool_calls")]
    called = (await at("groq", api.url).complete("Look", {"tools": [TOOL]})).message
    said = [ChatMessage.user("Look"), called]
    said += [ChatMessage.tool("x", tool_call_id=call.id) for call in called.tool_calls]
    for name, content in (("groq", None), ("llamacpp", None), ("llamacpp-python", "")):
        await at(name, api.url).complete(said)
        assert api.bodies[-1]["messages"][1]["content"] == content


async def test_no_call_is_no_tool_where_a_choice_is_not_taken(api):
    await at("ollama", api.url).complete("Hello", {"tools": [TOOL], "tool_choice": "none"})
    assert "tools" not in api.bodies[0]


async def test_it_is_said_where_it_is_not_known_how_to_reason(api):
    with pytest.raises(UnsupportedError, match="some-model is told"):
        await at("azure", api.url).complete("Hello", {"reasoning": True})


async def test_odd_answers_are_read_with_care():
    custom = {"type": "custom", "id": "c1", "custom": {"name": "x", "input": "y"}}
    content = [{"type": "text", "text": "Hi"}, {"type": "reference", "ids": [1]}]
    message = {"role": "assistant", "content": content, "tool_calls": [custom]}
    answers = [
        {"choices": [{"message": message, "finish_reason": "tired"}]},
        {"choices": [{"message": {"content": "x"}, "finish_reason": "error"}]},
        {"choices": [{"message": {"content": "x"}}]},
    ]

    async def behave(wire: Any, request: Any) -> None:
        await wire.answer(answers.pop(0))

    async with serving(behave) as server:
        model = at("compatible", server.url)
        answer = await model.complete("Hello")
        assert (answer.content, answer.finish_reason) == ("Hi", FinishReason.Stop)
        assert answer.raw["finish_reason"] == "tired"
        assert answer.raw["tool_calls"] == [custom]
        assert answer.raw["content"] == [content[1]]
        with pytest.raises(ProviderError, match="failed midway"):
            await model.complete("Hello")
        with pytest.raises(ProviderError, match="without a finish_reason"):
            await model.complete("Hello")


async def test_deepseek_gets_its_thoughts_back(api):
    model = at("deepseek", api.url, model="deepseek-reasoner")
    for request in (model.complete, lambda *a: model.complete_stream(*a).collect()):
        calls = [("look_up", "{}")]
        api.scripts += [Script(calls=calls, finish="tool_calls", reasoning="Look it up.")]
        answer = await request("Look", {"tools": [TOOL]})
        assert answer.reasoning == "Look it up."
        done = ChatMessage.tool("x", tool_call_id=answer.tool_calls[0].id)
        await model.complete([ChatMessage.user("Look"), answer.message, done])
        assert api.bodies[-1]["messages"][1]["reasoning_content"] == "Look it up."
        await at("groq", api.url).complete([ChatMessage.user("Look"), answer.message, done])
        assert "reasoning_content" not in api.bodies[-1]["messages"][1]


@pytest.mark.parametrize(
    ("name", "model", "option"),
    [
        ("deepseek", "deepseek-flash", "temperature"),
        ("xai", "grok-4-0709", "stop"),
        ("xai", "grok-4.3", "presence_penalty"),
        ("openrouter", "openai/o3", "temperature"),
        ("azure", "gpt-5-mini", "top_p"),
        ("compatible", "o4-mini", "logit_bias"),
    ],
)
async def test_models_are_told_apart_at_each_place(api, name, model, option):
    value: Any = {"stop": "x", "logit_bias": {1: 1.0}}.get(option, 1)
    with pytest.raises(UnsupportedError, match=f"takes no '{option}'"):
        await at(name, api.url, model=model, api="chat").complete("Hello", {option: value})
    assert api.server.asked == []


async def test_what_thinking_forbids_is_taken_without_it(api):
    options = {"temperature": 0.5, "reasoning": False}
    await at("deepseek", api.url, model="deepseek-flash").complete("Hello", options)
    assert api.bodies[0]["thinking"] == {"type": "disabled"}
    await at("deepseek", api.url, model="deepseek-chat").complete("Hello", {"temperature": 0.5})


async def test_a_gateway_says_what_it_takes(api):
    api.scripts += [Script("Hello", usage={"cost": 0.0125})]
    assert (await at("openrouter", api.url).complete("Hello")).usage.cost == 0.0125
    api.scripts += [Script("Hello", usage={"cost": {"total_cost": 0.5}})]
    assert (await at("perplexity", api.url).complete("Hello")).usage.cost == 0.5


async def test_reasoning_that_is_counted_apart_is_added(api):
    usage = {
        "prompt_tokens": 10,
        "completion_tokens": 5,
        "total_tokens": 35,
        "completion_tokens_details": {"reasoning_tokens": 20},
    }
    api.scripts += [Script("Hello", usage=usage)]
    told = (await at("xai", api.url, api="chat").complete("Hello")).usage
    assert (told.completion_tokens, told.reasoning_tokens) == (25, 20)


async def test_content_in_parts_is_read():
    thinking = {"type": "thinking", "thinking": [{"type": "text", "text": "Two and two."}]}
    message = {"role": "assistant", "content": [thinking, {"type": "text", "text": "Four."}]}

    async def behave(wire: Any, request: Any) -> None:
        if json.loads(request.body).get("stream"):
            await wire.head(content_type="text/event-stream")
            for part in message["content"]:
                choice = {"delta": {"content": [part]}, "finish_reason": None}
                await wire.events({"id": "c", "choices": [choice]})
            await wire.events({"id": "c", "choices": [{"delta": {}, "finish_reason": "stop"}]})
            wire.close()
        else:
            await wire.answer({"choices": [{"message": message, "finish_reason": "stop"}]})

    async with serving(behave) as server:
        model = at("mistral", server.url)
        for answer in (
            await model.complete("2 + 2?"),
            await model.complete_stream("2 + 2?").collect(),
        ):
            assert (answer.content, answer.reasoning) == ("Four.", "Two and two.")


async def test_a_provider_that_fails_midway_is_an_error():
    async def behave(wire: Any, request: Any) -> None:
        await wire.head(content_type="text/event-stream")
        choice = {"delta": {"content": ""}, "finish_reason": "error"}
        error = {"code": 502, "message": "Upstream went away"}
        await wire.events({"id": "c", "error": error, "choices": [choice]})
        wire.close()

    async with serving(behave) as server:
        with pytest.raises(ProviderError, match="Upstream went away"):
            await at("openrouter", server.url).complete_stream("Hello").collect()


def test_a_base_url_says_who_answers():
    assert find_gateway(None).name == "openai"
    assert find_gateway(None, "https://eu.api.openai.com/v1").name == "openai"
    assert find_gateway(None, "https://openai.com.example/v1").name == "compatible"
    assert find_gateway("groq", "https://proxy.example/v1").name == "groq"


async def test_a_server_of_ones_own_needs_no_key(api, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    model = OpenAiProvider(OpenAiOptions("local", base_url=api.url))
    assert (await model.complete("Hello")).content == "Hello"
    assert "authorization" not in api.server.asked[0].headers
    with pytest.raises(ValidationError, match="which model"):
        OpenAiProvider(OpenAiOptions(gateway="ollama"))


def test_what_a_gateway_does_not_offer_is_refused():
    with pytest.raises(UnsupportedError, match="offers no embedding"):
        GATEWAYS["groq"].check_kind("embedding")
    with pytest.raises(ValidationError, match="'responses'"):
        Model.openai("sonar", gateway="perplexity", api="chat", api_key=KEY)


# Strict mode.

STRICT: dict[str, tuple[Any, Any]] = {
    "is strict already": (SCHEMA, SCHEMA),
    "closes objects": (
        {"type": "object", "properties": {"n": {"type": "integer"}}},
        SCHEMA,
    ),
    "names the type of values": (
        {**SCHEMA, "properties": {"n": {"enum": [1, 2]}}},
        {**SCHEMA, "properties": {"n": {"type": "integer", "enum": [1, 2]}}},
    ),
    "a constant is one value": (
        {**SCHEMA, "properties": {"n": {"const": "a"}}},
        {**SCHEMA, "properties": {"n": {"type": "string", "enum": ["a"]}}},
    ),
    "one of is any of": (
        {**SCHEMA, "properties": {"n": {"oneOf": [{"type": "null"}, {"type": "string"}]}}},
        {**SCHEMA, "properties": {"n": {"anyOf": [{"type": "null"}, {"type": "string"}]}}},
    ),
    "leaves bounds of texts out": (
        {**SCHEMA, "properties": {"n": {"type": "string", "maxLength": 3, "pattern": "a"}}},
        {**SCHEMA, "properties": {"n": {"type": "string", "pattern": "a"}}},
    ),
    "a reference stands alone": (
        {
            **SCHEMA,
            "properties": {"n": {"$ref": "#/$defs/N", "description": "x"}},
            "$defs": {"N": {"type": ["integer", "null"], "minimum": 1}},
        },
        {
            **SCHEMA,
            "properties": {"n": {"$ref": "#/$defs/N"}},
            "$defs": {"N": {"type": ["integer", "null"], "minimum": 1}},
        },
    ),
    "one of all is itself": (
        {
            **SCHEMA,
            "properties": {"n": {"allOf": [{"type": "integer"}], "description": "x", "default": 1}},
        },
        SCHEMA,
    ),
    "lists of what is strict": (
        {**SCHEMA, "properties": {"n": {"type": "array", "items": {"type": "string"}}}},
        {**SCHEMA, "properties": {"n": {"type": "array", "items": {"type": "string"}}}},
    ),
    "not all of several": (
        {**SCHEMA, "properties": {"n": {"allOf": [{"type": "integer"}, {"minimum": 1}]}}},
        None,
    ),
    "not a reference elsewhere": ({**SCHEMA, "properties": {"n": {"$ref": "x.json"}}}, None),
    "not a choice with a type": (
        {**SCHEMA, "properties": {"n": {"type": "string", "anyOf": [{"minLength": 1}]}}},
        None,
    ),
    "not a type that is none": ({**SCHEMA, "properties": {"n": {"type": "file"}}}, None),
    "not a list of values that are objects": (
        {**SCHEMA, "properties": {"n": {"enum": [{}]}}},
        None,
    ),
    "not a field that is not told": ({**SCHEMA, "required": ["n", "m"]}, None),
    "not a choice at its root": ({"anyOf": [SCHEMA, SCHEMA]}, None),
    "not a list": ({"type": "array", "items": SCHEMA}, None),
    "not a map": ({"type": "object", "additionalProperties": {"type": "string"}}, None),
    "not any object": ({"type": "object"}, None),
    "not anything": ({**SCHEMA, "properties": {"n": {}}}, None),
    "not what it does not know": ({**SCHEMA, "if": {}}, None),
    "not patterns of names": ({**SCHEMA, "patternProperties": {"a": {}}}, None),
    "not a tuple": (
        {**SCHEMA, "properties": {"n": {"type": "array", "prefixItems": [{"type": "null"}]}}},
        None,
    ),
}


UNCHANGED = (
    "is strict already",
    "names the type of values",
    "a reference stands alone",
    "lists of what is strict",
)


@pytest.mark.parametrize("what", STRICT)
def test_strict_mode(what):
    schema, wanted = STRICT[what]
    assert strict_form(schema) == wanted
    assert is_strict(schema) is (what in UNCHANGED)


def test_too_deep_for_strict_mode():
    schema: dict[str, Any] = {"type": "integer"}
    for _ in range(12):
        schema = {**SCHEMA, "properties": {"n": schema}}
    assert strict_form(schema) is None


# The page.


def test_the_page_has_the_table_of_the_rows():
    page = Path(__file__).parents[2] / "docs" / "gateways.md"
    lines = [line for line in page.read_text("utf-8").splitlines() if line.startswith("| `")]
    from blazen_openai.table import rows

    assert lines == list(rows()), "run: python -m blazen_openai.table docs/gateways.md"


@pytest.mark.parametrize("way", ["option", "environment"])
async def test_what_another_server_lacks_is_told_with_its_name_and_the_ways_out(way, monkeypatch):
    place = {"base_url": "https://llm.example:8443/v1"}
    if way == "environment":
        monkeypatch.setenv("OPENAI_BASE_URL", place.pop("base_url"))
    model = Model.openai("m", api_key="k", **place)
    with pytest.raises(UnsupportedError, match="takes no 'top_k'") as raised:
        model.complete_stream("Hello", {"top_k": 3})
    for part in (
        "llm.example:8443 is taken for a plain OpenAI-compatible server",
        'gateway="..."',
        'body={"top_k": ...}',
    ):
        assert part in str(raised.value)
    with pytest.raises(UnsupportedError, match="Groq has no such parameter"):
        Model.openai("m", gateway="groq", api_key="k").complete_stream("Hello", {"top_k": 3})
