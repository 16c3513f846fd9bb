"""What the HTTP client may log of our requests: nothing that could be secret.

It logs each URL with its query, where signatures and keys stand, and the headers of each answer.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from blazen.remote.url import shown

_CLIENT = "httpx2"
_WIRE = tuple(f"httpcore2.{part}" for part in ("connection", "http11", "proxy", "socks"))

_ours: ContextVar[bool] = ContextVar("ours", default=False)


@contextmanager
def kept_short() -> Iterator[None]:
    """Keep what is logged here, and only here, free of queries and headers."""
    _watch()
    token = _ours.set(True)
    try:
        yield
    finally:
        _ours.reset(token)


@functools.cache
def _watch() -> None:
    for name in (_CLIENT, *_WIRE):
        logging.getLogger(name).addFilter(_shorten)


def _shorten(record: logging.LogRecord) -> bool:
    if not _ours.get():
        return True
    if record.name != _CLIENT:
        record.msg = str(record.msg).partition(" return_value=")[0]
    elif isinstance(record.args, tuple):
        record.args = tuple(
            shown(str(value)) if type(value).__name__ == "URL" else value for value in record.args
        )
    return True
