"""From options to a request of Anthropic's API; what can't be done is refused by name."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from blazen.errors import UnsupportedError, ValidationError
from blazen.options.anthropic import AnthropicOptions
from blazen.types.chat import ChatMessage, Messages, as_messages
from blazen.types.completion import CompletionOptions
from blazen.types.image import Image
from blazen_anthropic.messages import check_messages, write_messages
from blazen_anthropic.models import Abilities, abilities

BACKEND = "anthropic"

REFUSED = {
    "min_p": "its API has no such sampling",
    "typical_p": "its API has no such sampling",
    "repeat_penalty": "its API has no penalties",
    "presence_penalty": "its API has no penalties",
    "frequency_penalty": "its API has no penalties",
    "mirostat": "its API has no mirostat",
    "mirostat_tau": "its API has no mirostat",
    "mirostat_eta": "its API has no mirostat",
    "seed": "its API draws as it will, and repeats nothing",
    "logit_bias": "its API has none",
    "logprobs": "its API does not tell them",
}
"""Options that the API does not have, and why."""

SAMPLING = ("temperature", "top_p", "top_k")
_OLDER = "2023-06-01"
_TOOL_NAME = re.compile(r"[a-zA-Z0-9_-]{1,128}")
_LEAST_BUDGET = 1024
_USUAL_BUDGET = 16_384


class Request:
    """A request that was checked, and can be written."""

    def __init__(
        self, messages: Messages, options: CompletionOptions, settings: AnthropicOptions
    ) -> None:
        assert settings.model is not None, "the options give a default"
        self.model = settings.model
        self.options = options
        self._settings = settings
        self._can = abilities(self.model)
        options.refuse(BACKEND, REFUSED)
        if not all(stop.strip() for stop in options.stop):
            options.refuse(BACKEND, {"stop": "its API takes none that is blank"})
        self.max_tokens = options.max_tokens or self._can.max_tokens
        self._sampling = _sampling(options, settings, self._can)
        self._thinking = _thinking(options, settings, self._can, self.max_tokens)
        self._tools = _tools(options, self._can, self.model, self._thinking)
        self._output = _output(options, settings, self._can)
        self._messages: Sequence[ChatMessage] = as_messages(messages)
        check_messages(self._messages, self.model, self._can)
        self.reads = any(isinstance(p, Image) for m in self._messages for p in m.parts)
        """Whether to write it takes reading files."""

    def write(self) -> dict[str, Any]:
        """Give the request's body."""
        system, messages = write_messages(self._messages)
        body: dict[str, Any] = {
            "model": self.model,
            "max_tokens": self.max_tokens,
            "messages": messages,
        }
        if system:
            body["system"] = system
        if self.options.stop:
            body["stop_sequences"] = list(self.options.stop)
        if self._settings.cache is not None:
            body["cache_control"] = {"type": "ephemeral", "ttl": self._settings.cache}
        for part in (self._sampling, self._thinking, self._tools, self._output):
            body |= part
        return _joined(body, self._settings.body)


def _joined(body: dict[str, Any], further: Mapping[str, Any]) -> dict[str, Any]:
    """Add further fields: a list to a list, names to names; anything else is replaced."""
    joined = dict(body)
    for name, value in further.items():
        known = body.get(name)
        if isinstance(known, list) and isinstance(value, (list, tuple)):
            joined[name] = [*known, *value]
        elif isinstance(known, dict) and isinstance(value, Mapping):
            joined[name] = {**known, **value}
        else:
            joined[name] = value
    return joined


def _sampling(
    options: CompletionOptions, settings: AnthropicOptions, can: Abilities
) -> dict[str, Any]:
    given = {name: getattr(options, name) for name in SAMPLING}
    given = {name: value for name, value in given.items() if value is not None}
    if not given:
        return given
    if settings.version != _OLDER:
        reason = (
            "its API has had no sampling since 2026-10-21; models up to Claude 4.6 take it with "
        )
        reason += f"version={_OLDER!r}"
        options.refuse(BACKEND, dict.fromkeys(SAMPLING, reason))
    if not can.samples:
        options.refuse(BACKEND, dict.fromkeys(SAMPLING, f"{settings.model} has no sampling"))
    if can.refuses and "temperature" in given and "top_p" in given:
        options.refuse(
            BACKEND, {"top_p": f"{settings.model} takes it or 'temperature', and not both"}
        )
    if given.get("temperature", 0) > 1:
        raise UnsupportedError(
            f"the {BACKEND!r} backend takes a 'temperature' of at most 1, not {options.temperature}"
        )
    return given


def _thinking(
    options: CompletionOptions, settings: AnthropicOptions, can: Abilities, max_tokens: int
) -> dict[str, Any]:
    budget = settings.thinking_budget
    if can.refuses and can.thinking == "adaptive" and budget is not None and not can.samples:
        raise UnsupportedError(
            f"{settings.model} takes no 'thinking_budget': say how much with 'effort'"
        )
    if options.reasoning is False:
        if can.off is None or (settings.effort is not None and settings.effort not in can.off_at):
            reason = f"{settings.model} always reasons; 'effort' says how much"
            if can.off is not None:
                reason = f"{settings.model} reasons at effort {settings.effort!r}"
            options.refuse(BACKEND, {"reasoning": reason})
        return {"thinking": {"type": can.off}}
    if budget is None and options.reasoning is None:
        return {}
    if can.thinking == "adaptive" and budget is None:
        # Without this, newer models keep their reasons to themselves.
        return {"thinking": {"type": "adaptive", "display": "summarized"}}
    if max_tokens <= _LEAST_BUDGET:
        raise UnsupportedError(
            f"{settings.model} needs {_LEAST_BUDGET} tokens for 'reasoning' alone: raise "
            f"max_tokens above that, from {max_tokens}"
        )
    if budget is not None and budget >= max_tokens:
        raise ValidationError(
            f"max_tokens ({max_tokens}) counts what is reasoned too: raise it above "
            f"thinking_budget ({budget})"
        )
    for name in ("temperature", "top_k"):
        options.refuse(BACKEND, {name: f"{settings.model} has none while it reasons"})
    budget = budget or max(_LEAST_BUDGET, min(_USUAL_BUDGET, max_tokens // 2))
    return {"thinking": {"type": "enabled", "budget_tokens": budget}}


def _tools(
    options: CompletionOptions, can: Abilities, model: str, thinking: dict[str, Any]
) -> dict[str, Any]:
    if not options.tools:
        return {}
    tools = []
    for tool in options.tools:
        if not _TOOL_NAME.fullmatch(tool.name):
            raise UnsupportedError(
                f"the {BACKEND!r} backend takes no tool called {tool.name!r}: its names have at "
                "most 128 letters, digits, '_' and '-'"
            )
        schema = {"type": "object", **(tool.parameters or {"properties": {}})}
        written = {"name": tool.name, "input_schema": schema}
        if tool.description:
            written["description"] = tool.description
        tools.append(written)
    choice: dict[str, Any] = {"type": options.tool_choice}
    if options.tool_choice not in ("auto", "none"):
        if not can.forces_tools:
            options.refuse(BACKEND, {"tool_choice": f"{model} can't be made to call a tool"})
        if thinking.get("thinking", {}).get("type") == "enabled":
            options.refuse(BACKEND, {"tool_choice": f"{model} calls as it will while it reasons"})
        named = options.tool_choice != "required"
        choice = {"type": "tool", "name": options.tool_choice} if named else {"type": "any"}
    if not options.parallel_tool_calls and options.tool_choice != "none":
        choice["disable_parallel_tool_use"] = True
    return (
        {"tools": tools}
        if choice == {"type": "auto"}
        else {
            "tools": tools,
            "tool_choice": choice,
        }
    )


def _output(
    options: CompletionOptions, settings: AnthropicOptions, can: Abilities
) -> dict[str, Any]:
    output: dict[str, Any] = {}
    if settings.effort is not None:
        if can.refuses and settings.effort not in can.efforts:
            known = ", ".join(map(repr, can.efforts)) or "none"
            raise UnsupportedError(
                f"{settings.model} takes no effort {settings.effort!r}; it knows: {known}"
            )
        output["effort"] = settings.effort
    wanted = options.response_format
    if wanted is not None:
        if wanted.kind == "json":
            reason = "its API needs the names of an object: give a schema"
            options.refuse(BACKEND, {"response_format": reason})
        if wanted.kind != "schema":
            reason = f"its API can't be held to a {wanted.kind}: give a schema"
            options.refuse(BACKEND, {"response_format": reason})
        from blazen_anthropic.schema import narrowed

        output["format"] = {"type": "json_schema", "schema": narrowed(wanted.rule)}
    return {"output_config": output} if output else {}
