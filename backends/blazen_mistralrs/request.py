"""From messages and options to a request of mistral.rs; what it can't do is refused by name."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from blazen.chat.cursor import Cursor, Reading
from blazen.chat.plan import Plan
from blazen.chat.sink import Sink
from blazen.errors import UnsupportedError, ValidationError
from blazen.types.audio import Audio
from blazen.types.chat import ChatMessage, Messages, Part, Prompt, as_messages
from blazen.types.completion import CompletionOptions
from blazen_mistralrs.lark import write_lark
from blazen_mistralrs.sources import Source

REFUSED = {
    "typical_p": "it has no typical sampling",
    "mirostat": "it has no mirostat",
    "mirostat_tau": "it has no mirostat",
    "mirostat_eta": "it has no mirostat",
    "seed": "it draws for all requests from one seed, which is set when the model loads",
}
"""Options that mistral.rs does not have, and why."""

_FIELDS = {
    "temperature": "temperature",
    "top_p": "top_p",
    "repeat_penalty": "repetition_penalty",
    "presence_penalty": "presence_penalty",
    "frequency_penalty": "frequency_penalty",
}


_STRICTEST = 1 - 1e-6


@dataclass(frozen=True)
class Request:
    """What the engine is asked, but for how many tokens it may give."""

    plan: Plan
    tokens: tuple[int, ...] = ()
    """The prompt, where it was given as tokens."""
    messages: list[dict[str, Any]] | None = None
    """For a model that sees: the engine renders these itself, and puts the images in."""
    fields: dict[str, Any] = field(default_factory=dict)


def check_request(
    messages: Messages, options: CompletionOptions, name: str
) -> Prompt | list[ChatMessage]:
    """Give the messages, checked; refuse what no model of this backend can do."""
    options.refuse("mistralrs", REFUSED)
    if options.repeat_penalty == 0:
        raise ValidationError("repeat_penalty must be above 0 for mistral.rs: 1 has no effect")
    if isinstance(messages, Prompt):
        if options.tools and options.tool_choice != "none":
            raise UnsupportedError("a Prompt has no place for tools: give messages")
        if options.reasoning is not None:
            raise UnsupportedError("a Prompt has no place for reasoning: give messages")
        return messages
    given = as_messages(messages)
    if any(isinstance(part, Audio) for message in given for part in message.parts):
        raise UnsupportedError("the 'mistralrs' backend takes no audio in messages: leave it out")
    if _shows(given) and name.lower().endswith(".gguf"):
        raise UnsupportedError(_BLIND.format(name=name))
    return given


_BLIND = (
    "{name} takes no images in messages: leave them out, or load a folder of safetensors of a "
    "model that sees"
)


def write_request(
    source: Source, given: Prompt | list[ChatMessage], options: CompletionOptions
) -> Request:
    """Write a request for a loaded model."""
    fields = _sampling(options)
    tokens: tuple[int, ...] = ()
    messages = None
    if isinstance(given, Prompt):
        if source.sees:
            raise UnsupportedError(
                f"mistral.rs renders the messages of {source.path.name} itself, so that it takes "
                "no bare Prompt: give messages"
            )
        plan = _plain_plan(given, options)
        if not isinstance(given.text, str):
            tokens = tuple(given.text)
    else:
        plan = _chat_plan(source, given, options)
        if source.sees:
            messages = [_write_message(message) for message in given]
    _check_tokens((*tokens, *options.logit_bias), source)
    if plan.grammar is not None:
        fields["grammar_type"] = "lark"
        fields["grammar"] = _ended(write_lark(plan.grammar), source)
    return Request(plan, tokens, messages, fields)


def _sampling(options: CompletionOptions) -> dict[str, Any]:
    fields = {theirs: getattr(options, ours) for ours, theirs in _FIELDS.items()}
    fields = {name: value for name, value in fields.items() if value is not None}
    # What llama.cpp does where nothing is asked for: its own would be to limit nothing at all.
    fields = {"temperature": 0.8, "top_p": 0.95, **fields}
    top_k = 40 if options.top_k is None else options.top_k
    if top_k:  # 0 is no limit, which here is said by leaving it out
        fields["top_k"] = top_k
    # It takes 1 for "no limit", where all others take it for the most.
    fields["min_p"] = 0.05 if options.min_p is None else min(options.min_p, _STRICTEST)
    if options.logit_bias:
        fields["logit_bias"] = dict(options.logit_bias)
    if options.logprobs is not None:
        fields |= {"logprobs": True, "top_logprobs": options.logprobs}
    return fields


def _plain_plan(prompt: Prompt, options: CompletionOptions) -> Plan:
    grammar = None
    if options.response_format is not None:
        from blazen.schema import grammar_of

        grammar = grammar_of(options.response_format)
    text = prompt.text if isinstance(prompt.text, str) else ""
    return Plan(text, grammar=grammar, stop=tuple(options.stop), script=_plain)


def _chat_plan(source: Source, given: list[ChatMessage], options: CompletionOptions) -> Plan:
    name = source.path.name
    if source.template is None:
        raise UnsupportedError(
            f"{name} has no chat template: it is a base model, which continues texts and does not "
            "answer; give it a Prompt, use its instruction-tuned version, or name a chat_template"
        )
    if _shows(given) and not source.sees:
        raise UnsupportedError(_BLIND.format(name=name))
    if source.sees and options.tools and options.tool_choice != "none":
        raise UnsupportedError(
            f"mistral.rs renders the messages of {name} itself: it takes no tools here, leave them "
            "out"
        )
    plan = Plan.of(given, options, source.template, media=("image",) if source.sees else ())
    lost = [mark for mark in plan.triggers if mark in source.control]
    if lost and plan.grammar is None:
        raise UnsupportedError(
            f"{name} begins a call of its tools with the token {lost[0]}, which mistral.rs leaves "
            "out of its answers: require a call with tool_choice, or use Model.llamacpp"
        )
    return plan


def _plain(cursor: Cursor, sink: Sink) -> Reading[None]:
    """Read an answer that has no marks: what continues a text is text."""
    sink.content(cursor.rest())
    while (yield from cursor.more()):
        sink.content(cursor.rest())


def _ended(lark: str, source: Source) -> str:
    """Have the answer end with the token that the engine stops at.

    At the end of a grammar it allows other tokens of control as well, which it does not stop at:
    some twenty of them, unseen, would follow.
    """
    start, _, rules = lark.partition("\n")
    return lark if source.eos_id is None else f"{start} <[{source.eos_id}]>\n{rules}"


def _check_tokens(tokens: tuple[int, ...], source: Source) -> None:
    beyond = [token for token in tokens if token >= (source.vocabulary or token + 1)]
    if beyond:
        raise ValidationError(
            f"there is no token {beyond[0]}: {source.path.name} knows {source.vocabulary}"
        )


def _shows(given: list[ChatMessage]) -> bool:
    return any(not isinstance(part, str) for message in given for part in message.parts)


def _write_message(message: ChatMessage) -> dict[str, Any]:
    if isinstance(message.content, str):
        return {"role": message.role.value, "content": message.content}
    return {"role": message.role.value, "content": [_write_part(part) for part in message.content]}


def _write_part(part: Part) -> dict[str, Any]:
    if isinstance(part, str):
        return {"type": "text", "text": part}
    assert not isinstance(part, Audio), "it was refused before"
    return {"type": "image_url", "image_url": {"url": part.to_data_url()}}
