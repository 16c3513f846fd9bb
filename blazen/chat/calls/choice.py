"""Which form of calls a template speaks of."""

from __future__ import annotations

import json
import re

from blazen.chat.calls.deepseek import deepseek_calls
from blazen.chat.calls.form import CallForm
from blazen.chat.calls.gemma import FUNCTION_GEMMA, GEMMA_4
from blazen.chat.calls.glm import GlmCalls
from blazen.chat.calls.harmony import HarmonyCalls
from blazen.chat.calls.json_calls import COMMAND, GRANITE, HERMES, LLAMA, PHI, JsonCalls
from blazen.chat.calls.mistral import mistral_calls
from blazen.chat.calls.named import NamedCalls
from blazen.chat.calls.tagged import MINIMAX, QWEN_CODER, SEED
from blazen.chat.probes import KEY, NAME, VALUE

_BY_MARKS: tuple[tuple[tuple[str, ...], CallForm], ...] = (
    (("<|channel|>", "<|message|>"), HarmonyCalls()),
    (("<start_function_call>",), FUNCTION_GEMMA),
    (("<|tool_call>call:",), GEMMA_4),
    (("<minimax:tool_call>", "<invoke name="), MINIMAX),
    (("<seed:tool_call>", "<function="), SEED),
    (("<function=", "<parameter="), QWEN_CODER),
    (("<|START_ACTION|>",), COMMAND),
    (("<tool_call>", "<arg_key>"), GlmCalls()),
)
_BY_MARKS_AT_LAST: tuple[tuple[tuple[str, ...], CallForm], ...] = (
    (("<|python_tag|>",), LLAMA),
    (("<|tool|>", "<|/tool|>"), PHI),
    (("<|tool_call|>",), GRANITE),
    (("<tool_call>",), HERMES),
)


_MARK = re.compile(r"\s*(?:<[^<>]*>|\[[^\[\]]*\]|[^\s<\[]+)")
"""The first mark behind a call: what follows it ends the turn."""

_ONE_MARK = re.compile(r"\s*(?:<[^<>]*>?|\[[^\[\]]*\]?|[^\s<>\[\]{}\w]+\w*|>)\s*")
"""What may stand before a name, or behind it: no more than one mark, or a part of one."""


def form_of(source: str, sample: str | None) -> CallForm | None:
    """Give the form of a template's calls; ``None`` where it can't be told.

    Families with a notation of their own are known by their marks. The others write JSON: there
    the ``sample``, a call that the template itself has written, shows the marks around it and the
    names in it.
    """
    for marks, form in _BY_MARKS:
        if all(mark in source for mark in marks):
            return form
    found = mistral_calls(source) or deepseek_calls(source)
    if found is not None:
        return found
    if sample is not None:
        return _read_objects(sample, source) or _read_named(sample)
    for marks, form in _BY_MARKS_AT_LAST:
        if all(mark in source for mark in marks):
            return form
    return None


def _read_objects(sample: str, source: str) -> JsonCalls | None:
    decoder = json.JSONDecoder()
    for at, letter in enumerate(sample):
        if letter not in "{[":
            continue
        try:
            value, end = decoder.raw_decode(sample, at)
        except ValueError:
            continue
        listed = isinstance(value, list)
        call = value[0] if listed and value else value
        names = _names(call)
        if names is None:
            continue
        others = ("<|python_tag|>",) if "<|python_tag|>" in source else ()
        opened = sample[:at].lstrip()
        closed = _MARK.match(sample, end)
        return JsonCalls(opened, closed[0] if closed else "", listed, *names, others=others)
    return None


def _read_named(sample: str) -> NamedCalls | None:
    """Read the marks around a name, and the arguments that follow it."""
    opened, name, rest = sample.partition(NAME)
    at = rest.find("{")
    try:
        arguments, end = json.JSONDecoder().raw_decode(rest, max(at, 0))
    except ValueError:
        return None
    middle = rest[:at]
    marks = (opened, middle) if middle.strip() else (opened,)
    if not name or not _holds(arguments) or not all(map(_ONE_MARK.fullmatch, marks)):
        return None
    closed = _MARK.match(rest, end)
    return NamedCalls(opened.lstrip(), middle, closed[0] if closed else "")


def _names(call: object) -> tuple[str, str] | None:
    """Give the keys of a call's name and arguments."""
    if not isinstance(call, dict):
        return None
    name = next((key for key, value in call.items() if value == NAME), None)
    arguments = next((key for key, value in call.items() if _holds(value)), None)
    return None if name is None or arguments is None else (name, arguments)


def _holds(value: object) -> bool:
    return value == {KEY: VALUE} or (isinstance(value, str) and KEY in value and VALUE in value)
