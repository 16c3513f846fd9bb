"""Choosing the next token: a chain of llama.cpp's own samplers for each request, and a grammar."""

from __future__ import annotations

import ctypes
import math
import random
from typing import TYPE_CHECKING, Any

from blazen.errors import InferenceError, ValidationError
from blazen.types.completion import CompletionOptions
from blazen_llamacpp.library import captured_errors, load_library, words
from blazen_llamacpp.vocabulary import Vocabulary

if TYPE_CHECKING:
    import numpy

TEMPERATURE, TOP_K, TOP_P, MIN_P = 0.8, 40, 0.95, 0.05
"""What llama.cpp itself does where nothing is asked for."""

_PENALTY_LAST = 64
_MIROSTAT_CANDIDATES = 100
_NO_SEED = 0xFFFFFFFF  # the engine reads this as "draw one", and its draws repeat


class Sampler:
    """Chooses the tokens of one answer. For one thread at a time; close it after use."""

    def __init__(
        self,
        vocabulary: Vocabulary,
        options: CompletionOptions,
        *,
        grammar: str | None = None,
        lazy_grammar: str | None = None,
        triggers: tuple[str, ...] = (),
    ) -> None:
        self._library = load_library()
        self._vocabulary = vocabulary
        self._grammar: Any = None
        self._lazy: tuple[str, tuple[bytes, ...]] | None = None
        if lazy_grammar is not None and triggers:
            self._lazy = (lazy_grammar, tuple(map(str.encode, triggers)))
        self._seen = b""
        self._chain = self._library.llama_sampler_chain_init(
            self._library.llama_sampler_chain_default_params()
        )
        try:
            stages = self._stages(options)
            # The chain would copy the whole vocabulary to find one maximum.
            self._greedy = options.temperature == 0 and len(stages) == 1
            for stage in stages:
                self._library.llama_sampler_chain_add(self._chain, stage)
            if self._lazy is not None:
                # A grammar that can't be read must not be found out in mid-answer.
                self._library.llama_sampler_free(self._parsed(self._lazy[0]))
            if grammar is not None:
                self._grammar = self._parsed(grammar)
        except BaseException:
            self.close()
            raise

    def sample(self, context: Any, index: int, candidates: Candidates) -> int:
        """Choose the token that follows the one at this place of the last batch."""
        if self._grammar is None:
            if self._greedy:
                token = candidates.likeliest(context, index)
            else:
                token = self._library.llama_sampler_sample(self._chain, context, index)
            if self._lazy is not None:
                self._watch(token, candidates)
            return token
        # Most tokens that a model likes fit, and to ask of one is far cheaper than of all.
        token = candidates.fill(context, index).choose(self._chain)
        if not candidates.allows(self._grammar, token):
            candidates.fill(context, index).restrict(self._grammar)
            token = candidates.choose(self._chain)
            if not candidates.allows(self._grammar, token):
                raise InferenceError(
                    "the grammar allows none of the model's tokens here, and no end: mend it"
                )
        self._library.llama_sampler_accept(self._grammar, token)
        self._library.llama_sampler_accept(self._chain, token)
        return token

    def close(self) -> None:
        """Free it."""
        chain, self._chain = self._chain, None
        grammar, self._grammar = self._grammar, None
        for sampler in (chain, grammar):
            if sampler:
                self._library.llama_sampler_free(sampler)

    def _watch(self, token: int, candidates: Candidates) -> None:
        """Put the lazy grammar in force from a trigger on.

        The engine's own lazy grammars search the whole answer anew at each token, by a recursive
        matcher that a long answer crashes.
        """
        if self._lazy is None:
            return
        gbnf, triggers = self._lazy
        longest = max(map(len, triggers))
        self._seen = self._seen[-longest:] + self._vocabulary.piece(token)
        places = [at for trigger in triggers if (at := self._seen.find(trigger)) >= 0]
        if not places:
            return
        text = self._seen[min(places) :]
        tokens = self._vocabulary.tokenize(text.decode("utf-8", "ignore"))
        self._lazy = None
        grammar = self._parsed(gbnf)
        for known in tokens:
            if not candidates.allows(grammar, known):
                # What came is not how the grammar begins: the reader will tell what it is.
                self._library.llama_sampler_free(grammar)
                return
            self._library.llama_sampler_accept(grammar, known)
        self._grammar = grammar

    def _parsed(self, gbnf: str) -> Any:
        with captured_errors() as errors:
            grammar = self._library.llama_sampler_init_grammar(
                self._vocabulary.pointer, gbnf.encode(), b"root"
            )
        if not grammar:
            raise ValidationError(f"llama.cpp can't read the grammar: {words(errors)}")
        return grammar

    def _stages(self, options: CompletionOptions) -> list[Any]:
        """Give the samplers in the engine's usual order."""
        library, size = self._library, self._vocabulary.size
        repeat = 1.0 if options.repeat_penalty is None else options.repeat_penalty
        if repeat <= 0:
            raise ValidationError(f"repeat_penalty must be above 0, not {repeat}: 1 is none")
        stages = [self._bias(options.logit_bias)] if options.logit_bias else []
        frequency, presence = options.frequency_penalty or 0.0, options.presence_penalty or 0.0
        if (repeat, frequency, presence) != (1.0, 0.0, 0.0):
            stages.append(
                library.llama_sampler_init_penalties(
                    size, _PENALTY_LAST, repeat, frequency, presence
                )
            )
        temperature = TEMPERATURE if options.temperature is None else options.temperature
        if temperature == 0:
            return [*stages, library.llama_sampler_init_greedy()]
        seed = options.seed
        if seed is None:
            seed = random.SystemRandom().randrange(_NO_SEED)
        seed %= _NO_SEED
        if options.mirostat is not None:
            tau = 5.0 if options.mirostat_tau is None else options.mirostat_tau
            eta = 0.1 if options.mirostat_eta is None else options.mirostat_eta
            stages.append(library.llama_sampler_init_temp(temperature))
            if options.mirostat == 2:
                return [*stages, library.llama_sampler_init_mirostat_v2(seed, tau, eta)]
            first = library.llama_sampler_init_mirostat(size, seed, tau, eta, _MIROSTAT_CANDIDATES)
            return [*stages, first]
        top_k = TOP_K if options.top_k is None else options.top_k
        top_p = TOP_P if options.top_p is None else options.top_p
        min_p = MIN_P if options.min_p is None else options.min_p
        typical = 1.0 if options.typical_p is None else options.typical_p
        if top_k > 0:
            stages.append(library.llama_sampler_init_top_k(min(top_k, size)))
        if typical < 1:
            stages.append(library.llama_sampler_init_typical(typical, 1))
        if top_p < 1:
            stages.append(library.llama_sampler_init_top_p(top_p, 1))
        if min_p > 0:
            stages.append(library.llama_sampler_init_min_p(min_p, 1))
        stages.append(library.llama_sampler_init_temp(temperature))
        return [*stages, library.llama_sampler_init_dist(seed)]

    def _bias(self, wanted: dict[int, float]) -> Any:
        unknown = [token for token in wanted if token >= self._vocabulary.size]
        if unknown:
            raise ValidationError(
                f"logit_bias names the token {unknown[0]}, and the model knows "
                f"{self._vocabulary.size}"
            )
        biases = (self._library.llama_logit_bias * len(wanted))(*wanted.items())
        return self._library.llama_sampler_init_logit_bias(
            self._vocabulary.size, len(wanted), biases
        )


class Candidates:
    """Every token with how likely it is, where Python must see them; one for a context."""

    def __init__(self, size: int) -> None:
        import numpy

        self._library = load_library()
        self._size = size
        self._tokens = numpy.zeros(size, [("id", "<i4"), ("logit", "<f4"), ("p", "<f4")])
        self._ids = numpy.arange(size, dtype="<i4")
        pointer = ctypes.POINTER(self._library.llama_token_data)
        self._data = ctypes.cast(self._tokens.ctypes.data, pointer)
        self._row = ctypes.POINTER(ctypes.c_float * size)
        self._array = self._library.llama_token_data_array(self._data, size, -1, False)
        self._one = self._library.llama_token_data()
        self._only = self._library.llama_token_data_array(ctypes.pointer(self._one), 1, -1, False)

    def logits(self, context: Any, index: int) -> numpy.ndarray[Any, Any]:
        """Give the engine's own array for a place of the last batch; read it before the next."""
        import numpy

        row = self._library.llama_get_logits_ith(context, index)
        return numpy.frombuffer(memoryview(ctypes.cast(row, self._row).contents), numpy.float32)

    def likeliest(self, context: Any, index: int) -> int:
        """Give the token that the model likes best."""
        logits = self.logits(context, index)
        token = int(logits.argmax())
        if not math.isfinite(logits[token]):
            raise InferenceError("llama.cpp could choose no token: its numbers are not finite")
        return token

    def fill(self, context: Any, index: int) -> Candidates:
        """Begin anew with all tokens."""
        self._tokens["id"] = self._ids
        self._tokens["logit"] = self.logits(context, index)
        array = self._array
        array.data, array.size, array.selected, array.sorted = self._data, self._size, -1, False
        return self

    def restrict(self, grammar: Any) -> None:
        """Rule out what a grammar does not allow."""
        self._library.llama_sampler_apply(grammar, ctypes.byref(self._array))

    def choose(self, chain: Any) -> int:
        """Let a chain choose; it is not told yet that its choice was taken."""
        self._library.llama_sampler_apply(chain, ctypes.byref(self._array))
        if self._array.selected < 0:
            raise InferenceError("llama.cpp could choose no token: its numbers are not finite")
        token: int = self._array.data[self._array.selected].id
        return token

    def allows(self, grammar: Any, token: int) -> bool:
        """Ask a grammar about one token."""
        one, only = self._one, self._only
        one.id, one.logit, one.p = token, 1.0, 0.0
        only.size, only.selected, only.sorted = 1, -1, False
        self._library.llama_sampler_apply(grammar, ctypes.byref(only))
        return bool(one.logit > 0)
