"""The grammars of calls, on llama.cpp itself: they take what the families write, and no more."""

from __future__ import annotations

import json

import pytest

from blazen.chat import ChatTemplate, Plan
from blazen.schema import read_value
from blazen.types.chat import Tool
from blazen.types.completion import CompletionOptions, FinishReason
from blazen.types.response_format import ResponseFormat
from tests.chat import templates
from tests.chat.answers import ANSWERS, TOOLS, Answer, read

pytestmark = pytest.mark.needs("llamacpp", "starter:chat")

FAMILIES = sorted(name for name in vars(templates) if name.isupper())
NOTATIONS = ["CHATML", "DEEPSEEK", "GEMMA_4", "GLM", "HARMONY", "NEW_MISTRAL", "QWEN_CODER"]
WRITTEN = [
    "hermes",
    "qwen3",
    "qwen-coder",
    "llama",
    "llama, several",
    "mistral",
    "new mistral, with ids",
    "phi",
    "function gemma",
    "gemma 4",
    "deepseek r1",
    "deepseek v3.1",
    "granite",
    "unknown family",
    "functionary",
    "no tools in the template",
]
SMALL = Tool(
    "pick",
    "",
    {
        "type": "object",
        "properties": {
            "colour": {"type": "string", "enum": ["red", "green"]},
            "count": {"type": "integer", "minimum": 1, "maximum": 9},
            "sure": {"type": "boolean"},
            "sizes": {"type": "array", "items": {"type": "integer"}, "maxItems": 2},
        },
        "required": ["colour", "count"],
        "additionalProperties": False,
    },
)


def plan_of(source: str, **options) -> Plan:
    return Plan.of("Hi", CompletionOptions(**options), ChatTemplate(source, bos="<s>"))


def grammar_of(name: str) -> str:
    options = {**ANSWERS[name].options, "tools": TOOLS, "tool_choice": "required"}
    grammar = plan_of(ANSWERS[name].template, **options).grammar
    if name == "new mistral, with ids":
        source = ANSWERS[name].template + "{#- [CALL_ID] #}"
        grammar = plan_of(source, **options).grammar
    assert grammar is not None
    return grammar


def text_of(answer: Answer) -> str:
    return answer.text.removeprefix(answer.content).lstrip()


@pytest.mark.parametrize("name", WRITTEN)
def test_a_grammar_takes_what_the_family_writes(machine, name):
    answer = ANSWERS[name]
    text = text_of(answer)
    assert machine.judge(grammar_of(name), text) == (text, True)


@pytest.mark.parametrize("name", WRITTEN)
def test_a_grammar_takes_no_unknown_name_and_no_end_within_a_call(machine, name):
    answer = ANSWERS[name]
    text = text_of(answer)
    known = answer.calls[0][0]
    taken, whole = machine.judge(grammar_of(name), text.replace(known, "moon_phase"))
    assert len(taken) < len(text)
    assert not whole
    cut = text[: text.index(known) + len(known) + 1]
    assert not machine.judge(grammar_of(name), cut).whole


@pytest.mark.parametrize("name", NOTATIONS)
def test_a_model_that_is_held_to_a_grammar_calls_as_the_schema_says(machine, name):
    """At a high temperature, by a model that knows none of these forms."""
    reasons = {"reasoning": False} if name in ("DEEPSEEK", "GLM") else {}
    plan = plan_of(getattr(templates, name), tools=[SMALL], tool_choice="pick", **reasons)
    grammar = plan.grammar
    if name in ("NEW_MISTRAL", "HARMONY"):
        # These may reason first, at any length: begin where the call does.
        lazy = plan_of(getattr(templates, name), tools=[SMALL], parallel_tool_calls=False)
        grammar = lazy.lazy_grammar
    text, whole = machine.write(grammar, plan.prompt, seed=7, most=400)
    assert whole, text
    answer = read(plan, [text.encode()])
    assert answer.finish_reason is FinishReason.ToolCalls
    assert [call.name for call in answer.tool_calls] == ["pick"]
    read_value(json.loads(answer.tool_calls[0].arguments), SMALL.parameters, None)
    assert answer.content == ""


def test_a_lazy_grammar_begins_with_its_trigger(machine):
    for name in FAMILIES:
        plan = plan_of(getattr(templates, name), tools=TOOLS)
        for trigger in plan.triggers:
            assert machine.judge(plan.lazy_grammar, trigger).taken == trigger, name


def test_reasoning_comes_before_the_format_and_may_be_left_out(machine):
    wanted = ResponseFormat.regex("[0-9]{2}")
    grammar = plan_of(templates.HERMES, response_format=wanted).grammar
    for text in ("42", "<think>\n6 < 7 </thi </think>\n\n42"):
        assert machine.accepts(grammar, text), text
    assert not machine.accepts(grammar, "so 42")
    opened = plan_of(templates.DEEPSEEK, response_format=wanted).grammar
    assert machine.accepts(opened, "6 times 7</think>\n42")
    assert not machine.accepts(opened, "42")
    silent = plan_of(templates.DEEPSEEK, response_format=wanted, reasoning=False).grammar
    assert machine.accepts(silent, "42")


def test_a_format_and_tools_take_either(machine):
    wanted = ResponseFormat.grammar('root ::= call "!"\ncall ::= "yes"')
    grammar = plan_of(templates.PLAIN_HERMES, response_format=wanted, tools=TOOLS).grammar
    for text in ("yes!", ANSWERS["hermes"].text):
        assert machine.accepts(grammar, text), text
    assert not machine.accepts(grammar, "no!")


def test_gpt_oss_answers_on_its_last_channel(machine):
    wanted = ResponseFormat.regex("[0-9]{2}")
    grammar = plan_of(templates.HARMONY, response_format=wanted).grammar
    final = "<|channel|>final<|message|>42"
    assert machine.accepts(grammar, final)
    thought = "<|channel|>analysis<|message|>6 <|7<|end|><|start|>assistant"
    assert machine.accepts(grammar, thought + final)
    assert not machine.accepts(grammar, "42")
