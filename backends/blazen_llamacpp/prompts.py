"""From what a caller asks to what the engine reads, with all refusals that need no engine."""

from __future__ import annotations

from blazen.chat.cursor import Cursor, Reading
from blazen.chat.plan import Plan
from blazen.chat.sink import Sink
from blazen.chat.template import ChatTemplate
from blazen.errors import ContextLengthError, UnsupportedError, ValidationError
from blazen.types.audio import Audio
from blazen.types.chat import Messages, Prompt, as_messages
from blazen.types.completion import CompletionOptions
from blazen.weights.gguf.vocabulary import check_room
from blazen_llamacpp.vocabulary import Vocabulary


def check_request(messages: Messages, options: CompletionOptions) -> Messages:
    """Give the messages as they are to be kept; refuse what no model of this backend can do."""
    if isinstance(messages, Prompt):
        for name in ("tools", "reasoning"):
            if getattr(options, name):
                raise UnsupportedError(
                    f"a bare Prompt has no {name}: give messages, or leave it out"
                )
        return messages
    given = as_messages(messages)
    for part in (part for message in given for part in message.parts):
        if not isinstance(part, str):
            what = "audio" if isinstance(part, Audio) else "images"
            raise UnsupportedError(
                f"the 'llamacpp' backend takes no {what} in messages: leave it out, or use the "
                "'xllamacpp' backend with a projector"
            )
    return given


def plan_request(
    messages: Messages,
    options: CompletionOptions,
    template: ChatTemplate | None,
    vocabulary: Vocabulary,
    name: str,
    limit: int,
) -> tuple[Plan, list[int]]:
    """Give how the answer is held and read, and the tokens of the prompt."""
    if isinstance(messages, Prompt):
        grammar = None
        if options.response_format is not None:
            from blazen.schema import grammar_of

            grammar = grammar_of(options.response_format)
        stop = tuple(options.stop)
        text = messages.text if isinstance(messages.text, str) else ""
        plan = Plan(text, grammar=grammar, stop=stop, script=_plain)
        if isinstance(messages.text, str):
            check_room(len(text), limit, vocabulary.longest)
            return plan, vocabulary.prompt(text)
        return plan, _checked(messages.text, vocabulary)
    if template is None:
        raise UnsupportedError(
            f"{name} has no chat template: it is a base model, which continues texts and does not "
            "answer; give it a Prompt, use its instruction-tuned version, or name a chat_template"
        )
    plan = Plan.of(messages, options, template)
    check_room(len(plan.prompt), limit, vocabulary.longest)
    return plan, vocabulary.prompt(plan.prompt)


def check_length(tokens: list[int], limit: int) -> None:
    """Refuse a prompt that leaves no room for an answer, or that is none."""
    if not tokens:
        raise ValidationError("the prompt is empty, and this model needs something to go on from")
    if len(tokens) >= limit:
        raise ContextLengthError(
            f"the prompt has {len(tokens)} tokens and the context holds {limit}, the answer "
            "included: shorten it, or load the model with a larger context_length",
            tokens=len(tokens),
            limit=limit,
        )


def _checked(tokens: list[int], vocabulary: Vocabulary) -> list[int]:
    unknown = [token for token in tokens if token >= vocabulary.size]
    if unknown:
        raise ValidationError(
            f"the prompt holds the token {unknown[0]}, and the model knows {vocabulary.size}"
        )
    return tokens


def _plain(cursor: Cursor, sink: Sink) -> Reading[None]:
    """Read an answer in which nothing is a mark of anything."""
    while True:
        sink.content(cursor.text[cursor.at :])
        cursor.at = len(cursor.text)
        if not (yield from cursor.more()):
            return
