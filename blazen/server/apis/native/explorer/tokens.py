"""The tokens of a GGUF file: their texts, and how a text becomes tokens."""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Sequence
from typing import Any

from blazen.errors import MissingExtraError, UnsupportedError, ValidationError
from blazen.server.apis.native.shapes import Token
from blazen.weights.gguf import GgufFile

_KINDS = {1: "normal", 2: "unknown", 3: "control", 4: "user_defined", 5: "unused", 6: "byte"}
_SPACE = "\u2581"
"""What SentencePiece and WordPiece write for a space."""


def vocabulary_of(header: GgufFile) -> Sequence[str]:
    """Give the tokens as the file writes them."""
    tokens: Any = header.metadata.get("tokenizer.ggml.tokens")
    if not isinstance(tokens, Sequence) or isinstance(tokens, str) or not len(tokens):
        raise UnsupportedError(f"{header.path.name} holds no vocabulary")
    return tokens


def token_of(header: GgufFile, token: int) -> Token:
    """Describe a token."""
    vocabulary = vocabulary_of(header)
    if not 0 <= token < len(vocabulary):
        raise ValidationError(
            f"there is no token {token}: the vocabulary ends at {len(vocabulary) - 1}"
        )
    return described(header, token, vocabulary[token])


def described(header: GgufFile, token: int, raw: str) -> Token:
    """Describe a token whose text in the file is known."""
    kinds: Any = header.metadata.get("tokenizer.ggml.token_type")
    known = isinstance(kinds, Sequence) and token < len(kinds)
    kind = _KINDS.get(kinds[token], "normal") if known else "normal"
    return Token(id=token, text=_readable(header, raw, kind), kind=kind)


def find_token(header: GgufFile, wanted: int | str) -> Token:
    """Give a token by its number, or by its text, which must be the whole of it."""
    if isinstance(wanted, int):
        return token_of(header, wanted)
    sought = {wanted, _written(header, wanted)}
    for number, raw in enumerate(vocabulary_of(header)):
        if raw in sought:
            return described(header, number, raw)
    raise ValidationError(
        f"{wanted!r:.60} is no single token of this model: ask for one by its number, or look at "
        "how the text is split"
    )


def tokenize(header: GgufFile, text: str) -> list[Token]:
    """Split a text as the model reads it; marks of special tokens in it become these."""
    if importlib.util.find_spec("llama_cpp") is None:
        raise MissingExtraError(
            "to split a text into tokens needs llama.cpp's library: pip install 'blazen[llamacpp]'"
        )
    from blazen_llamacpp.vocabulary_alone import open_vocabulary

    with open_vocabulary(header.path) as vocabulary:
        numbers = vocabulary.tokenize(text)
    return [token_of(header, number) for number in numbers]


def can_tokenize() -> bool:
    """Say whether texts can be split here."""
    return importlib.util.find_spec("llama_cpp") is not None


def _readable(header: GgufFile, raw: str, kind: str) -> str:
    """Write a token as people read it."""
    model = header.metadata.get("tokenizer.ggml.model")
    if kind in ("control", "user_defined", "unknown"):
        return raw
    if model != "gpt2":
        return raw.replace(_SPACE, " ")
    letters = _letters()
    data = bytearray()
    for letter in raw:
        if letter not in letters:
            return raw
        data.append(letters[letter])
    return _with_broken_bytes(bytes(data))


def _written(header: GgufFile, text: str) -> str:
    """Write a text as the file writes its tokens."""
    if header.metadata.get("tokenizer.ggml.model") != "gpt2":
        return text.replace(" ", _SPACE)
    bytes_of = {byte: letter for letter, byte in _letters().items()}
    return "".join(bytes_of[byte] for byte in text.encode("utf-8", "replace"))


def _with_broken_bytes(data: bytes) -> str:
    """Decode UTF-8, with what is only a part of a character written as ``<0xE2>``."""
    parts = []
    while data:
        try:
            parts.append(data.decode())
            break
        except UnicodeDecodeError as error:
            parts.append(data[: error.start].decode())
            parts += [f"<0x{byte:02X}>" for byte in data[error.start : error.end]]
            data = data[error.end :]
    return "".join(parts)


@functools.cache
def _letters() -> dict[str, int]:
    """Give the bytes that the letters of byte-level BPE stand for.

    Bytes that can be printed stand for themselves, the others for the letters from 256 on.
    """
    shown = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [byte for byte in range(256) if byte not in shown]
    letters = {chr(byte): byte for byte in shown}
    letters.update({chr(256 + place): byte for place, byte in enumerate(hidden)})
    return letters
