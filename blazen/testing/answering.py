"""What holds for the shapes, tools and settings of an answer, where a model takes them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from blazen.errors import OutputError, UnsupportedError
from blazen.testing.running import on_loop
from blazen.testing.suite import Suite
from blazen.types.chat import ChatMessage, Prompt, Tool, ToolCall
from blazen.types.completion import FinishReason, ModelResponse
from blazen.types.response_format import ResponseFormat


@dataclass
class Animal:
    """What an answer is made into."""

    kind: str
    legs: int
    tame: bool


ANIMAL: dict[str, Any] = {
    "type": "object",
    "properties": {
        "kind": {"enum": ["cat", "dog", "heron"]},
        "legs": {"type": "integer", "minimum": 0, "maximum": 9},
        "tame": {"type": "boolean"},
    },
    "required": ["kind", "legs", "tame"],
    "additionalProperties": False,
}
WEATHER = Tool(
    "get_weather",
    "Look up the weather of a city.",
    {
        "type": "object",
        "properties": {"city": {"enum": ["Paris", "Oslo"]}, "days": {"enum": [1, 2, 3]}},
        "required": ["city", "days"],
        "additionalProperties": False,
    },
)
CLOCK = Tool(
    "get_time",
    "Look up the time of a city.",
    {
        "type": "object",
        "properties": {"city": {"enum": ["Paris", "Oslo"]}},
        "required": ["city"],
        "additionalProperties": False,
    },
)
OPTIONS: dict[str, Any] = {
    "top_p": 0.9,
    "top_k": 20,
    "min_p": 0.1,
    "typical_p": 0.9,
    "repeat_penalty": 1.1,
    "presence_penalty": 0.5,
    "frequency_penalty": 0.5,
    "mirostat": 2,
    "mirostat_tau": 4.0,
    "mirostat_eta": 0.2,
    "seed": 7,
    "stop": ["\n\n\n"],
    "logit_bias": {5: 1.0},
    "logprobs": 1,
    "reasoning": False,
    "parallel_tool_calls": False,
}


class AnsweringSuite(Suite):
    """Each feature is there and right, or refused with an `UnsupportedError` before any work."""

    prompt: str
    room = 120
    """How many tokens an answer of a given shape may take."""
    samples = True
    """Whether it draws its words; ``False`` for a model that always says the same."""

    def options(self, max_tokens: int, **more: Any) -> Any:
        """Give options, as the model's suite does."""
        raise NotImplementedError

    def say(self, text: str) -> Any:
        """Put a text into what the model takes: a base model's suite gives a `Prompt`."""
        return text

    async def answer(self, model: Any, **more: Any) -> ModelResponse:
        """Complete the prompt, whole and in pieces, and see that both are the same."""
        return await self.answer_to(model, self.say(self.prompt), **more)

    async def answer_to(self, model: Any, messages: Any, **more: Any) -> ModelResponse:
        """Complete messages, whole and in pieces; what the model does not take is skipped."""
        options = self.options(more.pop("max_tokens", self.room), **more)
        try:
            whole: ModelResponse = await model.complete(messages, options)
        except UnsupportedError as refusal:
            await self.check_refused(
                lambda: model.complete_stream(messages, options), UnsupportedError
            )
            pytest.skip(f"the model does not take it: {refusal}")
        stream = model.complete_stream(messages, options)
        async for _ in stream:
            pass
        streamed = stream.response
        for one, other in zip(_essence(whole), _essence(streamed), strict=True):
            assert one == other, f"streamed, the answer is another: {other!r}, whole {one!r}"
        return whole

    @on_loop
    async def test_a_prompt_is_continued(self, model: Any) -> None:
        """A `Prompt` is taken as it stands, or refused."""
        answer = await self.answer_to(model, Prompt("One, two, three, four,"), max_tokens=8)
        assert answer.content
        assert answer.usage is not None
        assert answer.usage.completion_tokens <= 8

    @pytest.mark.parametrize("given", ["a JSON schema", "a dataclass"])
    @on_loop
    async def test_an_answer_fits_its_schema(self, model: Any, given: str) -> None:
        """It is JSON of the schema, and ``parsed`` holds it, as the class where one was given."""
        wanted = ANIMAL
        if given == "a dataclass":
            animal = await self.answer(
                model, response_format=ResponseFormat("schema", wanted, Animal)
            )
            assert isinstance(animal.parsed, Animal)
            assert animal.parsed.kind in ("cat", "dog", "heron")
            assert type(animal.parsed.legs) is int
            assert type(animal.parsed.tame) is bool
            return
        answer = await self.answer(model, response_format=wanted)
        assert set(answer.parsed) == {"kind", "legs", "tame"}
        assert answer.parsed["kind"] in ("cat", "dog", "heron")
        assert 0 <= answer.parsed["legs"] <= 9

    @on_loop
    async def test_an_answer_is_json(self, model: Any) -> None:
        """Asked for JSON, it is an object, or an error says that it was cut."""
        try:
            answer = await self.answer(model, response_format="json", max_tokens=300)
        except OutputError as cut:
            assert cut.text.lstrip().startswith("{")  # noqa: PT017 - both ends are right
            return
        assert isinstance(answer.parsed, dict)

    @on_loop
    async def test_an_answer_matches_its_pattern(self, model: Any) -> None:
        """A regular expression is matched from the first character to the last."""
        wanted = ResponseFormat.regex(r"[A-F][0-9]{3}-(red|green)")
        answer = await self.answer(model, response_format=wanted)
        assert wanted.parse(answer.content) == answer.parsed == answer.content

    @on_loop
    async def test_an_answer_follows_its_grammar(self, model: Any) -> None:
        """A grammar is followed to its end."""
        wanted = ResponseFormat.grammar('root ::= "yes" | "no, " ("never" | "not now")')
        answer = await self.answer(model, response_format=wanted)
        assert answer.content in ("yes", "no, never", "no, not now")

    @on_loop
    async def test_a_shape_that_is_cut_is_an_error(self, model: Any) -> None:
        """JSON that ``max_tokens`` cuts is never handed out as if it were whole."""
        options = self.options(3, response_format=ANIMAL)
        try:
            with pytest.raises(OutputError, match="max_tokens") as cut:
                await model.complete(self.say(self.prompt), options)
        except UnsupportedError as refusal:
            pytest.skip(f"the model takes no schema: {refusal}")
        stream = model.complete_stream(self.say(self.prompt), options)
        with pytest.raises(OutputError):
            async for _ in stream:
                pass
        assert stream.response.content == cut.value.text
        assert stream.response.parsed is None

    @on_loop
    async def test_a_required_tool_is_called(self, model: Any) -> None:
        """There is a call of one of the tools, with arguments of its schema."""
        # A small model that may call again does so to its last token.
        answer = await self.answer(
            model, tools=[WEATHER, CLOCK], tool_choice="required", parallel_tool_calls=False
        )
        assert answer.tool_calls, f"no tool was called: {answer!r}"
        assert answer.finish_reason is FinishReason.ToolCalls
        assert answer.content == ""
        for call in answer.tool_calls:
            check_call(call)
        assert len({call.id for call in answer.tool_calls}) == len(answer.tool_calls)

    @on_loop
    async def test_a_named_tool_is_called(self, model: Any) -> None:
        """The tool that was named is called, and no other."""
        for tool in (CLOCK, WEATHER):
            answer = await self.answer(
                model,
                tools=[WEATHER, CLOCK],
                tool_choice=tool.name,
                parallel_tool_calls=False,
            )
            assert [call.name for call in answer.tool_calls] == [tool.name]
            check_call(answer.tool_calls[0])

    @on_loop
    async def test_tools_that_may_not_be_called_are_not(self, model: Any) -> None:
        """With ``none`` the answer is a text."""
        answer = await self.answer(model, tools=[WEATHER], tool_choice="none", max_tokens=12)
        assert answer.tool_calls == ()
        assert answer.content

    @on_loop
    async def test_a_tools_answer_is_read(self, model: Any) -> None:
        """A conversation that holds calls and their answers goes on."""
        call = ToolCall("call00001", "get_weather", '{"city": "Oslo", "days": 1}')
        chat = [
            ChatMessage.user("What is the weather in Oslo?"),
            ChatMessage.assistant(tool_calls=[call]),
            ChatMessage.tool('{"sky": "clear"}', tool_call_id=call.id),
        ]
        answer = await self.answer_to(model, chat, tools=[WEATHER], max_tokens=12)
        assert answer.content or answer.tool_calls

    @on_loop
    async def test_tokens_come_with_their_likelihood(self, model: Any) -> None:
        """Each token of the text has its logprob, and the likeliest ones come first."""
        answer = await self.answer(model, logprobs=3, max_tokens=6)
        assert answer.usage is not None
        assert 0 < len(answer.logprobs) <= answer.usage.completion_tokens
        for token in answer.logprobs:
            assert token.logprob <= 0
            assert math.isfinite(token.logprob)
            assert 1 <= len(token.top) <= 3
            ordered = [other.logprob for other in token.top]
            assert ordered == sorted(ordered, reverse=True)
            # The answer is greedy: what came was the likeliest.
            assert token.logprob == pytest.approx(token.top[0].logprob, abs=1e-3)
        assert answer.content.strip() in "".join(token.text for token in answer.logprobs)

    @on_loop
    async def test_a_seed_repeats_an_answer(self, model: Any) -> None:
        """The same seed gives the same answer, and not every seed gives the same one."""
        answers = [
            await self.answer_once(model, temperature=1.5, seed=seed) for seed in (1, 1, 2, 3, 4)
        ]
        assert answers[0] == answers[1]
        if self.samples:
            assert len(set(answers)) > 1

    async def answer_once(self, model: Any, **more: Any) -> str:
        """Complete the prompt once."""
        options = {**self.options(10), **more}
        try:
            answer: ModelResponse = await model.complete(self.say(self.prompt), options)
        except UnsupportedError as refusal:
            pytest.skip(f"the model does not take it: {refusal}")
        return answer.content

    @pytest.mark.parametrize("name", OPTIONS)
    @on_loop
    async def test_an_option_is_taken_or_refused_by_name(self, model: Any, name: str) -> None:
        """No option is dropped in silence."""
        options = {**self.options(4, temperature=0.7), name: OPTIONS[name]}
        try:
            answer = await model.complete(self.say(self.prompt), options)
        except UnsupportedError as refusal:
            answer, words = None, str(refusal)
        if answer is None:
            assert name in words, f"the refusal does not name {name!r}: {words}"
        else:
            assert answer.finish_reason is not None


def check_call(call: ToolCall) -> None:
    """Fail where a call of one of the suite's tools does not fit that tool."""
    tools: Mapping[str, Tool] = {tool.name: tool for tool in (WEATHER, CLOCK)}
    assert call.name in tools, f"there is no tool {call.name!r}"
    assert call.id, "the call has no id"
    arguments = call.parsed()
    schema = tools[call.name].parameters or {}
    assert set(arguments) == set(schema["required"]), f"{call.name}: {arguments}"
    for name, value in arguments.items():
        assert value in schema["properties"][name]["enum"], f"{call.name}: {name}={value!r}"


def _essence(answer: ModelResponse) -> tuple[Any, ...]:
    calls = [(call.name, call.arguments) for call in answer.tool_calls]
    return answer.content, answer.reasoning, calls, answer.parsed, answer.finish_reason
