"""What ``/v1/chat/completions`` answers."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel

from blazen.server.apis.openai.telling import Likelihoods, Timings, Usage


class AnsweredFunction(BaseModel):
    """A function, and the arguments as the model wrote them."""

    name: str
    arguments: str


class AnsweredCall(BaseModel):
    """A function that the model asks to have called."""

    id: str
    type: Literal["function"]
    function: AnsweredFunction


class AnsweredMessage(BaseModel):
    """The answer as a message."""

    role: Literal["assistant"]
    content: str | None
    refusal: None = None
    reasoning_content: str | None = None
    tool_calls: list[AnsweredCall] | None = None


class Choice(BaseModel):
    """One answer."""

    index: int
    message: AnsweredMessage
    logprobs: Likelihoods | None
    finish_reason: Literal["stop", "length", "tool_calls", "content_filter"]


class ChatAnswer(BaseModel):
    """The answers to a conversation."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    system_fingerprint: str
    choices: list[Choice]
    usage: Usage | None = None
    timings: Timings | None = None
