"""What the Gemini API takes: the fields of its published reference, and their types."""

from __future__ import annotations

import base64
import re
from typing import Any

_TEXT, _NUMBER, _WHOLE, _TRUTH, _ANY = "text", "number", "whole", "truth", "any"

_PART = {
    "text": _TEXT,
    "thought": _TRUTH,
    "thoughtSignature": "bytes",
    "inlineData": {"mimeType": _TEXT, "data": "bytes"},
    "fileData": {"mimeType": _TEXT, "fileUri": _TEXT},
    "functionCall": {"id": _TEXT, "name": _TEXT, "args": _ANY},
    "functionResponse": {
        "id": _TEXT,
        "name": _TEXT,
        "response": _ANY,
        "parts": [{"inlineData": {"mimeType": _TEXT, "data": "bytes"}}],
    },
    "executableCode": {"id": _TEXT, "language": _TEXT, "code": _TEXT},
    "codeExecutionResult": {"id": _TEXT, "outcome": _TEXT, "output": _TEXT},
}
_CONTENT = {"role": _TEXT, "parts": [_PART]}
_THINKING = {"includeThoughts": _TRUTH, "thinkingBudget": _WHOLE, "thinkingLevel": _TEXT}
_CONFIG = {
    "stopSequences": [_TEXT],
    "responseMimeType": _TEXT,
    "responseJsonSchema": _ANY,
    "responseModalities": [_TEXT],
    "candidateCount": _WHOLE,
    "maxOutputTokens": _WHOLE,
    "temperature": _NUMBER,
    "topP": _NUMBER,
    "topK": _WHOLE,
    "seed": _WHOLE,
    "presencePenalty": _NUMBER,
    "frequencyPenalty": _NUMBER,
    "responseLogprobs": _TRUTH,
    "logprobs": _WHOLE,
    "thinkingConfig": _THINKING,
    "mediaResolution": _TEXT,
}
_DECLARATION = {"name": _TEXT, "description": _TEXT, "parametersJsonSchema": _ANY}
_CALLING = {"mode": _TEXT, "allowedFunctionNames": [_TEXT]}
_GENERATE = {
    "contents": [_CONTENT],
    "systemInstruction": _CONTENT,
    "tools": [{"functionDeclarations": [_DECLARATION]}],
    "toolConfig": {"functionCallingConfig": _CALLING},
    "safetySettings": [{"category": _TEXT, "threshold": _TEXT}],
    "generationConfig": _CONFIG,
    "cachedContent": _TEXT,
    "continuationToken": "bytes",
    "serviceTier": _TEXT,
    "store": _TRUTH,
}
_EMBED = {
    "requests": [
        {
            "model": _TEXT,
            "content": _CONTENT,
            "taskType": _TEXT,
            "title": _TEXT,
            "outputDimensionality": _WHOLE,
        }
    ]
}
_FUNCTION = re.compile(r"[A-Za-z_][A-Za-z0-9_.:-]{0,127}")
_TASKS = {
    "RETRIEVAL_QUERY",
    "RETRIEVAL_DOCUMENT",
    "SEMANTIC_SIMILARITY",
    "CLASSIFICATION",
    "CLUSTERING",
    "QUESTION_ANSWERING",
    "FACT_VERIFICATION",
    "CODE_RETRIEVAL_QUERY",
}


class Refused(Exception):
    """The API refuses a request."""

    def __init__(
        self,
        message: str,
        code: int = 400,
        name: str = "INVALID_ARGUMENT",
        details: list[dict[str, Any]] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.name = name
        self.details = details or []


def read_generate(given: Any) -> dict[str, Any]:
    """Give a request for an answer; what is none is refused."""
    body: dict[str, Any] = _read(given, _GENERATE, "GenerateContentRequest")
    contents = body.get("contents")
    if not contents:
        raise Refused("* GenerateContentRequest.contents: contents is not specified\n")
    for place, content in enumerate(contents):
        where = f"GenerateContentRequest.contents[{place}]"
        if content.get("role") not in ("user", "model"):
            raise Refused("Please use a valid role: user, model.")
        _check_parts(content.get("parts"), where)
    config = body.get("generationConfig", {})
    _check_range(config, "temperature", 0, 2)
    _check_range(config, "topP", 0, 1)
    _check_range(config, "topK", 0, 1 << 31)
    _check_range(config, "maxOutputTokens", 1, 1 << 31)
    _check_range(config, "seed", -(1 << 31), (1 << 31) - 1)
    _check_range(config, "logprobs", 1, 20)
    if len(config.get("stopSequences", ())) > 5:
        raise Refused("the number of stop sequences must be at most 5")
    if "logprobs" in config and not config.get("responseLogprobs"):
        raise Refused("logprobs is only for a request with response_logprobs")
    if "responseJsonSchema" in config and config.get("responseMimeType") != "application/json":
        raise Refused("response_json_schema needs response_mime_type application/json")
    thinking = config.get("thinkingConfig", {})
    if "thinkingBudget" in thinking and "thinkingLevel" in thinking:
        raise Refused("You can only set only one of thinking budget and thinking level.")
    _check_tools(body)
    _check_answers(contents)
    return body


def read_embed(model: str, given: Any) -> dict[str, Any]:
    """Give a request for embeddings; what is none is refused."""
    body: dict[str, Any] = _read(given, _EMBED, "BatchEmbedContentsRequest")
    requests = body.get("requests")
    if not requests:
        raise Refused("* BatchEmbedContentsRequest.requests: must not be empty")
    if len(requests) > 100:
        raise Refused("at most 100 requests can be in one batch")
    for one in requests:
        if one.get("model") != f"models/{model}":
            raise Refused(f"the model of a request must be models/{model}")
        _check_parts(one.get("content", {}).get("parts"), "content")
        if one.get("taskType", "RETRIEVAL_QUERY") not in _TASKS:
            raise Refused(f"unknown task type {one['taskType']}")
        _check_range(one, "outputDimensionality", 1, 3072)
    return body


def _check_parts(parts: Any, where: str) -> None:
    if not parts:
        raise Refused(f"* {where}.parts: contents.parts must not be empty.\n")
    for number, part in enumerate(parts):
        data = set(part) - {"thought", "thoughtSignature"}
        signed = part.get("thoughtSignature") is not None
        if len(data) != 1 or (part.get("text") == "" and not signed):
            raise Refused(
                f"* {where}.parts[{number}].data: required oneof field 'data' must have one "
                "initialized field"
            )
        for name in ("functionCall", "functionResponse"):
            if name in part and not _FUNCTION.fullmatch(part[name].get("name", "")):
                raise Refused(f"* {where}.parts[{number}].{name}.name: [REQUIRED_FIELD_MISSING]")
        for name, inner in (("functionCall", "args"), ("functionResponse", "response")):
            if name in part and not isinstance(part[name].get(inner, {}), dict):
                raise Refused(f"Invalid value at '{name}.{inner}': it is no Struct")


def _check_tools(body: dict[str, Any]) -> None:
    names = [
        one.get("name", "")
        for tool in body.get("tools", ())
        for one in tool.get("functionDeclarations", ())
    ]
    for name in names:
        if not _FUNCTION.fullmatch(name):
            raise Refused(f"Invalid function name {name!r}.")
    calling = body.get("toolConfig", {}).get("functionCallingConfig", {"mode": "AUTO"})
    if calling.get("mode") not in ("AUTO", "ANY", "NONE", "VALIDATED"):
        raise Refused(f"unknown mode {calling.get('mode')}")
    for name in calling.get("allowedFunctionNames", ()):
        if calling["mode"] != "ANY" or name not in names:
            raise Refused("allowed_function_names must be declared, and the mode must be ANY")


def _check_answers(contents: list[dict[str, Any]]) -> None:
    """Refuse answers that do not stand behind their calls."""
    calls: list[dict[str, Any]] = []
    for content in contents:
        answers = [
            part["functionResponse"] for part in content["parts"] if "functionResponse" in part
        ]
        if answers or calls:
            given = [(answer.get("id"), answer["name"]) for answer in answers]
            wanted = [(call.get("id"), call["name"]) for call in calls]
            if given != wanted:
                raise Refused(
                    "Please ensure that the number of function response parts is equal to the "
                    "number of function call parts of the function call turn."
                )
        calls = [part["functionCall"] for part in content["parts"] if "functionCall" in part]
    if calls:
        raise Refused("Please ensure that function call turn is followed by its responses.")


def _check_range(holder: dict[str, Any], name: str, least: float, most: float) -> None:
    if name in holder and not least <= holder[name] <= most:
        raise Refused(f"Unable to submit request because {name} must be from {least} to {most}.")


def _read(value: Any, rule: Any, where: str) -> Any:
    """Give a value with the names of the reference: as all of Google's, it takes both spellings."""
    if isinstance(rule, dict):
        if not isinstance(value, dict):
            raise Refused(f"Invalid value at '{where}': it is no object")
        found = {}
        for given, inner in value.items():
            name = re.sub("_([a-z])", lambda letter: letter[1].upper(), given)
            if name not in rule or name in found:
                raise Refused(
                    f"Invalid JSON payload received. Unknown name \"{given}\" at '{where}': "
                    "Cannot find field."
                )
            found[name] = _read(inner, rule[name], f"{where}.{name}")
        return found
    if isinstance(rule, list):
        if not isinstance(value, list):
            raise Refused(f"Invalid value at '{where}': it is no list")
        return [_read(inner, rule[0], f"{where}[{place}]") for place, inner in enumerate(value)]
    if not _fits(value, rule):
        raise Refused(f"Invalid value at '{where}' ({rule}): {value!r:.80}")
    return value


def _fits(value: Any, rule: str) -> bool:
    if rule == _TEXT:
        return isinstance(value, str)
    if rule == _TRUTH:
        return isinstance(value, bool)
    if rule == _WHOLE:
        return isinstance(value, (int, float)) and not isinstance(value, bool) and value % 1 == 0
    if rule == _NUMBER:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if rule == "bytes":
        return isinstance(value, str) and _decodes(value)
    return True


def _decodes(text: str) -> bool:
    # Protobuf takes both alphabets, with or without padding.
    plain = text.replace("-", "+").replace("_", "/").rstrip("=")
    try:
        base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except ValueError:
        return False
    return True
