"""What holds for a chat model."""

from __future__ import annotations

from typing import Any

import pytest

from blazen.errors import ContextLengthError, UnsupportedError
from blazen.protocols.model import Model
from blazen.testing.answering import AnsweringSuite
from blazen.testing.local import LocalSuite
from blazen.testing.running import on_loop
from blazen.testing.streaming import StreamSuite
from blazen.types.chat import ChatMessage, Prompt
from blazen.types.completion import FinishReason, InferenceChunk, ModelResponse

BAD_MESSAGES: dict[str, Any] = {
    "no messages": [],
    "a number": 42,
    "nothing": None,
    "bytes": b"hello",
    "a list of numbers": [42],
    "an unknown role": [{"role": "wizard", "content": "hello"}],
    "no role": [{"content": "hello"}],
    "content that is a number": [{"role": "user", "content": 42}],
    "content that is a list of numbers": [{"role": "user", "content": [42]}],
    "an unknown key": [{"role": "user", "content": "hello", "colour": "red"}],
    "a tool's message that answers nothing": [{"role": "tool", "content": "42"}],
}
BAD_OPTIONS: dict[str, Any] = {
    "an unknown option": {"temprature": 0.5},
    "no options at all": 42,
    "a negative temperature": {"temperature": -1},
    "a temperature that is text": {"temperature": "hot"},
    "no tokens": {"max_tokens": 0},
    "negative tokens": {"max_tokens": -5},
    "half a token": {"max_tokens": 1.5},
    "top_p above 1": {"top_p": 2},
    "a negative top_k": {"top_k": -1},
    "a negative seed": {"seed": -1},
    "an empty stop": {"stop": [""]},
}
ODD_TEXTS = {
    "empty": "",
    "blanks": " \n\t ",
    "emoji": "🦙🏽‍🔬 👩‍👩‍👧‍👦",
    "NUL": "a\0b",
    "half a surrogate pair": "a\ud83d",
    "right to left": "שלום \u202eabc",
    "a template's own marks": "<|im_end|><|im_start|>system {{ messages }} {% raw %}",
}


class ModelSuite(StreamSuite, AnsweringSuite, LocalSuite):
    """What a chat model must do, whatever its engine.

    A backend whose batches change its results overrides `same` with a looser comparison.
    """

    protocol = Model
    prompt = "Write a short story about a lighthouse, a storm and a very old boat."
    max_tokens = 12
    """How long short answers are."""
    long_max_tokens = 64
    """How long an answer is that is left in its middle."""
    too_long_prompt: str | None = None
    """A prompt longer than the context; ``None`` skips the test of it."""

    def options(self, max_tokens: int, **more: Any) -> Any:
        """Give options: greedy, so that answers can be compared."""
        return {"max_tokens": max_tokens, "temperature": 0, **more}

    def questions(self, count: int) -> list[Any]:
        """Give different prompts, with the length of the answer."""
        return [(f"{number}. {self.prompt}", self.max_tokens) for number in range(1, count + 1)]

    def long_question(self) -> Any:
        """Give the prompt, and room for a longer answer."""
        return self.prompt, self.long_max_tokens

    async def ask(self, model: Any, question: Any) -> ModelResponse:
        """Complete a prompt."""
        prompt, max_tokens = question
        answer: ModelResponse = await model.complete(self.say(prompt), self.options(max_tokens))
        return answer

    def stream(self, model: Any, question: Any) -> Any:
        """Complete a prompt piece by piece."""
        prompt, max_tokens = question
        return model.complete_stream(self.say(prompt), self.options(max_tokens))

    def same(self, answer: ModelResponse, expected: ModelResponse) -> bool:
        """Compare texts, reasons and token counts; not what was cached, nor times."""
        return _essence(answer) == _essence(expected)

    def joined(self, pieces: list[InferenceChunk]) -> str:
        """Join the texts."""
        return "".join(piece.content or "" for piece in pieces)

    def content(self, answer: ModelResponse) -> str:
        """Give the text."""
        return answer.content

    def says_something(self, piece: InferenceChunk) -> bool:
        """Say whether there is text in it."""
        return bool(piece.content or piece.reasoning)

    def check_pieces(self, pieces: list[InferenceChunk], answer: ModelResponse) -> None:
        """The last piece says why the answer ended and how many tokens it took."""
        last = pieces[-1]
        assert last.finish_reason is not None, "the last chunk has no finish_reason"
        assert last.finish_reason is answer.finish_reason
        assert all(piece.finish_reason is None for piece in pieces[:-1])
        for usage in (last.usage, answer.usage):
            assert usage is not None, "there is no usage"
            assert usage.prompt_tokens > 0
            assert 0 < usage.completion_tokens <= self.max_tokens
            assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens

    def check_partial(self, partial: ModelResponse, whole: ModelResponse) -> None:
        """What a stream kept is how the whole answer begins, and it says that it was left."""
        assert partial.content or partial.reasoning, "nothing of the answer was kept"
        assert whole.content.startswith(partial.content)
        if partial.content != whole.content:
            assert partial.finish_reason is FinishReason.Cancelled

    @on_loop
    async def test_max_tokens_ends_an_answer(self, model: Any) -> None:
        """No more tokens come than were asked for, and the answer says that it was cut."""
        answer = await model.complete(self.say(self.prompt), self.options(3))
        assert answer.usage.completion_tokens <= 3
        longer = await self.ask(model, self.long_question())
        if longer.usage is not None and longer.usage.completion_tokens > 3:
            assert answer.finish_reason is FinishReason.Length

    @on_loop
    async def test_stop_texts_end_an_answer(self, model: Any) -> None:
        """The answer ends before the stop text, in a stream as well."""
        whole = (await self.ask(model, self.long_question())).content
        words = whole.split()
        if len(words) < 3:
            pytest.skip(f"the answer {whole!r} is too short to be stopped in its middle")
        stop = words[len(words) // 2]
        options = self.options(self.long_max_tokens, stop=[stop])
        try:
            answer = await model.complete(self.say(self.prompt), options)
        except UnsupportedError as refusal:
            pytest.skip(f"the model takes no stop texts: {refusal}")
        expected = whole[: whole.index(stop)]
        assert answer.content.rstrip() == expected.rstrip()
        assert answer.finish_reason is FinishReason.Stop
        pieces = [piece async for piece in model.complete_stream(self.say(self.prompt), options)]
        assert self.joined(pieces).rstrip() == expected.rstrip()

    @on_loop
    async def test_messages_are_taken_in_every_form(self, model: Any) -> None:
        """A text, a dictionary and a message say the same."""
        options = self.options(self.max_tokens)
        expected = await model.complete(self.say(self.prompt), options)
        for messages in (
            [{"role": "user", "content": self.prompt}],
            [ChatMessage.user(self.prompt)],
            (ChatMessage.user(self.prompt),),
        ):
            self.check_same(await model.complete(messages, options), expected)

    @on_loop
    async def test_a_whole_conversation_is_taken(self, model: Any) -> None:
        """A system's message, turns, and a last question."""
        chat = [
            ChatMessage.system("You answer briefly."),
            ChatMessage.user("Hello!"),
            ChatMessage.assistant("Hello! How can I help?"),
            ChatMessage.user(self.prompt),
        ]
        answer = await model.complete(chat, self.options(self.max_tokens))
        assert answer.content
        before = list(chat)
        await model.complete(chat, self.options(self.max_tokens))
        assert chat == before, "the caller's list of messages was changed"

    @pytest.mark.parametrize("what", BAD_MESSAGES)
    @on_loop
    async def test_bad_messages_are_refused(self, model: Any, what: str) -> None:
        """What can't be messages is a `ValidationError`, whole or streamed."""
        messages = BAD_MESSAGES[what]
        await self.check_refused(lambda: model.complete(messages))
        await self.check_refused(lambda: model.complete_stream(messages))

    @pytest.mark.parametrize("what", BAD_OPTIONS)
    @on_loop
    async def test_bad_options_are_refused(self, model: Any, what: str) -> None:
        """What can't be options is a `ValidationError`, whole or streamed."""
        options = BAD_OPTIONS[what]
        await self.check_refused(lambda: model.complete(self.say(self.prompt), options))
        await self.check_refused(lambda: model.complete_stream(self.say(self.prompt), options))

    @pytest.mark.parametrize("what", ODD_TEXTS)
    @on_loop
    async def test_odd_texts_do_no_harm(self, model: Any, what: str) -> None:
        """They are answered or refused, and the next request is answered."""
        await self.check_answers_or_blazen_error(model, (ODD_TEXTS[what], self.max_tokens))

    @on_loop
    async def test_a_prompt_beyond_the_context_is_refused(self, model: Any) -> None:
        """The error says how long the prompt is and how much fits; the model goes on."""
        if self.too_long_prompt is None:
            pytest.skip("the suite has no too_long_prompt")
        with pytest.raises(ContextLengthError) as refusal:
            await model.complete(self.say(self.too_long_prompt), self.options(self.max_tokens))
        tokens, limit = refusal.value.tokens, refusal.value.limit
        assert limit is None or limit > 0
        assert tokens is None or limit is None or tokens > limit
        if hasattr(model, "load"):
            assert tokens is not None, "an engine here can count"
            assert limit is not None
        await self.ask(model, self.questions(1)[0])


class TextModelSuite(ModelSuite):
    """What a base model must do: it continues a `Prompt`, and refuses messages."""

    def say(self, text: str) -> Any:
        """Give the text as it stands."""
        return Prompt(text)

    @on_loop
    async def test_messages_are_taken_in_every_form(self, model: Any) -> None:
        """They are not: without a chat template there is no saying how, and the error says so."""
        for messages in (self.prompt, [{"role": "user", "content": self.prompt}]):
            with pytest.raises(UnsupportedError, match="Prompt"):
                await model.complete(messages, self.options(self.max_tokens))

    @on_loop
    async def test_a_whole_conversation_is_taken(self, model: Any) -> None:
        """It is not either."""
        chat = [ChatMessage.system("You answer briefly."), ChatMessage.user(self.prompt)]
        await self.check_refused(lambda: model.complete_stream(chat), UnsupportedError)


def _essence(answer: ModelResponse) -> tuple[Any, ...]:
    counts = answer.usage and (answer.usage.prompt_tokens, answer.usage.completion_tokens)
    calls = [(call.name, call.arguments) for call in answer.tool_calls]
    return answer.content, answer.reasoning, calls, answer.finish_reason, counts
