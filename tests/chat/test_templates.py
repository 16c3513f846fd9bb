"""What a template can do is found by asking it, and conversations are written as it wants them."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blazen.chat import ChatTemplate, Plan
from blazen.chat.calls.json_calls import JsonCalls
from blazen.errors import UnsupportedError, ValidationError
from blazen.types.chat import ChatMessage, ToolCall
from blazen.types.completion import CompletionOptions
from tests.chat import templates
from tests.chat.answers import TOOLS, read

USER = ChatMessage.user("Weather in Paris?")
CALL = ChatMessage.assistant(tool_calls=[ToolCall("abcdefghi", "get_weather", '{"city": "Paris"}')])
RESULT = ChatMessage.tool("rain", tool_call_id="abcdefghi")
FAMILIES = {
    name: ChatTemplate(source, bos="<s>", eos="</s>", name=name)
    for name, source in vars(templates).items()
    if name.isupper()
}


@pytest.mark.parametrize(
    "name,tools,system,reasons",
    [
        ("HERMES", True, True, True),
        ("PLAIN_HERMES", True, True, False),
        ("QWEN_CODER", True, True, False),
        ("LLAMA", True, True, False),
        ("MISTRAL", True, False, False),
        ("NEW_MISTRAL", True, True, True),
        ("PHI", True, True, False),
        ("FUNCTION_GEMMA", True, True, False),
        ("GEMMA_4", True, True, True),
        ("OLD_GEMMA", False, False, False),
        ("DEEPSEEK", True, True, True),
        ("DEEPSEEK_31", True, True, True),
        ("GLM", True, True, True),
        ("GRANITE", True, True, True),
        ("COMMAND", True, True, True),
        ("HARMONY", True, True, True),
        ("UNKNOWN", True, True, False),
        ("ALIKE", True, True, False),
        ("NAMED", True, True, False),
        ("PARTS_ONLY", False, True, False),
        ("CHATML", False, True, False),
    ],
)
def test_what_a_template_can_do(name, tools, system, reasons):
    template = FAMILIES[name]
    assert (template.takes_tools, template.takes_system, template.can_reason) == (
        tools,
        system,
        reasons,
    )


def test_every_template_was_asked():
    asked = test_what_a_template_can_do.pytestmark[0].args[1]
    assert {row[0] for row in asked} == set(FAMILIES)


@pytest.mark.parametrize("name", FAMILIES)
def test_tools_calls_and_answers_reach_the_prompt_of_every_family(name):
    options = CompletionOptions(tools=TOOLS)
    messages = [ChatMessage.system("Be brief."), USER, CALL, RESULT]
    prompt = Plan.of(messages, options, FAMILIES[name]).prompt
    for text in ("Be brief.", "Weather in Paris?", "get_weather", "clock", "Paris", "rain"):
        assert text in prompt
    assert "None" not in prompt
    assert "Undefined" not in prompt
    assert "{'" not in prompt  # as Python writes a dictionary


@pytest.mark.parametrize(
    "name,opened,closed",
    [
        ("UNKNOWN", "@@do ", " @@done"),
        ("ALIKE", "<TEXTCALL>", "</TEXTCALL>"),
        ("PLAIN_HERMES", "<tool_call>\n", "\n</tool_call>"),
        ("LLAMA", "", ""),
        ("GRANITE", "<|tool_call|>", ""),
    ],
)
def test_the_marks_of_calls_are_read_from_what_the_template_writes(name, opened, closed):
    calls = FAMILIES[name].calls
    assert isinstance(calls, JsonCalls)
    assert (calls.open, calls.close) == (opened, closed)


def test_a_family_that_writes_no_json_and_is_not_known_is_told_how_to_call():
    called = '{"function_name": "{{ call.function.name }}", "args": {{ call.function.arguments'
    assert called in templates.UNKNOWN
    python = (
        "{{ call.function.name }}({{ call.function.arguments | list }} {{ call.function.arguments"
    )
    odd = templates.UNKNOWN.replace(called, python)
    template = ChatTemplate(odd)
    assert template.takes_tools
    assert template.calls is None
    prompt = Plan.of([USER], CompletionOptions(tools=TOOLS), template).prompt
    assert "<tools>" in prompt
    assert "((abilities" not in prompt


def test_a_system_message_joins_the_first_user_where_there_is_no_place_for_it():
    prompt = FAMILIES["OLD_GEMMA"].render([ChatMessage.system("Be brief."), USER])
    assert prompt == (
        "<s><start_of_turn>user\nBe brief.\n\nWeather in Paris?<end_of_turn>\n"
        "<start_of_turn>model\n"
    )


def test_a_system_message_alone_has_nothing_to_join():
    with pytest.raises(UnsupportedError, match="takes no system message"):
        FAMILIES["OLD_GEMMA"].render([ChatMessage.system("Be brief.")])


def test_what_a_template_refuses_is_told_in_its_own_words():
    with pytest.raises(ValidationError, match=r"of OLD_GEMMA refuses .*roles must alternate"):
        FAMILIES["OLD_GEMMA"].render([USER, USER])


def test_answers_of_tools_take_turns_where_roles_must():
    messages = [USER, CALL, RESULT, ChatMessage.user("And Rome?")]
    prompt = Plan.of(messages, CompletionOptions(tools=TOOLS), FAMILIES["OLD_GEMMA"]).prompt
    assert "<tool_response>\nrain\n</tool_response>\nAnd Rome?<end_of_turn>" in prompt


@pytest.mark.parametrize("given_id", ["abcdefghi", "call_0", "a-very-long-id", ""])
def test_ids_are_made_fit_for_mistral_and_stay_the_same(given_id):
    call = ToolCall(given_id, "clock", "{}")
    result = ChatMessage.tool("noon", tool_call_id=given_id or "x")
    if not given_id:
        call = ToolCall("x", "clock", "{}")
    prompt = FAMILIES["MISTRAL"].render([USER, ChatMessage.assistant(tool_calls=[call]), result])
    written = prompt.partition('"id": "')[2][:9]
    assert written.isalnum()
    assert len(written) == 9
    assert f'"call_id": "{written}"' in prompt


def test_arguments_are_objects_or_texts_as_the_template_wants_them():
    assert '"arguments": {"city": "Paris"}' in FAMILIES["HERMES"].render([USER, CALL])
    assert '```json\n{"city": "Paris"}\n```' in FAMILIES["DEEPSEEK"].render([USER, CALL])


def test_a_call_makes_no_empty_answer_of_its_own():
    prompt = FAMILIES["DEEPSEEK"].render([USER, CALL])
    assert prompt.count("<｜Assistant｜>") == 2  # the call, and the answer to come


def test_arguments_that_are_no_json_are_refused_where_they_must_be_read():
    cut = ChatMessage.assistant(tool_calls=[ToolCall("abcdefghi", "clock", '{"a": ')])
    with pytest.raises(ValidationError, match=r"call of 'clock' .*no JSON"):
        FAMILIES["HERMES"].render([USER, cut, RESULT])


def test_content_is_a_list_of_parts_only_where_it_must_be():
    assert FAMILIES["PARTS_ONLY"].render([USER]) == "[user]Weather in Paris?[assistant]"
    assert FAMILIES["CHATML"].habits.parts is False


def test_reasoning_is_switched_by_the_templates_own_variable():
    template = FAMILIES["HERMES"]
    assert template.render([USER]).endswith("<|im_start|>assistant\n")
    assert template.render([USER], reasoning=True).endswith("<|im_start|>assistant\n")
    assert template.render([USER], reasoning=False).endswith("<think>\n\n</think>\n\n")
    template = FAMILIES["DEEPSEEK_31"]
    assert template.render([USER]).endswith("</think>")
    assert template.render([USER], reasoning=True).endswith("<think>")


def test_reasoning_is_over_before_it_begins_where_there_is_no_switch():
    prompt = FAMILIES["NEW_MISTRAL"].render([USER], reasoning=False)
    assert prompt.endswith("[/INST][THINK]\n\n[/THINK]\n\n")
    assert FAMILIES["DEEPSEEK"].render([USER]).endswith("<think>\n")
    assert FAMILIES["DEEPSEEK"].render([USER], reasoning=False).endswith("<think>\n\n</think>\n\n")


def test_a_model_that_can_t_reason_says_so():
    with pytest.raises(UnsupportedError, match="CHATML can't reason"):
        FAMILIES["CHATML"].render([USER], reasoning=True)
    plain = FAMILIES["CHATML"].render([USER])
    assert FAMILIES["CHATML"].render([USER], reasoning=False) == plain


def test_a_model_that_always_reasons_says_so():
    with pytest.raises(UnsupportedError, match="HARMONY always reasons"):
        FAMILIES["HARMONY"].render([USER], reasoning=False)


SAFE_TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="<\r"), max_size=30)
ROUND = sorted(
    {"PLAIN_HERMES", "QWEN_CODER", "GLM", "LLAMA", "MISTRAL", "NEW_MISTRAL", "FUNCTION_GEMMA"}
    | {"GRANITE", "COMMAND", "HARMONY", "UNKNOWN", "ALIKE", "NAMED", "PHI", "CHATML", "PARTS_ONLY"}
)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(ROUND), SAFE_TEXT, st.integers() | st.none(), st.booleans())
def test_a_call_that_the_template_writes_is_read_as_the_same(name, city, days, parallel):
    """The next turn's prompt holds what the model wrote; read again it is the same call."""
    template = FAMILIES[name]
    single = {"LLAMA", "HARMONY"}
    arguments = {"city": city} if days is None else {"city": city, "days": days}
    calls = [ToolCall("abcdefghi", "get_weather", json.dumps(arguments, ensure_ascii=False))]
    if parallel and name not in single:
        calls.append(ToolCall("abcdefghj", "clock", "{}"))
    options = CompletionOptions(tools=TOOLS)
    before = Plan.of([USER], options, template)
    results = [ChatMessage.tool("rain", tool_call_id=call.id) for call in calls]
    messages = [USER, ChatMessage.assistant(tool_calls=calls), *results]
    after = Plan.of(messages, options, template).prompt
    assert after.startswith(before.prompt)
    written = after[len(before.prompt) :].partition("<|call|>")[0]  # gpt-oss ends its turn there
    answer = read(before, [written.encode()])
    got = [(call.name, call.parsed()) for call in answer.tool_calls]
    assert got == [(call.name, call.parsed()) for call in calls]
