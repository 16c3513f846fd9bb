"""A model's tokens: from text to numbers, and from numbers to bytes."""

from __future__ import annotations

import ctypes
from typing import Any

from blazen.errors import ValidationError
from blazen_llamacpp.library import load_library

_CONTROL = 1 << 3
_LONGEST_PIECE = 512
_LITERAL = (1, 2)  # SPM and BPE: others leave parts of a text out, such as spaces


class Vocabulary:
    """The tokens of one loaded model. Safe to use from several threads."""

    def __init__(self, model: Any) -> None:
        self._library = load_library()
        self.pointer = self._library.llama_model_get_vocab(model)
        self.size: int = self._library.llama_vocab_n_tokens(self.pointer)
        self.bos: int = self._library.llama_vocab_bos(self.pointer)
        self.eos: int = self._library.llama_vocab_eos(self.pointer)
        self.adds_bos: bool = self._library.llama_vocab_get_add_bos(self.pointer)
        ends = self._library.llama_vocab_is_eog
        self.ends = frozenset(t for t in range(self.size) if ends(self.pointer, t))
        """The tokens that end an answer."""
        self._pieces: list[bytes | None] = [None] * self.size

    def prompt(self, text: str) -> list[int]:
        """Give the tokens of a prompt, which begin with one BOS where the model wants it."""
        tokens = self.tokenize(text)
        if self.adds_bos and self.bos >= 0 and tokens[:1] != [self.bos]:
            tokens.insert(0, self.bos)
        return tokens

    def tokenize(self, text: str, *, frame: bool = False) -> list[int]:
        """Give the tokens of a text; marks of special tokens in it become these tokens.

        ``frame`` puts around it what the model was trained with, such as CLS and SEP.
        """
        try:
            data = text.encode()
        except UnicodeEncodeError as error:
            raise ValidationError(f"the text holds half a character: {error}") from error
        room = len(data) + 8
        for _ in range(2):
            tokens = (ctypes.c_int32 * room)()
            count = self._library.llama_tokenize(
                self.pointer, data, len(data), tokens, room, frame, True
            )
            if count >= 0:
                break
            room = -count
        return tokens[:count]

    def piece(self, token: int) -> bytes:
        """Give the bytes that a token stands for; a mark such as ``<|im_end|>`` as written."""
        piece = self._pieces[token]
        if piece is None:
            room = _LONGEST_PIECE
            buffer = ctypes.create_string_buffer(room)
            count = self._library.llama_token_to_piece(self.pointer, token, buffer, room, 0, True)
            if count < 0:
                buffer = ctypes.create_string_buffer(-count)
                count = self._library.llama_token_to_piece(
                    self.pointer, token, buffer, -count, 0, True
                )
            piece = self._pieces[token] = buffer.raw[:count]
        return piece

    def longest(self) -> int:
        """Give the most bytes that one token stands for; 0 where a text may lose some unseen."""
        if self._library.llama_vocab_type(self.pointer) not in _LITERAL:
            return 0
        return max((len(self.piece(token)) for token in range(self.size)), default=0)

    def text(self, token: int) -> str:
        """Give a token as text; part of a character becomes a replacement mark."""
        return self.piece(token).decode("utf-8", "replace")

    def is_control(self, token: int) -> bool:
        """Say whether a token only steers the model, and is no text."""
        return bool(self._library.llama_vocab_get_attr(self.pointer, token) & _CONTROL)
