"""What a front end adds around a chat model: a rewritten prompt, skills, kept conversations."""

from __future__ import annotations

from blazen.assistant.conversations import Conversation as Conversation
from blazen.assistant.conversations import ConversationStore as ConversationStore
from blazen.assistant.skills import Skill as Skill
from blazen.assistant.skills import Skills as Skills
from blazen.assistant.thinking import Thinking as Thinking

__all__ = ["Conversation", "ConversationStore", "Skill", "Skills", "Thinking"]
