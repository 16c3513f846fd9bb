"""What OpenAI refuses: other types than it publishes, and what its guides forbid."""

from __future__ import annotations

import json
import re
from typing import Any

from openai.types.chat import completion_create_params as chat_params
from openai.types.responses import response_create_params as response_params

from tests.wire.typed import Wrong, hold

REASONING = re.compile(r"o[1-9]|gpt-5(?!.*chat)|gpt-[6-9]")
"""The names of models that reason."""
_STRICT_UNKNOWN = {"minLength", "maxLength", "uniqueItems", "default", "oneOf", "allOf", "not"}


class Refused(Exception):
    """What the API answers with an error."""

    def __init__(
        self, message: str, *, param: str | None = None, code: str | None = None, status: int = 400
    ) -> None:
        super().__init__(message)
        self.status = status
        kind = "invalid_request_error"
        self.body = {"error": {"message": message, "type": kind, "param": param, "code": code}}


def check_request(body: dict[str, Any], *, chat: bool) -> None:
    """Refuse what is not of the published types, or against the rules of the guides."""
    kinds: Any = chat_params if chat else response_params
    name = "CompletionCreateParams" if chat else "ResponseCreateParams"
    kind = getattr(kinds, f"{name}{'' if body.get('stream') else 'Non'}Streaming")
    try:
        hold(body, kind)
    except Wrong as wrong:
        raise Refused(str(wrong), param=wrong.where, code="invalid_value") from wrong
    _check_rules(body, chat=chat)


def _check_rules(body: dict[str, Any], *, chat: bool) -> None:
    model = body["model"]
    if chat and len(body.get("stop") or ()) > 4:
        raise Refused("Invalid 'stop': array too long.", param="stop")
    if chat and "top_logprobs" in body and not body.get("logprobs"):
        raise Refused("'logprobs' must be set to true", param="top_logprobs")
    if not 0 <= body.get("top_logprobs", 0) <= 20:
        raise Refused("Invalid 'top_logprobs'", param="top_logprobs")
    if REASONING.match(model):
        effort = body.get("reasoning_effort") or (body.get("reasoning") or {}).get("effort")
        fixed = ["presence_penalty", "frequency_penalty", "logit_bias", "stop", "max_tokens"]
        if effort != "none" and not re.match(r"gpt-5\.[1-4]", model):
            fixed += ["temperature", "top_p", "logprobs", "top_logprobs"]
        for name in fixed:
            if name in body:
                said = f"Unsupported parameter: '{name}' is not supported with this model."
                raise Refused(said, param=name, code="unsupported_parameter")
    elif body.get("reasoning_effort") or body.get("reasoning"):
        raise Refused("Unrecognized request argument supplied: reasoning_effort")
    for tool in body.get("tools", ()):
        function = tool["function"] if chat else tool
        if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", function["name"]):
            raise Refused("Invalid 'tools[0].function.name'", param="tools")
        if function.get("strict"):
            _check_strict(function["parameters"], root=True)
    wanted = body.get("response_format") if chat else (body.get("text") or {}).get("format")
    if wanted and wanted["type"] == "json_schema":
        told = wanted["json_schema"] if chat else wanted
        if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", told["name"]):
            raise Refused("Invalid 'response_format.json_schema.name'")
        if told.get("strict"):
            _check_strict(told["schema"], root=True)
    if wanted and wanted["type"] == "json_object":
        said = json.dumps(body["messages"] if chat else body["input"])
        if "json" not in said.lower():
            raise Refused("'messages' must contain the word 'json' in some form.")


def _check_strict(schema: Any, *, root: bool = False) -> None:
    where = "Invalid schema for response_format"
    if not isinstance(schema, dict):
        raise Refused(f"{where}: {schema!r}")
    if root and schema.get("type") != "object":
        raise Refused(f"{where}: schema must be a JSON Schema of 'type: \"object\"'")
    if set(schema) & _STRICT_UNKNOWN:
        raise Refused(f"{where}: {set(schema) & _STRICT_UNKNOWN} is not permitted.")
    if not root and not set(schema) & {"type", "anyOf", "$ref"}:
        raise Refused(f"{where}: schema must have a 'type' key.")
    if "$ref" in schema and set(schema) != {"$ref"}:
        raise Refused(f"{where}: $ref cannot have keywords beside it.")
    if "properties" in schema or schema.get("type") == "object":
        if schema.get("additionalProperties") is not False:
            raise Refused(f"{where}: 'additionalProperties' is required to be false.")
        if set(schema.get("required", ())) != set(schema.get("properties", ())):
            raise Refused(f"{where}: 'required' is required to include every key in properties.")
    below = [*schema.get("properties", {}).values(), *schema.get("anyOf", ())]
    below += [*schema.get("$defs", {}).values()]
    for each in [*below, *([schema["items"]] if "items" in schema else [])]:
        _check_strict(each)
