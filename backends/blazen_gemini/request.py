"""From options to the API's configuration of a request."""

from __future__ import annotations

import re
from typing import Any

from blazen.errors import UnsupportedError
from blazen.options.gemini import GeminiOptions
from blazen.types.chat import Tool
from blazen.types.completion import CompletionOptions
from blazen_gemini.abilities import Abilities

_FUNCTION = re.compile(r"[A-Za-z_][A-Za-z0-9_.:-]{0,127}")
_MODES = {"auto": "AUTO", "none": "NONE", "required": "ANY"}
_FIELDS = {
    "max_tokens": "max_output_tokens",
    "temperature": "temperature",
    "top_p": "top_p",
    "top_k": "top_k",
    "presence_penalty": "presence_penalty",
    "frequency_penalty": "frequency_penalty",
    "seed": "seed",
}


def write_config(
    given: GeminiOptions, options: CompletionOptions, abilities: Abilities
) -> dict[str, Any]:
    """Give the configuration that says how to answer; what was not asked for is left out."""
    config: dict[str, Any] = {
        # The SDK would call functions by itself, and ask again until an answer is long enough.
        "automatic_function_calling": {"disable": True},
        "automatic_continuation": False,
    }
    for name, field in _FIELDS.items():
        if getattr(options, name) is not None:
            config[field] = getattr(options, name)
    if options.stop:
        config["stop_sequences"] = list(options.stop)
    if options.logprobs is not None:
        config["response_logprobs"] = True
        if options.logprobs:
            config["logprobs"] = options.logprobs
    if options.response_format is not None:
        config["response_mime_type"] = "application/json"
        if options.response_format.kind == "schema":
            config["response_json_schema"] = options.response_format.rule
    if options.tools:
        config["tools"] = [{"function_declarations": [_declared(tool) for tool in options.tools]}]
        config["tool_config"] = {"function_calling_config": _choice(options.tool_choice)}
    thinking = _thinking(given, options, abilities)
    if thinking:
        config["thinking_config"] = thinking
    if given.safety:
        config["safety_settings"] = [
            {"category": category, "threshold": threshold}
            for category, threshold in given.safety.items()
        ]
    return config


def _declared(tool: Tool) -> dict[str, Any]:
    if not _FUNCTION.fullmatch(tool.name):
        raise UnsupportedError(
            f"the API takes no tool of the name {tool.name!r:.80}: it begins with a letter or '_' "
            "and has at most 128 letters, digits and any of '_.:-'"
        )
    declared: dict[str, Any] = {"name": tool.name, "description": tool.description}
    if tool.parameters is not None:
        declared["parameters_json_schema"] = tool.parameters
    return declared


def _choice(choice: str) -> dict[str, Any]:
    if choice in _MODES:
        return {"mode": _MODES[choice]}
    return {"mode": "ANY", "allowed_function_names": [choice]}


def _thinking(
    given: GeminiOptions, options: CompletionOptions, abilities: Abilities
) -> dict[str, Any]:
    thinking: dict[str, Any] = {}
    if given.thinking_level is not None:
        if abilities.thinks_by == "budget":
            raise UnsupportedError(
                f"{given.model} has no thinking_level: give it a thinking_budget in tokens"
            )
        thinking["thinking_level"] = given.thinking_level.upper()
    if given.thinking_budget is not None:
        if abilities.thinks_by == "level":
            raise UnsupportedError(
                f"{given.model} has no thinking_budget: give it a thinking_level"
            )
        if given.thinking_budget == 0 and not abilities.stops_thinking:
            raise UnsupportedError(f"{given.model} always thinks: thinking_budget can't be 0")
        thinking["thinking_budget"] = given.thinking_budget
    if options.reasoning is None:
        return thinking
    if not options.reasoning:
        return {"thinking_budget": 0}
    if abilities.thinks_by == "budget" and not thinking.get("thinking_budget"):
        thinking["thinking_budget"] = -1  # the small ones do not think unless they are told to
    return {**thinking, "include_thoughts": True}
