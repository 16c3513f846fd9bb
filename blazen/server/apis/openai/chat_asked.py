"""What ``/v1/chat/completions`` is asked: the body, and the options that it means."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any, Literal

from pydantic import Field

from blazen.server.fields import WHOLE, Body, Flag, JsonObject, Text
from blazen.server.reading import (
    MOST_MESSAGES,
    Message,
    ToolBody,
    ToolChoice,
    read_choice,
    read_tools,
)
from blazen.server.refusals import RefusedError, refuse
from blazen.server.sampling import Format, Limit, Sampling, read_format
from blazen.types.completion import CompletionOptions

MOST_CHOICES = 128
"""How many answers one request may ask for, as in OpenAI's own API."""

_REFUSED = {
    "functions": "describe them as 'tools', which took its place",
    "function_call": "say it with 'tool_choice', which took its place",
    "audio": "the models here answer in text; /v1/audio/speech speaks",
    "moderation": "there is none here",
    "web_search_options": "nothing here searches the web",
}


class StreamOptions(Body):
    """What a stream tells beside the answer."""

    include_usage: Flag | None = None


class ChatBody(Sampling):
    """A conversation, and how to answer it."""

    model: Text | None = None
    """Without one, the default chat model answers."""
    messages: Annotated[list[Message], Field(min_length=1, max_length=MOST_MESSAGES)]
    stream: Flag | None = None
    stream_options: StreamOptions | None = None
    n: Annotated[int, Field(ge=1, le=MOST_CHOICES), WHOLE] | None = None
    max_completion_tokens: Limit | None = None
    """As max_tokens, under its newer name."""
    logprobs: Flag | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20), WHOLE] | None = None
    response_format: Format | None = None
    tools: list[ToolBody] | None = None
    tool_choice: ToolChoice | None = None
    parallel_tool_calls: Flag | None = None
    reasoning_effort: Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | None = (
        None
    )
    """Whether a model that can reason does: not for ``none``; how much, it decides itself."""
    modalities: list[Literal["text", "audio"]] | None = None
    verbosity: Literal["low", "medium", "high"] | None = None
    chat_template_kwargs: JsonObject | None = None
    """``enable_thinking``, by which others turn reasoning on and off."""
    thinking: Flag | None = None
    """Whether the model rewrites the prompt before it answers; the server's setting decides."""

    def most_tokens(self) -> int | None:
        """Give the most tokens of an answer, by either name."""
        newer = self.max_completion_tokens
        return super().most_tokens() if newer is None else newer

    def options(self) -> list[CompletionOptions]:
        """Give the options of each answer that is wanted; what can't be had is refused by name."""
        refuse(self, _REFUSED)
        if "audio" in (self.modalities or ()):
            raise RefusedError(
                "modalities: the models here answer in text; /v1/audio/speech speaks",
                param="modalities",
                code="unsupported_parameter",
            )
        if self.verbosity not in (None, "medium"):
            raise RefusedError(
                "verbosity: no engine here has a setting for it; say in a message how long the "
                "answer should be",
                param="verbosity",
                code="unsupported_parameter",
            )
        choice, tools = read_choice(self.tool_choice, read_tools(self.tools))
        given: dict[str, Any] = self.settings() | {
            "tools": tools,
            "tool_choice": choice,
            "parallel_tool_calls": self.parallel_tool_calls is not False,
            "response_format": read_format(self.response_format),
            "logprobs": self._logprobs(),
            "reasoning": self._reasoning(),
        }
        return several(CompletionOptions(**given), self.n or 1)

    @property
    def wants_usage(self) -> bool:
        """Whether a stream is to end with the count of tokens."""
        return bool(self.stream_options and self.stream_options.include_usage)

    def _logprobs(self) -> int | None:
        if self.logprobs:
            return self.top_logprobs or 0
        if self.top_logprobs:
            raise RefusedError("top_logprobs goes with 'logprobs': true", param="top_logprobs")
        return None

    def _reasoning(self) -> bool | None:
        told = dict(self.chat_template_kwargs or {})
        enabled = told.pop("enable_thinking", None)
        if told or not (enabled is None or isinstance(enabled, bool)):
            raise RefusedError(
                "chat_template_kwargs takes nothing but 'enable_thinking', true or false",
                param="chat_template_kwargs",
                code="unsupported_parameter",
            )
        if self.reasoning_effort is not None:
            return self.reasoning_effort != "none"
        return enabled


def several(options: CompletionOptions, count: int) -> list[CompletionOptions]:
    """Give the options of each of several answers: with a seed, each has one of its own."""
    if options.seed is None or count == 1:
        return [options] * count
    return [
        dataclasses.replace(options, seed=(options.seed + place) % 2**32) for place in range(count)
    ]
