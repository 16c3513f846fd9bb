"""Tools for templates that know none: shown in the system message, called in the Hermes form."""

from __future__ import annotations

import json
from collections.abc import Sequence

from blazen.chat.calls.json_calls import JsonCalls
from blazen.chat.writing import write_tool
from blazen.types.chat import ChatMessage, Role, Tool

_TELL = """\
You can call these functions, each given as a JSON schema between <tools> and </tools>:
<tools>
{tools}
</tools>

To call one, write its name and its arguments as JSON between <tool_call> and </tool_call>:
<tool_call>
{{"name": "...", "arguments": {{...}}}}
</tool_call>
The result will come between <tool_response> and </tool_response>."""


def show_tools(messages: Sequence[ChatMessage], tools: Sequence[Tool]) -> list[ChatMessage]:
    """Put the tools at the end of the system message; make one where there is none."""
    text = "\n".join(json.dumps(write_tool(tool), ensure_ascii=False) for tool in tools)
    told = _TELL.format(tools=text)
    if messages and messages[0].role is Role.System:
        first = ChatMessage.system(f"{messages[0].text}\n\n{told}")
        return [first, *messages[1:]]
    return [ChatMessage.system(told), *messages]


def calls_as_text(
    messages: Sequence[ChatMessage], form: JsonCalls, *, answers: bool
) -> list[ChatMessage]:
    """Write earlier calls as the text they were; with ``answers`` also what the tools answered.

    Answers become a user's message, and join one that follows: many templates want the roles to
    take turns.
    """
    written: list[ChatMessage] = []
    joins = False
    for message in messages:
        if message.role is Role.Tool and answers:
            message = ChatMessage.user(f"<tool_response>\n{message.text}\n</tool_response>")
            is_answer = True
        else:
            is_answer = False
        if message.tool_calls:
            text = "\n".join(filter(None, [message.text, form.write(message.tool_calls)]))
            message = ChatMessage(Role.Assistant, text, message.name)
        if joins and message.role is Role.User:
            before = written.pop()
            message = ChatMessage(Role.User, [*before.parts, "\n", *message.parts])
        joins = is_answer
        written.append(message)
    return written
