"""From messages and options to the body of a request to Chat Completions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from blazen.errors import UnsupportedError
from blazen.types.audio import Audio
from blazen.types.chat import ChatMessage, Part, Role
from blazen.types.completion import CompletionOptions
from blazen_openai.parts import check_parts, image_url, input_audio
from blazen_openai.request import Request
from blazen_openai.shapes import check_tools, write_format, write_function

_USUAL = ("temperature", "top_p", "presence_penalty", "frequency_penalty", "seed")
_BEYOND = (
    "top_k",
    "min_p",
    "typical_p",
    "repeat_penalty",
    "mirostat",
    "mirostat_tau",
    "mirostat_eta",
)


class ChatRequest(Request):
    """A request to Chat Completions."""

    path = "/chat/completions"

    def write(self, *, stream: bool) -> dict[str, Any]:
        """Give the body."""
        body: dict[str, Any] = {
            **self._gateway.body,
            "model": self._model,
            "messages": [self._message(message) for message in self._messages],
            **self._asked,
        }
        if stream:
            body["stream"] = True
            if self._gateway.stream_usage:
                body["stream_options"] = {"include_usage": True}
        return {**body, **self._body}

    def _settled(self, options: CompletionOptions) -> CompletionOptions:
        if options.tool_choice == "none" and "tool_choice" in self._gateway.refuses:
            return replace(options, tools=(), tool_choice="auto")  # which comes to the same
        return options

    def _check(self) -> None:
        gateway, options = self._gateway, self._options
        lacking = {name: gateway.lacks(name) for name in _BEYOND if name not in gateway.fields}
        options.refuse(gateway.name, lacking)
        self._capabilities.check(options, chat=True)
        check_parts(gateway, self._capabilities, self._messages, chat=True)
        check_tools(gateway, options.tools)
        if (
            options.tool_choice == "required"
            and len(options.tools) > 1
            and not gateway.required_choice
        ):
            raise UnsupportedError(
                f"the {gateway.name!r} backend takes no 'tool_choice' of 'required' for several "
                "tools: name one"
            )
        if gateway.stops is not None and len(options.stop) > gateway.stops:
            raise UnsupportedError(
                f"the {gateway.name!r} backend takes no 'stop' of {len(options.stop)} texts: "
                f"{gateway.stops} at most"
            )
        for message in self._messages:
            if message.name is not None and not gateway.names:
                raise UnsupportedError(
                    f"the {gateway.name!r} backend takes no 'name' of a message: put it in its text"
                )

    def _written(self) -> dict[str, Any]:
        gateway, options = self._gateway, self._options
        asked: dict[str, Any] = {}
        for name in (*_USUAL, *_BEYOND):
            value = getattr(options, name)
            if value is not None:
                asked[gateway.fields.get(name, name)] = value
        if options.max_tokens is not None:
            asked[self._capabilities.max_tokens] = options.max_tokens
        if options.stop:
            asked["stop"] = list(options.stop)
        if options.logit_bias:
            asked["logit_bias"] = {
                str(token): _whole(bias) for token, bias in options.logit_bias.items()
            }
        if options.logprobs is not None:
            asked |= {"logprobs": True, "top_logprobs": options.logprobs}
        if options.response_format is not None:
            asked |= write_format(gateway, options.response_format)
        asked |= self._capabilities.switch(options.reasoning, chat=True)
        return asked | self._tools()

    def _tools(self) -> dict[str, Any]:
        options, choice = self._options, self._options.tool_choice
        if not options.tools:
            return {}
        tools = list(options.tools)
        if choice == "required" and not self._gateway.required_choice:
            choice = tools[0].name
        named = choice not in ("auto", "none", "required")
        if named and not self._gateway.named_choice:
            tools, choice = [tool for tool in tools if tool.name == choice], "required"
            named = False
        written: dict[str, Any] = {
            "tools": [
                {"type": "function", "function": write_function(self._gateway, tool)}
                for tool in tools
            ]
        }
        if named:
            written["tool_choice"] = {"type": "function", "function": {"name": choice}}
        elif choice != "auto":
            written["tool_choice"] = choice
        if not options.parallel_tool_calls:
            written["parallel_tool_calls"] = False
        return written

    def _message(self, message: ChatMessage) -> dict[str, Any]:
        written: dict[str, Any] = {"role": message.role.value}
        if message.name is not None:
            written["name"] = message.name
        if message.role is Role.User and not isinstance(message.content, str):
            written["content"] = [self._part(part) for part in message.content]
        else:
            written["content"] = message.text
        if message.tool_call_id is not None and message.role is Role.Tool:
            written["tool_call_id"] = message.tool_call_id
        if message.role is Role.Assistant:
            written |= self._kept(message)
            if message.tool_calls:
                written["content"] = message.text or self._gateway.empty_content
                written["tool_calls"] = [
                    {
                        "id": call.id,
                        "type": "function",
                        "function": {"name": call.name, "arguments": call.arguments},
                    }
                    for call in message.tool_calls
                ]
        return written

    def _kept(self, message: ChatMessage) -> dict[str, Any]:
        kept = (message.state or {}).get(self._gateway.name)
        if not isinstance(kept, Mapping):
            return {}
        return {name: kept[name] for name in self._gateway.keeps if name in kept}

    def _part(self, part: Part) -> dict[str, Any]:
        if isinstance(part, str):
            return {"type": "text", "text": part}
        if isinstance(part, Audio):
            return {"type": "input_audio", "input_audio": input_audio(part)}
        return {"type": "image_url", "image_url": {"url": image_url(self._gateway, part)}}


def _whole(bias: float) -> float:
    """Give a whole number as one: OpenAI takes no other."""
    return int(bias) if float(bias).is_integer() else bias
