"""From messages to a model's prompt, and from what it generates to an answer; no engine here."""

from blazen.chat.plan import Plan
from blazen.chat.reader import AnswerReader
from blazen.chat.template import ChatTemplate

__all__ = ["AnswerReader", "ChatTemplate", "Plan"]
