"""A model's own chat template."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

from blazen.chat.calls.choice import form_of
from blazen.chat.calls.form import CallForm
from blazen.chat.calls.harmony import HarmonyCalls
from blazen.chat.jinja import compile_template, render_template
from blazen.chat.probes import Probes
from blazen.chat.reasoning import ReasoningMarks, is_open, marks_of
from blazen.chat.writing import Habits, write_messages, write_tool
from blazen.errors import UnsupportedError
from blazen.types.chat import ChatMessage, Tool


class ChatTemplate:
    """Writes a conversation as the text that a model was trained on.

    What a template can do is found by rendering small conversations and looking at the text, once,
    when it is first asked.
    """

    def __init__(
        self, source: str, *, bos: str = "", eos: str = "", name: str = "the model"
    ) -> None:
        self.source = source
        self.bos = bos
        self.eos = eos
        self.name = name
        self._compiled = compile_template(source, name)
        self._probes = Probes(self._render)

    def __repr__(self) -> str:
        return f"<ChatTemplate of {self.name}>"

    @property
    def takes_tools(self) -> bool:
        """Whether it shows tools to the model."""
        return self._probes.takes_tools

    @property
    def takes_system(self) -> bool:
        """Whether it has a place for a system message; else the text joins the first user's."""
        return self._probes.habits.system

    @property
    def shows_calls(self) -> bool:
        """Whether it writes the calls of earlier turns."""
        return self.sample_call is not None

    @property
    def shows_tool_answers(self) -> bool:
        """Whether it writes what tools answered."""
        return self._probes.shows_tool_answers

    @functools.cached_property
    def calls(self) -> CallForm | None:
        """How the model writes calls; ``None`` where the template does not tell."""
        return form_of(self.source, self.sample_call)

    @property
    def can_reason(self) -> bool:
        """Whether the model was trained to reason before it answers."""
        return (
            self.reasoning_marks is not None
            or self._probes.reasoning_switch is not None
            or self._has_channels
        )

    @property
    def _has_channels(self) -> bool:
        return isinstance(self.calls, HarmonyCalls)

    @property
    def habits(self) -> Habits:
        """In which form it wants what it is given."""
        return self._probes.habits

    @functools.cached_property
    def sample_call(self) -> str | None:
        """How it writes a call of an earlier turn; ``None`` where it does not."""
        return self._probes.sample_call

    @functools.cached_property
    def reasoning_marks(self) -> ReasoningMarks | None:
        """What stands around the model's reasoning; ``None`` for one that does not reason."""
        return marks_of(self.source)

    def render(
        self,
        messages: Sequence[ChatMessage],
        tools: Sequence[Tool] = (),
        reasoning: bool | None = None,
        *,
        media_mark: str = "",
    ) -> str:
        """Write a conversation up to the place where the model goes on.

        Each image and audio becomes ``media_mark``. What the template itself refuses is a
        `ValidationError` in its own words.
        """
        values: dict[str, Any] = {}
        switch = self._probes.reasoning_switch if reasoning is not None else None
        if reasoning and not self.can_reason:
            raise UnsupportedError(
                f"{self.name} can't reason before it answers: leave 'reasoning' out"
            )
        if reasoning is False and self._has_channels:
            raise UnsupportedError(
                f"{self.name} always reasons before it answers: leave 'reasoning' out"
            )
        if switch is not None:
            values[switch.name] = switch.on if reasoning else switch.off
        written = write_messages(messages, self.habits, media_mark)
        if tools:
            values["tools"] = [write_tool(tool) for tool in tools]
            if self.habits.tools_in_system:
                _give_tools_to_system(written, values["tools"])
        prompt = self._render(written, values)
        if reasoning is False and self.reasoning_marks is not None:
            return _without_reasoning(prompt, self.reasoning_marks, switched=switch is not None)
        return prompt

    def _render(self, messages: list[dict[str, Any]], values: dict[str, Any]) -> str:
        given = {
            "messages": messages,
            # Hugging Face gives these always, and templates ask whether they are none.
            "tools": None,
            "documents": None,
            "add_generation_prompt": True,
            "bos_token": self.bos,
            "eos_token": self.eos,
            **values,
        }
        return render_template(self._compiled, self.name, given)


def _without_reasoning(prompt: str, marks: ReasoningMarks, *, switched: bool) -> str:
    """Let a prompt say that the reasoning is over: with an empty block of it."""
    if is_open(prompt, marks):
        return f"{prompt.rstrip()}\n\n{marks.close}\n\n"
    if switched or prompt.rstrip().endswith(marks.close):
        return prompt
    return f"{prompt}{marks.open}\n\n{marks.close}\n\n"


def _give_tools_to_system(messages: list[dict[str, Any]], tools: list[dict[str, Any]]) -> None:
    import json

    text = json.dumps([tool["function"] for tool in tools], ensure_ascii=False)
    if messages and messages[0]["role"] == "system":
        messages[0]["tools"] = text
    else:
        messages.insert(0, {"role": "system", "content": "", "tools": text})
