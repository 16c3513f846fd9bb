"""A response as OpenAI's API writes it."""

from __future__ import annotations

import secrets
import time
from typing import Any, Literal

from pydantic import BaseModel

from blazen.server.apis.openai.responses.asked import ResponseAsked
from blazen.types.completion import FinishReason, InferenceUsage


class OutputText(BaseModel):
    """A text of the answer."""

    type: Literal["output_text"]
    text: str
    annotations: list[dict[str, Any]]
    logprobs: list[dict[str, Any]]


class OutputMessage(BaseModel):
    """What the model said."""

    type: Literal["message"]
    id: str
    role: Literal["assistant"]
    status: Literal["in_progress", "completed", "incomplete"]
    content: list[OutputText]


class OutputCall(BaseModel):
    """A function that the model calls."""

    type: Literal["function_call"]
    id: str
    call_id: str
    name: str
    arguments: str
    status: Literal["in_progress", "completed", "incomplete"]


class ReasoningText(BaseModel):
    """A text of the reasoning."""

    type: Literal["reasoning_text"]
    text: str


class OutputReasoning(BaseModel):
    """What the model reasoned before it answered."""

    type: Literal["reasoning"]
    id: str
    status: Literal["in_progress", "completed", "incomplete"]
    summary: list[dict[str, Any]]
    content: list[ReasoningText]


class InputDetails(BaseModel):
    """What is known of the tokens that were read."""

    cached_tokens: int
    cache_write_tokens: int


class OutputDetails(BaseModel):
    """What is known of the tokens that were written."""

    reasoning_tokens: int


class Usage(BaseModel):
    """How many tokens a response took."""

    input_tokens: int
    input_tokens_details: InputDetails
    output_tokens: int
    output_tokens_details: OutputDetails
    total_tokens: int


class Incomplete(BaseModel):
    """Why an answer is not whole."""

    reason: Literal["max_output_tokens", "content_filter"]


class Failed(BaseModel):
    """What went wrong."""

    code: str
    message: str


class ResponseAnswer(BaseModel):
    """An answer, and what it was asked for with."""

    id: str
    object: Literal["response"]
    created_at: int
    completed_at: int | None
    status: Literal["in_progress", "completed", "incomplete", "failed"]
    background: Literal[False]
    error: Failed | None
    incomplete_details: Incomplete | None
    instructions: str | None
    max_output_tokens: int | None
    max_tool_calls: None
    metadata: dict[str, str]
    model: str
    output: list[OutputReasoning | OutputMessage | OutputCall]
    parallel_tool_calls: bool
    previous_response_id: None
    reasoning: dict[str, Any]
    store: Literal[False]
    temperature: float | None
    text: dict[str, Any]
    tool_choice: str | dict[str, Any]
    tools: list[dict[str, Any]]
    top_logprobs: int
    top_p: float | None
    truncation: Literal["disabled"]
    usage: Usage | None


def identifier(prefix: str) -> str:
    """Give a name that no other thing has: ``resp_…``, ``msg_…``."""
    return f"{prefix}_{secrets.token_hex(24)}"


def response_of(body: ResponseAsked, model: str) -> dict[str, Any]:
    """Give a response that has just begun; nothing of it is written yet."""
    format_ = None if body.text is None else body.text.format
    text: dict[str, Any] = {"format": {"type": "text"}}
    if format_ is not None:
        text = {"format": format_.model_dump(by_alias=True, exclude_none=True)}
    choice = body.tool_choice or "auto"
    return {
        "id": identifier("resp"),
        "object": "response",
        "created_at": int(time.time()),
        "completed_at": None,
        "status": "in_progress",
        "background": False,
        "error": None,
        "incomplete_details": None,
        "instructions": body.instructions,
        "max_output_tokens": body.max_output_tokens,
        "max_tool_calls": None,
        "metadata": body.metadata or {},
        "model": model,
        "output": [],
        "parallel_tool_calls": body.parallel_tool_calls is not False,
        "previous_response_id": None,
        "reasoning": {
            "effort": None if body.reasoning is None else body.reasoning.effort,
            "summary": None,
        },
        "store": False,
        "temperature": body.temperature,
        "text": text,
        "tool_choice": choice if isinstance(choice, str) else choice.model_dump(),
        "tools": [tool.model_dump() for tool in body.tools or ()],
        "top_logprobs": body.top_logprobs or 0,
        "top_p": body.top_p,
        "truncation": "disabled",
        "usage": None,
    }


def usage_of(usage: InferenceUsage | None) -> dict[str, Any] | None:
    """Give how many tokens were read and written."""
    if usage is None:
        return None
    return {
        "input_tokens": usage.prompt_tokens,
        "input_tokens_details": {"cached_tokens": usage.cached_tokens, "cache_write_tokens": 0},
        "output_tokens": usage.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": usage.total_tokens,
    }


def reason_of(finish: FinishReason | None) -> str | None:
    """Say why an answer is not whole; ``None`` where it is."""
    if finish is FinishReason.Length:
        return "max_output_tokens"
    if finish is FinishReason.ContentFilter:
        return "content_filter"
    return None
