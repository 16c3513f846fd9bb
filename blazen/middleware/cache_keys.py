"""What makes two requests the same one."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

from blazen.errors import ValidationError
from blazen.manager.learned import key_of
from blazen.middleware.wrapping import Inner, Middleware
from blazen.types.chat import Messages, Prompt, as_messages
from blazen.types.completion import CompletionOptions
from blazen.types.record import encode

FORMAT = 1
"""The version of keys and of what is kept under them; another one finds nothing of this one's."""

_SECRETS = {
    "apikey", "auth", "authorization", "cookie", "credential", "credentials", "key", "keys",
    "password", "secret", "secrets", "token", "tokens",
}  # fmt: skip
"""Words in the names of what must not be a part of a key, unless it is a number."""
_NOT_THE_ANSWER = {
    "allow_http", "api_key", "headers", "max_bytes", "organization", "price", "project", "retry",
    "timeouts",
}  # fmt: skip
"""Options of a provider that an answer does not depend on, or that nobody else should see."""


def identity_of(model: Any) -> str | None:
    """Name a model by what its answers depend on; ``None`` where that does not show.

    Of one on this machine that includes its file's age and size and the engine's version. Keys and
    headers are never a part of it.
    """
    facts = _facts(model)
    return None if facts is None else json.dumps(facts, sort_keys=True)


def _facts(model: Any) -> Any:
    if isinstance(model, Middleware):
        inners = getattr(model, "models", None) or (model.__dict__["_inner"].model,)
        every = [_facts(inner) for inner in inners]
        return None if None in every else every[0] if len(every) == 1 else every
    options = getattr(model, "options", None)
    if not dataclasses.is_dataclass(options) or isinstance(options, type):
        return None
    if Inner.of(model).is_local:
        return key_of(model)
    cls, base_url = type(model), getattr(model, "base_url", None)
    try:
        said = {
            field.name: _plain(getattr(options, field.name))
            for field in dataclasses.fields(options)
            if field.name not in _NOT_THE_ANSWER
            and not _is_secret(field.name, getattr(options, field.name))
        }
    except ValidationError:
        return None
    where = base_url if isinstance(base_url, str) else None
    return [f"{cls.__module__}.{cls.__qualname__}", said, where]


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items() if not _is_secret(str(k), v)}
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    return encode(value)


def _is_secret(name: str, value: Any) -> bool:
    words = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)
    return not isinstance(value, (bool, int, float)) and not _SECRETS.isdisjoint(
        word.lower() for word in words
    )


async def key_of_request(identity: str, messages: Messages, options: CompletionOptions) -> str:
    """Give the hash of a request: its messages, with the content of images and sounds, its options.

    An image or a sound that is a URL counts as the URL: it is not fetched for this.
    """
    chat = None if isinstance(messages, Prompt) else as_messages(messages)
    if chat is not None and not all(isinstance(p, str) for one in chat for p in one.parts):
        # Files are read and pictures encoded for it.
        return await asyncio.to_thread(_hash, identity, messages, options)
    return _hash(identity, messages, options)


def _hash(identity: str, messages: Messages, options: CompletionOptions) -> str:
    said = (
        {"prompt": messages.text}
        if isinstance(messages, Prompt)
        else [message.to_dict() for message in as_messages(messages)]
    )
    request = {"format": FORMAT, "model": identity, "said": said, "options": options.to_dict()}
    # Escaped: half a surrogate pair has no bytes of its own.
    text = json.dumps(request, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("ascii")).hexdigest()
