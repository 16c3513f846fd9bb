"""What an engine is told, and how its answer is read."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from blazen.chat.answer import answer_script
from blazen.chat.calls.either import EitherCalls
from blazen.chat.calls.form import MOST_CALLS, CallForm
from blazen.chat.calls.harmony import HarmonyCalls, harmony_script
from blazen.chat.calls.json_calls import HERMES, JsonCalls
from blazen.chat.constraint import answer_grammar
from blazen.chat.generic import calls_as_text, show_tools
from blazen.chat.reader import AnswerReader, Script
from blazen.chat.reasoning import ReasoningMarks, answer_marks, is_open
from blazen.chat.template import ChatTemplate
from blazen.chat.writing import media_of
from blazen.errors import UnsupportedError, ValidationError
from blazen.types.audio import Audio
from blazen.types.chat import ChatMessage, Messages, Role, Tool, as_messages
from blazen.types.completion import CompletionOptions
from blazen.types.image import Image

MEDIA_MARK = "<__media__>"
"""Stands in the prompt for an image or an audio: llama.cpp's own default."""


@dataclass(frozen=True)
class Plan:
    """A request for an engine: the prompt, what the answer is held to, and a reader for it."""

    prompt: str
    """The text to read; where the template writes it, with the text of the BOS token."""
    grammar: str | None = None
    """GBNF that the whole answer follows, its reasoning included."""
    triggers: tuple[str, ...] = ()
    """The texts that begin a call, for an engine that can start a grammar there."""
    stop: tuple[str, ...] = ()
    """The caller's stop texts. The reader watches for them already."""
    media: tuple[Image | Audio, ...] = ()
    """What stands at each ``MEDIA_MARK`` of the prompt, in this order."""
    parallel: bool = True
    """Whether the reader lets an answer hold more than one call."""
    only_calls: bool = False
    """Whether the grammar lets nothing but calls come, after the reasoning."""
    script: Script = field(default_factory=answer_script, repr=False, compare=False)
    """How the answers of this model's family are read."""
    calls: Callable[[], str] | None = field(default=None, repr=False, compare=False)
    """Writes the grammar of calls that may come."""

    @classmethod
    def of(
        cls,
        messages: Messages,
        options: CompletionOptions,
        template: ChatTemplate,
        *,
        media: Collection[str] = (),
        media_mark: str = MEDIA_MARK,
    ) -> Plan:
        """Plan a request; what can't be is refused by name.

        ``media`` says which the engine takes beside text: ``"image"``, ``"audio"``.
        """
        given = as_messages(messages)
        shown = _check_media(given, template, media, media_mark)
        tools = _tools(options)
        native = template.takes_tools and template.calls is not None
        form = _form(template, native=native)
        given = _with_calls_written(given, template, form, native=native, told=bool(tools))
        if tools and not native:
            given = show_tools(given, tools)
        prompt = template.render(
            given, tools if native else (), options.reasoning, media_mark=media_mark
        )
        _check_text(prompt)
        marks = template.reasoning_marks
        inside = marks is not None and is_open(prompt, marks)
        grammar = _grammar(options, form, tools, _may_reason(marks, options, prompt), inside)
        lazy = grammar is None and tools and form.trigger
        if isinstance(template.calls, HarmonyCalls):
            script: Script = harmony_script
        else:
            script = answer_script(
                marks=marks,
                reasoning=inside,
                form=form if tools else None,
                tools=tools,
                dropped=answer_marks(template.source),
            )
        return cls(
            prompt,
            grammar,
            triggers=(form.trigger,) if lazy else (),
            stop=tuple(options.stop),
            media=shown,
            parallel=_most_calls(options) > 1,
            only_calls=_must_call(options),
            script=script,
            calls=functools.partial(
                answer_grammar, None, form, tools, most=_most_calls(options), lazy=True
            )
            if lazy
            else None,
        )

    @functools.cached_property
    def lazy_grammar(self) -> str | None:
        """GBNF that the answer follows from the first of the ``triggers`` on, that text included.

        An engine that can't may leave it out: calls are read all the same, but nothing holds their
        arguments to the schema. ``None`` also where a schema has what a grammar can't say.
        """
        try:
            return self.calls() if self.calls is not None else None
        except UnsupportedError:
            return None

    def reader(self) -> AnswerReader:
        """Give a reader for one answer."""
        return AnswerReader(
            self.script, stop=self.stop, parallel=self.parallel, only_calls=self.only_calls
        )


def _check_text(prompt: str) -> None:
    try:
        prompt.encode()
    except UnicodeEncodeError as error:
        raise ValidationError(
            f"the messages hold {prompt[error.start]!r}, a half of a character, which no model "
            "reads: decode the text they come from as UTF-8"
        ) from error


def _form(template: ChatTemplate, *, native: bool) -> CallForm:
    if template.calls is None or (native is False and isinstance(template.calls, HarmonyCalls)):
        return HERMES
    return template.calls if native else EitherCalls(HERMES, template.calls)


def _tools(options: CompletionOptions) -> tuple[Tool, ...]:
    """Give the tools that the model sees: none where it may not call any."""
    if options.tool_choice == "required" and not options.tools:
        raise ValidationError("tool_choice is 'required', and there are no tools: give some")
    return () if options.tool_choice == "none" else tuple(options.tools)


def _must_call(options: CompletionOptions) -> bool:
    return options.tool_choice not in ("auto", "none")


def _most_calls(options: CompletionOptions) -> int:
    several = options.tool_choice in ("auto", "none", "required") and options.parallel_tool_calls
    return MOST_CALLS if several else 1


def _grammar(
    options: CompletionOptions,
    form: CallForm,
    tools: tuple[Tool, ...],
    marks: ReasoningMarks | None,
    inside: bool,
) -> str | None:
    """Give the grammar of the whole answer; an answer that must call has no other format."""
    must = _must_call(options)
    wanted = None if must else options.response_format
    if wanted is None and not must:
        return None
    if must and options.tool_choice != "required":
        tools = tuple(tool for tool in tools if tool.name == options.tool_choice)
    most = _most_calls(options)
    return answer_grammar(wanted, form, tools, most=most, marks=marks, reasoning=inside)


def _may_reason(
    marks: ReasoningMarks | None, options: CompletionOptions, prompt: str
) -> ReasoningMarks | None:
    """Give the marks of the reasoning that an answer may begin with."""
    if marks is None or options.reasoning is False or prompt.rstrip().endswith(marks.close):
        return None
    return marks


def _with_calls_written(
    messages: list[ChatMessage],
    template: ChatTemplate,
    form: CallForm,
    *,
    native: bool,
    told: bool,
) -> list[ChatMessage]:
    """Write earlier calls, and what tools answered, as text where the template leaves them out.

    ``told``: the model is told in which form to call, and so its earlier calls are in that form.
    """
    if not any(message.tool_calls or message.role is Role.Tool for message in messages):
        return messages
    if not native:
        whole = template.shows_calls and template.shows_tool_answers and not told
        return messages if whole else calls_as_text(messages, HERMES, answers=True)
    if not isinstance(form, JsonCalls) or template.shows_calls:
        return messages
    return calls_as_text(messages, form, answers=not template.shows_tool_answers)


def _check_media(
    messages: list[ChatMessage], template: ChatTemplate, media: Collection[str], mark: str
) -> tuple[Image | Audio, ...]:
    shown = media_of(messages)
    for part in shown:
        kind = "audio" if isinstance(part, Audio) else "image"
        if kind not in media:
            raise UnsupportedError(
                f"{template.name} takes no {kind} in messages: leave it out, or load a model with "
                "a projector for it"
            )
    if shown and any(mark in message.text for message in messages):
        raise ValidationError(
            f"a message holds the text {mark!r}, which stands for images and audio: leave it out"
        )
    return shown
