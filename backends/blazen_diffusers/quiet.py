"""Keeping diffusers and transformers quiet about what is no news to who uses blazen."""

from __future__ import annotations

import contextlib
import logging
import threading
import warnings
from collections.abc import Iterator

_NOISE = (
    "requires torchvision (not installed)",  # it is not needed
    "No LoRA keys associated to",  # one without any is refused by name
    "that should be kept in float32",  # number types are ours to choose
    "cannot run with `cpu` device",  # on today's torch it can
    "An error occurred while trying to fetch",  # safetensors, where pickles were asked for
    "Defaulting to unsafe serialization",
    "Running this sequence through the model",  # it is cut, and the answer tells where
    "was truncated because",
)
"""What log lines of the two hold that we answer for ourselves."""


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep bars off the terminal while modules are built: progress is reported to who asked."""
    with hushed():
        from diffusers.utils import logging as diffusers_logging
        from transformers.utils import logging as transformers_logging

        kept = [
            (library, library.is_progress_bar_enabled())
            for library in (diffusers_logging, transformers_logging)
        ]
        for library, _ in kept:
            library.disable_progress_bar()
        try:
            with warnings.catch_warnings():
                # What they will change in a later version is no news to who uses this one.
                warnings.simplefilter("ignore")
                yield
        finally:
            for library, enabled in kept:
                if enabled:
                    library.enable_progress_bar()


@contextlib.contextmanager
def hushed() -> Iterator[None]:
    """Leave out the lines that are not for the user, of what this thread does meanwhile."""
    import diffusers
    import transformers

    handlers = [
        handler
        for library in (diffusers, transformers)
        for handler in logging.getLogger(library.__name__).handlers
    ]
    thread = threading.get_ident()

    def is_news(record: logging.LogRecord) -> bool:
        return record.thread != thread or not any(one in record.getMessage() for one in _NOISE)

    for handler in handlers:
        handler.addFilter(is_news)
    try:
        yield
    finally:
        for handler in handlers:
            handler.removeFilter(is_news)
