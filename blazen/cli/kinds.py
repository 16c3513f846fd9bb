"""Kinds of models as users write them: ``chat`` and ``speech`` as well as the registry's words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

KIND_WORDS = {
    "chat": "model",
    "model": "model",
    "embedding": "embedding",
    "transcription": "transcription",
    "speech": "tts",
    "tts": "tts",
    "image": "image",
    "mesh": "three_d",
    "three_d": "three_d",
    "rerank": "rerank",
    "sparse": "sparse",
    "token_embedding": "token_embedding",
    "image_embedding": "image_embedding",
}
"""What users may write, and the registry's word for it."""


def kind_option(command: F) -> F:
    """Add ``--kind``; the command gets the registry's word as ``kind``, or ``None``."""
    option = click.option(
        "--kind",
        type=click.Choice(list(KIND_WORDS), case_sensitive=False),
        callback=lambda ctx, param, value: None if value is None else KIND_WORDS[value],
        metavar="KIND",
        help="Only these: chat, embedding, transcription, speech, image, mesh, rerank, ...",
    )
    return option(command)
