"""llama.cpp's own grammar machine, to ask what a grammar of ours takes and what it writes."""

from __future__ import annotations

import ctypes
import random
from contextlib import contextmanager
from typing import NamedTuple

import llama_cpp as engine

from blazen.weights.starter import starter_path

NOWHERE = float("-inf")


class Verdict(NamedTuple):
    taken: str
    """As much of the text as the grammar takes."""
    whole: bool
    """Whether a text may end there."""


class Machine:
    """The starter chat model, as a vocabulary for grammars and as one that writes by them."""

    def __init__(self) -> None:
        self._said: list[str] = []

        @engine.llama_log_callback
        def keep(_level, text, _data):
            self._said.append(text.decode("utf-8", "replace"))

        self._keep = keep
        self._model = self._context = None
        with self._listening():
            params = engine.llama_model_default_params()
            path = str(starter_path("chat")).encode()
            self._model = engine.llama_model_load_from_file(path, params)
        assert self._model, "".join(self._said)
        self.vocab = engine.llama_model_get_vocab(self._model)
        self._end = engine.llama_vocab_eos(self.vocab)

    @contextmanager
    def _listening(self):
        """Keep the engine's words; then they go where they went before."""
        before, data = engine.llama_log_callback(), ctypes.c_void_p()
        engine.llama_log_get(ctypes.byref(before), ctypes.byref(data))
        self._said.clear()
        engine.llama_log_set(self._keep, None)
        try:
            yield
        finally:
            engine.llama_log_set(before, data)

    def tokens(self, text: str) -> list[int]:
        data = text.encode()
        out = (ctypes.c_int * (len(data) + 8))()
        count = engine.llama_tokenize(self.vocab, data, len(data), out, len(out), False, False)
        return list(out[:count])

    def piece(self, token: int) -> bytes:
        out = ctypes.create_string_buffer(256)
        count = engine.llama_token_to_piece(self.vocab, token, out, 256, 0, False)
        return out.raw[:count]

    def compile(self, grammar: str):
        """Give a sampler of the grammar, or fail with the engine's words."""
        with self._listening():
            sampler = engine.llama_sampler_init_grammar(self.vocab, grammar.encode(), b"root")
        assert sampler, "".join(self._said) + grammar[:2000]
        return sampler

    def judge(self, grammar: str, text: str, *, split: random.Random | None = None) -> Verdict:
        """Feed a text to a grammar, token by token; ``split``: in tokens of random pieces."""
        sampler = self.compile(grammar)
        taken: list[int] = []
        try:
            for token in self._split(text, split):
                if not self._allows(sampler, token):
                    break
                engine.llama_sampler_accept(sampler, token)
                taken.append(token)
            whole = self._allows(sampler, self._end)
        finally:
            engine.llama_sampler_free(sampler)
        return Verdict(b"".join(map(self.piece, taken)).decode("utf-8", "replace"), whole)

    def spells(self, text: str) -> bool:
        """Whether the vocabulary has tokens for it all: some lack bytes of rare characters."""
        return b"".join(map(self.piece, self.tokens(text))) == text.encode()

    def accepts(self, grammar: str, text: str, **how) -> bool:
        taken, whole = self.judge(grammar, text, **how)
        return whole and taken == text

    def _split(self, text: str, split: random.Random | None) -> list[int]:
        if split is None:
            return self.tokens(text)
        tokens = []
        while text:
            size = split.randint(1, 4)
            tokens += self.tokens(text[:size])
            text = text[size:]
        return tokens

    def _allows(self, sampler, token: int) -> bool:
        data = engine.llama_token_data(id=token, logit=1.0, p=0.0)
        array = engine.llama_token_data_array(
            data=ctypes.pointer(data), size=1, selected=-1, sorted=False
        )
        engine.llama_sampler_apply(sampler, ctypes.byref(array))
        return data.logit != NOWHERE

    def write(self, grammar: str, prompt: str, *, seed: int, most: int = 300) -> Verdict:
        """Let the model write by the grammar, at a high temperature."""
        if self._context is None:
            params = engine.llama_context_default_params()
            params.n_ctx, params.n_threads, params.n_threads_batch = 1024, 1, 1
            with self._listening():
                self._context = engine.llama_init_from_model(self._model, params)
        engine.llama_memory_clear(engine.llama_get_memory(self._context), True)
        chain = engine.llama_sampler_chain_init(engine.llama_sampler_chain_default_params())
        engine.llama_sampler_chain_add(chain, self.compile(grammar))
        engine.llama_sampler_chain_add(chain, engine.llama_sampler_init_temp(1.5))
        engine.llama_sampler_chain_add(chain, engine.llama_sampler_init_dist(seed))
        feed, text, whole = self.tokens(prompt), b"", False
        try:
            for _ in range(most):
                array = (ctypes.c_int * len(feed))(*feed)
                assert not engine.llama_decode(
                    self._context, engine.llama_batch_get_one(array, len(feed))
                )
                token = engine.llama_sampler_sample(chain, self._context, -1)
                if engine.llama_vocab_is_eog(self.vocab, token):
                    whole = True
                    break
                text += self.piece(token)
                feed = [token]
        finally:
            engine.llama_sampler_free(chain)
        return Verdict(text.decode("utf-8", "replace"), whole)

    def close(self) -> None:
        if self._context is not None:
            engine.llama_free(self._context)
        engine.llama_model_free(self._model)
