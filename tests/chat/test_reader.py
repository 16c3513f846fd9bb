"""A reader hands out what is sure, at once, and never what might still become a mark."""

from __future__ import annotations

import json
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blazen.chat import ChatTemplate, Plan
from blazen.types.completion import CompletionOptions, FinishReason
from tests.chat import templates
from tests.chat.answers import TOOLS, read


def reader_of(source: str = templates.CHATML, **options):
    return Plan.of("Hi", CompletionOptions(**options), ChatTemplate(source)).reader()


def contents(reader, *pieces: bytes) -> list[str]:
    return ["".join(chunk.content or "" for chunk in reader.feed(piece)) for piece in pieces]


def test_plain_text_is_handed_out_at_once():
    assert contents(reader_of(), b"Hel", b"lo", b" \n", b"you") == ["Hel", "lo", " \n", "you"]


def test_a_character_waits_for_its_last_byte():
    goose = "🦢".encode()
    assert contents(reader_of(), goose[:1], goose[1:3], goose[3:] + b"!") == ["", "", "🦢!"]


def test_bytes_that_are_no_text_become_replacement_marks():
    assert contents(reader_of(), b"a\xff", b"b\xe2\x82", b"c") == ["a�", "b", "�c"]
    reader = reader_of()
    assert contents(reader, b"a\xe2\x82") == ["a"]
    assert [chunk.content for chunk in reader.finish()] == ["�"]


def test_a_stop_text_ends_the_answer_before_it():
    reader = reader_of(stop="END")
    assert contents(reader, b"a E", b"N", b"D b", b"c") == ["a ", "", "", ""]
    assert reader.ended is FinishReason.Stop
    assert [c.finish_reason for c in reader.finish(FinishReason.Length)] == [FinishReason.Stop]


def test_what_only_began_like_a_stop_text_is_handed_out():
    reader = reader_of(stop=["END", "NO"])
    assert contents(reader, b"EN", b"EN", b"X", b"N") == ["", "EN", "ENX", ""]
    assert [chunk.content for chunk in reader.finish()] == ["N"]


@settings(deadline=None)
@given(
    st.lists(st.text("abc", min_size=1, max_size=4), min_size=1, max_size=3),
    st.lists(st.text("abc", max_size=3), max_size=12),
)
def test_the_stop_text_that_ends_first_ends_the_answer(stops, pieces):
    text = "".join(pieces)
    ends = [end for end in range(1, len(text) + 1) if text[:end].endswith(tuple(stops))]
    wanted = text
    if ends:
        whole = text[: ends[0]]
        wanted = whole[: -max(len(stop) for stop in stops if whole.endswith(stop))]
    reader = reader_of(stop=stops)
    got = contents(reader, *(piece.encode() for piece in pieces))
    assert (reader.ended is FinishReason.Stop) == bool(ends)
    got += [chunk.content or "" for chunk in reader.finish()]
    assert "".join(got) == wanted


def test_stop_texts_count_in_the_content_alone():
    options = CompletionOptions(tools=TOOLS, stop="Paris")
    plan = Plan.of("Hi", options, ChatTemplate(templates.HERMES))
    call = '<tool_call>{"name": "get_weather", "arguments": {"city": "Paris"}}</tool_call>'
    answer = read(plan, [f"<think>Paris?</think>{call} So in Paris it".encode()])
    assert answer.reasoning == "Paris?"
    assert answer.tool_calls[0].parsed() == {"city": "Paris"}
    assert answer.content == "So in "
    assert answer.finish_reason is FinishReason.ToolCalls


def test_a_call_is_told_as_it_is_written():
    reader = reader_of(templates.PLAIN_HERMES, tools=TOOLS)
    deltas = []
    for piece in ('<tool_call>\n{"na', 'me": "get_w', 'eather"', ', "arguments": {"ci', 'ty": "Pa'):
        chunks = reader.feed(piece.encode())
        assert not any(chunk.content for chunk in chunks)
        deltas.append([(d.name, d.arguments) for chunk in chunks for d in chunk.tool_calls])
    assert deltas == [[], [], [("get_weather", "")], [(None, '{"ci')], [(None, 'ty": "Pa')]]


@pytest.mark.parametrize("source", [templates.QWEN_CODER, templates.FUNCTION_GEMMA, templates.GLM])
def test_a_text_in_another_notation_is_told_as_it_is_written(source):
    head = {
        templates.QWEN_CODER: "<tool_call>\n<function=get_weather>\n<parameter=city>\n",
        templates.FUNCTION_GEMMA: "<start_function_call>call:get_weather{city:<escape>",
        templates.GLM: "<tool_call>get_weather\n<arg_key>city</arg_key>\n<arg_value>",
    }[source]
    reader = reader_of(source, tools=TOOLS)
    reader.feed(head.encode())
    for piece in (b"New ", b"York "):
        (chunk,) = reader.feed(piece)
        assert chunk.tool_calls[0].arguments.lstrip('"') == piece.decode()


def test_ids_are_nine_letters_and_no_two_are_the_same():
    plan = Plan.of("Hi", CompletionOptions(tools=TOOLS), ChatTemplate(templates.CHATML))
    call = b'<tool_call>{"name": "clock", "arguments": {}}</tool_call>'
    ids = [made.id for made in read(plan, [call] * 50).tool_calls]
    assert len(set(ids)) == 50
    assert all(len(made) == 9 and made.isalnum() and made.isascii() for made in ids)


def test_reasoning_is_told_as_it_is_written():
    reader = reader_of(templates.HERMES)
    told = [
        [(chunk.reasoning, chunk.content) for chunk in reader.feed(piece)]
        for piece in (b"<th", b"ink>\n", b"So ", b"it", b"</thi", b"nk>\n", b"\nYes", b"!")
    ]
    assert told == [
        [],
        [],
        [("So", None)],
        [(" it", None)],
        [],
        [],
        [(None, "Yes")],
        [(None, "!")],
    ]


def test_the_last_chunk_says_why_it_ended():
    reader = reader_of()
    reader.feed(b"a")
    (chunk,) = reader.finish(FinishReason.Length)
    assert (chunk.content, chunk.finish_reason) == (None, FinishReason.Length)


@pytest.mark.parametrize(
    "source,text",
    [
        (templates.FUNCTION_GEMMA, "<start_function_call>call:f{a:" + "[" * 50_000),
        (templates.FUNCTION_GEMMA, "<start_function_call>call:f{a:" + "{b:" * 50_000),
        (templates.PLAIN_HERMES, "<tool_call>" + '{"name": ' * 50_000),
        (templates.PLAIN_HERMES, "<tool_call>" * 20_000),
        (templates.PLAIN_HERMES, '<tool_call>{"name": "f", "arguments": ' + "[" * 50_000),
        (templates.MISTRAL, "[TOOL_CALLS]" + "[" * 50_000),
    ],
)
def test_a_model_that_only_opens_brackets_does_no_harm(source, text):
    plan = Plan.of("Hi", CompletionOptions(tools=TOOLS), ChatTemplate(source))
    answer = read(plan, [text.encode()])
    assert answer.content or answer.tool_calls


def _steps(text: bytes, plan: Plan) -> int:
    """How many lines of Python it takes to read a text byte by byte."""
    reader, done = plan.reader(), 0

    def count(*_):
        nonlocal done
        done += 1
        return count

    before = sys.gettrace()
    sys.settrace(count)
    try:
        for at in range(0, len(text), 2):
            reader.feed(text[at : at + 2])
    finally:
        sys.settrace(before)
    return done


@pytest.mark.parametrize(
    "begin,more",
    [
        (b"", b"word "),
        (b"", b"\n"),
        (b"a", b"<tool_cal"),
        (b"<think>", b"hm \n"),
        (b'<tool_call>{"name": "f", "arguments": {"a": "', b'x\\"{'),
    ],
)
def test_each_token_costs_the_same_however_many_came_before(begin, more):
    options = CompletionOptions(tools=TOOLS, stop=["wo!", "\n\n\n\n!"])
    plan = Plan.of("Hi", options, ChatTemplate(templates.HERMES))
    assert _steps(begin + more * 600, plan) < 3 * _steps(begin + more * 300, plan)


def test_arguments_of_odd_values_stay_json():
    values = "<tool_call>\n<function=f>\n" + "".join(
        f"<parameter={key}>\n{value}\n</parameter>\n"
        for key, value in enumerate(["NaN", "1e5", "None", "[1,", "", '"q"', "-0", "a\tb\\"])
    )
    plan = Plan.of("Hi", CompletionOptions(tools=TOOLS), ChatTemplate(templates.QWEN_CODER))
    answer = read(plan, [f"{values}</function>\n</tool_call>".encode()])
    assert list(json.loads(answer.tool_calls[0].arguments).values()) == [
        "NaN",
        100000.0,
        None,
        "[1,",
        "",
        "q",
        0,
        "a\tb\\",
    ]


def whole(reader, text: str, size: int = 3):
    data = text.encode()
    for at in range(0, len(data), size):
        yield from reader.feed(data[at : at + size])
    yield from reader.finish(FinishReason.Length)


FORMS = [
    (templates.CHATML, '<tool_call>\n{"name": "get_'),
    (templates.QWEN_CODER, "<tool_call>\n<function=get_"),
    (templates.LLAMA, '{"name": "get_'),
]


@pytest.mark.parametrize("choice", ["required", "get_weather"])
@pytest.mark.parametrize("source, text", FORMS)
def test_the_beginning_of_a_call_that_had_to_come_is_no_text(source, text, choice):
    chunks = list(whole(reader_of(source, tools=TOOLS, tool_choice=choice), text))
    assert not any(chunk.content or chunk.tool_calls for chunk in chunks)
    assert chunks[-1].finish_reason is FinishReason.Length


@pytest.mark.parametrize("source, text", FORMS)
def test_what_may_have_been_a_call_is_text_where_text_may_come(source, text):
    chunks = whole(reader_of(source, tools=TOOLS), text)
    assert "".join(chunk.content or "" for chunk in chunks) == text


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_of_white_space_without_end_little_is_held_back(size):
    text = "a" + "\n" * 300
    chunks = whole(reader_of(tools=TOOLS), text + '<tool_call>{"name": "clock"}', size)
    assert "".join(chunk.content or "" for chunk in chunks) == text[:-64]
    given = "".join(contents(reader_of(tools=TOOLS), *[letter.encode() for letter in text]))
    assert given == text[:-64]
