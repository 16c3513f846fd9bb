"""What models of the families write, and what is to be read from it."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from blazen.chat import ChatTemplate, Plan
from blazen.types.chat import Tool
from blazen.types.completion import (
    CompletionOptions,
    FinishReason,
    InferenceChunk,
    InferenceChunkStream,
    ModelResponse,
)
from tests.chat import templates

WEATHER = Tool(
    "get_weather",
    "The weather of a city.",
    {
        "type": "object",
        "properties": {
            "city": {"type": "string"},
            "days": {"type": "integer"},
            "units": {"type": "string", "enum": ["metric", "imperial"]},
        },
        "required": ["city"],
    },
)
CLOCK = Tool("clock", "The time.")
TOOLS = (WEATHER, CLOCK)


class Answer(NamedTuple):
    template: str
    text: str
    calls: tuple[tuple[str, str], ...] = ()
    content: str = ""
    reasoning: str = ""
    finish: FinishReason = FinishReason.ToolCalls
    engine: FinishReason = FinishReason.Stop
    options: Mapping[str, Any] = MappingProxyType({})


PARIS, ROME = ("get_weather", '{"city": "Paris"}'), ("get_weather", '{"city": "Rome", "days": 2}')
TRICKY = (
    "get_weather",
    '{"city": "</tool_call> \\"{[<｜tool▁call▁end｜>\\\\\\" \\u00e9 é 🦢 ]}<|end|>"}',
)
NO_ARGUMENTS = ("clock", "{}")


def _hermes(*calls: tuple[str, str]) -> str:
    return "\n".join(
        f'<tool_call>\n{{"name": "{name}", "arguments": {arguments}}}\n</tool_call>'
        for name, arguments in calls
    )


def _deepseek(*calls: tuple[str, str]) -> str:
    inner = "\n".join(
        f"<｜tool▁call▁begin｜>function<｜tool▁sep｜>{n}\n```json\n{a}\n```<｜tool▁call▁end｜>"
        for n, a in calls
    )
    return f"<｜tool▁calls▁begin｜>{inner}<｜tool▁calls▁end｜>"


def _deepseek_31(*calls: tuple[str, str]) -> str:
    inner = "".join(
        f"<｜tool▁call▁begin｜>{n}<｜tool▁sep｜>{a}<｜tool▁call▁end｜>" for n, a in calls
    )
    return f"<｜tool▁calls▁begin｜>{inner}<｜tool▁calls▁end｜>"


STOP = FinishReason.Stop
LENGTH = FinishReason.Length

ANSWERS: dict[str, Answer] = {
    "hermes": Answer(templates.PLAIN_HERMES, _hermes(PARIS), (PARIS,)),
    "hermes, several after a text": Answer(
        templates.PLAIN_HERMES, "I look.\n\n" + _hermes(PARIS, ROME), (PARIS, ROME), "I look."
    ),
    "hermes, marks within arguments": Answer(templates.PLAIN_HERMES, _hermes(TRICKY), (TRICKY,)),
    "hermes, text after a call": Answer(
        templates.PLAIN_HERMES, _hermes(PARIS) + "\nThat was it. ", (PARIS,), "That was it. "
    ),
    "hermes, only one allowed": Answer(
        templates.PLAIN_HERMES,
        _hermes(PARIS, ROME),
        (PARIS,),
        options={"parallel_tool_calls": False},
    ),
    "hermes, arguments first": Answer(
        templates.PLAIN_HERMES,
        '<tool_call>{"arguments": {"city": "Paris"}, "name": "get_weather"}</tool_call>',
        (PARIS,),
    ),
    "hermes, arguments in a text": Answer(
        templates.PLAIN_HERMES,
        '<tool_call>{"name": "get_weather", "arguments": "{\\"city\\": \\"Paris\\"}"}</tool_call>',
        (PARIS,),
    ),
    "hermes, no arguments": Answer(
        templates.PLAIN_HERMES, '<tool_call>\n{"name": "clock"}\n</tool_call>', (NO_ARGUMENTS,)
    ),
    "hermes, null arguments": Answer(
        templates.PLAIN_HERMES,
        '<tool_call>{"name": "clock", "arguments": null}</tool_call>',
        (NO_ARGUMENTS,),
    ),
    "hermes, a brace forgotten": Answer(
        templates.PLAIN_HERMES,
        '<tool_call>{"name": "get_weather", "arguments": {"city": "Paris"}</tool_call> So.',
        (PARIS,),
        "So.",
    ),
    "hermes, wrapped in a function": Answer(
        templates.PLAIN_HERMES,
        '<tool_call>{"type": "function", "function": {"name": "get_weather", '
        '"arguments": {"city": "Paris"}}}</tool_call>',
        (PARIS,),
    ),
    "hermes, marks forgotten": Answer(
        templates.PLAIN_HERMES,
        '{"name": "get_weather", "arguments": {"city": "Paris"}}',
        (PARIS,),
    ),
    "hermes, a name that is not known": Answer(
        templates.PLAIN_HERMES, _hermes(("moon", "{}")), (("moon", "{}"),)
    ),
    "hermes, cut in the arguments": Answer(
        templates.PLAIN_HERMES,
        '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Par',
        (("get_weather", '{"city": "Par'),),
        finish=LENGTH,
        engine=LENGTH,
    ),
    "hermes, cut before the arguments": Answer(
        templates.PLAIN_HERMES,
        '<tool_call>\n{"name": "get_weather", "argu',
        (("get_weather", ""),),
        finish=LENGTH,
        engine=LENGTH,
    ),
    "hermes, cut within an escape of a text": Answer(
        templates.PLAIN_HERMES,
        '<tool_call>{"name": "get_weather", "arguments": "{\\"city\\": \\"P\\u00',
        (("get_weather", '{"city": "P'),),
        finish=LENGTH,
        engine=LENGTH,
    ),
    "hermes, cut before the name": Answer(
        templates.PLAIN_HERMES,
        '<tool_call>\n{"name": "get_wea',
        content='<tool_call>\n{"name": "get_wea',
        finish=LENGTH,
        engine=LENGTH,
    ),
    "hermes, marks without a call": Answer(
        templates.PLAIN_HERMES,
        "I write \n <tool_call> and </tool_call>, <tool_call>{oops}</tool_call>!",
        content="I write \n <tool_call> and </tool_call>, <tool_call>{oops}</tool_call>!",
        finish=STOP,
    ),
    "hermes, an object without a name": Answer(
        templates.PLAIN_HERMES,
        '<tool_call>{"city": "Paris"}</tool_call>' + _hermes(ROME),
        (ROME,),
        '<tool_call>{"city": "Paris"}</tool_call>',
    ),
    "hermes, an answer in JSON": Answer(
        templates.PLAIN_HERMES,
        '  {"name": "Ada", "arguments": {}} ',
        content='  {"name": "Ada", "arguments": {}} ',
        finish=STOP,
    ),
    "hermes, no tools given": Answer(
        templates.PLAIN_HERMES,
        _hermes(PARIS),
        content=_hermes(PARIS),
        finish=STOP,
        options={"tools": ()},
    ),
    "hermes, calls forbidden": Answer(
        templates.PLAIN_HERMES,
        _hermes(PARIS),
        content=_hermes(PARIS),
        finish=STOP,
        options={"tool_choice": "none"},
    ),
    "qwen3": Answer(
        templates.HERMES,
        "<think>\nParis is\n\nmeant. \n</think>\n\n" + _hermes(PARIS),
        (PARIS,),
        reasoning="Paris is\n\nmeant.",
    ),
    "qwen3, thinks nothing": Answer(
        templates.HERMES, "<think>\n\n</think>\n\nYes.", content="Yes.", finish=STOP
    ),
    "qwen3, thinks between calls": Answer(
        templates.HERMES,
        f"<think>a</think>{_hermes(PARIS)}\n<think>b</think>{_hermes(ROME)}",
        (PARIS, ROME),
        reasoning="ab",
    ),
    "qwen3, not done thinking": Answer(
        templates.HERMES,
        "<think>\nHm </thin",
        reasoning="Hm </thin",
        finish=LENGTH,
        engine=LENGTH,
    ),
    "qwen3, speaks of its marks": Answer(
        templates.HERMES,
        "The mark <think> begins it.",
        content="The mark <think> begins it.",
        finish=STOP,
    ),
    "qwen-coder": Answer(
        templates.QWEN_CODER,
        "<tool_call>\n<function=get_weather>\n<parameter=city>\nParis\n</parameter>\n"
        "</function>\n</tool_call>",
        (PARIS,),
    ),
    "qwen-coder, several, and odd values": Answer(
        templates.QWEN_CODER,
        "Now:\n<tool_call>\n<function=get_weather>\n<parameter=city>\nRome\n</parameter>\n"
        "<parameter=days>\n2\n</parameter>\n</function>\n</tool_call>\n<tool_call>\n"
        '<function=get_weather>\n<parameter=city>\n12 "a\\"\n\n</para>\n</parameter>\n'
        "<parameter=other>\nTrue\n</parameter>\n</function>\n</tool_call>",
        (ROME, ("get_weather", '{"city": "12 \\"a\\\\\\"\\n\\n</para>", "other": true}')),
        "Now:",
    ),
    "qwen-coder, outer mark forgotten": Answer(
        templates.QWEN_CODER, "<function=clock>\n</function>\n</tool_call>", (NO_ARGUMENTS,)
    ),
    "qwen-coder, cut": Answer(
        templates.QWEN_CODER,
        "<tool_call>\n<function=get_weather>\n<parameter=city>\nPar\n</para",
        (("get_weather", '{"city": "Par\\n</para'),),
        finish=LENGTH,
        engine=LENGTH,
    ),
    "qwen-coder, no call": Answer(
        templates.QWEN_CODER,
        "<tool_call> is a mark, and <function=\n too",
        content="<tool_call> is a mark, and <function=\n too",
        finish=STOP,
    ),
    "llama": Answer(
        templates.LLAMA, '{"name": "get_weather", "parameters": {"city": "Paris"}}', (PARIS,)
    ),
    "llama, tagged, with its kind": Answer(
        templates.LLAMA,
        '<|python_tag|>{"type": "function", "name": "get_weather", '
        '"parameters": {"city": "Paris"}}',
        (PARIS,),
    ),
    "llama, several": Answer(
        templates.LLAMA,
        '{"name": "get_weather", "parameters": {"city": "Paris"}}; '
        '{"name": "get_weather", "parameters": {"city": "Rome", "days": 2}}',
        (PARIS, ROME),
    ),
    "llama, an answer in JSON": Answer(
        templates.LLAMA,
        '{"name": "Ada", "born": 1815}',
        content='{"name": "Ada", "born": 1815}',
        finish=STOP,
    ),
    "llama, code": Answer(
        templates.LLAMA,
        "<|python_tag|>print(1)",
        content="<|python_tag|>print(1)",
        finish=STOP,
    ),
    "mistral": Answer(
        templates.MISTRAL,
        '[TOOL_CALLS] [{"name": "get_weather", "arguments": {"city": "Paris"}, '
        '"id": "abcdefghi"}, {"name": "get_weather", "arguments": {"city": "Rome", "days": 2}}]',
        (PARIS, ROME),
    ),
    "mistral, no list": Answer(
        templates.MISTRAL,
        "[TOOL_CALLS] are marks, [TOOL",
        content="[TOOL_CALLS] are marks, [TOOL",
        finish=STOP,
    ),
    "new mistral": Answer(
        templates.NEW_MISTRAL,
        "[THINK]So it is.[/THINK]I look.[TOOL_CALLS]get_weather[ARGS]"
        '{"city": "Paris"}[TOOL_CALLS]clock[ARGS]{}',
        (PARIS, NO_ARGUMENTS),
        "I look.",
        "So it is.",
    ),
    "new mistral, with ids": Answer(
        templates.NEW_MISTRAL,
        '[TOOL_CALLS]get_weather[CALL_ID]abcdefghi[ARGS]{"city": "Paris"}',
        (PARIS,),
    ),
    "new mistral, cut": Answer(
        templates.NEW_MISTRAL,
        '[TOOL_CALLS]get_weather[ARGS]{"city": ',
        (("get_weather", '{"city": '),),
        finish=LENGTH,
        engine=LENGTH,
    ),
    "phi": Answer(
        templates.PHI,
        '<|tool_call|>[{"name": "get_weather", "arguments": {"city": "Paris"}}, '
        '{"name": "clock", "arguments": {}}]<|/tool_call|>',
        (PARIS, NO_ARGUMENTS),
    ),
    "function gemma": Answer(
        templates.FUNCTION_GEMMA,
        "<start_function_call>call:get_weather{city:<escape>Rome<escape>,days:2}"
        "<end_function_call><start_function_call>call:clock{}<end_function_call>",
        (ROME, NO_ARGUMENTS),
    ),
    "function gemma, nested": Answer(
        templates.FUNCTION_GEMMA,
        'Yes<start_function_call>call:f{a:{b:[1,<escape>x",}<escape>,true]},c:word,d:[],e:"q"}'
        "<end_function_call>",
        (("f", '{"a": {"b": [1, "x\\",}", true]}, "c": "word", "d": [], "e": "q"}'),),
        "Yes",
    ),
    "function gemma, cut": Answer(
        templates.FUNCTION_GEMMA,
        "<start_function_call>call:get_weather{city:<escape>Ro<esc",
        (("get_weather", '{"city": "Ro<esc'),),
        finish=LENGTH,
        engine=LENGTH,
    ),
    "function gemma, makes up the answer": Answer(
        templates.FUNCTION_GEMMA,
        "<start_function_call>call:clock{}<end_function_call>\n<start_function_response>"
        "response:clock{value:<escape>noon<escape>}<end_function_response>It is noon.",
        (NO_ARGUMENTS,),
        engine=LENGTH,
    ),
    "gemma 4": Answer(
        templates.GEMMA_4,
        '<|channel>thought\nHm.<channel|><|tool_call>call:get_weather{city:<|"|>Paris<|"|>}'
        "<tool_call|>",
        (PARIS,),
        reasoning="Hm.",
        options={"reasoning": True},
    ),
    "deepseek r1": Answer(
        templates.DEEPSEEK,
        "Paris, then.\n</think>\n\n" + _deepseek(PARIS, TRICKY),
        (PARIS, TRICKY),
        reasoning="Paris, then.",
    ),
    "deepseek r1, says its first mark again": Answer(
        templates.DEEPSEEK, "a</think>\nb", content="b", reasoning="a", finish=STOP
    ),
    "deepseek v3.1": Answer(
        templates.DEEPSEEK_31,
        "Ok." + _deepseek_31(PARIS, NO_ARGUMENTS),
        (PARIS, NO_ARGUMENTS),
        "Ok.",
    ),
    "deepseek v3.1, thinking": Answer(
        templates.DEEPSEEK_31,
        "Hm.</think>Ok." + _deepseek_31(PARIS),
        (PARIS,),
        "Ok.",
        "Hm.",
        options={"reasoning": True},
    ),
    "deepseek v3.1, cut": Answer(
        templates.DEEPSEEK_31,
        "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>get_weather<｜tool▁s",
        content="<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>get_weather<｜tool▁s",
        finish=LENGTH,
        engine=LENGTH,
    ),
    "glm": Answer(
        templates.GLM,
        "<think>Hm.</think>\nI look.\n<tool_call>get_weather\n<arg_key>city</arg_key>\n"
        "<arg_value>Rome</arg_value>\n<arg_key>days</arg_key>\n<arg_value>2</arg_value>\n"
        "</tool_call>\n<tool_call>clock\n</tool_call>",
        (ROME, NO_ARGUMENTS),
        "I look.",
        "Hm.",
    ),
    "glm, cut": Answer(
        templates.GLM,
        "<tool_call>get_weather\n<arg_key>city</arg_key>\n<arg_value>Ro",
        (("get_weather", '{"city": "Ro'),),
        finish=LENGTH,
        engine=LENGTH,
    ),
    "granite": Answer(
        templates.GRANITE,
        '<|tool_call|>[{"name": "get_weather", "arguments": {"city": "Paris"}}]',
        (PARIS,),
    ),
    "granite, thinking": Answer(
        templates.GRANITE,
        "<think>Hm.</think>\n<response>It is 4.</response>",
        content="It is 4.",
        reasoning="Hm.",
        finish=STOP,
        options={"reasoning": True},
    ),
    "command": Answer(
        templates.COMMAND,
        "<|START_THINKING|>I look.<|END_THINKING|><|START_ACTION|>[\n    "
        '{"tool_call_id": "0", "tool_name": "get_weather", "parameters": {"city": "Paris"}}\n]'
        "<|END_ACTION|>",
        (PARIS,),
        reasoning="I look.",
    ),
    "command, an answer": Answer(
        templates.COMMAND,
        "<|START_RESPONSE|>It rains.<|END_RESPONSE|>",
        content="It rains.",
        finish=STOP,
    ),
    "gpt-oss": Answer(
        templates.HARMONY,
        "<|channel|>analysis<|message|>I need it.<|end|><|start|>assistant<|channel|>commentary"
        "<|message|>Let me see. <|end|><|start|>assistant<|channel|>commentary to=functions."
        'get_weather <|constrain|>json<|message|>{"city": "Paris"}<|call|>',
        (PARIS,),
        "Let me see. ",
        "I need it.",
    ),
    "gpt-oss, the other order": Answer(
        templates.HARMONY,
        ' to=functions.get_weather<|channel|>commentary json<|message|>{"city": "Paris"}',
        (PARIS,),
    ),
    "gpt-oss, an answer": Answer(
        templates.HARMONY,
        "<|channel|>analysis<|message|>Easy.<|end|><|start|>assistant<|channel|>final<|message|>"
        "It is <b>4</b>.<|return|>",
        content="It is <b>4</b>.",
        reasoning="Easy.",
        finish=STOP,
    ),
    "gpt-oss, cut": Answer(
        templates.HARMONY,
        "<|channel|>analysis<|message|>Hm <|en",
        reasoning="Hm <|en",
        finish=LENGTH,
        engine=LENGTH,
    ),
    "gpt-oss, no channels": Answer(
        templates.HARMONY, "to be or <|not", content="to be or <|not", finish=STOP
    ),
    "unknown family": Answer(
        templates.UNKNOWN,
        'So: @@do {"function_name": "get_weather", "args": {"city": "Paris"}} @@done',
        (PARIS,),
        "So:",
    ),
    "functionary": Answer(
        templates.NAMED,
        'So.\n<function=get_weather>{"city": "Paris"}</function><function=clock>{}</function>',
        (PARIS, NO_ARGUMENTS),
        "So.",
    ),
    "functionary, no call": Answer(
        templates.NAMED,
        "<function=f>(x)</function> <function=",
        content="<function=f>(x)</function> <function=",
        finish=STOP,
    ),
    "hermes, a brace within the arguments forgotten": Answer(
        templates.PLAIN_HERMES,
        '<tool_call>{"name": "f", "arguments": {"a": {"b": 1}</tool_call>!',
        (("f", '{"a": {"b": 1}'),),
        "!",
    ),
    "hermes, arguments that are a number, cut": Answer(
        templates.PLAIN_HERMES,
        '<tool_call>{"name": "f", "arguments": 12',
        (("f", "12"),),
        finish=LENGTH,
        engine=LENGTH,
    ),
    "hermes, a name that is no text": Answer(
        templates.PLAIN_HERMES,
        '<tool_call>{"name": 1, "arguments": {}}</tool_call> {"name": "\\x"}',
        content='<tool_call>{"name": 1, "arguments": {}}</tool_call> {"name": "\\x"}',
        finish=STOP,
    ),
    "function gemma, a brace forgotten": Answer(
        templates.FUNCTION_GEMMA,
        "<start_function_call>call:f{a:[1,2],b:x<end_function_call>!",
        (("f", '{"a": [1, 2], "b": "x"}'),),
        "!",
    ),
    "function gemma, a bracket forgotten": Answer(
        templates.FUNCTION_GEMMA,
        "<start_function_call>call:f{a:[1,2}<end_function_call>"
        "<start_function_call>call:f{a:[<end_function_call>",
        (("f", '{"a": [1, 2]}'), ("f", '{"a": []}')),
    ),
    "function gemma, quoted keys": Answer(
        templates.FUNCTION_GEMMA,
        '<start_function_call>call:f{<escape>a b<escape>:{"c":null}}<end_function_call> and',
        (("f", '{"a b": {"c": null}}'),),
        "and",
    ),
    "function gemma, marks without a call": Answer(
        templates.FUNCTION_GEMMA,
        "<start_function_call>f{} <start_function_call>call:{}",
        content="<start_function_call>f{} <start_function_call>call:{}",
        finish=STOP,
    ),
    "function gemma, cut in a list": Answer(
        templates.FUNCTION_GEMMA,
        "<start_function_call>call:f{a:[1, 2",
        (("f", '{"a": [1, 2'),),
        finish=LENGTH,
        engine=LENGTH,
    ),
    "glm, no call": Answer(
        templates.GLM,
        "<tool_call> <b> <tool_call>f<arg_key>a</arg_key>1",
        (("f", ""),),
        "<tool_call> <b>1",
        engine=STOP,
    ),
    "qwen-coder, the function's end forgotten": Answer(
        templates.QWEN_CODER,
        "<tool_call>\n<function=clock>\n</tool_call> Done",
        (NO_ARGUMENTS,),
        "Done",
    ),
    "deepseek v3.1, one call without its outer mark": Answer(
        templates.DEEPSEEK_31,
        "<｜tool▁call▁begin｜>clock<｜tool▁sep｜>{}<｜tool▁call▁end｜> ok",
        (NO_ARGUMENTS,),
        "ok",
    ),
    "deepseek r1, marks without calls": Answer(
        templates.DEEPSEEK,
        "</think><｜tool▁calls▁begin｜>x <｜tool▁call▁begin｜>function<｜tool▁sep｜>f\nno json",
        content="<｜tool▁calls▁begin｜>x <｜tool▁call▁begin｜>function<｜tool▁sep｜>f\nno json",
        finish=STOP,
    ),
    "gpt-oss, an end too many": Answer(
        templates.HARMONY, "<|end|><|channel|>final<|message|>Yes", content="Yes", finish=STOP
    ),
    "no tools in the template": Answer(templates.CHATML, _hermes(PARIS, ROME), (PARIS, ROME)),
}


def plan_of(answer: Answer) -> Plan:
    options = CompletionOptions(**{"tools": TOOLS, **answer.options})
    return Plan.of("How is the weather?", options, ChatTemplate(answer.template, bos="<s>"))


def read(plan: Plan, pieces: list[bytes], reason: FinishReason = STOP) -> ModelResponse:
    """What a caller gets of these pieces."""
    reader = plan.reader()
    chunks: list[InferenceChunk] = []
    for piece in pieces:
        chunks += reader.feed(piece)
    chunks += reader.finish(reason)
    return whole(chunks)


def whole(chunks: list[InferenceChunk]) -> ModelResponse:
    """Put chunks together as a stream does."""

    async def never():
        raise AssertionError

    stream = InferenceChunkStream(never)
    for chunk in chunks:
        stream._add(chunk)
    return stream.response
