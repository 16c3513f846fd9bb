"""What Gemini answers, in the shapes of its documentation: whole and streamed alike."""

from __future__ import annotations

import base64
import json

import pytest

pytest.importorskip("google.genai")

from blazen import (
    ChatMessage,
    FinishReason,
    OutputError,
    ProviderError,
)
from blazen.options.gemini import GeminiOptions
from blazen.remote.prices import Price
from blazen.types.chat import Tool
from blazen_gemini import GeminiProvider
from tests.remote.misbehaving import answering, serving
from tests.wire.gemini import KEY, SIGNATURE, GeminiWire, Script, joined, response

MODEL = "gemini-2.5-flash"
TOOLS = [Tool("look"), Tool("now")]


def made(url: str, **settings) -> GeminiProvider:
    return GeminiProvider(
        GeminiOptions(**{"model": MODEL, "api_key": KEY, "base_url": url, **settings})
    )


async def told(*responses, options=None, messages="Hello", **settings):
    """What a script becomes: whole, streamed, and the pieces of the stream."""
    wire = GeminiWire()
    wire.scripts = [Script(list(responses)), Script(list(responses))]
    async with serving(wire) as server:
        model = made(server.url, **settings)
        try:
            whole = await model.complete(messages, options)
            stream = model.complete_stream(messages, options)
            pieces = [piece async for piece in stream]
        finally:
            await model.aclose()
    streamed = stream.response
    assert (whole.content, whole.reasoning) == (streamed.content, streamed.reasoning)
    assert whole.finish_reason is streamed.finish_reason
    assert whole.usage == streamed.usage
    return whole, streamed, pieces


async def failing(*responses, options=None):
    """The errors of a script that ends in one, whole and streamed, and what was streamed."""
    wire = GeminiWire()
    wire.scripts = [Script(list(responses)), Script(list(responses))]
    async with serving(wire) as server:
        model = made(server.url)
        with pytest.raises((OutputError, ProviderError)) as whole:
            await model.complete("Hello", options)
        stream = model.complete_stream("Hello", options)
        with pytest.raises(type(whole.value)) as streamed:
            async for _ in stream:
                pass
        await model.aclose()
        assert len(server.asked) == 2, "such an answer is paid for: nobody asks again"
    assert str(whole.value) == str(streamed.value)
    return whole.value, stream.response


async def test_thoughts_are_the_reasoning():
    usage = {
        "promptTokenCount": 20,
        "cachedContentTokenCount": 5,
        "toolUsePromptTokenCount": 2,
        "candidatesTokenCount": 4,
        "thoughtsTokenCount": 30,
        "totalTokenCount": 56,
    }
    whole, streamed, pieces = await told(
        response({"text": "Let me ", "thought": True}, usage={"promptTokenCount": 20}),
        response({"text": "think.", "thought": True}),
        response({"text": "Four"}),
        response({"text": "."}, finish="STOP", usage=usage),
        options={"reasoning": True},
    )
    assert (streamed.content, streamed.reasoning) == ("Four.", "Let me think.")
    assert [piece.reasoning for piece in pieces[:2]] == ["Let me ", "think."]
    assert whole.usage is not None
    assert whole.usage.prompt_tokens == 22
    assert whole.usage.cached_tokens == 5
    assert whole.usage.completion_tokens == 34
    assert whole.usage.reasoning_tokens == 30
    assert whole.model == streamed.model == "gemini-2.5-flash"
    assert whole.state is None, "nothing is to be sent back that a message does not hold"


async def test_counts_of_a_stream_replace_each_other():
    _, streamed, _ = await told(
        response({"text": "a"}, usage={"promptTokenCount": 9, "candidatesTokenCount": 1}),
        response({"text": "b"}, usage={"promptTokenCount": 9, "candidatesTokenCount": 2}),
        response(finish="STOP", usage={"promptTokenCount": 9, "candidatesTokenCount": 3}),
    )
    assert streamed.usage is not None
    assert (streamed.usage.prompt_tokens, streamed.usage.completion_tokens) == (9, 3)


REASONS = {
    "STOP": FinishReason.Stop,
    "MAX_TOKENS": FinishReason.Length,
    "SAFETY": FinishReason.ContentFilter,
    "RECITATION": FinishReason.ContentFilter,
    "LANGUAGE": FinishReason.ContentFilter,
    "BLOCKLIST": FinishReason.ContentFilter,
    "PROHIBITED_CONTENT": FinishReason.ContentFilter,
    "SPII": FinishReason.ContentFilter,
    "IMAGE_SAFETY": FinishReason.ContentFilter,
    "CONTINUATION": FinishReason.Length,
}


@pytest.mark.parametrize("reason", REASONS)
@pytest.mark.parametrize("said", ["", "So far"])
async def test_why_an_answer_ended(reason, said):
    parts = [{"text": said}] if said else []
    whole, streamed, _ = await told(response(*parts, finish=reason))
    assert whole.finish_reason is REASONS[reason]
    assert whole.content == said
    assert streamed.raw is not None
    assert streamed.raw["candidates"][0]["finishReason"] == reason


SPOILT = ("MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "TOO_MANY_TOOL_CALLS")


@pytest.mark.parametrize("reason", SPOILT)
async def test_a_spoilt_answer_is_an_error_with_what_came(reason):
    error, kept = await failing(response({"text": "I will look."}), response(finish=reason))
    assert isinstance(error, OutputError)
    assert reason in str(error)
    assert error.text == kept.content == "I will look."
    assert kept.usage is not None
    assert kept.raw["candidates"][0]["finishReason"] == reason


@pytest.mark.parametrize("reason", ["OTHER", "MISSING_THOUGHT_SIGNATURE"])
async def test_an_answer_that_broke_off_is_an_error(reason):
    error, kept = await failing(response({"text": "So far"}, finish=reason))
    assert isinstance(error, ProviderError)
    assert reason in str(error)
    assert kept.content == "So far"


async def test_a_prompt_that_is_blocked():
    feedback = {
        "blockReason": "PROHIBITED_CONTENT",
        "safetyRatings": [
            {"category": "HARM_CATEGORY_DANGEROUS_CONTENT", "probability": "HIGH", "blocked": True}
        ],
    }
    blocked = {
        "promptFeedback": feedback,
        "usageMetadata": {"promptTokenCount": 7, "totalTokenCount": 7},
        "modelVersion": MODEL,
        "responseId": "r",
    }
    whole, streamed, _ = await told(blocked)
    for answer in (whole, streamed):
        assert answer.content == ""
        assert answer.finish_reason is FinishReason.ContentFilter
        assert answer.raw is not None
        assert answer.raw["promptFeedback"] == feedback
        assert answer.usage is not None
        assert answer.usage.prompt_tokens == 7


async def test_a_budget_that_thinking_has_eaten_is_told():
    usage = {"promptTokenCount": 5, "thoughtsTokenCount": 16, "totalTokenCount": 21}
    whole, _, _ = await told(response(finish="MAX_TOKENS", usage=usage))
    assert (whole.content, whole.finish_reason) == ("", FinishReason.Length)
    assert whole.usage is not None
    assert whole.usage.reasoning_tokens == whole.usage.completion_tokens == 16


ENDLESS = {
    "nothing": {},
    "no candidates": {"candidates": [], "modelVersion": MODEL},
    "a candidate without an end": response({"text": "So far"}),
    "feedback without a reason": {"promptFeedback": {"safetyRatings": []}},
}


@pytest.mark.parametrize("what", ENDLESS)
async def test_an_answer_without_an_end_is_an_error(what):
    wire = GeminiWire()
    wire.scripts = [Script([ENDLESS[what]]) for _ in range(2)]
    async with serving(wire) as server:
        model = made(server.url)
        with pytest.raises(ProviderError, match=r"without an end|holds nothing"):
            await model.complete("Hello")
        with pytest.raises(ProviderError, match="without an end"):
            await model.complete_stream("Hello").collect()
        await model.aclose()


async def test_a_body_that_is_empty_is_an_error():
    async with serving(answering(b"", content_type="application/json")) as server:
        model = made(server.url)
        with pytest.raises(ProviderError, match="holds nothing"):
            await model.complete("Hello")
        await model.aclose()


async def test_what_has_no_other_place_is_in_raw():
    grounding = {"webSearchQueries": ["lighthouse"]}
    ratings = [{"category": "HARM_CATEGORY_HARASSMENT", "probability": "LOW"}]
    code = {"language": "PYTHON", "code": "1 + 1"}
    whole, streamed, _ = await told(
        response({"executableCode": code}),
        response({"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "2"}}),
        response({"text": "Two"}, candidate={"groundingMetadata": grounding}),
        response(
            finish="STOP", candidate={"safetyRatings": ratings, "tokenCount": 4, "avgLogprobs": -1}
        ),
    )
    for answer in (whole, streamed):
        assert answer.content == "Two"
        assert answer.raw is not None
        assert answer.raw["responseId"] == "resp-1"
        assert answer.raw["usageMetadata"]["totalTokenCount"] == 5
        (candidate,) = answer.raw["candidates"]
        assert candidate["groundingMetadata"] == grounding
        assert candidate["safetyRatings"] == ratings
        assert candidate["content"]["parts"][0]["executableCode"] == code
        assert answer.state is not None
        assert answer.state["gemini"][-1] == {"text": "Two"}
        json.dumps(answer.to_dict())


async def test_other_candidates_are_kept_beside():
    one = response({"text": "One"}, finish="STOP")
    other = {"index": 1, "content": {"role": "model", "parts": [{"text": "Uno"}]}}
    one["candidates"].append({**other, "finishReason": "STOP"})
    whole, streamed, _ = await told(one)
    for answer in (whole, streamed):
        assert answer.content == "One"
        assert answer.raw is not None
        assert answer.raw["candidates"][1]["content"]["parts"] == [{"text": "Uno"}]


async def test_likely_tokens():
    def token(text, number):
        return {"token": text, "tokenId": 5, "logProbability": number}

    first = {
        "chosenCandidates": [token("Yes", -0.5)],
        "topCandidates": [{"candidates": [token("Yes", -0.5), token("No", -1.0)]}],
    }
    second = {"chosenCandidates": [token(".", -0.1)], "topCandidates": []}
    _, streamed, _ = await told(
        response({"text": "Yes"}, candidate={"logprobsResult": first}),
        response({"text": "."}, finish="STOP", candidate={"logprobsResult": second}),
        options={"logprobs": 2},
    )
    assert [(one.text, one.logprob) for one in streamed.logprobs] == [("Yes", -0.5), (".", -0.1)]
    assert [(one.text, one.logprob) for one in streamed.logprobs[0].top] == [
        ("Yes", -0.5),
        ("No", -1.0),
    ]
    assert streamed.logprobs[1].top == ()


# Calls, and what goes back with them.


def call(name: str, args=None, **more) -> dict:
    return {"functionCall": {"name": name, **({} if args is None else {"args": args})}, **more}


async def test_calls_without_an_id_get_one_each():
    whole, streamed, pieces = await told(
        response(call("look", {"place": "Å"}), call("look", {"place": "b"})),
        response(call("now"), finish="STOP"),
        options={"tools": TOOLS},
    )
    for answer in (whole, streamed):
        assert answer.finish_reason is FinishReason.ToolCalls
        assert [one.name for one in answer.tool_calls] == ["look", "look", "now"]
        assert [one.parsed() for one in answer.tool_calls] == [{"place": "Å"}, {"place": "b"}, {}]
        assert len({one.id for one in answer.tool_calls}) == 3
        assert all(one.id for one in answer.tool_calls)
        assert answer.state is None
    indices = [delta.index for piece in pieces for delta in piece.tool_calls]
    assert indices == [0, 1, 2]
    assert not {one.id for one in whole.tool_calls} & {one.id for one in streamed.tool_calls}


async def test_a_cut_answer_with_calls_says_that_it_was_cut():
    whole, _, _ = await told(
        response(call("look", {}), finish="MAX_TOKENS"), options={"tools": TOOLS}
    )
    assert whole.finish_reason is FinishReason.Length


async def conversation(answered, *, change=None):
    """Go on after an answer with calls, and give what the server then gets."""
    wire = GeminiWire()
    wire.scripts = [Script(answered), Script([response({"text": "Done"}, finish="STOP")])]
    async with serving(wire) as server:
        model = made(server.url, model="gemini-3.8-flash")
        asked = ChatMessage.user("Hello")
        answer = await model.complete_stream([asked], {"tools": TOOLS}).collect()
        message = ChatMessage.from_dict(json.loads(json.dumps(answer.message.to_dict())))
        if change is not None:
            message = change(message)
        chat = [asked, message]
        chat += [
            ChatMessage.tool(f"of {one.name}", tool_call_id=one.id)
            for one in reversed(answer.tool_calls)
        ]
        if not answer.tool_calls:
            chat.append(ChatMessage.user("Go on"))
        await model.complete(chat, {"tools": TOOLS})
        await model.aclose()
    return answer, wire.bodies[1]["contents"]


async def test_signatures_come_back_as_they_were():
    other = base64.urlsafe_b64encode(b"\x00\xff\xfe more of it").decode()
    answer, contents = await conversation(
        [
            response({"text": "I ", "thought": True}),
            response({"text": "think", "thought": True}),
            response({"text": "Let me "}),
            response({"text": "look", "thoughtSignature": other}),
            response({"text": "."}),
            response(
                call("look", {"place": "a"}, thoughtSignature=SIGNATURE), call("now"), finish="STOP"
            ),
        ]
    )
    assert answer.content == "Let me look."
    parts = contents[1]["parts"]
    assert [{**part, "thoughtSignature": None} for part in parts] == [
        {"text": "I think", "thought": True, "thoughtSignature": None},
        {"text": "Let me ", "thoughtSignature": None},
        {"text": "look", "thoughtSignature": None},
        {"text": ".", "thoughtSignature": None},
        {"functionCall": {"name": "look", "args": {"place": "a"}}, "thoughtSignature": None},
        {"functionCall": {"name": "now"}, "thoughtSignature": None},
    ]
    signatures = [part.get("thoughtSignature") for part in parts]
    assert [signature and base64.urlsafe_b64decode(signature) for signature in signatures] == [
        None,
        None,
        base64.urlsafe_b64decode(other),
        None,
        base64.b64decode(SIGNATURE),
        None,
    ]
    # The calls had no id at the API, and so the answers have none, in the order of the calls.
    assert contents[2]["parts"] == [
        {"functionResponse": {"name": "look", "response": {"output": "of look"}}},
        {"functionResponse": {"name": "now", "response": {"output": "of now"}}},
    ]


async def test_ids_of_the_api_are_kept():
    first = {"functionCall": {"id": "fc-1", "name": "look", "args": {}}}
    second = {"functionCall": {"id": "fc-2", "name": "look", "args": {}}}
    answer, contents = await conversation(
        [response({**first, "thoughtSignature": SIGNATURE}, second, finish="STOP")]
    )
    assert [one.id for one in answer.tool_calls] == ["fc-1", "fc-2"]
    assert [part["functionResponse"]["id"] for part in contents[2]["parts"]] == ["fc-1", "fc-2"]


async def test_a_signature_alone_at_the_end_comes_back():
    _, contents = await conversation(
        [
            response({"text": "Four"}),
            response({"text": "", "thoughtSignature": SIGNATURE}, finish="STOP"),
        ]
    )
    assert [part["text"] for part in contents[1]["parts"]] == ["Four", ""]
    assert "thoughtSignature" in contents[1]["parts"][1]


async def test_what_was_changed_since_goes_without_signatures():
    _, contents = await conversation(
        [response({"text": "Four", "thoughtSignature": SIGNATURE}, finish="STOP")],
        change=lambda message: ChatMessage.assistant("Five", state=message.state),
    )
    assert contents[1]["parts"] == [{"text": "Five"}]


# Answers of several requests.


async def test_a_long_answer_is_gone_on_with_and_counted_whole():
    token = base64.b64encode(b"\xffgo on").decode()
    first = Script(
        [
            response({"text": "One "}, usage={"promptTokenCount": 5, "candidatesTokenCount": 1}),
            response(
                {"text": "two "},
                finish="CONTINUATION",
                candidate={"continuationToken": token},
                usage={"promptTokenCount": 5, "candidatesTokenCount": 2},
            ),
        ]
    )
    second = Script(
        [
            response(
                {"text": "three"},
                finish="STOP",
                usage={"promptTokenCount": 7, "candidatesTokenCount": 1},
            )
        ]
    )
    wire = GeminiWire()
    wire.scripts = [first, second, first, second]
    async with serving(wire) as server:
        model = made(server.url, price=Price(1.0, 10.0))
        options = {"max_tokens": 100_000}
        whole = await model.complete("Count", options)
        stream = model.complete_stream("Count", options)
        pieces = [piece async for piece in stream]
        await model.aclose()
    assert [piece.finish_reason for piece in pieces] == [None, None, None, FinishReason.Stop]
    for answer in (whole, stream.response):
        assert answer.content == "One two three"
        assert answer.usage is not None
        assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (12, 3)
        assert answer.usage.cost == pytest.approx((12 * 1 + 3 * 10) / 1e6)
        assert "continuationToken" not in json.dumps(answer.raw)
    for number, body in enumerate(wire.bodies):
        sent = body.pop("continuationToken", None)
        assert (sent and base64.urlsafe_b64decode(sent)) == (b"\xffgo on" if number % 2 else None)
        assert body == wire.bodies[0]


async def test_an_answer_that_never_ends_is_given_up():
    token = base64.b64encode(b"again").decode()
    wire = GeminiWire()
    endless = response({"text": "."}, finish="CONTINUATION", candidate={"continuationToken": token})
    wire.scripts = [Script([endless]) for _ in range(100)]
    async with serving(wire) as server:
        model = made(server.url)
        with pytest.raises(ProviderError, match="without an end"):
            await model.complete("Hello")
        await model.aclose()
    assert len(wire.bodies) == 64


# What it costs.


async def test_cost_is_told_where_the_price_is_known():
    usage = {"promptTokenCount": 1000, "candidatesTokenCount": 100, "thoughtsTokenCount": 100}
    price = Price(2.0, 10.0, cached_input=0.2)
    whole, _, _ = await told(response({"text": "a"}, finish="STOP", usage=usage), price=price)
    assert whole.usage is not None
    assert whole.usage.cost == pytest.approx((1000 * 2 + 200 * 10) / 1e6)
    cached = {**usage, "cachedContentTokenCount": 500}
    whole, _, _ = await told(response({"text": "a"}, finish="STOP", usage=cached), price=price)
    assert whole.usage is not None
    assert whole.usage.cost == pytest.approx((500 * 2 + 500 * 0.2 + 200 * 10) / 1e6)
    short = Price(2.0, 10.0, up_to=999)
    whole, _, _ = await told(response({"text": "a"}, finish="STOP", usage=usage), price=short)
    assert whole.usage is not None
    assert whole.usage.cost is None
    whole, _, _ = await told(response({"text": "a"}, finish="STOP"), model="gemini-unknown")
    assert whole.usage is not None
    assert whole.usage.cost is None


async def test_no_cost_is_made_up_for_sounds(monkeypatch):
    import blazen_gemini.prices as prices

    monkeypatch.setattr(prices, "price_of", lambda provider, model: Price(1.0, 1.0))
    sound = [{"modality": "AUDIO", "tokenCount": 2}, {"modality": "TEXT", "tokenCount": 1}]
    usage = {"promptTokenCount": 3, "candidatesTokenCount": 1, "promptTokensDetails": sound}
    whole, _, _ = await told(response({"text": "a"}, finish="STOP", usage=usage))
    assert whole.usage is not None
    assert whole.usage.cost is None
    usage["promptTokensDetails"] = sound[1:]
    whole, _, _ = await told(response({"text": "a"}, finish="STOP", usage=usage))
    assert whole.usage is not None
    assert whole.usage.cost == pytest.approx(4 / 1e6)


def test_the_servers_answer_in_one_piece_is_that_of_its_stream():
    whole = joined([response({"text": "a"}), response({"text": "b"}, finish="STOP")])
    assert whole["candidates"] == [
        {
            "index": 0,
            "content": {"role": "model", "parts": [{"text": "ab"}]},
            "finishReason": "STOP",
        }
    ]
