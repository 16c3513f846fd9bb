"""Where a prompt comes from: the arguments, files, and what is piped in; and what goes with it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from blazen.cli.output import is_typed
from blazen.errors import ValidationError

if TYPE_CHECKING:
    from blazen.types.chat import ChatMessage

_LARGEST = 64 << 20


def whole_prompt(words: Sequence[str], files: Sequence[Path]) -> str:
    """Join what the user typed, the files, and standard input, in this order.

    Standard input is read where it is no terminal, or where ``-`` asks for it.
    """
    wanted = "-" in words
    typed = as_text(" ".join(word for word in words if word != "-"))
    pieces = [typed, *map(read_text, files)]
    if wanted or not is_typed():
        pieces.append(piped())
    return "\n\n".join(piece.strip("\n") for piece in pieces if piece.strip())


def as_text(text: str) -> str:
    """Give an argument as a text that models take: bytes that are no UTF-8 get a mark instead."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def message_of(text: str, images: Sequence[str], sounds: Sequence[str]) -> ChatMessage:
    """Make a user's message of a text, and of files or URLs of images and audio."""
    from blazen.types.chat import ChatMessage

    if not images and not sounds:
        return ChatMessage.user(text)
    from blazen.types.audio import Audio
    from blazen.types.image import Image

    attached = [*(Image.of(image) for image in images), *(Audio.of(sound) for sound in sounds)]
    return ChatMessage.user(*attached, *([text] if text else []))


def piped() -> str:
    """Give the text that is piped in."""
    # Bytes, as the system's own encoding may be another one than other programs write.
    data = b"" if sys.stdin is None else sys.stdin.buffer.read(_LARGEST + 1)
    if len(data) > _LARGEST:
        raise ValidationError("standard input is longer than 64 MiB: no prompt is")
    return data.decode("utf-8-sig", "replace").replace("\r\n", "\n")


def read_text(path: Path) -> str:
    """Give the text of a file that a prompt takes in."""
    if path.stat().st_size > _LARGEST:
        raise ValidationError(f"{path} is larger than 64 MiB: no prompt is")
    try:
        return path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValidationError(
            f"{path} is no text in UTF-8; attach it with --image or --audio if it is such"
        ) from error
