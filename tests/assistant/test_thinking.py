"""Prompts that are rewritten before they are answered."""

from __future__ import annotations

import asyncio

import pytest

from blazen import ChatMessage, CompletionOptions, FinishReason, Image, ModelResponse
from blazen.assistant import Thinking
from blazen.errors import ValidationError

PIXEL = Image.from_data_url(
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9"
    "awAAAABJRU5ErkJggg=="
)


class Asked:
    """Answers each time the same, and keeps what it was asked."""

    def __init__(self, content: str, reason: FinishReason = FinishReason.Stop) -> None:
        self.answer = ModelResponse(content=content, finish_reason=reason)
        self.requests: list[tuple[list[ChatMessage], CompletionOptions]] = []

    async def __call__(
        self, messages: list[ChatMessage], options: CompletionOptions
    ) -> ModelResponse:
        self.requests.append((messages, options))
        return self.answer


def rewrite(thinking: Thinking, ask: Asked, messages: list[ChatMessage]) -> list[ChatMessage]:
    return asyncio.run(thinking.rewrite(ask, messages))


def test_the_last_prompt_is_rewritten_with_the_conversation_in_view() -> None:
    ask = Asked("  Name the capital of France.\n")
    messages = [
        ChatMessage.system("Be brief."),
        ChatMessage.user("Tell me of France."),
        ChatMessage.assistant("It is a country."),
        ChatMessage.user("its capital?"),
    ]
    given = rewrite(Thinking(max_tokens=99), ask, messages)
    assert given == [*messages[:3], ChatMessage.user("Name the capital of France.")]
    ((request,), options) = ask.requests[0]
    assert options == CompletionOptions(max_tokens=99)
    assert "user: Tell me of France.\nassistant: It is a country." in request.text
    assert request.text.endswith("The request:\nits capital?")
    assert "Be brief" not in request.text
    assert messages[3].text == "its capital?"


def test_own_words_ask_for_the_rewriting() -> None:
    ask = Asked("x")
    rewrite(Thinking(prompt="Say it in Latin."), ask, [ChatMessage.user("hello")])
    assert ask.requests[0][0][0].text == "Say it in Latin.\n\nThe request:\nhello"


def test_images_stay() -> None:
    ask = Asked("Describe the picture.")
    given = rewrite(Thinking(), ask, [ChatMessage.user("what?", PIXEL)])
    assert given[0].content == [PIXEL, "Describe the picture."]
    assert "(with 1 image or audio attached)" in ask.requests[0][0][0].text


@pytest.mark.parametrize(
    "ask", [Asked(" \n"), Asked("Name the", FinishReason.Length)], ids=["nothing", "cut"]
)
def test_what_is_not_usable_leaves_the_prompt(ask: Asked) -> None:
    messages = [ChatMessage.user("hello")]
    assert rewrite(Thinking(), ask, messages) == messages
    assert len(ask.requests) == 1


def test_nothing_is_asked_where_there_is_no_prompt() -> None:
    ask = Asked("x")
    tool = ChatMessage.tool("4", tool_call_id="1")
    for messages in ([], [ChatMessage.user("hi"), tool], [ChatMessage.user(" ")]):
        assert rewrite(Thinking(), ask, messages) == messages
    assert ask.requests == []


def test_settings_are_checked() -> None:
    with pytest.raises(ValidationError, match="at least 1, not 0"):
        Thinking(max_tokens=0)
    with pytest.raises(ValidationError, match="must be a text"):
        Thinking(prompt=3)  # type: ignore[arg-type]
