"""Keeping diffusers quiet while it builds modules."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep bars off the terminal: progress is reported to who asked for it."""
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
            # What they will change in a later version is no news to those who use this one.
            warnings.simplefilter("ignore")
            yield
    finally:
        for library, enabled in kept:
            if enabled:
                library.enable_progress_bar()
