"""Messages, options, answers: checked when made, and to JSON and back."""

from __future__ import annotations

import copy
import pickle

import pytest

import blazen
from blazen import ChatMessage, CompletionOptions, InferenceChunk, Tool, ToolCall
from blazen.errors import ContextLengthError, ProviderError, ValidationError
from blazen.types.chat import as_messages
from blazen.types.completion import (
    FinishReason,
    InferenceChunkStream,
    InferenceTiming,
    InferenceUsage,
    ModelResponse,
    ToolCallDelta,
)

PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c489"
    "0000000d49444154789c6360000002000001e221bc330000000049454e44ae426082"
)


@pytest.mark.parametrize(
    "message",
    [
        ChatMessage.system("Be brief."),
        ChatMessage.user("Hello 🌍"),
        ChatMessage.assistant("Hi", tool_calls=[ToolCall("1", "add", '{"a": 1}')]),
        ChatMessage.tool("3", tool_call_id="1"),
        ChatMessage.user("What is this?", blazen.Image.from_bytes(PNG)),
    ],
)
def test_a_message_goes_to_json_and_back(message):
    again = ChatMessage.from_json(message.to_json())
    assert again == message
    assert pickle.loads(pickle.dumps(message)) == message
    assert "89504e" not in repr(message)


def test_messages_may_be_a_text_objects_or_dictionaries():
    assert as_messages("hi") == [ChatMessage.user("hi")]
    assert as_messages([{"role": "user", "content": "hi"}]) == [ChatMessage.user("hi")]
    assert as_messages((ChatMessage.user("hi"),)) == [ChatMessage.user("hi")]


@pytest.mark.parametrize(
    ("messages", "says"),
    [
        ([], "must not be empty"),
        (None, "text or a list"),
        (7, "text or a list"),
        ([7], "ChatMessage or a dictionary"),
        ([{"role": "robot", "content": "hi"}], "role"),
        ([{"content": "hi"}], "role"),
        ([{"role": "user", "content": 7}], "content"),
        ([{"role": "user", "content": "hi", "colour": "red"}], "colour"),
        ([{"role": "tool", "content": "3"}], "tool_call_id"),
    ],
)
def test_messages_that_can_not_be_right_are_refused(messages, says):
    with pytest.raises(ValidationError, match=says):
        as_messages(messages)


def test_the_parts_and_the_text_of_a_message():
    image = blazen.Image.from_bytes(PNG)
    message = ChatMessage.user("a", image, "b")
    assert message.parts == ["a", image, "b"]
    assert message.text == "ab"
    with pytest.raises(ValidationError, match="content"):
        ChatMessage.user()


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"max_tokens": 0}, "max_tokens must be at least 1"),
        ({"max_tokens": -5}, "not -5"),
        ({"max_tokens": 1.5}, "whole number"),
        ({"max_tokens": True}, "whole number"),
        ({"max_tokens": "many"}, "whole number"),
        ({"temperature": -0.1}, "temperature must be at least 0"),
        ({"temperature": float("nan")}, "must be a number"),
        ({"top_p": 1.1}, "at most 1"),
        ({"min_p": -1}, "at least 0"),
        ({"seed": -1}, "seed"),
        ({"seed": 2**32}, "seed"),
        ({"stop": ""}, "stop"),
        ({"stop": ["a", ""]}, "stop"),
        ({"stop": 5}, "stop"),
        ({"tools": 5}, "tools"),
        ({"tools": [1]}, "tools"),
        ({"tool_choice": "unheard"}, "tool_choice"),
        ({"logit_bias": [1]}, "logit_bias"),
        ({"temperature": float("inf")}, "must be a number"),
    ],
)
def test_options_that_can_not_be_right_are_refused(settings, says):
    with pytest.raises(ValidationError, match=says):
        CompletionOptions(**settings)
    with pytest.raises(ValidationError, match=next(iter(settings))):
        CompletionOptions.of(settings)


def test_an_unknown_option_names_the_known():
    with pytest.raises(ValidationError, match=r"unknown 'temprature'; known are: .*temperature"):
        CompletionOptions.of({"temprature": 1})
    with pytest.raises(ValidationError, match="CompletionOptions or a dictionary"):
        CompletionOptions.of(7)
    assert CompletionOptions.of(None) == CompletionOptions()
    assert CompletionOptions.of({"stop": ["a"]}).stop == ("a",)


def test_a_dictionary_may_hold_python_values():
    tool = Tool("say")
    options = CompletionOptions.of({"stop": ("x",), "tools": [tool]})
    assert (options.stop, options.tools) == (("x",), (tool,))
    message = as_messages([{"role": blazen.Role.User, "content": "hi", "tool_calls": ()}])[0]
    assert message == ChatMessage.user("hi")
    with pytest.raises(ValidationError, match="not 42"):
        ChatMessage("user", [42])


def test_a_single_stop_is_a_list_of_one():
    assert CompletionOptions(stop="END").stop == ("END",)
    assert CompletionOptions.of({"stop": "END"}).stop == ("END",)


def test_options_go_to_json_and_back():
    options = CompletionOptions(
        max_tokens=5, stop=["a", "b"], logit_bias={3: -1.5}, tools=[Tool("add", "adds", {"x": 1})]
    )
    assert CompletionOptions.from_json(options.to_json()) == options
    assert CompletionOptions(temperature=0).to_dict() == {"temperature": 0}


def test_arguments_cut_short_are_an_error_and_never_empty():
    assert ToolCall("1", "f", '{"a": [1]}').parsed() == {"a": [1]}
    for cut in ('{"a": ', "", "[1]", '"text"', "[" * 100_000):
        with pytest.raises(ValidationError, match="arguments of 'f'"):
            ToolCall("1", "f", cut).parsed()


async def pieces(*chunks):
    for chunk in chunks:
        yield chunk


async def test_a_stream_of_pieces_makes_one_answer():
    usage, timing = InferenceUsage(3, 4, 1), InferenceTiming(first_token=0.1)
    stream = InferenceChunkStream.of(
        pieces(
            InferenceChunk(reasoning="hm"),
            InferenceChunk(content="Hel"),
            InferenceChunk(content="lo"),
            InferenceChunk(tool_calls=(ToolCallDelta(1, "b", "g", '{"y"'),)),
            InferenceChunk(tool_calls=(ToolCallDelta(0, "a", "f", "{}"),)),
            InferenceChunk(tool_calls=(ToolCallDelta(1, arguments=":1}"),)),
            InferenceChunk(finish_reason=FinishReason.ToolCalls),
            InferenceChunk(usage=usage, timing=timing),
        )
    )
    answer = await stream.collect()
    assert answer == ModelResponse(
        content="Hello",
        reasoning="hm",
        tool_calls=(ToolCall("a", "f", "{}"), ToolCall("b", "g", '{"y":1}')),
        finish_reason=FinishReason.ToolCalls,
        usage=usage,
        timing=timing,
    )
    assert ModelResponse.from_json(answer.to_json()) == answer
    assert usage.total_tokens == 7


async def test_what_a_provider_says_beyond_is_joined():
    stream = InferenceChunkStream.of(
        pieces(
            InferenceChunk(model="m-1", raw={"id": "x", "tier": "a"}),
            InferenceChunk(content="a", state={"p": [1]}),
            InferenceChunk(raw={"tier": "b"}, state={"q": {"sign": "s"}}),
        )
    )
    answer = await stream.collect()
    assert answer.model == "m-1"
    assert answer.raw == {"id": "x", "tier": "b"}
    assert answer.state == {"p": [1], "q": {"sign": "s"}}
    assert ModelResponse.from_json(answer.to_json()).state == answer.state
    plain = await InferenceChunkStream.of(pieces(InferenceChunk(content="a"))).collect()
    assert (plain.model, plain.raw, plain.state) == ("", None, None)


def test_an_answer_is_the_message_to_go_on_with():
    call = ToolCall("1", "add", "{}")
    answer = ModelResponse("yes", "hm", (call,), state={"p": [{"sign": "s"}]})
    message = answer.message
    assert message == ChatMessage.assistant("yes", tool_calls=[call], state={"p": [{"sign": "s"}]})
    assert ChatMessage.from_json(message.to_json()) == message
    assert pickle.loads(pickle.dumps(message)) == message
    assert "sign" not in repr(message)
    assert as_messages([message.to_dict()])[0].state == message.state
    with pytest.raises(ValidationError, match="state"):
        ChatMessage("assistant", "x", state="y")


def test_usage_may_tell_reasoning_and_cost():
    usage = InferenceUsage(3, 4, reasoning_tokens=2, cost=0.01)
    assert usage.total_tokens == 7
    assert InferenceUsage.from_json(usage.to_json()) == usage
    assert InferenceUsage(3, 4).to_dict() == {"prompt_tokens": 3, "completion_tokens": 4}


async def test_how_a_stream_ended_shows():
    whole = InferenceChunkStream.of(pieces(InferenceChunk(content="a")))
    assert (await whole.collect()).finish_reason is FinishReason.Stop
    cut = InferenceChunkStream.of(pieces(InferenceChunk(content="a"), InferenceChunk(content="b")))
    async for _ in cut:
        break
    assert cut.response.content == "a"
    assert cut.response.finish_reason is FinishReason.Cancelled
    assert "ended" in repr(cut)


def test_errors_keep_what_they_know_when_copied_and_pickled():
    error = ContextLengthError("too long", tokens=9, limit=4)
    for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert (str(twin), twin.tokens, twin.limit) == ("too long", 9, 4)
    unknown = pickle.loads(pickle.dumps(ContextLengthError("too long")))
    assert (unknown.tokens, unknown.limit) == (None, None)
    refused = pickle.loads(pickle.dumps(ProviderError("no", provider="p", status=500)))
    assert (refused.provider, refused.status) == ("p", 500)
