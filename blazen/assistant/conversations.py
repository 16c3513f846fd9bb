"""Conversations kept as files: one JSON file each, in the place that this system has for data."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import secrets
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from blazen.errors import BlazenError, ValidationError
from blazen.types.chat import ChatMessage, Role
from blazen.types.record import Record

_log = logging.getLogger("blazen.assistant")

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_TITLE = 60


def data_folder() -> Path:
    """Give the folder for what users keep: ``BLAZEN_DATA``, else this system's own place."""
    chosen = os.environ.get("BLAZEN_DATA")
    if chosen:
        return Path(chosen).expanduser()
    import platformdirs

    return Path(platformdirs.user_data_dir("blazen", appauthor=False))


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def _new_id() -> str:
    return f"{datetime.now(timezone.utc):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"


@dataclass(frozen=True)
class Conversation(Record):
    """A conversation as it is kept: what was said, and with which model and settings."""

    id: str = field(default_factory=_new_id)
    title: str = ""
    model: str | None = None
    system: str | None = None
    messages: tuple[ChatMessage, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)
    created: str = field(default_factory=_now)
    changed: str = field(default_factory=_now)

    def __post_init__(self) -> None:
        if not isinstance(self.id, str) or not _ID.fullmatch(self.id):
            raise ValidationError(
                f"a conversation's id is letters, digits, '-' and '_', not {self.id!r:.80}"
            )
        object.__setattr__(self, "messages", tuple(self.messages))

    def said(self, *messages: ChatMessage) -> Conversation:
        """Give the conversation with more messages, and with a title from the first prompt."""
        everything = (*self.messages, *messages)
        first = next((m.text for m in everything if m.role is Role.User and m.text.strip()), "")
        return replace(self, messages=everything, title=self.title or _title(first), changed=_now())


class ConversationStore:
    """A folder of conversations, which only its owner may read."""

    def __init__(self, folder: str | os.PathLike[str] | None = None) -> None:
        self.folder = Path(folder) if folder is not None else data_folder() / "conversations"

    def list(self) -> list[Conversation]:
        """Give all conversations, the one that changed last first; broken files are left out."""
        found: list[Conversation] = []
        for path in self.folder.glob("*.json"):
            try:
                found.append(Conversation.from_json(path.read_bytes()))
            except (BlazenError, OSError) as error:  # noqa: PERF203 - one must not hide the others
                _log.warning("the conversation in %s can't be read: %s", path, error)
        return sorted(found, key=lambda c: (c.changed, c.id), reverse=True)

    def load(self, id: str | None = None) -> Conversation:  # noqa: A002
        """Give a conversation by its id or the beginning of it; without one, the last."""
        if id is None:
            newest = self.list()
            if not newest:
                raise ValidationError(f"no conversation is kept in {str(self.folder)!r} yet")
            return newest[0]
        return Conversation.from_json(self._path(id).read_bytes())

    def save(self, conversation: Conversation) -> Path:
        """Write a conversation, whole or not at all."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = self.folder / f"{conversation.id}.json"
        partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        try:
            with os.fdopen(os.open(partial, flags, 0o600), "w", encoding="utf-8") as file:
                file.write(conversation.to_json(indent=1))
            partial.replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                partial.unlink()
            raise
        return path

    def remove(self, id: str) -> None:  # noqa: A002
        """Delete a conversation, named as in `load`."""
        self._path(id).unlink()

    def _path(self, id: str) -> Path:  # noqa: A002
        ids = [path.stem for path in self.folder.glob("*.json")]
        fitting = [id] if id in ids else [known for known in ids if known.startswith(id)]
        if len(fitting) == 1:
            return self.folder / f"{fitting[0]}.json"
        if fitting:
            raise ValidationError(
                f"{id!r} begins the ids of {len(fitting)} conversations: "
                f"{', '.join(sorted(fitting)[:5])}; give more of it"
            )
        raise ValidationError(f"there is no conversation {id!r} in {str(self.folder)!r}")


def _title(prompt: str) -> str:
    line = " ".join(prompt.split())
    return line if len(line) <= _TITLE else line[: _TITLE - 1].rstrip() + "…"
