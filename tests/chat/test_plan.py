"""A plan holds the prompt and what the answer is held to; what can't be is refused by name."""

from __future__ import annotations

import json

import pytest

from blazen.chat import ChatTemplate, Plan
from blazen.errors import UnsupportedError, ValidationError
from blazen.types.audio import Audio
from blazen.types.chat import ChatMessage, Tool, ToolCall
from blazen.types.completion import CompletionOptions, FinishReason
from blazen.types.image import Image
from blazen.types.response_format import ResponseFormat
from tests.chat import templates
from tests.chat.answers import CLOCK, TOOLS, WEATHER, read

CHATML = ChatTemplate(templates.CHATML, name="tiny")
HERMES = ChatTemplate(templates.PLAIN_HERMES)
PIXEL = Image.from_bytes(
    bytes.fromhex(
        "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de"
        "0000000c4944415408d763f8cfc000000301010018dd8db00000000049454e44ae426082"
    )
)


def plan(template=HERMES, messages="Hi", **options) -> Plan:
    return Plan.of(messages, CompletionOptions(**options), template)


def test_a_plain_request_is_a_prompt_and_nothing_else():
    made = plan(CHATML, stop="END")
    assert made.prompt == "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
    assert (made.grammar, made.lazy_grammar, made.triggers, made.media) == (None, None, (), ())
    assert made.stop == ("END",)


def test_tools_are_in_the_prompt_and_begin_a_grammar_when_they_are_called():
    made = plan(tools=TOOLS)
    assert made.grammar is None
    assert made.triggers == ("<tool_call>",)
    assert '"clock' in made.prompt
    assert "get_weather" in made.lazy_grammar


def test_tools_that_may_not_be_called_are_not_shown():
    made = plan(tools=TOOLS, tool_choice="none")
    assert made.prompt == plan().prompt
    assert (made.grammar, made.triggers) == (None, ())


def test_a_call_that_must_come_is_held_to_a_grammar():
    made = plan(tools=TOOLS, tool_choice="required")
    assert "get_weather" in made.grammar
    assert "clock" in made.grammar
    assert made.parallel


def test_a_named_tool_is_called_once():
    made = plan(tools=TOOLS, tool_choice="clock")
    assert "clock" in made.grammar
    assert "get_weather" not in made.grammar
    assert "get_weather" in made.prompt
    assert not made.parallel


def test_a_call_can_t_be_required_of_no_tools():
    with pytest.raises(ValidationError, match="'required', and there are no tools"):
        plan(tool_choice="required")


def test_a_schema_that_no_grammar_can_say_is_refused_where_the_call_must_come():
    odd = Tool("odd", "", {"type": "object", "properties": {"a": {"not": {"type": "string"}}}})
    with pytest.raises(UnsupportedError, match="not"):
        plan(tools=[odd], tool_choice="required")
    assert plan(tools=[odd]).lazy_grammar is None


def test_a_reader_stops_after_the_only_call_that_is_allowed():
    reader = plan(tools=TOOLS, parallel_tool_calls=False).reader()
    call = b'<tool_call>{"name": "clock", "arguments": {}}'
    chunks = [chunk for byte in call for chunk in reader.feed(bytes([byte]))]
    assert reader.ended is FinishReason.ToolCalls
    assert reader.feed(b"</tool_call> more") == []
    chunks += reader.finish()
    assert chunks[-1].finish_reason is FinishReason.ToolCalls
    assert not any(chunk.content for chunk in chunks)


def test_a_format_and_tools_leave_the_model_the_choice():
    made = plan(
        tools=TOOLS, response_format={"type": "object", "properties": {"x": {"type": "null"}}}
    )
    assert "get_weather" in made.grammar
    assert "null" in made.grammar


def test_a_format_is_its_own_grammar_where_nothing_else_may_come():
    assert plan(response_format=ResponseFormat.grammar('root ::= "a"')).grammar == 'root ::= "a"'


@pytest.mark.parametrize("reasoning,may", [(None, True), (True, True), (False, False)])
def test_a_format_lets_a_model_reason_first(reasoning, may):
    gbnf = 'root ::= "a" | [\\]root"] tail # root\ntail ::= "root"'
    made = plan(
        ChatTemplate(templates.HERMES),
        response_format=ResponseFormat.grammar(gbnf),
        reasoning=reasoning,
    )
    assert ("<think>" in made.grammar) == may
    assert '[\\]root"]' in made.grammar
    assert '"root"' in made.grammar


@pytest.mark.parametrize("kind,part", [("image", PIXEL), ("audio", Audio.from_bytes(b"RIFF"))])
def test_media_stand_in_the_prompt_only_where_the_engine_takes_them(kind, part):
    messages = [ChatMessage.user("What is ", part, "?")]
    with pytest.raises(UnsupportedError, match=f"tiny takes no {kind} in messages"):
        plan(CHATML, messages)
    made = Plan.of(messages, CompletionOptions(), CHATML, media=[kind])
    assert "user\nWhat is <__media__>?<|im_end|>" in made.prompt
    assert made.media == (part,)


def test_a_text_can_t_pretend_to_be_an_image():
    messages = [ChatMessage.user("See <__media__>", PIXEL)]
    with pytest.raises(ValidationError, match="<__media__>"):
        Plan.of(messages, CompletionOptions(), CHATML, media=["image"])


def test_a_template_without_tools_is_told_them_in_words():
    made = plan(CHATML, [ChatMessage.system("Be brief."), ChatMessage.user("Hi")], tools=TOOLS)
    system = made.prompt.partition("<|im_end|>")[0]
    assert system.startswith("<|im_start|>system\nBe brief.\n\n")
    shown = system.partition("<tools>\n")[2].partition("\n</tools>")[0].splitlines()
    assert [json.loads(line)["function"]["name"] for line in shown] == ["get_weather", "clock"]


def test_earlier_calls_and_answers_are_text_for_such_a_template():
    messages = [
        ChatMessage.user("Hi"),
        ChatMessage.assistant("I look.", tool_calls=[ToolCall("1", "clock", "{}")]),
        ChatMessage.tool("noon", tool_call_id="1"),
        ChatMessage.assistant("It is noon."),
        ChatMessage.user("Thanks"),
    ]
    prompt = plan(CHATML, messages, tools=[CLOCK]).prompt
    call = '<tool_call>\n{"name": "clock", "arguments": {}}\n</tool_call>'
    assert f"<|im_start|>assistant\nI look.\n{call}<|im_end|>" in prompt
    assert "<|im_start|>user\n<tool_response>\nnoon\n</tool_response><|im_end|>" in prompt
    # The same without tools: what was said stays said.
    assert call in plan(CHATML, messages).prompt


def test_a_model_told_one_form_may_use_the_one_it_was_trained_on():
    silent = ChatTemplate(templates.DEEPSEEK.replace("{%- if tools %}", "{%- if false %}"))
    assert not silent.takes_tools
    made = plan(silent, tools=[WEATHER])
    native = (
        "</think><｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>get_weather\n"
        '```json\n{"city": "Rome"}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>'
    )
    told = '</think><tool_call>{"name": "get_weather", "arguments": {"city": "Rome"}}</tool_call>'
    for text in (native, told):
        answer = read(made, [text.encode()])
        assert [call.parsed() for call in answer.tool_calls] == [{"city": "Rome"}]
        assert answer.content == ""


def test_messages_must_be_messages():
    with pytest.raises(ValidationError, match="must not be empty"):
        plan(CHATML, [])


@pytest.mark.parametrize("source", [templates.QWEN_CODER, templates.GLM, templates.FUNCTION_GEMMA])
def test_no_form_of_calls_ignores_a_keyword(source):
    def grammar(schema):
        tool = Tool("f", parameters={"type": "object", "properties": {"a": schema}})
        options = CompletionOptions(tools=[tool], tool_choice="required")
        return Plan.of("Hi", options, ChatTemplate(source)).grammar

    assert "{2}" in grammar({"type": "string", "pattern": "^x{2}$"})
    assert "{0,3}" in grammar({"type": "string", "maxLength": 3})
    for refused in ({"type": "string", "not": {}}, {"type": "string", "contentEncoding": "x"}):
        with pytest.raises(UnsupportedError, match="is not supported"):
            grammar(refused)
    for broken in ({"enum": 5}, {"type": "nonsense"}):
        with pytest.raises(ValidationError, match="must be"):
            grammar(broken)


def test_half_a_character_is_refused():
    with pytest.raises(ValidationError, match="half of a character"):
        Plan.of("\ud800", CompletionOptions(), ChatTemplate(templates.CHATML))
