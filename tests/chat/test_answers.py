"""Answers of every family are read, however their bytes are cut into pieces."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.chat.answers import ANSWERS, Answer, plan_of, read

PLANS = {name: plan_of(answer) for name, answer in ANSWERS.items()}


def told(response):
    calls = tuple((call.name, call.arguments) for call in response.tool_calls)
    return calls, response.content, response.reasoning, response.finish_reason


def wanted(answer: Answer):
    return answer.calls, answer.content, answer.reasoning, answer.finish


@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_is_read_in_one_piece(name):
    answer = ANSWERS[name]
    assert told(read(PLANS[name], [answer.text.encode()], answer.engine)) == wanted(answer)


@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_is_read_byte_by_byte(name):
    answer = ANSWERS[name]
    pieces = [bytes([byte]) for byte in answer.text.encode()]
    assert told(read(PLANS[name], pieces, answer.engine)) == wanted(answer)


@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_is_read_when_it_is_cut_once_at_any_place(name):
    answer = ANSWERS[name]
    data = answer.text.encode()
    for at in range(1, len(data)):
        pieces = [data[:at], data[at:]]
        assert told(read(PLANS[name], pieces, answer.engine)) == wanted(answer), pieces


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(sorted(ANSWERS)), st.data())
def test_an_answer_is_read_in_any_pieces(name, data):
    answer = ANSWERS[name]
    text = answer.text.encode()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=12)))
    pieces = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    assert told(read(PLANS[name], pieces, answer.engine)) == wanted(answer)


FRAGMENTS = {
    name: sorted(
        {
            *answer.text,
            *"{}[]\"'\\:,; \n<>|",
            '{"name": "',
            '"get_weather"',
            '", "arguments": {"a": "',
            '"}}',
            "<think>",
            "</think>",
            *answer.text.replace(">", ">\0").replace("<", "\0<").replace("]", "]\0").split("\0"),
        }
    )
    for name, answer in ANSWERS.items()
}


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(sorted(ANSWERS)), st.booleans(), st.data())
def test_what_is_read_does_not_depend_on_the_pieces(name, stops, data):
    """Whatever a model writes: broken markup too, and bytes that are no UTF-8."""
    fragments = st.sampled_from(FRAGMENTS[name]).map(str.encode)
    parts = data.draw(st.lists(fragments | st.binary(max_size=2), max_size=25))
    text = b"".join(parts)
    answer = ANSWERS[name]
    if stops:
        answer = answer._replace(options={**answer.options, "stop": ["e>a", "wea", "a}", "}\n"]})
    plan = plan_of(answer) if stops else PLANS[name]
    once = told(read(plan, [text]))
    assert told(read(plan, parts)) == once
    assert told(read(plan, [bytes([byte]) for byte in text])) == once


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(sorted(ANSWERS)), st.data())
def test_nothing_that_a_model_writes_is_lost(name, data):
    """Every word comes out somewhere, unless a call is cut in two by it."""
    words = data.draw(st.lists(st.text("abc", min_size=3, max_size=6), max_size=6))
    marks = [
        mark for mark in FRAGMENTS[name] if len(mark) > 1 and not any(w in mark for w in "abc")
    ]
    text = "".join(f" {word} {data.draw(st.sampled_from(marks or ['<']))}" for word in words)
    answer = read(PLANS[name], [text.encode()])
    everything = (
        answer.content
        + answer.reasoning
        + "".join(call.name + call.arguments for call in answer.tool_calls)
    )
    for word in words:
        assert word in everything
