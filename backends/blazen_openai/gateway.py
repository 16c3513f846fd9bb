"""One provider or server that speaks OpenAI's API: what it does in its own way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from blazen.errors import UnsupportedError, ValidationError

Api = Literal["chat", "responses"]
Shape = Literal["strict", "loose", "schema", "vllm", "grammar", "fireworks", "tgi", "json"]

UNKNOWN = "its documentation does not name it; if it is there, give it in body="
"""Why an option is refused that may yet be there."""
EFFORT: tuple[Mapping[str, Any], Mapping[str, Any]] = (
    {"reasoning_effort": "medium"},
    {"reasoning_effort": "none"},
)
"""Reasoning on and off, as OpenAI has it."""


@dataclass(frozen=True, kw_only=True)
class Gateway:
    """One provider or server that speaks OpenAI's API."""

    name: str
    title: str
    docs: str
    """Where its documentation says so."""
    checked: str
    """When that was read."""
    base_url: str | None = None
    """``None``: there is no one place, it has to be given."""
    keys: tuple[str, ...] = ()
    """The environment variables in which its key is looked up."""
    needs_key: bool = True
    key_header: str = "Authorization"
    key_prefix: str = "Bearer "
    kinds: tuple[str, ...] = ("model",)
    """What it offers of what this package knows."""
    apis: tuple[Api, ...] = ("chat",)
    """Which of OpenAI's two APIs for chat it speaks; the first is taken where none is named."""
    families: Literal["openai", "xai", "deepseek", ""] = ""
    """Whose models need to be told apart by their names."""
    max_tokens: str = "max_tokens"
    """What the chat API calls `CompletionOptions.max_tokens` there."""
    fields: Mapping[str, str] = field(default_factory=dict)
    """Options that are beyond OpenAI's API or have another name: what they are called there."""
    refuses: Mapping[str, str] = field(default_factory=dict)
    """Options of OpenAI's API that it does not take, and why."""
    shape: Shape = "strict"
    """How the chat API is held to a ``response_format``."""
    strict_tools: bool = False
    """Whether the arguments of a tool can be held to their schema."""
    reasoning: tuple[Mapping[str, Any], Mapping[str, Any]] | None = None
    """Fields that turn reasoning on, and off; ``None`` where each model has its own."""
    stream_usage: bool = True
    """Whether a stream is asked for its usage; others give it unasked."""
    images: Literal["url", "data", ""] = "url"
    """Whether it fetches images by itself, wants them within the request, or takes none."""
    audio: bool = False
    names: bool = True
    """Whether messages may have a `ChatMessage.name`."""
    named_choice: bool = True
    """Whether ``tool_choice`` may name a tool; else that tool alone is sent, as required."""
    required_choice: bool = True
    """Whether ``tool_choice`` may be ``required``; else it is one tool that is named, or none."""
    empty_content: str | None = None
    """What stands for the text of a message that only calls tools."""
    stops: int | None = None
    """How many texts ``stop`` may hold."""
    keeps: tuple[str, ...] = ()
    """Fields of an answer that it wants back in the next request."""
    stores: bool = False
    """Whether the Responses API keeps what is sent, unless it is told not to."""
    cost: tuple[str, ...] = ()
    """Where in its usage it says what a request costs, in US dollars."""
    body: Mapping[str, Any] = field(default_factory=dict)
    """Further fields of each request."""
    note: str = ""

    def url(self, given: str | None) -> str:
        """Give where it is."""
        if given is not None:
            return given
        if self.base_url is None:
            raise ValidationError(f"{self.title} has no one place: give base_url")
        return self.base_url

    def lacks(self, option: str) -> str:
        """Say why it takes no option that is beyond OpenAI's API."""
        if self.name != "compatible":
            return f"{self.title} has no such parameter"
        return (
            f"{self.title} is taken for a plain OpenAI-compatible server, whose API has none; if "
            f'it has, say with gateway="..." which server it is, or give body={{"{option}": ...}}, '
            "as it is called there"
        )

    def check_kind(self, kind: str) -> None:
        """Refuse a kind of model that it does not offer."""
        if kind not in self.kinds:
            raise UnsupportedError(
                f"{self.title} offers no {kind} in OpenAI's API: it has {', '.join(self.kinds)}"
            )
