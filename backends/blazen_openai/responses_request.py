"""From messages and options to the body of a request to the Responses API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from blazen.types.audio import Audio
from blazen.types.chat import ChatMessage, Part, Role
from blazen_openai.parts import check_parts, image_url
from blazen_openai.request import Request
from blazen_openai.shapes import check_tools, write_function, write_text_format

_LACKS = "the Responses API has no such parameter: use api='chat'"
_LACKING = dict.fromkeys(
    (
        "top_k",
        "min_p",
        "typical_p",
        "repeat_penalty",
        "presence_penalty",
        "frequency_penalty",
        "mirostat",
        "mirostat_tau",
        "mirostat_eta",
        "seed",
        "stop",
        "logit_bias",
    ),
    _LACKS,
)


class ResponsesRequest(Request):
    """A request to the Responses API."""

    path = "/responses"

    def write(self, *, stream: bool) -> dict[str, Any]:
        """Give the body."""
        body: dict[str, Any] = {
            "model": self._model,
            "input": [item for message in self._messages for item in self._items(message)],
            **self._asked,
        }
        if stream:
            body["stream"] = True
        return {**body, **self._body}

    def _check(self) -> None:
        gateway, options = self._gateway, self._options
        options.refuse(gateway.name, _LACKING)
        self._capabilities.check(options, chat=False)
        check_parts(gateway, self._capabilities, self._messages, chat=False)
        check_tools(gateway, options.tools)

    def _written(self) -> dict[str, Any]:
        gateway, options = self._gateway, self._options
        asked: dict[str, Any] = {}
        for name, theirs in (
            ("temperature", "temperature"),
            ("top_p", "top_p"),
            ("max_tokens", "max_output_tokens"),
            ("logprobs", "top_logprobs"),
        ):
            value = getattr(options, name)
            if value is not None:
                asked[theirs] = value
        include = []
        if options.logprobs is not None:
            include.append("message.output_text.logprobs")
        if gateway.stores:
            # Nothing is kept there: so what it reasoned has to travel with the conversation.
            asked["store"] = False
            if self._capabilities.reasons:
                include.append("reasoning.encrypted_content")
        if include:
            asked["include"] = include
        if options.response_format is not None:
            asked["text"] = {"format": write_text_format(gateway, options.response_format)}
        asked |= self._capabilities.switch(options.reasoning, chat=False)
        return asked | self._tools()

    def _tools(self) -> dict[str, Any]:
        options, choice = self._options, self._options.tool_choice
        if not options.tools:
            return {}
        tools = [
            {"type": "function", "strict": False, **write_function(self._gateway, tool)}
            for tool in options.tools
        ]
        written: dict[str, Any] = {"tools": tools}
        if choice in ("none", "required"):
            written["tool_choice"] = choice
        elif choice != "auto":
            written["tool_choice"] = {"type": "function", "name": choice}
        if not options.parallel_tool_calls:
            written["parallel_tool_calls"] = False
        return written

    def _items(self, message: ChatMessage) -> list[dict[str, Any]]:
        if message.role is Role.Tool:
            return [
                {
                    "type": "function_call_output",
                    "call_id": message.tool_call_id,
                    "output": message.text,
                }
            ]
        if message.role is not Role.Assistant:
            return [{"role": message.role.value, "content": self._content(message)}]
        kept = (message.state or {}).get(self._gateway.name)
        if isinstance(kept, Mapping) and _is_of(message, kept.get("output")):
            return [*kept["output"]]
        items: list[dict[str, Any]] = []
        if message.text or not message.tool_calls:
            items.append({"role": "assistant", "content": message.text})
        items.extend(
            {
                "type": "function_call",
                "call_id": call.id,
                "name": call.name,
                "arguments": call.arguments,
            }
            for call in message.tool_calls
        )
        return items

    def _content(self, message: ChatMessage) -> str | list[dict[str, Any]]:
        if isinstance(message.content, str):
            return message.content
        return [self._part(part) for part in message.content]

    def _part(self, part: Part) -> dict[str, Any]:
        if isinstance(part, str):
            return {"type": "input_text", "text": part}
        assert not isinstance(part, Audio), "it was refused before"
        url = image_url(self._gateway, part)
        return {"type": "input_image", "image_url": url, "detail": "auto"}


def _is_of(message: ChatMessage, output: Any) -> bool:
    """Say whether kept items still say what the message says: it may have been changed since."""
    if not isinstance(output, list) or not all(isinstance(item, dict) for item in output):
        return False
    said = [item for item in output if item.get("type") == "message"]
    parts = [part for item in said for part in item.get("content") or ()]
    text = "".join(part.get("text") or part.get("refusal") or "" for part in parts)
    calls = [
        (item["call_id"], item["name"], item["arguments"])
        for item in output
        if item.get("type") == "function_call"
    ]
    told = [(call.id, call.name, call.arguments) for call in message.tool_calls]
    return text == message.text and calls == told
