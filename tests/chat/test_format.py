"""What an answer of a given shape is read as, whole or cut."""

from __future__ import annotations

import json
from typing import Any, Literal

import pytest

from blazen.errors import OutputError, ValidationError
from blazen.types.completion import (
    CompletionOptions,
    FinishReason,
    InferenceChunk,
    InferenceChunkStream,
)
from blazen.types.response_format import ResponseFormat


def answered(text: str, wanted: Any, reason: FinishReason) -> Any:
    async def never():
        raise AssertionError

    stream = InferenceChunkStream(never, ResponseFormat.of(wanted))
    stream._add(InferenceChunk(text, finish_reason=reason))
    stream._end(whole=True)
    return stream.response.parsed


@pytest.mark.parametrize("wanted, text", [(int, "12"), (float, "1.5"), (list[int], "[1")])
def test_a_number_that_may_have_gone_on_is_no_answer(wanted, text):
    with pytest.raises(OutputError, match="cut at its last token"):
        answered(text, wanted, FinishReason.Length)


@pytest.mark.parametrize(
    "wanted, text", [(Literal[1, 2], "2"), (list[int], "[1]"), (str, '"12"'), (bool, "true")]
)
def test_what_can_not_go_on_is_whole(wanted, text):
    assert answered(text, wanted, FinishReason.Length) == json.loads(text)


def test_a_number_that_ended_is_whole():
    assert answered("12", int, FinishReason.Stop) == 12


@pytest.mark.parametrize("text", ['{"a": NaN}', '{"a": -Infinity}', '{"a": 1e999}'])
@pytest.mark.parametrize("wanted", ["json", {}])
def test_numbers_that_json_does_not_have_are_refused(text, wanted):
    with pytest.raises(OutputError, match="no JSON"):
        ResponseFormat.of(wanted).parse(text)


def test_the_words_of_another_api_are_told_apart():
    with pytest.raises(ValidationError, match="give 'json'"):
        CompletionOptions(response_format={"type": "json_object"})
    tool = {"type": "function", "function": {"name": "f", "description": "It."}}
    assert CompletionOptions(tools=[tool]).tools[0].name == "f"
