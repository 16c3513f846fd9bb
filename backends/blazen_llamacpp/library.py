"""The shared library of llama.cpp: loaded once, its words sent to Python's logging."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import logging
import threading
from collections.abc import Iterator
from typing import Any

_log = logging.getLogger("blazen.llamacpp")
# Without a handler Python itself would print errors, and the exception has told them already.
_log.addHandler(logging.NullHandler())

_WARN, _ERROR, _CONTINUED = 3, 4, 5  # of ggml_log_level
# What the engine warns of is everyday business: a context shorter than the model's, a full cache.
_LEVELS = {_WARN: logging.INFO, _ERROR: logging.ERROR}

_opening = threading.Lock()
_lines: dict[int, list[str]] = {}
_captured: dict[int, list[str]] = {}


@functools.cache
def load_library() -> Any:
    """Give the module of llama.cpp's functions, ready for use."""
    import llama_cpp

    with _opening:  # of two models loaded at once, each would else make a callback, and one dies
        # It replaces the callback of llama-cpp-python, which prints; both must live for ever.
        llama_cpp.llama_log_set(_listen(), ctypes.c_void_p(0))
        llama_cpp.llama_backend_init()
    return llama_cpp


@contextlib.contextmanager
def captured_errors() -> Iterator[list[str]]:
    """Collect what the engine says of failures on this thread, for the error to be raised."""
    thread = threading.get_ident()
    errors = _captured[thread] = []
    try:
        yield errors
    finally:
        del _captured[thread]


def words(errors: list[str]) -> str:
    """Join the engine's own words for a message."""
    return "; ".join(dict.fromkeys(errors)) or "it did not say why (see the log 'blazen.llamacpp')"


@functools.cache
def _listen() -> Any:
    import llama_cpp

    levels: dict[int, int] = {}

    def listen(level: int, text: bytes, _: Any) -> None:
        thread = threading.get_ident()
        if level != _CONTINUED:
            levels[thread] = level
        level = levels.get(thread, level)
        if level not in _LEVELS and not _log.isEnabledFor(logging.DEBUG):
            return
        parts = _lines.setdefault(thread, [])
        parts.append(text.decode("utf-8", "replace"))
        if not text.endswith(b"\n"):
            return
        del _lines[thread]
        _write(level, "".join(parts).strip(), _captured.get(thread))

    return llama_cpp.llama_log_callback(listen)


def _write(level: int, line: str, errors: list[str] | None) -> None:
    if level == _ERROR and errors is not None:
        errors.append(line)
        level = _WARN
    if line:
        _log.log(_LEVELS.get(level, logging.DEBUG), "%s", line)
