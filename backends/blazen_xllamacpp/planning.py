"""Which of the engine's ways a request goes, and what it is made of."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from blazen.errors import UnsupportedError, ValidationError
from blazen.types.chat import ChatMessage, Prompt, Role
from blazen.types.completion import CompletionOptions
from blazen.weights.gguf import GgufFile
from blazen.weights.gguf.vocabulary import check_room, longest_token
from blazen_xllamacpp.answering import Work
from blazen_xllamacpp.reading import ParsedReader, TextReader
from blazen_xllamacpp.wire import check_request, check_tokens, write_chat, write_options

if TYPE_CHECKING:
    from blazen.chat.template import ChatTemplate

_WORD_TRIGGER = 1
_MARK = re.compile(r"<[^<>\s'\"{}]{1,40}>|\[/?[A-Z_]{3,30}\]")


@dataclass
class Facts:
    """What a model's file says that requests depend on."""

    name: str
    template: ChatTemplate | None
    context: int
    """How many tokens one request may have."""
    longest_token: Callable[[], int]
    vocabulary: int
    bos: str
    adds_bos: bool
    """Whether the engine puts the BOS token before a text."""
    ends: frozenset[str]
    """The texts of the tokens that end an answer."""
    media: tuple[str, ...] = ()
    marks: tuple[str, ...] = field(default=())
    """Marks of the model's family: their tokens have a text that must come with the answer."""

    @classmethod
    def of(
        cls,
        gguf: GgufFile,
        *,
        chat_template: str | None,
        context: int,
        media: tuple[str, ...] = (),
    ) -> Facts:
        """Read them from the header."""
        source = chat_template or gguf.chat_template
        tokenizer = gguf.tokenizer
        texts = tokenizer.texts if tokenizer is not None else {}
        ends = frozenset(texts[name] for name in ("eos", "eot", "eom") if name in texts)
        template = None
        if source is not None:
            from blazen.chat.template import ChatTemplate

            template = ChatTemplate(
                source, bos=texts.get("bos", ""), eos=texts.get("eos", ""), name=gguf.path.name
            )
        return cls(
            gguf.path.name,
            template,
            context,
            partial(longest_token, gguf),
            gguf.vocab_size,
            texts.get("bos", ""),
            _adds_bos(gguf),
            ends,
            media,
            tuple(dict.fromkeys(m for m in _MARK.findall(source or "") if m not in ends)),
        )


def plan_work(
    facts: Facts, given: Prompt | Sequence[ChatMessage], options: CompletionOptions
) -> Work:
    """Decide how a request is answered; what can't be is refused here, before any work.

    The engine's own template and parser answer plain conversations, and those with tools of a
    family that only it knows. All else goes through `Plan`: the engine takes a grammar for
    reasoning as well, lets required calls out, and loses some of the likelihoods.
    """
    check_request(given, options, facts.media, facts.name)
    check_tokens(given, options.logit_bias, facts.vocabulary)
    check_room(_characters(given), facts.context, facts.longest_token)
    request = write_options(options)
    if isinstance(given, Prompt):
        return _prompt_work(facts, given, options, request)
    template = facts.template
    if template is None:
        # The engine would take another model's template without a word.
        raise UnsupportedError(
            f"{facts.name} has no chat template: it is a base model, which continues texts and "
            "does not answer; give it a Prompt, or use the instruction-tuned version of it"
        )
    shown = any(not isinstance(part, str) for message in given for part in message.parts)
    if _engine_answers(given, options, template, shown=shown):
        return _parsed_work(given, options, template, request, shown=shown)
    if shown:
        raise UnsupportedError(
            "images and audio go with plain answers: leave out tools, logprobs, response_format "
            "and reasoning"
        )
    from blazen.chat.plan import Plan

    plan = Plan.of(list(given), options, template)
    prompt = _without_double_bos(plan.prompt, facts)
    request["prompt"] = prompt
    request["preserved_tokens"] = [*facts.marks, *plan.triggers]
    if plan.grammar is not None:
        request["grammar"] = plan.grammar
    elif plan.lazy_grammar is not None:
        request |= {
            "grammar": plan.lazy_grammar,
            "grammar_lazy": True,
            "grammar_triggers": [{"type": _WORD_TRIGGER, "value": t} for t in plan.triggers],
        }
    reader = TextReader((), plan.reader(), options.logprobs)
    return Work(request, reader, _key(given, options), prompt=lambda: prompt)


def _characters(given: Prompt | Sequence[ChatMessage]) -> int:
    """Give how many there are at least in what the engine will read."""
    if isinstance(given, Prompt):
        return len(given.text) if isinstance(given.text, str) else 0
    return sum(len(part) for m in given for part in m.parts if isinstance(part, str))


def _prompt_work(
    facts: Facts, given: Prompt, options: CompletionOptions, request: dict[str, Any]
) -> Work:
    text = given.text
    prompt = _without_double_bos(text, facts) if isinstance(text, str) else text
    if not prompt and not facts.adds_bos:
        # The engine would answer nothing at all, as if it had come to the end of a text.
        raise ValidationError("the prompt is empty, and this model needs something to go on from")
    request["prompt"] = prompt
    if options.response_format is not None:
        from blazen.schema import grammar_of

        request["grammar"] = grammar_of(options.response_format)
    key = prompt if isinstance(prompt, str) else " ".join(map(str, prompt))
    return Work(
        request, TextReader(tuple(options.stop), None, options.logprobs), key, prompt=lambda: prompt
    )


def _parsed_work(
    given: Sequence[ChatMessage],
    options: CompletionOptions,
    template: ChatTemplate,
    request: dict[str, Any],
    *,
    shown: bool,
) -> Work:
    choice = options.tool_choice
    must_call = choice not in ("auto", "none")
    request |= write_chat(given, options)
    if must_call:
        # It knows no choice by name: the one tool is all that it is shown.
        request["tool_choice"] = "required"
        if choice != "required":
            tools = request["tools"]
            request["tools"] = [tool for tool in tools if tool["function"]["name"] == choice]
    if options.response_format is not None:
        from blazen.schema import grammar_of

        request["grammar"] = grammar_of(options.response_format)
    reader = ParsedReader(
        tuple(options.stop), parallel=options.parallel_tool_calls, must_call=must_call
    )
    tools = () if choice == "none" else options.tools

    def prompt() -> str:
        return template.render(given, tools)

    key = _key(given, options)
    return Work(request, reader, key, parsed=True, prompt=None if shown else prompt)


def _key(given: Sequence[ChatMessage], options: CompletionOptions) -> str:
    """Give what a conversation begins with, whichever way it goes: tools are told of first."""
    tools = () if options.tool_choice == "none" else options.tools
    told = "".join(f"{tool.name}\n" for tool in tools)
    return told + "".join(f"{message.role.value}\n{message.text}\n" for message in given)


def _engine_answers(
    given: Sequence[ChatMessage],
    options: CompletionOptions,
    template: ChatTemplate,
    *,
    shown: bool,
) -> bool:
    if options.logprobs is not None or options.reasoning is not None:
        return False
    tools = options.tools and options.tool_choice != "none"
    told = any(message.tool_calls or message.role is Role.Tool for message in given)
    if options.response_format is not None:
        return shown and not tools and not template.can_reason
    if told and not (template.shows_calls and template.shows_tool_answers):
        return False
    if tools or told:
        return template.takes_tools and (template.calls is None or options.tool_choice == "auto")
    return options.tool_choice in ("auto", "none")


def _without_double_bos(text: str, facts: Facts) -> str:
    """Leave the beginning to the engine, where it writes it by itself."""
    if facts.adds_bos and facts.bos and text.startswith(facts.bos):
        return text[len(facts.bos) :]
    return text


def _adds_bos(gguf: GgufFile) -> bool:
    tokenizer = gguf.tokenizer
    if tokenizer is None:
        return False
    if tokenizer.add_bos is not None:
        return tokenizer.add_bos
    # What the engine assumes of a file that does not say.
    return tokenizer.model in ("llama", "bert") or tokenizer.pre in _BOS_FIRST


_BOS_FIRST = ("llama3", "llama-v3", "llama-bpe", "falcon3", "falcon-h1", "pixtral", "tekken")
