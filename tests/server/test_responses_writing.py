"""The events of a response: what no small model does on demand."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from openai.types.responses import ResponseStreamEvent
from pydantic import TypeAdapter

from blazen.errors import ContextLengthError, InferenceError, RateLimitError
from blazen.server.apis.openai.responses.asked import ResponseAsked
from blazen.server.apis.openai.responses.writing import Writing
from blazen.types.completion import (
    FinishReason,
    InferenceChunk,
    InferenceUsage,
    LikelyToken,
    ModelResponse,
    TokenLogprob,
    ToolCallDelta,
)

EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)


def write(*chunks: InferenceChunk, **ended: Any) -> tuple[Writing, list[dict[str, Any]]]:
    """Write an answer of these pieces; each event is checked against the client's types."""
    writing = Writing(ResponseAsked(input="hello"), "model")
    events = [*writing.begin()]
    for chunk in chunks:
        events += writing.take(chunk)
    events += writing.end(ModelResponse(**ended))
    for number, event in enumerate(events):
        EVENT.validate_python(event)
        assert event["sequence_number"] == number
    return writing, events


def kinds(events: list[dict[str, Any]]) -> list[str]:
    """Give the events' types, each once where it comes again at once."""
    names = (event["type"].removeprefix("response.") for event in events)
    return [name for name, _ in itertools.groupby(names)]


def test_reasoning_a_text_and_calls_follow_one_another() -> None:
    writing, events = write(
        InferenceChunk(reasoning="let me "),
        InferenceChunk(reasoning="see"),
        InferenceChunk(content="I will "),
        InferenceChunk(content="look."),
        InferenceChunk(tool_calls=(ToolCallDelta(0, "a", "first", '{"x"'),)),
        InferenceChunk(tool_calls=(ToolCallDelta(0, arguments=":1}"),)),
        finish_reason=FinishReason.ToolCalls,
        usage=InferenceUsage(5, 9, 2, reasoning_tokens=3),
    )
    assert kinds(events) == [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        "reasoning_text.delta",
        "reasoning_text.done",
        "content_part.done",
        "output_item.done",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "output_item.added",
        "function_call_arguments.delta",
        "function_call_arguments.done",
        "output_item.done",
        "completed",
    ]
    reasoning, message, call = writing.response["output"]
    assert reasoning["content"] == [{"type": "reasoning_text", "text": "let me see"}]
    assert message["content"][0]["text"] == "I will look."
    assert (call["call_id"], call["name"], call["arguments"]) == ("a", "first", '{"x":1}')
    assert {item["status"] for item in writing.response["output"]} == {"completed"}
    assert writing.response["usage"]["input_tokens_details"]["cached_tokens"] == 2
    assert writing.response["usage"]["output_tokens_details"]["reasoning_tokens"] == 3


def test_pieces_of_calls_may_come_mixed() -> None:
    writing, _ = write(
        InferenceChunk(tool_calls=(ToolCallDelta(0, "a", "first", "{"),)),
        InferenceChunk(
            tool_calls=(ToolCallDelta(1, "b", "second", "["), ToolCallDelta(0, arguments="}"))
        ),
        InferenceChunk(tool_calls=(ToolCallDelta(1, arguments="]"),)),
    )
    calls = [(item["name"], item["arguments"]) for item in writing.response["output"]]
    assert calls == [("first", "{}"), ("second", "[]")]


def test_a_call_waits_for_its_name() -> None:
    writing, events = write(
        InferenceChunk(tool_calls=(ToolCallDelta(0, "a", None, "{"),)),
        InferenceChunk(tool_calls=(ToolCallDelta(0, None, "late", "}"),)),
    )
    [call] = writing.response["output"]
    assert (call["call_id"], call["name"], call["arguments"]) == ("a", "late", "{}")
    added = next(event for event in events if event["type"] == "response.output_item.added")
    assert added["item"]["name"] == "late"


def test_a_text_after_calls_is_another_message() -> None:
    writing, _ = write(
        InferenceChunk(content="one"),
        InferenceChunk(tool_calls=(ToolCallDelta(0, "a", "f", "{}"),)),
        InferenceChunk(content="two"),
    )
    assert [item["type"] for item in writing.response["output"]] == [
        "message",
        "function_call",
        "message",
    ]


def test_an_answer_of_nothing_is_an_empty_message() -> None:
    writing, _ = write()
    [message] = writing.response["output"]
    assert message["content"] == [
        {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
    ]


def test_likelihoods_go_with_their_texts() -> None:
    token = TokenLogprob("hi", -0.5, (LikelyToken("hi", -0.5), LikelyToken("ho", float("-inf"))))
    writing, events = write(InferenceChunk(content="hi", logprobs=(token,)))
    [told] = writing.response["output"][0]["content"][0]["logprobs"]
    assert (told["token"], told["logprob"]) == ("hi", -0.5)
    assert told["top_logprobs"][1]["logprob"] == -9999.0  # JSON has no infinity
    delta = next(event for event in events if event["type"].endswith("text.delta"))
    assert delta["logprobs"] == [told]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InferenceError("it broke"), "server_error"),
        (RateLimitError("later", provider="x"), "rate_limit_exceeded"),
        (ContextLengthError("too long"), "invalid_prompt"),
        (RuntimeError("secret of the server"), "server_error"),
    ],
)
def test_a_failure_ends_what_is_open(error: Exception, code: str) -> None:
    writing = Writing(ResponseAsked(input="hello"), "model")
    events = [*writing.begin(), *writing.take(InferenceChunk(content="half"))]
    events += writing.fail(error)
    for event in events:
        EVENT.validate_python(event)
    last = events[-1]
    assert last["type"] == "response.failed"
    assert last["response"]["status"] == "failed"
    assert last["response"]["error"]["code"] == code
    assert "secret" not in last["response"]["error"]["message"]
    [message] = last["response"]["output"]
    assert (message["status"], message["content"][0]["text"]) == ("incomplete", "half")


def test_a_filtered_answer_says_so() -> None:
    writing, events = write(finish_reason=FinishReason.ContentFilter)
    assert events[-1]["type"] == "response.incomplete"
    assert writing.response["incomplete_details"] == {"reason": "content_filter"}
