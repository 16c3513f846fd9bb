"""The grammar that a whole answer follows: reasoning, then calls, or the format asked for."""

from __future__ import annotations

import re
from collections.abc import Sequence

from blazen.chat.calls.form import MOST_CALLS, CallForm
from blazen.chat.calls.free_text import text_before
from blazen.chat.calls.harmony import HarmonyCalls, harmony_answer, harmony_reasoning
from blazen.chat.reasoning import ReasoningMarks
from blazen.types.chat import Tool
from blazen.types.response_format import ResponseFormat

_WORD = re.compile(
    r'"(?:\\.|[^"\\])*"|\[(?:\\.|[^\]\\])*\]|#[^\n]*|!?<\[?[^>\n]*>|(?P<name>[A-Za-z][\w-]*)'
)


def answer_grammar(
    wanted: ResponseFormat | None,
    form: CallForm | None,
    tools: Sequence[Tool],
    *,
    most: int = MOST_CALLS,
    marks: ReasoningMarks | None = None,
    reasoning: bool = False,
    lazy: bool = False,
) -> str:
    """Write the grammar of an answer in a format, or of calls, or of either where both are given.

    With ``marks`` the answer may reason first; with ``reasoning`` it is at it already. A ``lazy``
    one holds from the beginning of the first call.
    """
    from blazen.schema import Grammar, grammar_of

    harmony = isinstance(form, HarmonyCalls)
    if wanted is not None and not tools and marks is None and not harmony:
        return grammar_of(wanted)
    grammar = Grammar()
    extra = ""
    options = []
    if wanted is not None:
        answer = grammar.reserve("answer")
        extra = _renamed(grammar_of(wanted), answer)
        grammar.define(answer, f"{answer}-root")
        options.append(harmony_answer(grammar, answer) if harmony else answer)
    if tools and form is not None:
        options.append(form.rule(grammar, tools, most=most))
    root = options[0] if len(options) == 1 else f"({' | '.join(options)})"
    if harmony and not lazy:
        root = f"{harmony_reasoning(grammar)} {root}"
    elif marks is not None:
        block = f"{text_before(grammar, marks.close)} [ \\n]{{0,4}}"
        if not reasoning:
            block = f'("\\n"? {grammar.literal(marks.open)} {block})?'
        root = f"{block} {root}"
    grammar.root(root)
    return f"{grammar}{extra}"


def _renamed(gbnf: str, prefix: str) -> str:
    """Give every rule of a grammar another name, so that two grammars can be one."""

    def rename(found: re.Match[str]) -> str:
        return f"{prefix}-{found[0]}" if found["name"] else found[0]

    return _WORD.sub(rename, gbnf)
