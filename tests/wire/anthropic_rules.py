"""What Anthropic's Messages API accepts, and in which words it refuses.

The shapes are those of the SDK's own parameters, which are written from the published schema; the
rules beyond them are those of the documentation (platform.claude.com/docs: "Errors", "Thinking",
"Effort", "Structured outputs", "Define tools", "Migrating to API version 2026-10-21", and the
migration guides of Claude Opus 5.5, Sonnet 5.5 and Haiku 5.5).
"""

from __future__ import annotations

import collections.abc
import functools
import hashlib
import re
import types
import typing
from typing import Any, Literal, Union

import typing_extensions
from anthropic.types.message_create_params import MessageCreateParamsStreaming

OLDER = "2023-06-01"

_ALWAYS = ("claude-opus-5-5", "claude-fable-5-1", "claude-fable-5")
_UNFORCED = ("claude-opus-5-5", "claude-sonnet-5-5", "claude-fable-5-1")
_BUDGETED = ("claude-haiku-4-5", "claude-sonnet-4-5", "claude-opus-4-5")
_EITHER = ("claude-opus-4-6", "claude-sonnet-4-6")
_LONGEST = dict.fromkeys(_BUDGETED, 64000)
_SAMPLING = ("temperature", "top_p", "top_k")
_KEYWORDS = {
    "type",
    "enum",
    "const",
    "anyOf",
    "allOf",
    "$ref",
    "$defs",
    "description",
    "title",
    "properties",
    "required",
    "items",
    "minItems",
    "format",
    "additionalProperties",
}


class Refused(Exception):
    """The request is answered with an error: its status, its type, and what it says."""

    def __init__(
        self, message: str, status: int = 400, kind: str = "invalid_request_error"
    ) -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind


def signature(thinking: str) -> str:
    """Sign a thought, as the API does, so that a changed one is found out."""
    return hashlib.sha256(f"thought:{thinking}".encode()).hexdigest()


def check_request(body: Any, version: str) -> None:
    """Refuse what the API refuses."""
    if not isinstance(body, dict):
        raise Refused("the body is no JSON object")
    if isinstance(body.get("model"), str):
        body = {**body, "model": re.sub(r"-20\d{6}$", "", body["model"])}
    sampling = {name: body[name] for name in _SAMPLING if name in body}
    rest = {name: value for name, value in body.items() if name not in sampling}
    _check(rest.get("stream", True), bool, "stream")
    _check({**rest, "stream": True}, MessageCreateParamsStreaming, "")
    _check_sampling(body, sampling, version)
    _check_thinking(body)
    _check_tools(body)
    _check_messages(body)
    if not all(stop.strip() for stop in body.get("stop_sequences", ())):
        raise Refused("stop_sequences: each stop sequence must contain non-whitespace")
    shape = body.get("output_config", {}).get("format")
    if shape is not None:
        _check_format(shape["schema"], "output_config.format.schema")
    if not 0 < body["max_tokens"] <= _LONGEST.get(body["model"], 128_000):
        raise Refused(f"max_tokens: {body['max_tokens']} > the maximum of {body['model']}")


def _check_sampling(body: dict[str, Any], sampling: dict[str, Any], version: str) -> None:
    for name in sampling:
        if version != OLDER or body["model"] not in (*_BUDGETED, *_EITHER):
            raise Refused(f"`{name}` is deprecated for this model.")
        _check(sampling[name], int if name == "top_k" else float, name)
    if {"temperature", "top_p"} <= set(sampling):
        raise Refused("`temperature` and `top_p` cannot both be specified for this model.")


def _check_thinking(body: dict[str, Any]) -> None:
    model, thinking = body["model"], body.get("thinking", {})
    kind, effort = thinking.get("type"), body.get("output_config", {}).get("effort")
    not_taken = {
        "adaptive": model in _BUDGETED,
        "enabled": model not in (*_BUDGETED, *_EITHER),
        "disabled": model in (*_ALWAYS, "claude-sonnet-5-5"),
        "between_tools": model != "claude-sonnet-5-5",
    }
    if not_taken.get(kind, False):
        raise Refused(f'"thinking.type.{kind}" is not supported for this model.')
    if kind in ("disabled", "between_tools") and effort in ("xhigh", "max"):
        raise Refused(f"thinking can't be off at effort {effort}")
    if kind == "enabled":
        if not 1024 <= thinking["budget_tokens"] < body["max_tokens"]:
            raise Refused("`max_tokens` must be greater than `thinking.budget_tokens`.")
        if body.get("temperature", 1) != 1 or "top_k" in body:
            raise Refused("`temperature` may only be set to 1 when thinking is enabled.")
    if effort is not None and model in ("claude-haiku-4-5", "claude-sonnet-4-5"):
        raise Refused("This model does not support the effort parameter.")
    if effort == "xhigh" and model in (*_EITHER, "claude-opus-4-5"):
        raise Refused("This model does not support effort level 'xhigh'.")


def _check_tools(body: dict[str, Any]) -> None:
    names = [tool["name"] for tool in body.get("tools", ())]
    for name in names:
        if not re.fullmatch(r"[a-zA-Z0-9_-]{1,128}", name):
            raise Refused(f"tools.0.custom.name: String should match pattern, not {name}")
    if len(set(names)) != len(names):
        raise Refused("tools: Tool names must be unique.")
    choice = body.get("tool_choice", {"type": "auto"})
    if "tool_choice" in body and not names:
        raise Refused("tool_choice: can't be given without tools")
    if choice["type"] == "tool" and choice["name"] not in names:
        raise Refused(f"Tool '{choice['name']}' not found in provided tools")
    if choice["type"] in ("any", "tool"):
        if body["model"] in _UNFORCED:
            raise Refused("tool_choice forces tool use, which this model does not support")
        if body.get("thinking", {}).get("type") == "enabled":
            raise Refused("Thinking may not be enabled when tool_choice forces tool use.")


def _check_messages(body: dict[str, Any]) -> None:
    messages = body["messages"]
    if not messages:
        raise Refused("messages: at least one message is required")
    if messages[0]["role"] == "system":
        raise Refused("messages.0: a system message can't come first; use the system field")
    for number, block in enumerate(blocks(body.get("system", []))):
        _check_text(block, f"system.{number}")
    asked: set[str] = set()
    for number, message in enumerate(messages):
        content = blocks(message["content"])
        if not content and number < len(messages) - 1:
            raise Refused(f"messages.{number}: all messages must have non-empty content")
        for block in content:
            _check_text(block, f"messages.{number}")
            if block["type"] == "thinking" and block["signature"] != signature(block["thinking"]):
                raise Refused(f"messages.{number}: Invalid `signature` in `thinking` block")
        answered = {block["tool_use_id"] for block in content if block["type"] == "tool_result"}
        if not answered <= asked:
            raise Refused(f"messages.{number}: unexpected `tool_use_id` in `tool_result`")
        if asked - answered:
            raise Refused(f"messages.{number}: `tool_use` ids without `tool_result` blocks")
        asked = {block["id"] for block in content if block["type"] == "tool_use"}
    last = messages[-1]
    if last["role"] == "assistant" and body["model"] not in _BUDGETED:
        paused = blocks(last["content"])[-1:]
        if not paused or paused[0]["type"] != "server_tool_use":
            raise Refused("This model does not support assistant message prefill.")


def blocks(content: Any) -> list[dict[str, Any]]:
    """Give content as blocks: a text is short for one of them."""
    return [{"type": "text", "text": content}] if isinstance(content, str) else list(content)


def _check_text(block: dict[str, Any], where: str) -> None:
    if block["type"] == "text" and not block["text"].strip():
        raise Refused(f"{where}: text content blocks must contain non-whitespace text")


def _check_format(schema: Any, where: str) -> None:
    if not isinstance(schema, dict):
        raise Refused(f"{where}: a schema is an object")
    unknown = sorted(set(schema) - _KEYWORDS)
    if unknown:
        raise Refused(f"{where}: For this type, property '{unknown[0]}' is not supported")
    if schema.get("type") == "object" and schema.get("additionalProperties") is not False:
        raise Refused(f"{where}: 'additionalProperties' must be explicitly set to false")
    if schema.get("minItems", 0) > 1:
        raise Refused(f"{where}: 'minItems' values other than 0 or 1 are not supported")
    inner = [schema[name] for name in ("items",) if name in schema]
    inner += [*schema.get("anyOf", ()), *schema.get("allOf", ())]
    inner += [*schema.get("properties", {}).values(), *schema.get("$defs", {}).values()]
    for one in inner:
        _check_format(one, where)


def _check(value: Any, hint: Any, where: str) -> None:
    """Hold a value to a type of the SDK's; what it does not have is refused.

    Unlike `tests.wire.typed`, it knows that a message may hold the SDK's own answers, and a source
    a file: these are never what comes over the wire.
    """
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing_extensions.Required, typing_extensions.NotRequired):
        _check(value, arguments[0], where)
    elif origin in (Union, types.UnionType):
        _check_union(value, arguments, where)
    elif origin is Literal:
        _expect(value in arguments, value, where, f"one of {arguments}")
    elif typing_extensions.is_typeddict(hint):
        _check_fields(value, hint, where)
    elif isinstance(origin, type) and issubclass(origin, collections.abc.Mapping):
        _expect(isinstance(value, dict), value, where, "an object")
    elif origin is not None:
        _expect(isinstance(value, list), value, where, "an array")
        for number, item in enumerate(value):
            _check(item, arguments[0], f"{where}.{number}")
    elif hint is float:
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        _expect(number, value, where, "a number")
    elif hint in (str, int, bool, type(None)):
        _expect(type(value) is hint, value, where, hint.__name__)
    else:
        _expect(hint is object, value, where, "JSON")


def _check_union(value: Any, options: tuple[Any, ...], where: str) -> None:
    problems = [_problem(value, option, where) for option in options]
    if None not in problems:
        # The one that came nearest is about a field further in.
        found = [problem for problem in problems if problem]
        raise Refused(max(found, key=lambda problem: problem.partition(":")[0].count(".")))


def _problem(value: Any, hint: Any, where: str) -> str | None:
    try:
        _check(value, hint, where)
    except Refused as refusal:
        return str(refusal)
    return None


def _check_fields(value: Any, hint: Any, where: str) -> None:
    _expect(isinstance(value, dict), value, where, "an object")
    hints = _hints(hint)
    for name in value:
        place = f"{where}.{name}".lstrip(".")
        if name in hints:
            _check(value[name], hints[name], place)
        elif hint.__name__ != "InputSchemaTyped":  # a JSON schema has what it likes
            raise Refused(f"{place}: Extra inputs are not permitted")
    for name in hint.__required_keys__:
        if name not in value:
            raise Refused(f"{where}.{name}".lstrip(".") + ": Field required")


@functools.cache
def _hints(hint: Any) -> dict[str, Any]:
    return typing_extensions.get_type_hints(hint, include_extras=True)


def _expect(fits: bool, value: Any, where: str, what: str) -> None:
    if not fits:
        raise Refused(f"{where}: Input should be {what}, not {value!r:.60}")
