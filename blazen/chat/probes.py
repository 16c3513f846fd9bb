"""What a chat template can do, found by rendering small conversations and reading the text."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable
from typing import Any, NamedTuple

from blazen.chat.writing import Habits
from blazen.errors import BlazenError

NAME, KEY, VALUE = "probe_tool", "probe_key", "probe_value"
"""What a probing call is made of: texts that stand in no template."""

_SAID = "probe_said"
_ANSWER = "probe_answer"
_TOOL = {
    "type": "function",
    "function": {
        "name": NAME,
        "description": "probe",
        "parameters": {
            "type": "object",
            "properties": {KEY: {"type": "string", "description": "probe"}},
            "required": [KEY],
        },
    },
}
_LONG_ID, _TINY_ID, _SHORT_ID = "call_of_a_probe", "c1", "probe0001"


class Switch(NamedTuple):
    """A variable of a template that turns reasoning on and off."""

    name: str
    on: Any
    off: Any


_SWITCHES = (Switch("enable_thinking", True, False), Switch("thinking", True, False))


class Probes:
    """Asks a template what it can do; each question is asked once."""

    def __init__(self, render: Callable[[list[dict[str, Any]], dict[str, Any]], str]) -> None:
        self._render = render

    def _try(self, messages: list[dict[str, Any]], **values: Any) -> str:
        """Render; a refusal is an empty text."""
        try:
            return self._render(messages, values)
        except BlazenError:
            return ""

    @functools.cached_property
    def _parts(self) -> bool:
        return _SAID not in self._try([_user(parts=False)]) and _holds_text(
            self._try([_user(parts=True)])
        )

    @functools.cached_property
    def _user(self) -> dict[str, Any]:
        return _user(parts=self._parts)

    def _message(self, role: str, text: str) -> dict[str, Any]:
        return {
            "role": role,
            "content": [{"type": "text", "text": text}] if self._parts else text,
        }

    @functools.cached_property
    def habits(self) -> Habits:
        """In which form the template wants what it is given."""
        system = self._message("system", _ANSWER)
        objects = self._call_with(objects=True)
        return Habits(
            system=_ANSWER in self._try([system, self._user]),
            parts=self._parts,
            objects=objects is not None or self._call_with(objects=False) is None,
            short_ids=self._wants_short_ids,
            null=self._wants_null,
            tools_in_system=self._tools_in_system and not self._tools_given,
        )

    @functools.cached_property
    def _tools_given(self) -> bool:
        return NAME in self._try([self._user], tools=[_TOOL])

    @functools.cached_property
    def _tools_in_system(self) -> bool:
        system = {**self._message("system", ""), "tools": json.dumps([_TOOL["function"]])}
        return NAME in self._try([system, self._user])

    @property
    def takes_tools(self) -> bool:
        """Whether tools are shown to the model."""
        return self._tools_given or self._tools_in_system

    @functools.cached_property
    def _wants_short_ids(self) -> bool:
        others = (_LONG_ID, _TINY_ID)
        return bool(self._turns(_SHORT_ID)) and not all(map(self._turns, others))

    @functools.cached_property
    def _wants_null(self) -> bool:
        """Whether a call without text would also make an empty answer of its own."""
        null = self._turns(_SHORT_ID, content=None)
        return NAME in null and "None" not in null and len(null) < len(self._turns(_SHORT_ID))

    def _turns(self, call_id: str, content: str | None = "") -> str:
        """Render a conversation with a call in it, and with what the tool answered."""
        answer = {**self._message("tool", _ANSWER), "tool_call_id": call_id, "name": NAME}
        for objects in (True, False):
            call = _call(call_id, objects=objects, content=content)
            text = self._try([self._user, call, answer])
            if text:
                return text
        return ""

    def _call_with(self, *, objects: bool) -> str | None:
        """Render a call alone; ``None`` where its arguments don't come out as they should."""
        call = _call(_SHORT_ID, objects=objects, content=None if self._wants_null else "")
        text = self._try([self._user, call], add_generation_prompt=False)
        whole = NAME in text and KEY in text and VALUE in text
        if not whole or f"'{KEY}'" in text or f'\\"{KEY}' in text:
            return None  # left out, or written as Python writes a dictionary, or as a text in JSON
        return text

    @functools.cached_property
    def sample_call(self) -> str | None:
        """How a call stands in its turn, without what every turn has; ``None`` for not at all."""
        call = self._call_with(objects=True) or self._call_with(objects=False)
        said = self._try(
            [self._user, self._message("assistant", _ANSWER)], add_generation_prompt=False
        )
        if call is None or _ANSWER not in said:
            return None
        turn, _, rest = said.rpartition(_ANSWER)
        start, end = _alike(turn, call), len(call) - _alike(rest[::-1], call[::-1])
        # Two marks may begin or end alike: none is cut in two.
        if start < len(turn) and _opened(call[:start]) >= 0:
            start = _opened(call[:start])
        if _opened(call[start:end]) >= 0:
            end += len(re.split(r"(?<=[>\]])", call[end:], maxsplit=1)[0])
        return call[start:end]

    @property
    def shows_tool_answers(self) -> bool:
        """Whether what a tool answered comes out."""
        return _ANSWER in self._turns(_SHORT_ID)

    @functools.cached_property
    def reasoning_switch(self) -> Switch | None:
        """The variable that turns reasoning on and off."""
        for switch in _SWITCHES:
            on = self._try([self._user], **{switch.name: switch.on})
            off = self._try([self._user], **{switch.name: switch.off})
            if on != off:
                return switch
        return None


def _alike(first: str, second: str) -> int:
    """Count the letters that two texts begin with alike."""
    pairs = enumerate(zip(first, second, strict=False))
    return next((at for at, (a, b) in pairs if a != b), min(len(first), len(second)))


def _opened(text: str) -> int:
    """Where the mark begins that a text ends within; -1 for none."""
    opened, closed = (max(text.rfind(letter) for letter in pair) for pair in ("<[", ">]"))
    return opened if opened > closed else -1


def _user(*, parts: bool) -> dict[str, Any]:
    return {"role": "user", "content": [{"type": "text", "text": _SAID}] if parts else _SAID}


def _holds_text(text: str) -> bool:
    # A template that knows only texts writes the list as Python prints it.
    return _SAID in text and f"'{_SAID}'" not in text and f'"{_SAID}"' not in text


def _call(call_id: str, *, objects: bool, content: str | None) -> dict[str, Any]:
    arguments = {KEY: VALUE}
    function = {"name": NAME, "arguments": arguments if objects else json.dumps(arguments)}
    return {
        "role": "assistant",
        "content": content,
        "tool_calls": [{"type": "function", "id": call_id, "function": function}],
    }
