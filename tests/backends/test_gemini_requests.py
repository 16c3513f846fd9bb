"""What goes to Gemini: held to the published fields by a server that refuses all others."""

from __future__ import annotations

import base64
import io
import json
import wave

import pytest

pytest.importorskip("google.genai")
pytest.importorskip("numpy")
pytest.importorskip("PIL")

from blazen import (
    Audio,
    AuthError,
    ChatMessage,
    Image,
    Prompt,
    ToolCall,
    UnsupportedError,
    ValidationError,
)
from blazen.options.gemini import GeminiOptions
from blazen.options.provider import ProviderOptions
from blazen.types.chat import Role, Tool
from blazen_gemini import GeminiProvider
from tests.remote.misbehaving import answering, serving
from tests.wire.gemini import KEY, GeminiWire, Script, response

OLD = "gemini-2.5-flash"
NEW = "gemini-3.8-flash"


async def sent(messages, options=None, *, scripts=(), **settings):
    """What one request becomes on the wire, the same whole and streamed."""
    wire = GeminiWire()
    wire.scripts = [Script([response({"text": "yes"}, finish="STOP")]) for _ in range(2)]
    wire.scripts[:0] = scripts
    async with serving(wire) as server:
        model = GeminiProvider(
            GeminiOptions(**{"model": OLD, "api_key": KEY, "base_url": server.url, **settings})
        )
        await model.complete(messages, options)
        await model.complete_stream(messages, options).collect()
        await model.aclose()
    whole, streamed = wire.bodies
    assert whole == streamed
    assert [path.rpartition(":")[2] for path in wire.paths] == [
        "generateContent",
        "streamGenerateContent",
    ]
    return whole


def made(**settings):
    return GeminiProvider(GeminiOptions(**{"api_key": KEY, **settings}))


SETTINGS = {
    "max_tokens": ({"max_tokens": 7}, {"maxOutputTokens": 7}),
    "temperature": ({"temperature": 0.5}, {"temperature": 0.5}),
    "sampling": ({"top_p": 0.9, "top_k": 20}, {"topP": 0.9, "topK": 20}),
    "seed": ({"seed": 7}, {"seed": 7}),
    "stop": ({"stop": ["a", "b"]}, {"stopSequences": ["a", "b"]}),
    "the chosen tokens alone": ({"logprobs": 0}, {"responseLogprobs": True}),
    "likely tokens": ({"logprobs": 3}, {"responseLogprobs": True, "logprobs": 3}),
    "JSON": ({"response_format": "json"}, {"responseMimeType": "application/json"}),
    "reasoning": (
        {"reasoning": True},
        {"thinkingConfig": {"includeThoughts": True, "thinkingBudget": -1}},
    ),
    "no reasoning": ({"reasoning": False}, {"thinkingConfig": {"thinkingBudget": 0}}),
}


@pytest.mark.parametrize("what", SETTINGS)
async def test_settings_go_where_the_api_has_them(what):
    options, expected = SETTINGS[what]
    script = Script([response({"text": "{}"}, finish="STOP")])
    body = await sent("Hello", options, scripts=[script, script])
    assert body["generationConfig"] == expected


async def test_what_was_not_asked_for_is_not_sent():
    body = await sent("Hello")
    assert body == {
        "contents": [{"role": "user", "parts": [{"text": "Hello"}]}],
        "generationConfig": {},
    }


async def test_a_schema_is_sent_as_it_is():
    schema = {
        "type": "object",
        "properties": {"snake_case": {"$ref": "#/$defs/n"}},
        "$defs": {"n": {"type": "integer", "minimum": 1}},
        "additionalProperties": False,
    }
    script = Script([response({"text": '{"snake_case": 4}'}, finish="STOP")])
    body = await sent("Hello", {"response_format": schema}, scripts=[script, script])
    assert body["generationConfig"] == {
        "responseMimeType": "application/json",
        "responseJsonSchema": schema,
    }


async def test_penalties_go_to_a_model_that_is_not_geminis():
    body = await sent(
        "Hello", {"presence_penalty": 0.5, "frequency_penalty": -0.5}, model="gemma-4-31b-it"
    )
    assert body["generationConfig"] == {"presencePenalty": 0.5, "frequencyPenalty": -0.5}


THINKING = {
    "a level": (NEW, {"thinking_level": "low"}, {}, {"thinkingLevel": "LOW"}),
    "a level, shown": (
        NEW,
        {"thinking_level": "low"},
        {"reasoning": True},
        {"thinkingLevel": "LOW", "includeThoughts": True},
    ),
    "shown": (NEW, {}, {"reasoning": True}, {"includeThoughts": True}),
    "a budget": (OLD, {"thinking_budget": 500}, {}, {"thinkingBudget": 500}),
    "a budget, shown": (
        OLD,
        {"thinking_budget": 500},
        {"reasoning": True},
        {"thinkingBudget": 500, "includeThoughts": True},
    ),
    "none, but shown for once": (
        OLD,
        {"thinking_budget": 0},
        {"reasoning": True},
        {"thinkingBudget": -1, "includeThoughts": True},
    ),
    "a budget, but not this time": (
        OLD,
        {"thinking_budget": 500},
        {"reasoning": False},
        {"thinkingBudget": 0},
    ),
}


@pytest.mark.parametrize("what", THINKING)
async def test_thinking(what):
    model, settings, options, expected = THINKING[what]
    body = await sent("Hello", options, model=model, **settings)
    assert body["generationConfig"] == {"thinkingConfig": expected}


async def test_safety_and_further_fields():
    body = await sent(
        "Hello",
        {"temperature": 0.5},
        safety={"HARM_CATEGORY_HARASSMENT": "BLOCK_NONE"},
        body={"cachedContent": "cachedContents/x", "generationConfig": {"candidateCount": 1}},
    )
    assert body["safetySettings"] == [
        {"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}
    ]
    assert body["cachedContent"] == "cachedContents/x"
    assert body["generationConfig"] == {"temperature": 0.5, "candidateCount": 1}


TOOL = Tool("look_up", "Look it up.", {"type": "object", "properties": {"a_b": {}}})
CHOICES = {
    "auto": {"mode": "AUTO"},
    "none": {"mode": "NONE"},
    "required": {"mode": "ANY"},
    "look_up": {"mode": "ANY", "allowedFunctionNames": ["look_up"]},
}


@pytest.mark.parametrize("choice", CHOICES)
async def test_tools(choice):
    bare = Tool("now")
    body = await sent("Hello", {"tools": [TOOL, bare], "tool_choice": choice})
    assert body["tools"] == [
        {
            "functionDeclarations": [
                {
                    "name": "look_up",
                    "description": "Look it up.",
                    "parametersJsonSchema": TOOL.parameters,
                },
                {"name": "now", "description": ""},
            ]
        }
    ]
    assert body["toolConfig"] == {"functionCallingConfig": CHOICES[choice]}


async def test_functions_are_described_and_never_called_by_the_sdk():
    def explode(place: str) -> str:
        """Look a place up."""
        raise AssertionError("the SDK called it")

    call = {"functionCall": {"name": "explode", "args": {"place": "here"}}}
    wire = GeminiWire()
    wire.scripts = [Script([response(call, finish="STOP")]) for _ in range(2)]
    async with serving(wire) as server:
        model = made(model=OLD, base_url=server.url)
        answer = await model.complete("Hello", {"tools": [explode]})
        streamed = await model.complete_stream("Hello", {"tools": [explode]}).collect()
        await model.aclose()
    assert len(wire.bodies) == 2
    for each in (answer, streamed):
        assert [(one.name, one.parsed()) for one in each.tool_calls] == [
            ("explode", {"place": "here"})
        ]


# Refused before a request.

REFUSED = {
    "temperature": (NEW, {"temperature": 0.5}),
    "top_p": ("gemini-3.6-flash", {"top_p": 0.5}),
    "top_k": ("gemini-flash-latest", {"top_k": 5}),
    "min_p": (OLD, {"min_p": 0.5}),
    "typical_p": (OLD, {"typical_p": 0.5}),
    "repeat_penalty": (OLD, {"repeat_penalty": 1.1}),
    "presence_penalty": (OLD, {"presence_penalty": 0.1}),
    "frequency_penalty": ("gemini-3.1-pro-preview", {"frequency_penalty": 0.1}),
    "mirostat": (OLD, {"mirostat": 2}),
    "logit_bias": (OLD, {"logit_bias": {5: 1.0}}),
    "logprobs": (NEW, {"logprobs": 1}),
    "parallel_tool_calls": (OLD, {"tools": [TOOL], "parallel_tool_calls": False}),
    "reasoning": ("gemini-2.5-pro", {"reasoning": False}),
    "response_format": (OLD, {"response_format": {"kind": "regex", "rule": "a+"}}),
    "stop": (OLD, {"stop": list("abcdef")}),
    "seed": (OLD, {"seed": 2**31}),
    "tools": (OLD, {"tools": [TOOL], "response_format": "json"}),
    "the name 'a/b'": (OLD, {"tools": [Tool("a/b")]}),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_what_a_model_can_not_do_is_refused_by_name(name):
    model, options = REFUSED[name]
    provider = made(model=model, base_url="http://127.0.0.1:1")
    with pytest.raises(UnsupportedError, match=name):
        await provider.complete("Hello", options)
    with pytest.raises(UnsupportedError, match=name):
        provider.complete_stream("Hello", options)


async def test_what_only_new_models_do_is_sent_to_them():
    script = Script([response({"text": "{}"}, finish="STOP")])
    body = await sent(
        "Hello", {"tools": [TOOL], "response_format": "json"}, scripts=[script] * 2, model=NEW
    )
    assert body["generationConfig"] == {"responseMimeType": "application/json"}


def test_each_model_has_one_way_to_be_told_how_much_to_think():
    with pytest.raises(UnsupportedError, match="thinking_budget"):
        made(model=OLD, thinking_level="low").complete_stream("Hello")
    with pytest.raises(UnsupportedError, match="thinking_level"):
        made(model=NEW, thinking_budget=100).complete_stream("Hello")
    with pytest.raises(UnsupportedError, match="always thinks"):
        made(model="gemini-2.5-pro", thinking_budget=0).complete_stream("Hello")


WRONG = {
    "two ways to think": {"thinking_level": "low", "thinking_budget": 5},
    "a level that is none": {"thinking_level": "huge"},
    "a budget below -1": {"thinking_budget": -2},
    "safety that is no mapping": {"safety": ["BLOCK_NONE"]},
    "safety that is no text": {"safety": {"HARM_CATEGORY_HARASSMENT": 4}},
    "a model that leaves its place": {"model": "../v1/files"},
    "a model with a query": {"model": "gemini?key=1"},
    "a model that is no text": {"model": 5},
}


@pytest.mark.parametrize("what", WRONG)
def test_wrong_options_are_refused(what):
    with pytest.raises(ValidationError):
        GeminiOptions(**WRONG[what])


def test_a_bare_prompt_is_refused():
    with pytest.raises(UnsupportedError, match="Prompt"):
        made().complete_stream(Prompt("Once"))


# Contents.


async def test_all_systems_texts_become_the_instruction():
    chat = [
        ChatMessage.system("Be brief."),
        ChatMessage.user("Hello"),
        ChatMessage.system("Be kind."),
    ]
    body = await sent(chat)
    assert [part["text"] for part in body["systemInstruction"]["parts"]] == [
        "Be brief.\n\nBe kind."
    ]
    assert [content["role"] for content in body["contents"]] == ["user"]


async def test_turns_and_an_answer_of_which_nothing_was_left():
    chat = [
        ChatMessage.user("One", "two"),
        ChatMessage.assistant("three"),
        ChatMessage.user("four"),
        ChatMessage.assistant(""),
        ChatMessage.user("five"),
    ]
    body = await sent(chat)
    assert body["contents"] == [
        {"role": "user", "parts": [{"text": "One"}, {"text": "two"}]},
        {"role": "model", "parts": [{"text": "three"}]},
        {"role": "user", "parts": [{"text": "four"}]},
        {"role": "user", "parts": [{"text": "five"}]},
    ]


def sound() -> bytes:
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes(bytes(1600))
    return out.getvalue()


async def test_images_and_sounds_are_sent_within():
    import numpy

    picture = Image.from_array(numpy.zeros((4, 5, 3), "uint8"))
    png, jpeg, bmp = (picture.to_bytes(name) for name in ("png", "jpeg", "bmp"))
    given = [picture, *map(Image.from_bytes, (png, jpeg, bmp)), Audio.from_bytes(sound())]
    given.append(Audio.from_samples(numpy.zeros(80, "float32"), 8000))
    body = await sent([ChatMessage.user("Look", *given, "and listen")])
    parts = body["contents"][0]["parts"]
    assert [parts[0], parts[-1]] == [{"text": "Look"}, {"text": "and listen"}]
    shown = [part["inlineData"] for part in parts[1:-1]]
    assert [one["mimeType"] for one in shown] == [
        "image/png",
        "image/png",
        "image/jpeg",
        "image/png",
        "audio/wav",
        "audio/wav",
    ]
    data = [base64.urlsafe_b64decode(one["data"]) for one in shown]
    assert data[1:3] == [png, jpeg]
    assert data[3].startswith(b"\x89PNG")
    assert data[4] == sound()


async def test_what_google_keeps_is_named_and_not_fetched():
    url = "https://generativelanguage.googleapis.com/v1beta/files/abc"
    body = await sent([ChatMessage.user("Look", Image.from_url(url))])
    assert body["contents"][0]["parts"][1] == {"fileData": {"fileUri": url}}


def calls(*ids: str) -> list[ToolCall]:
    return [
        ToolCall(known_as, f"tool_{number}", json.dumps({"n": number}))
        for number, known_as in enumerate(ids)
    ]


async def test_answers_of_tools_stand_in_the_order_of_their_calls():
    chat = [
        ChatMessage.user("Hello"),
        ChatMessage.assistant("Wait.", tool_calls=calls("a", "b")),
        ChatMessage.tool('{"sky": "clear"}', tool_call_id="b"),
        ChatMessage.tool("12 degrees", tool_call_id="a"),
        ChatMessage.user("And?"),
    ]
    body = await sent(chat)
    assert body["contents"][1:] == [
        {
            "role": "model",
            "parts": [
                {"text": "Wait."},
                {"functionCall": {"id": "a", "name": "tool_0", "args": {"n": 0}}},
                {"functionCall": {"id": "b", "name": "tool_1", "args": {"n": 1}}},
            ],
        },
        {
            "role": "user",
            "parts": [
                {
                    "functionResponse": {
                        "id": "a",
                        "name": "tool_0",
                        "response": {"output": "12 degrees"},
                    }
                },
                {"functionResponse": {"id": "b", "name": "tool_1", "response": {"sky": "clear"}}},
            ],
        },
        {"role": "user", "parts": [{"text": "And?"}]},
    ]


async def test_calls_that_another_model_made_pass_the_check_of_signatures():
    chat = [
        ChatMessage.user("Hello"),
        ChatMessage.assistant(tool_calls=calls("a", "b")),
        ChatMessage.tool("1", tool_call_id="a"),
        ChatMessage.tool("2", tool_call_id="b"),
    ]
    signatures = [
        part.get("thoughtSignature")
        for part in (await sent(chat, model=NEW))["contents"][1]["parts"]
    ]
    # As the guide on thought signatures has it: the first of calls that are made together.
    assert signatures == ["skip_thought_signature_validator", None]
    assert "thoughtSignature" not in str(await sent(chat, model=OLD))


async def test_a_tool_may_show_a_picture():
    import numpy

    picture = Image.from_array(numpy.zeros((4, 5, 3), "uint8"))
    chat = [
        ChatMessage.user("Hello"),
        ChatMessage.assistant(tool_calls=calls("a")),
        ChatMessage(Role.Tool, ["here", picture], tool_call_id="a"),
    ]
    answer = (await sent(chat, model=NEW))["contents"][2]["parts"][0]["functionResponse"]
    assert answer["response"] == {"output": "here"}
    assert answer["parts"][0]["inlineData"]["mimeType"] == "image/png"


BAD = {
    "only a system's text": ([ChatMessage.system("Be brief.")], ValidationError, "user"),
    "an answer to no call": (
        [ChatMessage.user("Hello"), ChatMessage.tool("1", tool_call_id="x")],
        ValidationError,
        "'x'",
    ),
    "arguments that were cut": (
        [
            ChatMessage.user("Hello"),
            ChatMessage.assistant(tool_calls=[ToolCall("a", "look", '{"place": "O')]),
            ChatMessage.tool("1", tool_call_id="a"),
        ],
        ValidationError,
        "look",
    ),
    "a system's picture": (
        [
            ChatMessage(Role.System, ["Look", Image.from_url("https://example.org/a.png")]),
            ChatMessage.user("Hello"),
        ],
        UnsupportedError,
        "system",
    ),
    "a name": (
        [ChatMessage(Role.User, "Hello", name="Ann")],
        UnsupportedError,
        "name",
    ),
    "an answer to go on with": (
        [ChatMessage.user("Hello"), ChatMessage.assistant("Well,")],
        UnsupportedError,
        "end with a user's",
    ),
}


@pytest.mark.parametrize("what", BAD)
async def test_messages_that_the_api_can_not_take_are_refused(what):
    messages, error, words = BAD[what]
    with pytest.raises(error, match=words):
        await made(base_url="http://127.0.0.1:1").complete(messages)


async def test_an_old_model_goes_on_with_an_answer():
    body = await sent([ChatMessage.user("Hello"), ChatMessage.assistant("Well,")])
    assert body["contents"][1] == {"role": "model", "parts": [{"text": "Well,"}]}


# Where it goes.


@pytest.mark.parametrize("end", ["", "/", "/v1beta", "/v1"])
async def test_a_base_url_may_name_the_version(end):
    wire = GeminiWire()
    async with serving(wire) as server:
        place = server.url.removesuffix("/v1")
        model = made(model=OLD, base_url=place + end)
        await model.complete("Hello")
        await model.aclose()
        (asked,) = server.asked
    version = end.strip("/") or "v1beta"
    assert asked.path == f"/{version}/models/{OLD}:generateContent"
    assert asked.headers["x-goog-api-key"] == KEY
    assert "authorization" not in asked.headers


async def test_the_seeds_way_to_say_it(monkeypatch):
    wire = GeminiWire()
    async with serving(wire) as server:
        monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", server.url)
        monkeypatch.setenv("GOOGLE_API_KEY", KEY)
        monkeypatch.delenv("GEMINI_API_KEY", raising=False)
        for options in (None, ProviderOptions(api_key=KEY), ProviderOptions(NEW)):
            model = GeminiProvider(options=options)
            assert (await model.complete("Hello")).content == "Hello"
            await model.aclose()
    assert {path.rpartition("/")[2] for path in wire.paths} == {f"{NEW}:generateContent"}


def test_without_a_key_it_says_where_one_is_looked_for(monkeypatch):
    for name in ("GEMINI_API_KEY", "GOOGLE_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(AuthError, match="GEMINI_API_KEY or GOOGLE_API_KEY"):
        GeminiProvider(GeminiOptions())


async def test_another_place_may_need_no_key(monkeypatch):
    for name in ("GEMINI_API_KEY", "GOOGLE_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    async with serving(answering(response({"text": "Hello"}, finish="STOP"))) as server:
        model = GeminiProvider(GeminiOptions(OLD, base_url=server.url))
        assert (await model.complete("Hello")).content == "Hello"
        await model.aclose()
        (asked,) = server.asked
    assert "x-goog-api-key" not in asked.headers
